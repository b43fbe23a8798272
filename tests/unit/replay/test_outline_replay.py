"""The replay: what it reads and sends, where it goes on, and how the command ends."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.replay import outlines
from deploy.replay._catalog import Catalog, CatalogError, Page
from deploy.replay._events import NotACourseError, outline_event
from deploy.replay._replay import Checkpoint, Replay, SendError
from deploy.replay._where import find
from libs.api_access import AccessError

TOKEN = "header.payload.signature"


def course(course_id: str, *, items: int = 1) -> dict[str, Any]:
    return {
        "id": course_id,
        "outlineVersion": 2,
        "updatedAt": "2026-03-01T10:00:00.000Z",
        "outline": [
            {
                "id": "one",
                "items": [
                    {"contentId": f"c-{n}", "required": True, "weight": 1, "title": "…"}
                    for n in range(items)
                ],
            }
        ],
    }


class Courses:
    """The catalog's API in memory, two ids a page."""

    def __init__(self, published: Sequence[str], archived: Sequence[str] = ()) -> None:
        self.of = {"published": list(published), "archived": list(archived)}
        self.documents: dict[str, Any] = {one: course(one) for one in (*published, *archived)}
        self.asked: list[str] = []

    async def page(self, *, status: str, updated_since: str | None, cursor: str | None) -> Page:
        start = int(cursor or 0)
        ids = self.of[status]
        more = start + 2 < len(ids)
        return Page(tuple(ids[start : start + 2]), str(start + 2) if more else None)

    async def course(self, course_id: str) -> Mapping[str, Any] | None:
        self.asked.append(course_id)
        found = self.documents[course_id]
        if isinstance(found, Exception):
            raise found
        document: Mapping[str, Any] | None = found
        return document


class Queue:
    """A queue in memory that refuses an entry where `refuses` says so, and dies after `capacity`."""

    def __init__(self, *, refuses: int = 0, capacity: int = 10**9) -> None:
        self.bodies: list[str] = []
        self.batches: list[int] = []
        self._refuses = refuses
        self._capacity = capacity

    async def send(self, bodies: Sequence[str]) -> Sequence[int]:
        assert 1 <= len(bodies) <= 10
        assert sum(len(body.encode()) for body in bodies) <= 256 * 1024
        self.batches.append(len(bodies))
        if self._refuses:
            self._refuses -= 1
            self.bodies += bodies[:-1]
            return [len(bodies) - 1]
        if len(self.bodies) + len(bodies) > self._capacity:
            raise SendError("the queue is gone")
        self.bodies += bodies
        return []

    @property
    def courses(self) -> list[str]:
        keys = [json.loads(body)["dynamodb"]["Keys"]["courseId"]["S"] for body in self.bodies]
        return [key.removeprefix("outline#") for key in keys]


async def no_pause(_: float) -> None:
    pass


def replay(courses: Courses, queue: Queue | None, checkpoint: Checkpoint | None = None) -> Replay:
    return Replay(
        courses,
        queue,
        checkpoint or Checkpoint(None, {}),
        updated_since=None,
        tell=lambda done, total: None,
        sleep=no_pause,
    )


async def test_every_course_that_learners_see_is_sent_once() -> None:
    courses = Courses([f"p-{n:02}" for n in range(25)], ["a-1", "a-2", "p-00"])
    queue = Queue()
    report = await replay(courses, queue).run()
    assert sorted(queue.courses) == sorted({*courses.of["published"], "a-1", "a-2"})
    assert (report.courses, report.sent, report.failed, report.gone) == (27, 27, {}, 0)


async def test_a_dry_run_reads_everything_and_sends_nothing(tmp_path: Path) -> None:
    courses = Courses(["a", "b"])
    report = await replay(courses, None, Checkpoint(tmp_path / "c.json", {})).run()
    assert (report.courses, report.sent) == (2, 0)
    assert courses.asked == ["a", "b"]
    assert list(tmp_path.iterdir()) == []


async def test_what_is_gone_or_broken_is_told_and_the_others_are_sent(tmp_path: Path) -> None:
    courses = Courses(["a", "b", "c", "d"])
    courses.documents |= {"b": None, "c": {"id": "c"}, "d": CatalogError("GET: 500")}
    queue = Queue()
    report = await replay(courses, queue, Checkpoint(tmp_path / "c.json", {})).run()
    assert queue.courses == ["a"]
    assert report.gone == 1
    assert report.failed.keys() == {"c", "d"}
    assert list(tmp_path.iterdir()) == []  # so the next run tries them again


async def test_entries_that_the_queue_refuses_are_sent_again() -> None:
    queue = Queue(refuses=3)
    report = await replay(Courses(["a", "b", "c"]), queue).run()
    assert sorted(queue.courses) == ["a", "b", "c"]
    assert report.sent == 3


async def test_a_queue_that_takes_nothing_ends_it() -> None:
    with pytest.raises(SendError):
        await replay(Courses(["a"]), Queue(refuses=100)).run()


@given(st.integers(0, 130), st.integers(0, 130))
@settings(max_examples=40, deadline=None)
def test_stopped_anywhere_and_run_again_nothing_is_left_out(count: int, capacity: int) -> None:
    async def scenario(folder: Path) -> None:
        ids = [f"course-{n:03}" for n in range(count)]
        checkpoint = Checkpoint(folder / "checkpoint.json", {"gateway": "here"})
        first = Queue(capacity=capacity)
        try:
            await replay(Courses(ids), first, checkpoint).run()
        except SendError:
            assert capacity < count
        second = Queue()
        await replay(Courses(ids), second, checkpoint).run()
        assert set(first.courses) | set(second.courses) == set(ids)
        assert list(folder.iterdir()) == []

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))


async def test_the_checkpoint_of_another_replay_counts_for_nothing(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "c.json", {"gateway": "there"}).write("z")
    queue = Queue()
    await replay(Courses(["a"]), queue, Checkpoint(tmp_path / "c.json", {"gateway": "here"})).run()
    assert queue.courses == ["a"]


@pytest.mark.parametrize("content", ["", "[]", "no JSON", '{"scope": {"gateway": "here"}}'])
async def test_a_broken_checkpoint_means_from_the_beginning(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(content)
    assert Checkpoint(path, {"gateway": "here"}).read() is None


async def test_large_outlines_go_in_smaller_batches() -> None:
    courses = Courses([f"c-{n:02}" for n in range(20)])
    courses.documents = {one: course(one, items=1000) for one in courses.documents}
    queue = Queue()  # which asserts the size
    await replay(courses, queue).run()
    assert max(queue.batches) < 10


def test_what_is_no_course_is_refused_without_a_word_of_it() -> None:
    with pytest.raises(NotACourseError) as refused:
        outline_event({"id": "secret", "outlineVersion": 1})
    assert "secret" not in str(refused.value)


# --- the API over a real socket ------------------------------------------------------------------


async def test_pages_retries_and_a_renewed_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old.token.value")
    seen: list[tuple[str, dict[str, str]]] = []
    answers = iter([503, 401, 200, 200, 404])

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, dict(request.query)))
        status = next(answers)
        if status == 401:
            assert request.headers["Authorization"] == "Bearer old.token.value"
            token.write_text(f"Authorization: Bearer {TOKEN}\n")
        elif status == 200:
            assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        body = {"items": [{"id": "a"}], "nextCursor": None, "id": "a"}
        return web.json_response(body if status == 200 else {"code": "some_code"}, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server, ClientSession() as session:
        where = find(str(token), str(server.make_url("/")), None, state=tmp_path)
        catalog = Catalog(
            session, where.gateway, where.read_token, random=lambda: 0.5, sleep=no_pause
        )
        page = await catalog.page(status="published", updated_since="2026-01-01", cursor="x")
        assert page == Page(("a",), None)
        assert await catalog.course("a") == {"items": [{"id": "a"}], "nextCursor": None, "id": "a"}
        assert await catalog.course("b") is None
    assert seen[0] == (
        "/courses",
        {"limit": "100", "status": "published", "updatedSince": "2026-01-01", "cursor": "x"},
    )


async def test_what_stays_refused_is_told_by_its_code() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"code": "missing_permission"}, status=403)

    app = web.Application()
    app.router.add_get("/courses", answer)
    async with TestServer(app, host="127.0.0.1") as server, ClientSession() as session:
        catalog = Catalog(
            session, str(server.make_url("")), lambda: TOKEN, random=lambda: 0.5, sleep=no_pause
        )
        with pytest.raises(CatalogError, match="403 missing_permission"):
            await catalog.page(status="published", updated_since=None, cursor=None)


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--token-from", "nowhere"], "--gateway is missing"),
        (["--token-from", "t", "--gateway", "http://api.example"], "by https only"),
        (["--token-from", "t", "--gateway", "ftp://api.example"], "is not like https"),
        (["--token-from", "t", "--gateway", "https://me:pw@api.example"], "holds a password"),
        (["--token-from", "t", "--gateway", "https://api.example"], "--queue-url is missing"),
        (["--token-from", "platform:staff", "--state", "nowhere"], "no platform runs"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outlines.main(arguments) == 2
    written = capsys.readouterr()
    assert says in written.err
    assert written.err.count("\n") == 1
    assert "pw" not in written.err
    assert written.out == ""


def test_a_file_without_a_token_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("no token, but a secret")
    where = find(str(path), "https://api.example", None, state=tmp_path)
    with pytest.raises(AccessError) as refused:
        where.read_token()
    assert "secret" not in str(refused.value)


def test_the_help_has_examples_and_a_bad_time_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        outlines.main(["--help"])
    assert ended.value.code == 0
    assert "--dry-run" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        outlines.main(["--token-from", "t", "--updated-since", "yesterday"])
    assert ended.value.code == 2


def test_progress_tells_when_all_will_be_done() -> None:
    now = 0.0
    output = io.StringIO()
    progress = outlines.CourseProgress(output, clock=lambda: now, quiet=False)
    progress.tell(100, 1100)
    now = 10.0
    progress.tell(300, 1100)
    now = 50.0
    progress.tell(1100, 1100)
    progress.end()
    assert output.getvalue().splitlines() == [
        "██████░░░░░░░░░░░░░░░░░░  27%  300 of 1100 courses  ETA 00:40",
        "████████████████████████ 100%  1100 of 1100 courses  ETA 00:00",
    ]
