"""The importer against the authoring APIs, played by their contracts."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from deploy.course_import._archive import open_source
from deploy.course_import._captions import cues_of, to_webvtt
from deploy.course_import._client import Client
from deploy.course_import._credentials import Credentials
from deploy.course_import._http import Http, ImportStoppedError
from deploy.course_import._importer import Comparison, Importer, Outcome, Wishes
from deploy.course_import._mapping import plan_course
from deploy.course_import._olx import read_course
from deploy.course_import._plan import Item, Plan
from tests.integration.course_import.authoring_apis import TOKEN, AuthoringApis, Fault

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "deploy" / "course_import" / "samples" / "night-sky"
_Done = TypeVar("_Done")
TOOL = ROOT / "deploy" / "course_import" / "olx.py"


@dataclass
class Watch:
    """Counts what progress is told."""

    done: int = 0
    names: list[str] = field(default_factory=list)

    def doing(self, what: str) -> None:
        self.names.append(what)

    def advance(self, count: int) -> None:
        self.done += count


@dataclass
class Desk:
    """An author with an export, before a platform."""

    apis: AuthoringApis
    gateway: str
    pauses: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    read_token: Callable[[], str] = lambda: TOKEN
    watch: Watch = field(default_factory=Watch)

    async def compare(self, export: Path = SAMPLE, wishes: Wishes = Wishes()) -> Comparison:  # noqa: B008
        async def compare(importer: Importer, plan: Plan) -> Comparison:
            return await importer.compare(plan)

        return await self._with(export, wishes, compare)

    async def run(self, export: Path = SAMPLE, wishes: Wishes = Wishes()) -> Outcome:  # noqa: B008
        async def run(importer: Importer, plan: Plan) -> Outcome:
            self.watch = Watch()
            comparison = await importer.compare(plan)
            outcome = await importer.apply(plan, comparison, self.watch)
            assert self.watch.done == comparison.size, "the progress ends at its end"
            return outcome

        return await self._with(export, wishes, run)

    async def _with(
        self, export: Path, wishes: Wishes, work: Callable[[Importer, Plan], Awaitable[_Done]]
    ) -> _Done:
        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        credentials = Credentials(self.gateway, self.read_token)
        with open_source(export) as source:
            plan = plan_course(read_course(source))
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                http = Http(
                    session,
                    credentials,
                    sleep=sleep,
                    random=random.Random(1),
                    note=self.notes.append,
                )
                done = await work(Importer(Client(http, sleep=sleep), wishes), plan)
        assert self.apis.contract_errors == []
        return done

    @property
    def course(self) -> dict[str, Any]:
        """The one course there is."""
        (course,) = self.apis.courses.values()
        return course

    def ids(self) -> dict[str, str]:
        """The ids of its content, by type and title."""
        return {f"{one['type']} {one['title']}": one["contentId"] for one in self.outline_items()}

    def outline_items(self) -> list[dict[str, Any]]:
        """The items of its outline."""
        return [item for section in self.course["outline"] for item in section["items"]]


@pytest.fixture()
async def desk() -> AsyncIterator[Desk]:
    async for one in _desk(AuthoringApis()):
        yield one


@pytest.fixture()
async def small_parts() -> AsyncIterator[Desk]:
    """A platform that takes everything above 2,000 bytes in parts of 1,000."""
    async for one in _desk(AuthoringApis(single_bytes=2_000, part_bytes=1_000)):
        yield one


async def _desk(apis: AuthoringApis) -> AsyncIterator[Desk]:
    async with TestServer(apis.app(), host="127.0.0.1") as server:
        yield Desk(apis, f"http://127.0.0.1:{server.port}")


def items_of(export: Path = SAMPLE) -> list[tuple[Item, bytes]]:
    """The items of an export's plan and their bytes."""
    with open_source(export) as source:
        found = []
        for item in plan_course(read_course(source)).items():
            with item.body.open() as body:
                found.append((item, body.read()))
        return found


def changed_copy(tmp_path: Path, **files: tuple[str, str]) -> Path:
    """The sample with words replaced; a file's `__` stands for `/`."""
    copy = tmp_path / "changed"
    shutil.copytree(SAMPLE, copy)
    for name, (before, after) in files.items():
        path = copy / name.replace("__", "/")
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
    return copy


async def test_a_course_arrives_whole(desk: Desk) -> None:
    outcome = await desk.run()
    course = desk.course
    assert outcome.course.status == course["status"] == "published"
    assert course["title"] == "Reading the night sky"
    assert course["slug"] == "lyceum-sky101-2026"
    assert course["instructors"] == ["Harbour Observatory"]
    assert [tag for tag in course["tags"] if tag.startswith("olx-")] == course["tags"]
    wanted = items_of()
    assert len(desk.apis.contents) == len(wanted)
    for shown, (item, body) in zip(desk.outline_items(), wanted, strict=True):
        stored = desk.apis.contents[shown["contentId"]]
        assert (shown["title"], shown["type"]) == (item.title, item.type)
        assert (shown["required"], shown["weight"]) == (item.required, item.weight)
        assert stored.document["status"] == "ready"
        assert stored.document["title"] == item.title
        assert stored.document["contentType"] == item.body.content_type
        assert desk.apis.bytes_of(stored.document["id"]) == body
        assert stored.tracks == {track.language: track.body for track in item.captions}
    video = next(stored for stored in desk.apis.contents.values() if stored.tracks)
    assert set(video.tracks) == {"en", "pt-BR"}
    srt = (SAMPLE / "static" / "stars-rise-en.srt").read_bytes()
    assert video.tracks["en"] == to_webvtt(cues_of(srt, "x"))


async def test_an_export_is_imported_completely_and_then_not_again(
    desk: Desk, every_export: Path
) -> None:
    outcome = await desk.run(every_export)
    assert desk.course["status"] == "published"
    wanted = items_of(every_export)
    for shown, (item, body) in zip(desk.outline_items(), wanted, strict=True):
        assert desk.apis.bytes_of(shown["contentId"]) == body, item.key
    with open_source(every_export) as source:
        course = read_course(source)
        plan = plan_course(course)
    known = set(plan.sources) | {finding.subject for finding in plan.findings}
    known |= {source for section in plan.sections for source in section.sources}
    known |= {source for item in plan.items() for source in item.sources}
    assert {block.key for block in course.root.walk()} - known == set()
    assert not outcome.comparison.nothing
    desk.apis.requests.clear()
    assert (await desk.run(every_export)).comparison.nothing
    assert not desk.apis.changes


async def test_a_second_run_changes_nothing(desk: Desk) -> None:
    await desk.run()
    desk.apis.requests.clear()
    before = json.dumps([desk.course, len(desk.apis.contents)])
    outcome = await desk.run()
    assert not desk.apis.changes
    assert outcome.comparison.nothing
    assert outcome.document()["changed"] is False
    assert json.dumps([desk.course, len(desk.apis.contents)]) == before


async def test_a_changed_course_updates_what_has_changed(desk: Desk, tmp_path: Path) -> None:
    await desk.run()
    before = desk.ids()
    desk.apis.requests.clear()
    changed = changed_copy(
        tmp_path,
        **{
            "course__2026.xml": ("Reading the night sky", "Reading the sky at night"),
            "html__dark-intro.html": ("twenty minutes", "half an hour"),
            "static__stars-rise-pt.srt": ("E seguem.", "E seguem, devagar."),
            "vertical__old-notes.xml": ("From old notes", "Out of old notes"),
        },
    )
    outcome = await desk.run(changed)
    assert desk.course["title"] == "Reading the sky at night"
    after = desk.ids()
    moved = {name for name in after if before.get(name) != after[name]}
    # The page whose words changed is new content; the renamed one carries its title in its bytes.
    assert moved == {"reading Eyes in the dark", "reading Out of old notes"}
    assert b"half an hour" in desk.apis.bytes_of(after["reading Eyes in the dark"])
    video = desk.apis.contents[after["video Stars rise"]]
    assert b"devagar" in video.tracks["pt-BR"]
    assert desk.apis.count(r"PUT /content/\w+/captions/.*") == 1
    assert desk.apis.count(r"POST /content") == 2
    assert desk.apis.count(r"PATCH /courses/\w+") == 1
    assert desk.apis.count(r"POST /courses/\w+/publish") == 0
    assert len(outcome.comparison.unused) == 2
    assert outcome.pruned == ()


async def test_what_an_earlier_version_was_made_of_is_found_again(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.run()
    count = len(desk.apis.contents)
    first = desk.course["outline"]
    changed = changed_copy(tmp_path, **{"html__dark-intro.html": ("twenty minutes", "an hour")})
    await desk.run(changed)
    assert len(desk.apis.contents) == count + 1
    await desk.run()
    assert len(desk.apis.contents) == count + 1
    assert desk.course["outline"] == first


async def test_pruning_deletes_what_the_outline_no_longer_names(desk: Desk, tmp_path: Path) -> None:
    await desk.run()
    old = next(item["contentId"] for item in desk.outline_items())
    changed = changed_copy(tmp_path, **{"html__dark-intro.html": ("twenty minutes", "an hour")})
    outcome = await desk.run(changed, Wishes(prune=True))
    assert outcome.pruned == (old,)
    assert desk.apis.contents[old].document["status"] == "deleted"
    # Back again: it is sent anew, although the key of its first sending is known still.
    await desk.run()
    names = {item["contentId"] for item in desk.outline_items()}
    assert old not in names
    assert all(desk.apis.contents[name].document["status"] == "ready" for name in names)


async def test_pruning_leaves_what_is_on_its_way_alone(desk: Desk) -> None:
    await desk.run()
    pending = desk.apis.put_content(desk.course["id"], status="pending")
    ready = desk.apis.put_content(desk.course["id"])
    outcome = await desk.run(wishes=Wishes(prune=True))
    assert outcome.pruned == (ready,)
    assert desk.apis.contents[pending].document["status"] == "pending"


async def test_a_draft_stays_a_draft_until_it_is_published(desk: Desk) -> None:
    outcome = await desk.run(wishes=Wishes(publish=False))
    assert outcome.course.status == desk.course["status"] == "draft"
    desk.apis.requests.clear()
    await desk.run()
    assert desk.course["status"] == "published"
    assert desk.apis.changes == {"POST": 1}


async def test_an_archived_course_is_not_published_again(desk: Desk) -> None:
    await desk.run()
    desk.course["status"] = "archived"
    outcome = await desk.run()
    assert outcome.course.status == "archived"


async def test_what_the_export_does_not_say_is_the_authors(desk: Desk) -> None:
    await desk.run()
    mine = {"level": "advanced", "slug": "a-better-name", "tags": [*desk.course["tags"], "stars"]}
    desk.apis.edit_course(desk.course["id"], **mine)
    outcome = await desk.run()
    assert outcome.comparison.nothing
    assert {name: desk.course[name] for name in mine} == mine
    await desk.run(wishes=Wishes(level="beginner"))
    assert desk.course["level"] == "beginner"


async def test_comparing_changes_nothing(desk: Desk) -> None:
    comparison = await desk.compare()
    assert comparison.course is None
    assert not desk.apis.changes
    assert comparison.document()["createsCourse"] is True
    await desk.run()
    desk.apis.requests.clear()
    assert (await desk.compare()).nothing
    assert not desk.apis.changes


@pytest.mark.parametrize("status", [429, 502, 503, 504, None])
async def test_what_is_refused_for_the_moment_is_tried_again(
    desk: Desk, status: int | None
) -> None:
    for method, path in (
        ("GET", "/courses"),
        ("POST", "/courses"),
        ("PATCH", r"/courses/\w+"),
        ("POST", "/content"),
        ("POST", "/store"),
        ("POST", r"/content/\w+/upload/complete"),
        ("PUT", r"/content/\w+/captions/en"),
        ("POST", r"/courses/\w+/publish"),
    ):
        desk.apis.faults.append(Fault(method, path, status, times=2))
    await desk.run()
    assert desk.course["status"] == "published"
    assert len(desk.apis.contents) == len(items_of())
    assert not any(fault.times for fault in desk.apis.faults)
    # The client's own library repeats what broke off on a connection that had been used before.
    assert len(desk.pauses) == 16 if status else 8 <= len(desk.pauses) <= 16
    assert max(desk.pauses) < 60


@pytest.mark.parametrize("path", ["/courses", "/content"])
async def test_a_lost_answer_makes_nothing_twice(desk: Desk, path: str) -> None:
    desk.apis.faults.append(Fault("POST", path, None, times=3, after=True))
    await desk.run()
    assert len(desk.apis.courses) == 1
    assert len(desk.apis.contents) == len(items_of())


async def test_retry_after_is_honoured(desk: Desk) -> None:
    desk.apis.faults.append(Fault("POST", "/content", 503, {"Retry-After": "7"}))
    await desk.run()
    assert [7 <= pause < 8 for pause in desk.pauses] == [True]


@pytest.mark.parametrize("path", ["/courses", "/content"])
async def test_a_request_in_progress_is_waited_for(desk: Desk, path: str) -> None:
    """As long as a key stays taken after the death of who sent it; then it is said."""
    busy = Fault("POST", path, 409, {"Retry-After": "1"}, code="idempotency_in_progress", times=30)
    desk.apis.faults.append(busy)
    await desk.run()
    assert len(desk.apis.courses) == 1
    assert busy.times == 0


async def test_a_request_that_never_ends_is_not_waited_for_forever(desk: Desk) -> None:
    busy = Fault(
        "POST", "/courses", 409, {"Retry-After": "1"}, code="idempotency_in_progress", times=1_000
    )
    desk.apis.faults.append(busy)
    with pytest.raises(ImportStoppedError, match="idempotency_in_progress"):
        await desk.run()
    assert 90 <= sum(desk.pauses) < 200


async def test_waiting_has_an_end(desk: Desk) -> None:
    desk.apis.faults.append(Fault("GET", "/courses", 503, times=1_000))
    with pytest.raises(ImportStoppedError, match=r"GET /courses: 503"):
        await desk.run()
    assert len(desk.pauses) == 6
    assert desk.notes[-1].startswith("GET /courses: status 503; attempt 7 in")


async def test_a_long_retry_after_is_told_not_waited_for(desk: Desk) -> None:
    desk.apis.faults.append(Fault("GET", "/courses", 503, {"Retry-After": "900"}))
    with pytest.raises(ImportStoppedError, match="tried again in 900 s"):
        await desk.run()
    assert desk.pauses == []


async def test_an_address_where_nothing_answers_is_said(desk: Desk, unused_tcp_port: int) -> None:
    away = replace(desk, gateway=f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(ImportStoppedError, match="no answer after 7 attempts"):
        await away.run()


async def test_a_token_that_is_not_accepted_is_one_clear_line(desk: Desk) -> None:
    desk.read_token = lambda: "expired"
    with pytest.raises(ImportStoppedError, match=r"the token is not accepted \(401\)") as caught:
        await desk.run()
    assert "\n" not in str(caught.value)
    assert "expired" not in str(caught.value).partition("it has expired")[2]


async def test_a_token_that_was_renewed_meanwhile_is_taken(desk: Desk) -> None:
    tokens = iter(["old", "new"])
    desk.apis.tokens = {"old"}
    desk.read_token = lambda: next(tokens)

    def renewed(request: str) -> bool:
        if request == "POST /content":
            desk.apis.tokens = {"new"}
        return False

    desk.apis.hold = renewed
    await desk.run()
    assert desk.course["status"] == "published"


async def test_a_reader_is_told_that_only_authors_write(desk: Desk) -> None:
    desk.apis.faults.append(Fault("POST", "/courses", 403, code="forbidden"))
    with pytest.raises(ImportStoppedError, match=r"does not permit authoring \(403\)"):
        await desk.run()


async def test_a_refusal_names_what_is_wrong(desk: Desk) -> None:
    desk.apis.faults.append(Fault("PATCH", r"/courses/\w+", 422, code="invalid_body"))
    with pytest.raises(ImportStoppedError, match=r"PATCH /courses/\w+: 422, It is invalid_body"):
        await desk.run()
    # Nothing is announced: the course is there for its author alone.
    assert desk.course["status"] == "draft"


async def test_a_slug_of_another_course_is_said(desk: Desk) -> None:
    await desk.run(wishes=Wishes(slug="mine"))
    mine = desk.course
    mine |= {"tags": [], "slug": "lyceum-sky101-2026"}
    with pytest.raises(ImportStoppedError, match="--slug"):
        await desk.run()
    updated = await desk.run(wishes=Wishes(course_id=mine["id"]))
    assert updated.course.id == mine["id"]
    again = await desk.run()
    assert again.course.id == mine["id"], "it carries the tag again"


async def test_a_course_that_is_not_there_is_said(desk: Desk) -> None:
    with pytest.raises(ImportStoppedError, match="there is no course nothing"):
        await desk.run(wishes=Wishes(course_id="nothing"))


async def test_a_draft_that_was_deleted_is_made_anew(desk: Desk) -> None:
    await desk.run(wishes=Wishes(publish=False))
    first = desk.course["id"]
    del desk.apis.courses[first]
    desk.apis.faults.append(Fault("POST", "/courses", 409, code="course_deleted"))
    await desk.run()
    assert desk.course["status"] == "published"


async def test_another_authors_edit_of_something_else_is_kept(desk: Desk, tmp_path: Path) -> None:
    await desk.run()

    def edited(request: str) -> bool:
        if request.startswith("PATCH") and desk.course["level"] == "beginner":
            desk.apis.edit_course(desk.course["id"], level="advanced")
        return False

    desk.apis.hold = edited
    changed = changed_copy(tmp_path, **{"course__2026.xml": ("Reading the", "On reading the")})
    await desk.run(changed)
    assert (desk.course["level"], desk.course["title"]) == (
        "advanced",
        "On reading the night sky",
    )


async def test_another_authors_edit_of_the_same_is_not_overwritten(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.run()

    def edited(request: str) -> bool:
        if request.startswith("PATCH"):
            desk.apis.edit_course(desk.course["id"], title="Theirs")
        return False

    desk.apis.hold = edited
    changed = changed_copy(tmp_path, **{"course__2026.xml": ("Reading the", "On reading the")})
    with pytest.raises(ImportStoppedError, match="another author changed title"):
        await desk.run(changed)
    assert desk.course["title"] == "Theirs"


async def test_large_bodies_go_in_parts(small_parts: Desk) -> None:
    desk = small_parts
    await desk.run()
    for shown, (item, body) in zip(desk.outline_items(), items_of(), strict=True):
        assert desk.apis.bytes_of(shown["contentId"]) == body, item.key
    assert desk.apis.count(r"PUT /store/\w+/16") == 2  # both videos have 15,567 bytes


async def test_a_signature_that_ended_is_renewed(small_parts: Desk) -> None:
    small_parts.apis.signatures_end_after = 5
    await small_parts.run()
    assert small_parts.course["status"] == "published"


async def test_a_signature_that_ended_is_renewed_for_a_form(desk: Desk) -> None:
    desk.apis.signatures_end_after = 3
    await desk.run()
    assert desk.course["status"] == "published"


async def test_bytes_that_break_off_are_sent_again(small_parts: Desk) -> None:
    small_parts.apis.faults.append(Fault("PUT", r"/store/\w+/\d+", None, times=4))
    await small_parts.run()
    for shown, (_, body) in zip(small_parts.outline_items(), items_of(), strict=True):
        assert small_parts.apis.bytes_of(shown["contentId"]) == body


async def test_verifying_may_take_longer_than_a_request(desk: Desk) -> None:
    desk.apis.verifying = 5
    await desk.run()
    assert desk.course["status"] == "published"
    assert desk.pauses == [2.0] * 5


async def test_captions_whose_url_is_stale_are_asked_for_again(desk: Desk) -> None:
    await desk.run()
    desk.apis.requests.clear()
    desk.apis.faults.append(Fault("GET", r"/store/.*\.vtt", 404, times=3))
    assert (await desk.run()).comparison.nothing
    assert desk.pauses == [2.0] * 2
    desk.apis.faults.append(Fault("GET", r"/store/.*/en\.vtt", 404, times=1_000))
    assert list((await desk.run()).comparison.changes[1].captions) == ["en"]


async def test_bytes_that_the_store_never_takes_end_the_import(desk: Desk) -> None:
    desk.apis.faults.append(Fault("POST", "/store", 403, times=1_000))
    with pytest.raises(ImportStoppedError, match=r"does not take the bytes of \w+: 403"):
        await desk.run()
    assert desk.course["status"] == "draft"


async def test_a_run_that_was_stopped_anywhere_is_gone_on_with(small_parts: Desk) -> None:
    """Stops at ever later requests; each run goes on, and the last one finds all of it there."""
    desk = small_parts
    sent: list[int] = []
    for stop_after in (1, 3, 9, 20, 30, 40, 50):
        seen = 0

        def stopped(request: str, stop_after: int = stop_after) -> bool:
            nonlocal seen
            seen += 1
            return seen >= stop_after

        desk.apis.hold = stopped
        desk.apis.held.clear()
        run = asyncio.create_task(desk.run())
        held = asyncio.create_task(desk.apis.held.wait())
        await asyncio.wait({run, held}, return_when=asyncio.FIRST_COMPLETED)
        assert held.done(), "it was done before it could be stopped"
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert all(course["status"] == "draft" for course in desk.apis.courses.values())
        sent.append(desk.apis.count(r"PUT /store/.*"))
    desk.apis.hold = lambda request: False
    await desk.run()
    assert desk.course["status"] == "published"
    assert len(desk.apis.contents) == len(items_of()), "nothing was announced twice"
    assert sent[-1] > 0
    # A part that had arrived was not sent again: at most the ones under way at each stop were.
    parts = sum(-(-len(body) // 1_000) for _, body in items_of() if len(body) > 2_000)
    assert desk.apis.count(r"PUT /store/.*") <= parts + 7 * 4


# The command itself


async def command(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Runs the command; gives exit code, output, errors."""
    process = await start(*arguments)
    out, errors = await asyncio.wait_for(process.communicate(stdin), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def start(*arguments: str) -> asyncio.subprocess.Process:
    """Starts the command."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(TOOL),
        *arguments,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_imports_and_says_so(desk: Desk, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    arguments = (str(SAMPLE), "--gateway", desk.gateway, "--token-from", str(token))
    code, out, errors = await command(*arguments)
    assert code == 0, errors
    assert f"Created, with {len(items_of())} pieces of content." in out
    assert "the video is not in the export" in out
    assert desk.course["status"] == "published"
    code, out, errors = await command(*arguments, "--json")
    assert code == 0, errors
    document = json.loads(out)
    assert document["changed"] is False
    assert document["courseId"] == desk.course["id"]
    assert document["report"]["counts"]["external_video"] == 1
    assert TOKEN not in out + errors
    assert desk.apis.contract_errors == []


async def test_the_token_may_come_by_standard_input(desk: Desk) -> None:
    arguments = (str(SAMPLE), "--gateway", desk.gateway, "--token-from", "-", "--dry-run")
    code, out, errors = await command(*arguments, stdin=f"{TOKEN}\n".encode())
    assert code == 0, errors
    assert "1. A first look: Into the dark" in out
    assert "It would create the course" in errors
    assert not desk.apis.changes


async def test_ctrl_c_ends_it_in_a_line_and_the_next_run_goes_on(
    small_parts: Desk, tmp_path: Path
) -> None:
    desk = small_parts
    token = tmp_path / "token"
    token.write_text(TOKEN)
    arguments = (str(SAMPLE), "--gateway", desk.gateway, "--token-from", str(token))
    desk.apis.hold = lambda request: desk.apis.count(r"PUT /store/.*") >= 10
    process = await start(*arguments)
    await desk.apis.held.wait()
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    assert errors.decode().splitlines()[-1] == "olx.py: stopped; the same command goes on from here"
    assert "Traceback" not in errors.decode()
    assert desk.course["status"] == "draft"
    await _goes_on(desk, arguments)


async def test_a_run_that_was_killed_is_gone_on_with(small_parts: Desk, tmp_path: Path) -> None:
    desk = small_parts
    token = tmp_path / "token"
    token.write_text(TOKEN)
    arguments = (str(SAMPLE), "--gateway", desk.gateway, "--token-from", str(token))
    desk.apis.hold = lambda request: desk.apis.count(r"PUT /store/.*") >= 20
    process = await start(*arguments)
    await desk.apis.held.wait()
    process.kill()
    await asyncio.wait_for(process.communicate(), 60)
    assert desk.course["status"] == "draft"
    await _goes_on(desk, arguments)


async def _goes_on(desk: Desk, arguments: tuple[str, ...]) -> None:
    desk.apis.hold = lambda request: False
    code, _, errors = await command(*arguments)
    assert code == 0, errors
    assert desk.course["status"] == "published"
    wanted = items_of()
    assert len(desk.apis.contents) == len(wanted)
    for shown, (_, body) in zip(desk.outline_items(), wanted, strict=True):
        assert desk.apis.bytes_of(shown["contentId"]) == body
    assert desk.apis.contract_errors == []


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("nothing.tar.gz", "--dry-run"), 2, "nothing.tar.gz: No such file or directory"),
        ((str(SAMPLE),), 2, "--token-from is missing"),
        ((str(SAMPLE), "--token-from", "nowhere"), 2, "--gateway is missing"),
        (
            (str(SAMPLE), "--token-from", "nowhere", "--gateway", "http://127.0.0.1:1"),
            2,
            "there is no nowhere",
        ),
        (
            (str(SAMPLE), "--token-from", "platform:author", "--state", "/nonexistent"),
            2,
            "no platform runs on this machine",
        ),
    ],
)
async def test_what_is_wrong_with_the_call_is_one_line(
    arguments: tuple[str, ...], code: int, line: str
) -> None:
    found, out, errors = await command(*arguments)
    assert (found, out) == (code, "")
    assert line in errors
    assert errors.startswith("olx.py: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("units", "line"),
    [(501, "it has 501 items; a course has at most 500"), (0, "nothing in it can be imported")],
)
async def test_what_can_be_no_course_is_refused_before_anything_is_asked(
    desk: Desk, tmp_path: Path, units: int, line: str
) -> None:
    (tmp_path / "course.xml").write_text(
        '<course url_name="r" org="O" course="C" display_name="D"><chapter url_name="c">'
        '<sequential url_name="s">'
        + "".join(
            f'<vertical url_name="v{n}"><html url_name="h{n}">{n}</html></vertical>'
            for n in range(units)
        )
        + "</sequential></chapter></course>"
    )
    token = tmp_path / "token"
    token.write_text(TOKEN)
    code, out, errors = await command(
        str(tmp_path), "--gateway", desk.gateway, "--token-from", str(token)
    )
    assert (code, out) == (2, "")
    assert line in errors
    assert desk.apis.requests == []


async def test_help_has_examples() -> None:
    code, out, _ = await command("--help")
    assert code == 0
    assert "--token-from platform:author" in out
