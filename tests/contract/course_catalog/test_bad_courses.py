"""Courses that are refused: every mistake at once, each at its exact place."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.contract.course_catalog.running import running_catalog
from tests.unit.course_catalog.courses import CONTENT_BODY, draft

BODY = CONTENT_BODY
REQUIRED = "is required"
UNKNOWN = "is not known here"
BLANK = "must not be blank"
SLUG = "must be lower-case words joined by hyphens, of at most 100 characters"
LANGUAGE = "must be a BCP 47 language tag"
STRING = "Input should be a valid string"
AT_LEAST_1 = "String should have at least 1 character"
IDENTIFIER = "String should match pattern '^[A-Za-z0-9_-]{1,64}$'"
TYPE = "Input should be 'video', 'quiz', 'assignment' or 'reading'"


def with_item(**changes: Any) -> dict[str, Any]:
    """The body with the second item changed."""
    body = copy.deepcopy(BODY)
    body["outline"][0]["items"][1] |= changes
    return body


def outline(*sections: Any) -> dict[str, Any]:
    return BODY | {"outline": list(sections)}


def section(number: int, *contents: str) -> dict[str, Any]:
    items = [{"contentId": content, "title": "T", "type": "quiz"} for content in contents]
    return {"id": f"s{number}", "title": "S", "items": items}


ITEM = "/outline/0/items/1"

REFUSED: list[tuple[object, dict[str, str | None]]] = [
    (
        {},
        {
            f"/{name}": REQUIRED
            for name in ("slug", "title", "description", "shortDescription", "language", "level")
        },
    ),
    ([], {"": None}),
    (None, {"": None}),
    ("course", {"": None}),
    (BODY | {"id": "mine"}, {"/id": UNKNOWN}),
    (BODY | {"status": "published"}, {"/status": UNKNOWN}),
    (BODY | {"short_description": "x"}, {"/short_description": UNKNOWN}),
    (BODY | {"slug": ""}, {"/slug": SLUG}),
    (BODY | {"slug": "Not-Lower"}, {"/slug": SLUG}),
    (BODY | {"slug": "a--b"}, {"/slug": SLUG}),
    (BODY | {"slug": "a-b\n"}, {"/slug": SLUG}),
    (BODY | {"slug": "über"}, {"/slug": SLUG}),
    (BODY | {"slug": "a" * 101}, {"/slug": SLUG}),
    (BODY | {"slug": 1}, {"/slug": STRING}),
    (BODY | {"title": ""}, {"/title": AT_LEAST_1}),
    (BODY | {"title": " \u3000\t"}, {"/title": BLANK}),
    (BODY | {"title": "\x1f\x85\ufeff"}, {"/title": BLANK}),
    (BODY | {"title": "x" * 201}, {"/title": "String should have at most 200 characters"}),
    (BODY | {"title": None}, {"/title": STRING}),
    (BODY | {"title": ["x"]}, {"/title": STRING}),
    (BODY | {"description": "x" * 50_001}, {"/description": None}),
    (BODY | {"description": "\n"}, {"/description": BLANK}),
    (BODY | {"shortDescription": "x" * 501}, {"/shortDescription": None}),
    (BODY | {"language": "english"}, {"/language": LANGUAGE}),
    (BODY | {"language": "en_GB"}, {"/language": LANGUAGE}),
    (BODY | {"language": "en\n"}, {"/language": LANGUAGE}),
    (BODY | {"language": "en" + "-abcdefgh" * 4}, {"/language": LANGUAGE}),
    (BODY | {"level": "expert"}, {"/level": None}),
    (BODY | {"tags": None}, {"/tags": None}),
    (BODY | {"tags": "ocean"}, {"/tags": None}),
    (BODY | {"tags": ["a", "", "a", " ", 1]}, {
        "/tags/1": AT_LEAST_1, "/tags/2": "stands already at /tags/0", "/tags/3": BLANK,
        "/tags/4": STRING,
    }),
    (BODY | {"tags": [str(n) for n in range(21)]}, {"/tags": None}),
    (BODY | {"tags": ["x" * 51]}, {"/tags/0": "String should have at most 50 characters"}),
    (BODY | {"instructors": ["A", "A"]}, {"/instructors/1": "stands already at /instructors/0"}),
    (BODY | {"instructors": ["x" * 201]}, {"/instructors/0": None}),
    (BODY | {"outline": {}}, {"/outline": None}),
    (BODY | {"outline": [None]}, {"/outline/0": None}),
    (outline({"id": "s", "title": "S", "items": []}), {"/outline/0/items": None}),
    (outline({"id": "a b", "title": "", "items": None, "order": 1}), {
        "/outline/0/id": IDENTIFIER, "/outline/0/title": AT_LEAST_1, "/outline/0/items": None,
        "/outline/0/order": UNKNOWN,
    }),
    (with_item(contentId="../x"), {f"{ITEM}/contentId": IDENTIFIER}),
    (with_item(contentId="x\n"), {f"{ITEM}/contentId": None}),
    (with_item(type="lti"), {f"{ITEM}/type": TYPE}),
    (with_item(type="VIDEO"), {f"{ITEM}/type": TYPE}),
    (with_item(title=" "), {f"{ITEM}/title": BLANK}),
    (with_item(durationSeconds=-1), {f"{ITEM}/durationSeconds": None}),
    (with_item(durationSeconds=86_401), {f"{ITEM}/durationSeconds": None}),
    (with_item(durationSeconds=1.5), {f"{ITEM}/durationSeconds": None}),
    (with_item(durationSeconds="62"), {f"{ITEM}/durationSeconds": None}),
    (with_item(required="yes"), {f"{ITEM}/required": None}),
    (with_item(required=None), {f"{ITEM}/required": None}),
    (with_item(weight=0), {f"{ITEM}/weight": None}),
    (with_item(weight=-1), {f"{ITEM}/weight": None}),
    (with_item(weight=5e-324), {f"{ITEM}/weight": None}),
    (with_item(weight=1000.001), {f"{ITEM}/weight": None}),
    (with_item(weight=10**38 - 1), {f"{ITEM}/weight": None}),
    (with_item(weight=None), {f"{ITEM}/weight": None}),
    (with_item(weight=True), {f"{ITEM}/weight": None}),
    (with_item(contentId="n-1"), {
        f"{ITEM}/contentId": "stands already at /outline/0/items/0/contentId",
    }),
    (outline(section(1, "a"), section(2, "b"), section(1, "c")), {
        "/outline/2/id": "stands already at /outline/0/id",
    }),
    (outline(*(section(n, *(f"c{n}-{m}" for m in range(7))) for n in range(3)),
             section(3, *(f"d{m}" for m in range(7)), "c0-2")), {
        "/outline/3/items/7/contentId": "stands already at /outline/0/items/2/contentId",
    }),
    (outline(section(1, *(f"c{n}" for n in range(501)))), {
        "/outline": "must have at most 500 items",
    }),
    (outline(*(section(n, *(f"c{n}-{m}" for m in range(51))) for n in range(10))), {
        "/outline": "must have at most 500 items",
    }),
    (outline(*(section(n, f"c{n}") for n in range(201))), {"/outline": None}),
    # Mistakes of form do not hide what stands twice, nor the other way round.
    (outline(section(1, "a", "a"), {"id": "s1", "title": 1}) | {"title": "", "slug": "X"}, {
        "/slug": SLUG, "/title": AT_LEAST_1,
        "/outline/0/items/1/contentId": "stands already at /outline/0/items/0/contentId",
        "/outline/1/id": "stands already at /outline/0/id",
        "/outline/1/title": STRING, "/outline/1/items": REQUIRED,
    }),
    (outline(section(1, *(["a"] * 600))) | {"title": ""}, {
        "/title": AT_LEAST_1, "/outline": "must have at most 500 items",
    }),
]  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_course_that_is_refused_names_every_error(method: str) -> None:
    path = "/courses" if method == "POST" else "/courses/crs-1"
    headers = {"If-Match": '"v1"', "Content-Type": "application/json"}
    async with running_catalog(courses=[draft(1)]) as running:
        for body, expected in REFUSED:
            async with running.request(
                method, path, groups=["authors"], headers=headers, data=json.dumps(body).encode()
            ) as response:
                problem = await response.json(content_type=None)
                assert (response.status, problem["code"]) == (422, "invalid_body"), body
            messages = {error["pointer"]: error["message"] for error in problem["errors"]}
            wanted = {where: what or messages.get(where) for where, what in expected.items()}
            assert messages == wanted
        assert await running.repository.get("crs-1") == draft(1)
        assert await running.repository.get("new-1") is None


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ([], {"": None}),
        ("x", {"": None}),
        ({"titel": "x"}, {"/titel": UNKNOWN}),
        ({"titel": None}, {"/titel": UNKNOWN}),
        ({"id": "x", "version": None}, {"/id": UNKNOWN, "/version": UNKNOWN}),
        ({"title": None, "level": None}, {"/title": REQUIRED, "/level": REQUIRED}),
        ({"title": {"en": "x"}}, {"/title": STRING}),
        ({"outline": {"0": None}}, {"/outline": None}),
        ({"tags": {"0": "x"}}, {"/tags": None}),
        ({"tags": [None]}, {"/tags/0": STRING}),
        ({"outline": [None]}, {"/outline/0": None}),
        (
            {"outline": [section(1, "a", "a")]},
            {
                "/outline/0/items/1/contentId": "stands already at /outline/0/items/0/contentId",
            },
        ),
    ],
)
async def test_a_patch_is_held_to_what_the_course_would_become(
    patch: object, expected: dict[str, str | None]
) -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        status, _, problem = await running.write("PATCH", "/courses/crs-1", patch, if_match='"v1"')
        assert (status, problem["code"]) == (422, "invalid_body")
        messages = {error["pointer"]: error["message"] for error in problem["errors"]}
        assert messages == {where: what or messages.get(where) for where, what in expected.items()}


async def test_a_published_course_keeps_an_item() -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        await running.write("POST", "/courses/crs-1/publish", if_match='"v1"')
        status, _, problem = await running.write(
            "PATCH", "/courses/crs-1", {"outline": None}, if_match='"v2"'
        )
    assert (status, problem["errors"][0]["pointer"]) == (422, "/outline")


@pytest.mark.parametrize(
    ("sections", "pointer"), [((500,), "/outline/0/items"), ((100,) * 5, "/outline")]
)
async def test_a_course_too_large_to_keep_names_its_largest_part(
    sections: tuple[int, ...], pointer: str
) -> None:
    outline = [_long_section(number, items) for number, items in enumerate(sections)]
    async with running_catalog(courses=[draft(1)]) as running:
        # Each of them fits into a body, and both together into no item.
        await running.write(
            "PATCH", "/courses/crs-1", {"description": "🌍" * 50_000}, if_match='"v1"'
        )
        status, _, problem = await running.write(
            "PATCH", "/courses/crs-1", {"outline": outline}, if_match='"v2"'
        )
    assert (status, problem["code"]) == (422, "course_too_large")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert problem["detail"].endswith("it may have 409600.")


def _long_section(number: int, items: int) -> dict[str, Any]:
    made = section(number, *(f"c{number}-{n}" for n in range(items)))
    for item in made["items"]:
        item["title"] = "é" * 200
    return made


@pytest.mark.parametrize(
    ("method", "media_type"),
    [
        ("POST", "application/merge-patch+json"),
        ("PUT", "text/plain"),
        ("PATCH", "application/json"),
        ("PATCH", "application/json-patch+json"),
    ],
)
async def test_a_body_is_declared_as_what_it_is(method: str, media_type: str) -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        path = "/courses" if method == "POST" else "/courses/crs-1"
        async with running.request(
            method,
            path,
            groups=["authors"],
            headers={"If-Match": '"v1"', "Content-Type": media_type},
            data=b"{}",
        ) as response:
            assert response.status == 415


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"title":NaN}', b'{"title":"a","title":"b"}', b"\xff", b"[" * 100]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_what_is_not_strict_json_is_malformed(method: str, data: bytes) -> None:
    kind = "merge-patch+json" if method == "PATCH" else "json"
    async with running_catalog(courses=[draft(1)]) as running:
        path = "/courses" if method == "POST" else "/courses/crs-1"
        async with running.request(
            method,
            path,
            groups=["authors"],
            headers={"If-Match": '"v1"', "Content-Type": f"application/{kind}"},
            data=data,
        ) as response:
            problem = await response.json(content_type=None)
            assert (response.status, problem["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("value", ["v1", '"v1', "", "1", '"v1" "v2"', "*, *"])
async def test_a_malformed_precondition_is_no_precondition(value: str) -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        status, _, problem = await running.write(
            "PATCH", "/courses/crs-1", {"title": "x"}, if_match=value
        )
        assert (status, problem["code"]) == (400, "invalid_header")


async def test_an_answer_to_nothing_but_mistakes_stays_small() -> None:
    body = BODY | {"outline": [{"id": "", "title": "", "items": [{}] * 495} for _ in range(1)]}
    body |= {f"x{n}": 0 for n in range(5_000)}
    async with running_catalog() as running:
        status, _, problem = await running.write("POST", "/courses", body)
    assert (status, len(problem["errors"])) == (422, 1000)
