"""Bad input, each with its exact answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from tests.contract.progress_tracking.service import BATCH, CONTRACT, COURSE, LIST, Service, running

JSON = {"Content-Type": "application/json"}
GOOD = b'{"occurredAt":"2026-02-01T09:00:00Z","deviceId":"phone"}'
STAFF = ("staff",)


@pytest.fixture()
async def service() -> AsyncIterator[Service]:
    async with running() as found:
        yield found


async def refusal(
    service: Service,
    body: bytes | None,
    headers: Mapping[str, str] = JSON,
    path: str = "/progress/me/crs-1",
) -> tuple[int, str, str]:
    """Status, code and detail of a PUT that is refused; nothing was recorded by it."""
    response = await service.request("PUT", path, data=body, headers=headers)
    problem = await CONTRACT.check(response, "PUT", COURSE)
    assert isinstance(problem, dict)
    assert (await service.request("GET", "/progress/me/crs-1")).status == 404
    return response.status, problem["code"], problem["detail"]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "Expecting value at line 1 column 1"),
        (b'{"occurredAt":', "Expecting value at line 1 column 15"),
        (b"{'a': 1}", "Expecting property name enclosed in double quotes at line 1 column 2"),
        (GOOD + b"x", "Extra data at line 1 column 57"),
        (b'{"a":1,"a":1}', 'duplicate name "a" in an object'),
        (b'{"items":{"x":{},"x":{}}}', 'duplicate name "x" in an object'),
        (b'{"a":NaN}', "NaN is not a JSON number"),
        (b'{"a":-Infinity}', "-Infinity is not a JSON number"),
        (b'{"a":1e999}', "a number is out of range"),
        (b'{"a":' + b"9" * 39 + b"}", "an integer has more than 38 digits"),
        (b"[" * 10_000 + b"]" * 10_000, "it is nested deeper than 64 levels"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "it is nested deeper than 64 levels"),
        (b'{"a":"\xff"}', "invalid UTF-8 at byte 6"),
        (b'{"a":"\\ud800"}', "a string holds half of a surrogate pair"),
        (b"\xef\xbb\xbf" + GOOD, "it starts with a byte-order mark"),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else None,
)
async def test_what_is_not_strict_json(service: Service, body: bytes, detail: str) -> None:
    expected = (400, "malformed_json", f"The body is not valid JSON: {detail}.")
    assert await refusal(service, body) == expected


@pytest.mark.parametrize("body", [b"null", b"[]", b"1", b'"x"', b"true"])
async def test_json_that_is_no_object(service: Service, body: bytes) -> None:
    assert (await refusal(service, body))[:2] == (422, "invalid_body")


async def test_a_body_of_a_mebibyte(service: Service) -> None:
    body = b'{"a":"' + b"x" * (1 << 20) + b'"}'
    expected = (413, "body_too_large", "The body may have at most 262144 bytes.")
    assert await refusal(service, body) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/xml"},
        {"Content-Type": "application/json-patch+json"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
    ids=str,
)
async def test_a_missing_or_wrong_content_type(service: Service, headers: dict[str, str]) -> None:
    assert (await refusal(service, GOOD, headers))[:2] == (415, "unsupported_media_type")


async def test_a_content_type_with_utf_8_is_right(service: Service) -> None:
    headers = {"Content-Type": "application/json; charset=UTF-8"}
    response = await service.request("PUT", "/progress/me/crs-1", data=GOOD, headers=headers)
    assert response.status == 201


TIMESTAMP = "must be an RFC 3339 timestamp with a zone"
IDENTIFIER = "String should match pattern '^[A-Za-z0-9_-]{1,64}$'"
AHEAD = "must not be more than 5 minutes ahead of the service's clock"
UNKNOWN = "is not known here"
NOT_NULL = "must not be null; leave it out"


@pytest.mark.parametrize(
    ("members", "errors"),
    [
        ({"occurredAt": None}, {"/occurredAt": TIMESTAMP}),
        ({"occurredAt": 1769936400}, {"/occurredAt": TIMESTAMP}),
        ({"occurredAt": "2026-02-01T09:00:00"}, {"/occurredAt": TIMESTAMP}),
        ({"occurredAt": "2026-02-30T09:00:00Z"}, {"/occurredAt": TIMESTAMP}),
        ({"occurredAt": "0001-01-01T00:00:00+01:00"}, {"/occurredAt": TIMESTAMP}),
        ({"occurredAt": "2026-03-01T12:05:00.001Z"}, {"/occurredAt": AHEAD}),
        ({"deviceId": "a b"}, {"/deviceId": IDENTIFIER}),
        ({"deviceId": ""}, {"/deviceId": IDENTIFIER}),
        ({"deviceId": "x" * 65}, {"/deviceId": IDENTIFIER}),
        ({"deviceId": "p\u0000"}, {"/deviceId": IDENTIFIER}),
        ({"deviceId": "\u00e4"}, {"/deviceId": IDENTIFIER}),
        ({"deviceId": 7}, {"/deviceId": "Input should be a valid string"}),
        ({"attempt": 0}, {"/attempt": "Input should be greater than or equal to 1"}),
        ({"attempt": "1"}, {"/attempt": "Input should be a valid integer"}),
        ({"attempt": True}, {"/attempt": "Input should be a valid integer"}),
        ({"attempt": None}, {"/attempt": NOT_NULL}),
        ({"resume": None}, {"/resume": NOT_NULL}),
        (
            {"resume": {}},
            {"/resume/contentId": "is required", "/resume/positionSeconds": "is required"},
        ),
        (
            {"resume": {"contentId": "a/b", "positionSeconds": -0.1}},
            {
                "/resume/contentId": IDENTIFIER,
                "/resume/positionSeconds": "Input should be greater than or equal to 0",
            },
        ),
        (
            {"resume": {"contentId": "a", "positionSeconds": 604800.1}},
            {"/resume/positionSeconds": "Input should be less than or equal to 604800"},
        ),
        ({"items": []}, {"/items": "Input should be an object"}),
        (
            {"items": {"a": {"fraction": 1.01}}},
            {"/items/a/fraction": "Input should be less than or equal to 1"},
        ),
        (
            {"items": {"a": {"fraction": -0.01}}},
            {"/items/a/fraction": "Input should be greater than or equal to 0"},
        ),
        (
            {"items": {"a": {"fraction": "1"}}},
            {"/items/a/fraction": "Input should be a valid number"},
        ),
        (
            {"items": {"a": {"completed": 1}}},
            {"/items/a/completed": "Input should be a valid boolean"},
        ),
        (
            {"items": {"a": {"completed": None}}},
            {"/items/a/completed": "Input should be a valid boolean"},
        ),
        ({"items": {"a": {"occurredAt": "2026-03-01T12:06:00Z"}}}, {"/items/a/occurredAt": AHEAD}),
        ({"items": {"a": {"done": True}}}, {"/items/a/done": "is not known here"}),
        ({"items": {"../b": {}}}, {"/items/..~1b": IDENTIFIER}),
        ({"percent": 100}, {"/percent": "is not known here"}),
        ({"device_id": "a"}, {"/device_id": "is not known here"}),
    ],
    ids=str,
)
async def test_well_formed_but_wrong(
    service: Service, members: dict[str, object], errors: dict[str, str]
) -> None:
    body = {"occurredAt": "2026-02-01T09:00:00Z", "deviceId": "phone", **members}
    response = await service.request("PUT", "/progress/me/crs-1", json=body)
    problem = await CONTRACT.check(response, "PUT", COURSE)
    assert isinstance(problem, dict)
    assert (response.status, problem["code"]) == (422, "invalid_body")
    assert {error["pointer"]: error["message"] for error in problem["errors"]} == errors
    assert (await service.request("GET", "/progress/me/crs-1")).status == 404


async def test_every_error_of_a_body_is_told_at_once(service: Service) -> None:
    body = {
        "occurredAt": "2027-01-01T00:00:00Z",
        "resume": {"contentId": "a", "positionSeconds": "1"},
        "items": {"a": {"fraction": 2, "occurredAt": "2027-01-01T00:00:00Z"}, "b": {"x": 1}},
        "more": {},
    }
    response = await service.request("PUT", "/progress/me/crs-1", json=body)
    pointers = {error["pointer"] for error in (await response.json())["errors"]}
    assert pointers == {
        "/occurredAt",
        "/deviceId",
        "/resume/positionSeconds",
        "/items/a/fraction",
        "/items/a/occurredAt",
        "/items/b/x",
        "/more",
    }


async def test_a_hundred_items_and_one_more(service: Service) -> None:
    body = {"occurredAt": "2026-02-01T09:00:00Z", "deviceId": "phone"}
    items = {f"c{number}": {"completed": True} for number in range(100)}
    more = await service.request(
        "PUT", "/progress/me/crs-1", json={**body, "items": {**items, "c100": {}}}
    )
    assert more.status == 422
    assert [error["pointer"] for error in (await more.json())["errors"]] == ["/items"]
    taken = await service.request("PUT", "/progress/me/crs-1", json={**body, "items": items})
    assert taken.status == 201


async def test_a_clock_five_minutes_ahead_is_still_taken(service: Service) -> None:
    body = {"occurredAt": "2026-03-01T13:05:00+01:00", "deviceId": "phone"}
    response = await service.request("PUT", "/progress/me/crs-1", json=body)
    assert response.status == 201


@pytest.mark.parametrize(
    "identifier",
    [
        "a%2Fb",
        "%2e%2e",
        "..%2F..",
        "%00",
        "a%00b",
        "%C3%A4",
        "%F0%9F%93%9A",
        "a%20b",
        "a.b",
        "~outline%23a",
        "x" * 65,
        "%ff",
        "a%0A",
    ],
)
async def test_ids_of_a_wrong_shape(service: Service, identifier: str) -> None:
    for path, template in (
        (f"/progress/me/{identifier}", COURSE),
        (f"/progress/{identifier}", LIST),
        (f"/progress/{identifier}/crs-1", COURSE),
    ):
        response = await service.request("GET", path, sub="staff-1", groups=STAFF)
        problem = await CONTRACT.check(response, "GET", template)
        assert isinstance(problem, dict)
        assert (response.status, problem["code"]) == (400, "invalid_path"), path
    response = await service.request("PUT", f"/progress/me/{identifier}", data=GOOD, headers=JSON)
    assert response.status == 400


@pytest.mark.parametrize(
    "path", ["/progress", "/progress/", "/progress/me/", "/progress/me/a/b", "/progress//crs-1"]
)
async def test_paths_that_are_none(service: Service, path: str) -> None:
    response = await service.request("GET", path)
    assert (response.status, (await response.json())["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("query", "pointer", "message"),
    [
        ("limit=0", "/limit", "Input should be greater than or equal to 1"),
        ("limit=-1", "/limit", "Input should be greater than or equal to 1"),
        ("limit=101", "/limit", "Input should be less than or equal to 100"),
        ("limit=abc", "/limit", "must be a decimal integer"),
        ("limit=", "/limit", "must be a decimal integer"),
        ("limit=1.0", "/limit", "must be a decimal integer"),
        ("limit=0x1", "/limit", "must be a decimal integer"),
        ("limit=1_0", "/limit", "must be a decimal integer"),
        ("limit=%201", "/limit", "must be a decimal integer"),
        ("limit=1&limit=1", "/limit", "is given more than once"),
        ("status=done", "/status", "Input should be 'not_started', 'in_progress' or 'completed'"),
        ("updatedSince=yesterday", "/updatedSince", TIMESTAMP),
        ("updatedSince=2026-01-01T00:00:00", "/updatedSince", TIMESTAMP),
        ("updatedSince=2026-01-01T00:00:00+01:00", "/updatedSince", TIMESTAMP),
        ("cursor=", "/cursor", "String should have at least 1 character"),
        ("sort=courseId", "/sort", "is not known here"),
    ],
)
async def test_queries(service: Service, query: str, pointer: str, message: str) -> None:
    response = await service.request("GET", f"/progress/me?{query}")
    problem = await CONTRACT.check(response, "GET", LIST)
    assert isinstance(problem, dict)
    assert (response.status, problem["code"]) == (400, "invalid_query")
    assert problem["errors"] == [{"pointer": pointer, "message": message}]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "AAAA",
        "A" * 2048,
        "A" * 5000,
        "%00",
        "..%2F",
        "eyJhZnRlciI6ImNycy0xIn0",
        "%F0%9F%93%9A",
    ],
)
async def test_forged_cursors(service: Service, cursor: str) -> None:
    response = await service.request("GET", f"/progress/me?cursor={cursor}")
    problem = await CONTRACT.check(response, "GET", LIST)
    assert isinstance(problem, dict)
    assert (response.status, problem["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    ("query", "pointer", "message"),
    [
        ("attempt=0", "/attempt", "Input should be greater than or equal to 1"),
        ("attempt=2147483648", "/attempt", "Input should be less than or equal to 2147483647"),
        ("attempt=one", "/attempt", "must be a decimal integer"),
        ("attempt=", "/attempt", "must be a decimal integer"),
        ("attempt=1&attempt=1", "/attempt", "is given more than once"),
        ("attempts=1", "/attempts", "is not known here"),
    ],
)
async def test_queries_of_a_restart(
    service: Service, query: str, pointer: str, message: str
) -> None:
    response = await service.request("DELETE", f"/progress/me/crs-1?{query}")
    problem = await CONTRACT.check(response, "DELETE", COURSE)
    assert isinstance(problem, dict)
    assert (response.status, problem["code"]) == (400, "invalid_query")
    assert problem["errors"] == [{"pointer": pointer, "message": message}]


ENTRY = {"courseId": "crs-1", "occurredAt": "2026-02-01T09:00:00Z", "deviceId": "phone"}
TOO_MANY = "List should have at most 25 items after validation, not 26"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"/entries": "is required"}),
        ([ENTRY], {"": "Input should be an object"}),
        (ENTRY, {"/entries": "is required", **dict.fromkeys(map("/{}".format, ENTRY), UNKNOWN)}),
        ({"entries": None}, {"/entries": "Input should be a valid array"}),
        ({"entries": ENTRY}, {"/entries": "Input should be a valid array"}),
        ({"entries": []}, {"/entries": "List should have at least 1 item after validation, not 0"}),
        ({"entries": [ENTRY] * 26}, {"/entries": TOO_MANY}),
        ({"entries": [ENTRY], "deviceId": "phone"}, {"/deviceId": UNKNOWN}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_no_batch(service: Service, body: object, errors: dict[str, str]) -> None:
    response = await service.request("POST", "/progress/me/batch", json=body)
    problem = await CONTRACT.check(response, "POST", BATCH)
    assert isinstance(problem, dict)
    assert (response.status, problem["code"]) == (422, "invalid_body")
    assert {error["pointer"]: error["message"] for error in problem["errors"]} == errors
    assert (await service.request("GET", "/progress/me/crs-1")).status == 404


@pytest.mark.parametrize(
    ("entry", "errors"),
    [
        (None, {"": "Input should be an object"}),
        (["crs-1"], {"": "Input should be an object"}),
        ("crs-1", {"": "Input should be an object"}),
        ({}, dict.fromkeys(map("/{}".format, ENTRY), "is required")),
        ({**ENTRY, "courseId": "a.b"}, {"/courseId": IDENTIFIER}),
        ({**ENTRY, "courseId": 7}, {"/courseId": "Input should be a valid string"}),
        ({**ENTRY, "courseId": "batch"}, {"/courseId": "is no course's id"}),
        ({**ENTRY, "occurredAt": "2026-03-01T12:05:00.001Z"}, {"/occurredAt": AHEAD}),
        (
            {**ENTRY, "items": {"a": {"fraction": 2, "occurredAt": "2027-01-01T00:00:00Z"}}},
            {
                "/items/a/fraction": "Input should be less than or equal to 1",
                "/items/a/occurredAt": AHEAD,
            },
        ),
        ({**ENTRY, "userId": "learner-b"}, {"/userId": UNKNOWN}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_wrong_entry_is_refused_for_itself(
    service: Service, entry: object, errors: dict[str, str]
) -> None:
    good = {**ENTRY, "courseId": "crs-good"}
    response = await service.request("POST", "/progress/me/batch", json={"entries": [entry, good]})
    document = await CONTRACT.check(response, "POST", BATCH)
    assert isinstance(document, dict)
    wrong, right = document["results"]
    assert (response.status, wrong["status"], right["status"]) == (200, 422, 201)
    assert (wrong["problem"]["status"], wrong["problem"]["code"]) == (422, "invalid_body")
    assert {error["pointer"]: error["message"] for error in wrong["problem"]["errors"]} == errors
    assert (await service.request("GET", "/progress/me/crs-1")).status == 404


async def test_a_batch_of_nothing_but_mistakes_has_a_small_answer(service: Service) -> None:
    # Each mistake repeats a long name in its pointer: as much as a body of this size can ask for.
    items = {"x" * 200: {f"{number:x}": 1 for number in range(1200)}}
    entries = [{**ENTRY, "items": items}] * 20
    response = await service.request("POST", "/progress/me/batch", json={"entries": entries})
    document = await CONTRACT.check(response, "POST", BATCH)
    assert isinstance(document, dict)
    assert [len(result["problem"]["errors"]) for result in document["results"]] == [100] * 20
    assert len(await response.read()) < 1 << 20


@pytest.mark.parametrize("path", ["/progress/me/crs-1?x=1", "/progress/me/crs-1?limit=1"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_operations_without_a_query_take_none(
    service: Service, method: str, path: str
) -> None:
    body = GOOD if method == "PUT" else None
    response = await service.request(method, path, data=body, headers=JSON if body else {})
    assert (response.status, (await response.json())["code"]) == (400, "invalid_query")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/progress/me", {"GET", "HEAD"}),
        ("PUT", "/progress/me", {"GET", "HEAD"}),
        ("POST", "/progress/me/crs-1", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PATCH", "/progress/me/crs-1", {"GET", "HEAD", "PUT", "DELETE"}),
        # No course is called so: behind the gateway it could not be reached.
        *((method, "/progress/me/batch", {"POST"}) for method in ("GET", "HEAD", "PUT", "DELETE")),
        ("GET", "/progress/me/%62atch", {"POST"}),
    ],
)
async def test_methods_that_are_none(
    service: Service, method: str, path: str, allow: set[str]
) -> None:
    response = await service.request(method, path)
    assert response.status == 405
    if method != "HEAD":
        assert (await response.json())["code"] == "method_not_allowed"
    assert set(response.headers["Allow"].replace(" ", "").split(",")) == allow
