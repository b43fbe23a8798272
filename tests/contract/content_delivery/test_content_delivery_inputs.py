"""Bad input to content delivery, each with its exact answer, decided before any look-up."""

from __future__ import annotations

import json

import pytest

from tests.contract.content_delivery.service import World, running

INVALID_PATH = {
    "type": "https://lyceum.example/problems/invalid_path",
    "title": "Bad Request",
    "status": 400,
    "detail": "contentId must be 1 to 64 characters out of A-Z, a-z, 0-9, _ and -.",
    "code": "invalid_path",
}


@pytest.mark.parametrize(
    "target",
    [
        "/content/a%2Fb",
        "/content/..%2F..%2Fetc%2Fpasswd",
        "/content/%2E%2E",
        "/content/c-1%00",
        "/content/%00",
        "/content/c-1%0A",
        "/content/c-1%0D%0AX-Injected:%201",
        "/content/%E6%B5%B7",
        "/content/%FF%FE",
        "/content/c%C2%A01",
        "/content/c-1%20",
        "/content/c.1",
        "/content/c-1;v=2",
        "/content/" + "x" * 65,
        "/content/c+1",
        "/content/%253Cscript%253E",
        "/content/CONTENT%23c-1",
    ],
)
async def test_ids_that_cannot_exist(target: str) -> None:
    world = World()
    async with running(world) as service, service.request("GET", target) as response:
        body = await response.json()
        ids = {
            "requestId": response.headers["X-Request-Id"],
            "traceId": response.headers["X-Amzn-Trace-Id"][5:40],
        }
    assert (response.status, response.content_type) == (400, "application/problem+json")
    assert body == {**INVALID_PATH, "instance": target, **ids}
    assert world.contents.reads == 0


@pytest.mark.parametrize("target", [b"/content/..", b"/content/.", b"/content/a\\b"])
async def test_ids_that_clients_would_clean_up(target: bytes) -> None:
    world = World()
    async with running(world) as service:
        status, body = await service.raw(target)
    assert (status, json.loads(body)["code"]) == (400, "invalid_path")
    assert world.contents.reads == 0


@pytest.mark.parametrize(
    "target",
    ["/content/", "/content/c-1/", "/content/a/b", "/content//c-1", "/contents/c-1"],
)
async def test_paths_that_are_not_there(target: str) -> None:
    world = World()
    async with running(world) as service, service.request("GET", target) as response:
        body = await response.json()
    assert (response.status, body["code"], body["instance"]) == (404, "not_found", target)
    assert world.contents.reads == 0


@pytest.mark.parametrize("target", [b"/content/\x00", b"/content/\xe6\xb5\xb7", b"/content/a b"])
async def test_bytes_that_no_request_line_may_hold(target: bytes) -> None:
    world = World()
    async with running(world) as service:
        status, body = await service.raw(target)
    assert (status, json.loads(body)["code"]) == (400, "malformed_request")
    assert world.contents.reads == 0


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("quality=high", [("/quality", "is not known here")]),
        ("Rendition=720p", [("/Rendition", "is not known here")]),
        ("rendition=720p&rendition=720p", [("/rendition", "is given more than once")]),
        (
            "disposition=inline&disposition=attachment",
            [("/disposition", "is given more than once")],
        ),
        ("disposition=download", [("/disposition", "Input should be 'inline' or 'attachment'")]),
        ("disposition=", [("/disposition", "Input should be 'inline' or 'attachment'")]),
        ("disposition=INLINE", [("/disposition", "Input should be 'inline' or 'attachment'")]),
        (
            "disposition=inline%0D%0ASet-Cookie:%20a=b",
            [("/disposition", "Input should be 'inline' or 'attachment'")],
        ),
        ("=1", [("/", "is not known here")]),
        (
            "b=1&a=2&disposition=x",
            [
                ("/a", "is not known here"),
                ("/b", "is not known here"),
                ("/disposition", "Input should be 'inline' or 'attachment'"),
            ],
        ),
    ],
)
async def test_bad_queries(query: str, errors: list[tuple[str, str]]) -> None:
    world = World()
    async with (
        running(world) as service,
        service.request("GET", f"/content/c-1?{query}") as response,
    ):
        body = await response.json()
    assert (response.status, body["code"]) == (400, "invalid_query")
    assert body["instance"] == "/content/c-1"
    assert [(error["pointer"], error["message"]) for error in body["errors"]] == errors
    assert world.contents.reads == 0


@pytest.mark.parametrize(
    "rendition",
    ["", "a%20b", "..", "..%2F..%2Fsecret", "720p%00", "720p%0A", "%E6%B5%B7", "x" * 65],
)
async def test_names_that_no_rendition_has(rendition: str) -> None:
    world = World()
    async with (
        running(world) as service,
        service.request("GET", f"/content/c-1?rendition={rendition}") as response,
    ):
        body = await response.json()
    assert (response.status, body["code"]) == (400, "invalid_query")
    assert [error["pointer"] for error in body["errors"]] == ["/rendition"]
    assert world.contents.reads == 0


@pytest.mark.parametrize("query", ["rendition=%", "rendition=%zz", "rendition=%FF", "%FF=1"])
async def test_queries_that_are_no_text(query: str) -> None:
    world = World()
    async with (
        running(world) as service,
        service.request("GET", f"/content/c-1?{query}") as response,
    ):
        body = await response.json()
    assert (response.status, body["code"]) == (400, "invalid_query")
    assert world.contents.reads == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "TRACE", "OPTIONS"])
async def test_other_methods(method: str) -> None:
    async with running() as service, service.request(method, "/content/c-1") as response:
        body = await response.json()
    assert (response.status, body["code"]) == (405, "method_not_allowed")
    assert set(response.headers["Allow"].split(",")) == {"DELETE", "GET", "HEAD"}


async def test_who_has_no_token_learns_nothing() -> None:
    """The same answer for what is there, what is not, and what cannot be."""
    world = World()
    answers = []
    async with running(world) as service:
        for target in ("/content/c-1", "/content/nowhere", "/content/a%2Fb", "/content/c-1?x=1"):
            async with service.request("GET", target, anonymous=True) as response:
                body = await response.json()
                answers.append((response.status, body["code"], body["detail"]))
    assert set(answers) == {
        (
            401,
            "authentication_required",
            "Send an access token: Authorization: Bearer <token>.",
        )
    }
    assert world.contents.reads == 0
