"""Bad input, each with its exact answer."""

from __future__ import annotations

import base64

import pytest

from libs.http import CursorCodec
from tests.contract.course_catalog.running import SETTINGS, running_catalog
from tests.unit.course_catalog.courses import published

COURSES = [published(n, at=n) for n in range(5)]

AT_LEAST_1 = "Input should be greater than or equal to 1"
AT_MOST_100 = "Input should be less than or equal to 100"
DECIMAL = "must be a decimal integer"
REPEATED = "is given more than once"
UNKNOWN = "is not known here"
TIMESTAMP = "must be an RFC 3339 timestamp with a zone"
LANGUAGE = "must be a BCP 47 language tag"
IDENTIFIER = "String should match pattern '^[A-Za-z0-9_-]{1,64}$'"
NOT_EMPTY = "String should have at least 1 character"


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("limit=0", {"/limit": AT_LEAST_1}),
        ("limit=-1", {"/limit": AT_LEAST_1}),
        ("limit=101", {"/limit": AT_MOST_100}),
        ("limit=99999999999999999999", {"/limit": DECIMAL}),
        ("limit=abc", {"/limit": DECIMAL}),
        ("limit=1.0", {"/limit": DECIMAL}),
        ("limit=1e1", {"/limit": DECIMAL}),
        ("limit=0x1", {"/limit": DECIMAL}),
        ("limit=1_0", {"/limit": DECIMAL}),
        ("limit=+1", {"/limit": DECIMAL}),
        ("limit=%201", {"/limit": DECIMAL}),
        ("limit=%D9%A1", {"/limit": DECIMAL}),  # an Arabic digit
        ("limit=", {"/limit": DECIMAL}),
        ("limit", {"/limit": DECIMAL}),
        ("limit=1&limit=1", {"/limit": REPEATED}),
        ("limit=1&limit=abc", {"/limit": None}),
        ("page=2", {"/page": UNKNOWN}),
        ("Limit=2", {"/Limit": UNKNOWN}),
        ("updated_since=2026-01-01T00:00:00Z", {"/updated_since": UNKNOWN}),
        ("a~b=1", {"/a~0b": UNKNOWN}),
        ("page=2&limit=0&level=hard", {"/level": None, "/limit": AT_LEAST_1, "/page": UNKNOWN}),
        ("q=", {"/q": NOT_EMPTY}),
        (f"q={'a' * 201}", {"/q": "String should have at most 200 characters"}),
        ("tag=", {"/tag": NOT_EMPTY}),
        ("level=BEGINNER", {"/level": None}),
        ("status=deleted", {"/status": None}),
        ("sort=slug", {"/sort": None}),
        ("sort=%2DpublishedAt%20", {"/sort": None}),
        ("language=english", {"/language": LANGUAGE}),
        ("language=en_GB", {"/language": LANGUAGE}),
        ("language=en%0A", {"/language": LANGUAGE}),
        ("updatedSince=2026-01-01", {"/updatedSince": TIMESTAMP}),
        ("updatedSince=2026-01-01T00:00:00", {"/updatedSince": TIMESTAMP}),
        ("updatedSince=1767225600", {"/updatedSince": TIMESTAMP}),
        ("updatedSince=2026-02-30T00:00:00Z", {"/updatedSince": TIMESTAMP}),
        ("ids=", {"/ids/0": IDENTIFIER}),
        ("ids=a,,b", {"/ids/1": IDENTIFIER}),
        ("ids=a,b.c,d%00", {"/ids/1": IDENTIFIER, "/ids/2": IDENTIFIER}),
        ("ids=" + ",".join(f"i{n}" for n in range(101)), {"/ids": None}),
    ],
)
async def test_a_query_that_is_refused_names_every_error(
    query: str, errors: dict[str, str | None]
) -> None:
    async with running_catalog(courses=COURSES) as running:
        status, _, body = await running.get(f"/courses?{query}")
    assert status == 400
    assert isinstance(body, dict)
    assert (body["code"], body["instance"]) == ("invalid_query", "/courses")
    messages = {error["pointer"]: error["message"] for error in body["errors"]}
    assert messages.keys() == errors.keys()
    assert messages == {where: what or messages[where] for where, what in errors.items()}


@pytest.mark.parametrize("query", ["q=%FF", "q=%C3", "q=%ZZ", "q=100%", "%FF=1", "q=%ED%A0%80"])
async def test_a_query_that_is_not_encoded_text_is_refused(query: str) -> None:
    async with running_catalog(courses=COURSES) as running:
        status, _, body = await running.get(f"/courses?{query}")
    assert status == 400
    assert isinstance(body, dict)
    assert body["code"] == "invalid_query"


def _forged(cursor: str) -> str:
    return ("B" if cursor[0] != "B" else "C") + cursor[1:]


def _other_position(cursor: str) -> str:
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    changed = raw[:-3] + b'X"}'
    return base64.urlsafe_b64encode(changed).rstrip(b"=").decode()


def _foreign(_: str) -> str:
    """Of another service, or of this one with another secret."""
    codec = CursorCodec([b"another-secret-of-thirty-two-bytes"])
    return codec.encode({"v": 1, "id": "crs-1"}, binding={})


@pytest.mark.parametrize(
    "change",
    [
        _forged,
        _other_position,
        _foreign,
        lambda cursor: cursor[:-1],
        lambda cursor: cursor[: len(cursor) // 2],
        lambda cursor: cursor + "A",
        lambda cursor: cursor + "%3D",
        lambda cursor: cursor + "%00",
        lambda cursor: "A" * 2049,
        lambda cursor: "A" * 7000,
        lambda cursor: "",
        lambda cursor: "null",
        lambda cursor: "%E2%82%AC",
        lambda cursor: "../../etc/passwd",
    ],
)
async def test_a_cursor_that_is_not_ours_is_refused(change: object) -> None:
    assert callable(change)
    async with running_catalog(courses=COURSES) as running:
        _, _, page = await running.get("/courses?limit=2")
        assert isinstance(page, dict)
        status, _, body = await running.get(f"/courses?limit=2&cursor={change(page['nextCursor'])}")
    assert status == 400
    assert isinstance(body, dict)
    assert (body["code"], body.get("errors")) == ("invalid_cursor", None)
    assert body["detail"] == "The cursor is not one that this service gave for this request."


@pytest.mark.parametrize(
    "other",
    [
        "q=course",
        "tag=ocean",
        "level=beginner",
        "language=en",
        "updatedSince=2026-01-01T00:00:00Z",
        "ids=crs-1",
        "sort=publishedAt",
        "sort=title",
        "status=draft",
    ],
)
async def test_a_cursor_is_bound_to_filters_and_order(other: str) -> None:
    async with running_catalog(courses=COURSES) as running:
        _, _, page = await running.get("/courses?limit=2")
        assert isinstance(page, dict)
        cursor = page["nextCursor"]
        status, _, body = await running.get(f"/courses?cursor={cursor}&{other}", groups=["staff"])
        assert isinstance(body, dict)
        assert (status, body["code"]) == (400, "invalid_cursor")
        status, _, body = await running.get(f"/courses?limit=100&cursor={cursor}")
        assert isinstance(body, dict)
        assert (status, len(body["items"])) == (200, 3)


async def test_a_cursor_lives_through_a_change_of_secrets() -> None:
    old = SETTINGS["CATALOG_CURSOR_SECRETS"]
    async with running_catalog(courses=COURSES) as running:
        _, _, page = await running.get("/courses?limit=2")
    assert isinstance(page, dict)
    new = {"CATALOG_CURSOR_SECRETS": f"the-next-secret-of-thirty-two-bytes,{old}"}
    async with running_catalog(courses=COURSES, settings=new) as running:
        status, _, _ = await running.get(f"/courses?limit=2&cursor={page['nextCursor']}")
    assert status == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/courses/a%2Fb", 400, "invalid_path"),
        ("/courses/..%2F..%2Fetc", 400, "invalid_path"),
        ("/courses/..", 400, "invalid_path"),
        ("/courses/.", 400, "invalid_path"),
        ("/courses/%2E%2E", 400, "invalid_path"),
        ("/courses/%00", 400, "invalid_path"),
        ("/courses/crs-1%00", 400, "invalid_path"),
        ("/courses/crs-1%0A", 400, "invalid_path"),
        ("/courses/%C3%A9", 400, "invalid_path"),
        ("/courses/%EF%BC%91", 400, "invalid_path"),
        ("/courses/%FF", 400, "invalid_path"),
        ("/courses/slug%23course-1", 400, "invalid_path"),
        ("/courses/crs%201", 400, "invalid_path"),
        ("/courses/" + "a" * 65, 400, "invalid_path"),
        ("/courses/" + "a" * 64, 404, "course_not_found"),
        ("/courses/a/b", 404, "not_found"),
        ("/courses/", 404, "not_found"),
        ("/course", 404, "not_found"),
        ("/courses/crs-1?fields=title", 400, "invalid_query"),
    ],
)
async def test_a_path_that_names_no_course(path: str, status: int, code: str) -> None:
    async with running_catalog(courses=COURSES) as running:
        before = running.repository.reads
        answered, _, body = await running.get(path)
        assert isinstance(body, dict)
        assert (answered, body["code"]) == (status, code)
        looked_up = running.repository.reads - before
    assert looked_up == (1 if code == "course_not_found" else 0)
