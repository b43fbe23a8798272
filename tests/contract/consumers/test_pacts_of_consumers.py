"""The consumers' side: each makes exactly the requests of its contracts and understands the answers.

What an interaction is for is said by the call below that needs it; an interaction that no call needs
is not agreed with anybody, and fails here.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from random import Random
from types import FunctionType

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from deploy.course_import._client import Client
from deploy.course_import._credentials import Credentials
from deploy.course_import._http import Http, RefusedError
from deploy.course_import._plan import Body
from tests.contract.consumers.pact import Pact, Player, load
from tests.system.learner_app import LearnerApp

FOLDER = Path(__file__).parent
CATALOG = load(FOLDER / "course_import-course_catalog.json")
CONTENT = load(FOLDER / "course_import-content_delivery.json")
LEARNER = [load(path) for path in sorted(FOLDER.glob("learner_app-*.json"))]

KEPT = {
    "occurredAt": "2026-02-01T09:00:00Z",
    "deviceId": "phone",
    "resume": {"contentId": "intro", "positionSeconds": 30},
    "items": {"intro": {"completed": True}},
}


def example(pact: Pact, description: str) -> dict[str, object]:
    """What the contract has an author send, to be given to the client."""
    body: dict[str, object] = pact.interactions[description].request["body"]
    return body


def body_of(size: int) -> Body:
    text = b"x" * size
    return Body("text/html", size, hashlib.sha256(text).hexdigest(), lambda: io.BytesIO(text))


async def list_courses(client: Client) -> None:
    assert await client.courses_with_tag("ocean") == ["crs-1"]


async def read_course(client: Client) -> None:
    course = await client.course("crs-1")
    assert course is not None
    assert (course.id, course.status, course.etag) == ("crs-1", "draft", '"v1"')
    assert course.document["outline"][0]["items"][0]["contentId"] == "c1-1"


async def miss_course(client: Client) -> None:
    assert await client.course("gone") is None


async def create_course(client: Client) -> None:
    assert (await client.create_course(example(CATALOG, "a new draft"))).id == "crs-1"


async def create_twice(client: Client) -> None:
    with pytest.raises(RefusedError) as refused:
        await client.create_course(example(CATALOG, "a slug that another course has"))
    assert refused.value.code == "slug_taken"


async def edit_course(client: Client) -> None:
    course = await client.course("crs-1")
    assert course is not None
    edited = await client.patch_course(course, example(CATALOG, "another outline and title"))
    assert (edited.document["title"], edited.etag) == ("Night sky", '"v1"')


async def edit_too_late(client: Client) -> None:
    course = await client.course("crs-1")
    assert course is not None
    with pytest.raises(RefusedError) as refused:
        await client.patch_course(course, {"title": "Night sky"})
    assert refused.value.code == "precondition_failed"
    assert [one["pointer"] for one in refused.value.errors] == ["/title"]


async def publish(client: Client) -> None:
    course = await client.course("crs-1")
    assert course is not None
    assert (await client.publish_course(course)).status == "published"


async def list_contents(client: Client) -> None:
    (summary,) = await client.content_of("course-1")
    assert (summary["id"], summary["status"]) == ("c-1", "ready")


async def read_content(client: Client) -> None:
    content = await client.content("c-1")
    assert content is not None
    assert (content.id, content.status, content.etag) == ("c-1", "ready", '"v3"')
    assert content.sha256 == "0" * 64
    assert content.languages == frozenset()  # its track is for those who do not hear


async def miss_content(client: Client) -> None:
    assert await client.content("gone") is None


async def send_little(client: Client) -> None:
    content_id, ticket = await client.announce(example(CONTENT, "an announcement of little"))
    assert ticket is not None
    sent: list[int] = []
    await client.upload(content_id, body_of(9), sent.append, ticket=ticket)
    assert sum(sent) == 9


async def send_much(client: Client) -> None:
    content_id, ticket = await client.announce(example(CONTENT, "an announcement of much"))
    assert ticket is not None
    sent: list[int] = []
    await client.upload(content_id, body_of(105), sent.append, ticket=ticket)
    assert sum(sent) == 105


async def resume(client: Client) -> None:
    sent: list[int] = []
    await client.upload("c-1", body_of(105), sent.append)
    assert sum(sent) == 105


async def find_it_arrived(client: Client) -> None:
    await client.upload("c-1", body_of(9), lambda _: None)


async def find_bytes_missing(client: Client) -> None:
    _, ticket = await client.announce(example(CONTENT, "an announcement of little"))
    await client.upload("c-1", body_of(9), lambda _: None, ticket=ticket)


async def replace_metadata(client: Client) -> None:
    content = await client.content("c-1")
    assert content is not None
    await client.replace_metadata(content, example(CONTENT, "other metadata"))


async def put_track(client: Client) -> None:
    track = CONTENT.interactions["a new track"].request["body"]
    await client.put_caption("c-1", "de", track.encode())


async def delete_track(client: Client) -> None:
    await client.delete_caption("c-1", "pt-BR")


async def read_tracks(client: Client) -> None:
    assert await client.captions("c-1") == {"en": b"WEBVTT\n"}


async def delete(client: Client) -> None:
    await client.delete("c-1")


async def delete_again(client: Client) -> None:
    await client.delete("gone")


UNDER_WAY, WHERE = "an upload that is under way", "where the missing parts go"
ARRIVED, DONE = "an upload whose bytes have arrived", "a verification"
IMPORTER: list[tuple[Pact, Callable[[Client], Awaitable[None]], tuple[str, ...]]] = [
    (
        CATALOG,
        list_courses,
        ("the published courses of a tag", "no draft of a tag", "no archived course of a tag"),
    ),
    (CATALOG, read_course, ("a course with its outline",)),
    (CATALOG, miss_course, ("a course that is not there",)),
    (CATALOG, create_course, ("a new draft", "a course with its outline")),
    (CATALOG, create_twice, ("a slug that another course has",)),
    (CATALOG, edit_course, ("a course with its outline", "another outline and title")),
    (
        CATALOG,
        edit_too_late,
        ("a course with its outline", "an edit of what another author has edited"),
    ),
    (CATALOG, publish, ("a course with its outline", "a publication")),
    (CONTENT, list_contents, ("the contents of a course",)),
    (CONTENT, read_content, ("a content with its captions' languages",)),
    (CONTENT, miss_content, ("a content that is not there",)),
    (CONTENT, send_little, ("an announcement of little", DONE)),
    (CONTENT, send_much, ("an announcement of much", ARRIVED, DONE)),
    (CONTENT, resume, (UNDER_WAY, WHERE, ARRIVED, DONE)),
    (
        CONTENT,
        find_it_arrived,
        (UNDER_WAY, "where the parts of what is ready go", DONE),
    ),
    (
        CONTENT,
        find_bytes_missing,
        (
            "an announcement of little",
            "a verification before all has arrived",
            ARRIVED,
            DONE,
        ),
    ),
    (CONTENT, replace_metadata, ("a content with its captions' languages", "other metadata")),
    (CONTENT, put_track, ("a new track",)),
    (CONTENT, delete_track, ("a track less",)),
    (CONTENT, read_tracks, ("where the tracks are",)),
    (CONTENT, delete, ("a deletion",)),
    (CONTENT, delete_again, ("a deletion of what is not there",)),
]


async def never(_: float) -> None:
    raise AssertionError("nothing was agreed that is worth waiting for")


@pytest.mark.parametrize(
    ("pact", "call", "needed"), IMPORTER, ids=[call.__name__ for _, call, _ in IMPORTER]
)
async def test_the_importer_asks_what_is_agreed(
    pact: Pact, call: Callable[[Client], Awaitable[None]], needed: tuple[str, ...]
) -> None:
    player = Player([pact.interactions[name] for name in needed])
    async with (
        TestServer(player.app(), host="127.0.0.1") as server,
        aiohttp.ClientSession() as session,
    ):
        credentials = Credentials(f"http://127.0.0.1:{server.port}", lambda: "a-token")
        http = Http(session, credentials, sleep=never, random=Random(1), note=lambda _: None)
        await call(Client(http, sleep=never))
    assert (player.problems, player.unplayed()) == ([], set())


def look_round(app: LearnerApp) -> None:
    assert app.courses(5) == [("crs-1", "Course 1")]


def open_course(app: LearnerApp) -> None:
    found = app.course("crs-1")
    assert found is not None
    course, etag = found
    assert (course["id"], course["outlineVersion"], etag) == ("crs-1", 1, '"v2"')
    (item,) = course["outline"][0]["items"]
    assert (item["contentId"], item["required"], item["weight"]) == ("c1-1", True, 1)
    assert app.course("crs-1", etag=etag) is None


def open_draft(app: LearnerApp) -> None:
    assert app.course("crs-1") is None


def play(app: LearnerApp) -> None:
    film = app.playable("c-1")
    assert film is not None
    assert film.url.endswith("/film.mp4")
    assert (film.content_type, film.size_bytes) == ("video/mp4", 6_000_001)
    assert set(film.captions) == {"en"}


def play_too_early(app: LearnerApp) -> None:
    assert app.playable("c-1") is None


def see_courses(app: LearnerApp) -> None:
    assert [(one["courseId"], one["percent"]) for one in app.my_courses()] == [("crs-1", 33)]


def see_none(app: LearnerApp) -> None:
    assert app.my_courses() == []


def see_course(app: LearnerApp) -> None:
    found = app.progress("crs-1")
    assert found is not None
    assert (found["percent"], found["items"]["intro"]["completed"]) == (33, True)


def see_course_without_outline(app: LearnerApp) -> None:
    found = app.progress("crs-1")
    assert found is not None
    assert (found["percent"], found["completedCount"]) == (None, 1)


def see_nothing(app: LearnerApp) -> None:
    assert app.progress("crs-1") is None


def record(app: LearnerApp) -> None:
    assert app.record("crs-1", KEPT) == app.record("crs-1", KEPT)


def come_back(app: LearnerApp) -> None:
    first, other, refused = app.sync(
        [
            KEPT | {"courseId": "crs-1"},
            KEPT | {"courseId": "crs-2"},
            KEPT | {"courseId": "crs-1", "attempt": 9},
        ]
    )
    assert (first["status"], first["progress"]["percent"]) == (200, 33)
    assert (other["status"], other["progress"]["percent"]) == (201, None)
    assert refused["problem"]["code"] == "attempt_not_started"


def begin_again(app: LearnerApp) -> None:
    assert app.begin_again("crs-1", 1) == 2


APP: list[tuple[Callable[[LearnerApp], None], tuple[str, ...]]] = [
    (look_round, ("the first courses",)),
    (open_course, ("a published course", "a course that has not changed")),
    (open_draft, ("a draft, which is not for readers",)),
    (play, ("a film",)),
    (play_too_early, ("a film whose upload is not verified",)),
    (see_courses, ("where the learner stands",)),
    (see_none, ("nothing was begun",)),
    (see_course, ("a course that was begun",)),
    (see_course_without_outline, ("a course whose outline is not known",)),
    (see_nothing, ("a course that was not begun",)),
    (record, ("the first update", "the same update again")),
    (come_back, ("what was kept offline",)),
    (begin_again, ("the course once more",)),
]


@pytest.mark.parametrize(("call", "needed"), APP, ids=[call.__name__ for call, _ in APP])
async def test_the_learner_s_app_asks_what_is_agreed(
    call: Callable[[LearnerApp], None], needed: tuple[str, ...]
) -> None:
    agreed = {name: one for pact in LEARNER for name, one in pact.interactions.items()}
    player = Player([agreed[name] for name in needed])
    async with TestServer(player.app(), host="127.0.0.1") as server:
        app = LearnerApp(f"http://127.0.0.1:{server.port}", "a-token")
        await asyncio.to_thread(call, app)
    assert (player.problems, player.unplayed()) == ([], set())


def test_nothing_is_agreed_that_no_consumer_needs() -> None:
    needed = {(pact.provider, name) for pact, _, names in IMPORTER for name in names}
    assert {(p.provider, name) for p in (CATALOG, CONTENT) for name in p.interactions} == needed
    needed_by_app = {name for _, names in APP for name in names}
    assert {name for pact in LEARNER for name in pact.interactions} == needed_by_app


def called_by(calls: Iterable[object]) -> set[str]:
    """The names that the functions look up: among them, the operations that they call."""
    names: set[str] = set()
    for call in calls:
        assert isinstance(call, FunctionType)
        names |= set(call.__code__.co_names)
    return names


@pytest.mark.parametrize(
    ("consumer", "calls"),
    [(Client, [call for _, call, _ in IMPORTER]), (LearnerApp, [call for call, _ in APP])],
)
def test_no_operation_of_a_consumer_is_without_a_contract(
    consumer: type[object], calls: list[object]
) -> None:
    operations = {name for name in vars(consumer) if not name.startswith("_")}
    assert operations
    assert operations <= called_by(calls)
