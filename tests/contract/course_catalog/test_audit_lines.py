"""Every write of an author's leaves its audit line: who, what, from which version to which."""

from __future__ import annotations

import asyncio

import pytest

from libs.logging.testing import captured_logs
from tests.contract.course_catalog.running import RunningCatalog, running_catalog
from tests.unit.course_catalog.courses import CONTENT_BODY, draft, published

BODY = CONTENT_BODY
Line = tuple[object, ...]


def lines(events: list[dict[str, object]]) -> list[Line]:
    """Action, id, versions, outcome and author of each audit line."""
    names = ("action", "resourceId", "versionBefore", "versionAfter", "outcome", "sub")
    found = [event for event in events if event["event"] == "audit"]
    assert all(event["resource"] == "course" and event["requestId"] for event in found)
    return [tuple(event[name] for name in names) for event in found]


async def test_a_courses_life_is_a_line_for_each_write() -> None:
    with captured_logs() as events:
        async with running_catalog() as running:
            await running.write("POST", "/courses", BODY, key="k1")
            await running.write("POST", "/courses", BODY, key="k1")  # replayed: no write
            path = "/courses/new-1"
            await running.write("PATCH", path, {"title": "A"}, if_match='"v1"')
            await running.write("PATCH", path, {"title": "A"}, if_match='"v2"')  # changes nothing
            await running.write("PUT", path, BODY, if_match='"v2"', sub="author-b")
            await running.write("POST", f"{path}/publish", if_match="*")
            await running.write("POST", f"{path}/publish", if_match="*")
            await running.write("POST", f"{path}/archive", if_match='"v4"')
            await running.write("POST", "/courses", BODY | {"slug": "other"})
            await running.write("DELETE", "/courses/new-3", if_match='"v1"')
    assert lines(events) == [
        ("create", "new-1", None, 1, "succeeded", "author-a"),
        ("update", "new-1", 1, 2, "succeeded", "author-a"),
        ("update", "new-1", 2, 3, "succeeded", "author-b"),
        ("publish", "new-1", 3, 4, "succeeded", "author-a"),
        ("archive", "new-1", 4, 5, "succeeded", "author-a"),
        ("create", "new-3", None, 1, "succeeded", "author-a"),
        ("delete", "new-3", 1, None, "succeeded", "author-a"),
    ]


async def test_a_refusal_is_a_line_too() -> None:
    with captured_logs() as events:
        async with running_catalog(courses=[draft(1), published(2)]) as running:
            await running.write("POST", "/courses", BODY | {"slug": "course-1"})
            await running.write("PATCH", "/courses/crs-1", {"title": "x"}, groups=())
            await running.write("PATCH", "/courses/a.b", {"title": "x"}, groups=())
            await running.write("PATCH", "/courses/none", {"title": "x"}, if_match="*")
            await running.write("PATCH", "/courses/crs-2", {"title": "x"}, if_match='"v1"')
            await running.write("PATCH", "/courses/crs-2", {"title": None}, if_match='"v2"')
            await running.write("PATCH", "/courses/crs-2", {"slug": "course-1"}, if_match='"v2"')
            await running.write("DELETE", "/courses/crs-2", if_match='"v2"')
    assert lines(events) == [
        ("create", "new-1", None, None, "refused", "author-a"),
        ("update", "crs-1", None, None, "refused", "author-a"),
        ("update", "none", None, None, "refused", "author-a"),
        ("update", "crs-2", 2, 2, "refused", "author-a"),
        ("update", "crs-2", 2, 2, "refused", "author-a"),
        ("update", "crs-2", 2, 2, "refused", "author-a"),
        ("delete", "crs-2", 2, 2, "refused", "author-a"),
    ]


@pytest.mark.parametrize("made", [True, False])
async def test_a_write_whose_answer_was_lost_is_unknown(made: bool) -> None:
    with captured_logs() as events:
        async with running_catalog(courses=[draft(1)]) as running:
            for method, path, body in (
                ("POST", "/courses", BODY),
                ("PATCH", "/courses/crs-1", {"title": "x"}),
            ):
                running.repository.lose_answer = made
                running.repository.refuse_write = not made
                await running.write(method, path, body, if_match='"v1"')
    assert lines(events) == [
        ("create", "new-1", None, None, "unknown", "author-a"),
        ("update", "crs-1", 1, None, "unknown", "author-a"),
    ]


async def test_a_course_that_could_not_be_read_was_not_changed() -> None:
    with captured_logs() as events:
        async with running_catalog(courses=[draft(1)]) as running:
            running.repository.failing = True
            await running.write("PATCH", "/courses/crs-1", {"title": "x"}, if_match='"v1"')
    assert lines(events) == [("update", "crs-1", None, None, "refused", "author-a")]


async def test_a_write_that_the_client_cut_off_is_unknown() -> None:
    with captured_logs() as events:
        async with running_catalog(courses=[draft(1)]) as running:
            entered = asyncio.Event()

            async def hang() -> None:
                entered.set()
                await asyncio.Event().wait()

            running.repository.before_write = hang
            await hang_up(running, entered)
            # The handler has ended when the next request of the one loop is answered.
            while not lines(events):
                await running.get("/courses")
    assert lines(events) == [("update", "crs-1", 1, None, "unknown", "author-a")]


async def hang_up(running: RunningCatalog, entered: asyncio.Event) -> None:
    request = asyncio.create_task(
        running.write("PATCH", "/courses/crs-1", {"title": "x"}, if_match='"v1"')
    )
    await entered.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
