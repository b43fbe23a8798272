"""Bad input through the gateway, byte for byte as it was sent: each with its exact answer.

What a service says to each kind of mistake in all its variations is shown by its own contract tests;
here it is shown that the gateway passes such requests on as they are, and the refusals back.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import pytest

from tests.system.exchange import Answer, ask, send
from tests.system.logs import logged
from tests.system.platform_process import RunningPlatform
from tests.system.roles import SERVICES

pytestmark = pytest.mark.timeout(300)

UPDATE = b'{"occurredAt":"2026-01-02T03:04:05Z","deviceId":"phone"}'
PATH = "/progress/me/untouched"
DEEP = 10_000
MEBIBYTE = 1 << 20
SECRET = b"hush-hush;"

Refusal = tuple[int, str]


class Caller:
    """A learner whose requests are built by hand."""

    def __init__(self, platform: RunningPlatform) -> None:
        self._gateway = platform.gateway
        self.token: str = platform.document["users"]["learner-a"]["accessToken"]
        self.staff_token: str = platform.document["users"]["staff"]["accessToken"]

    def get(self, target: str, *, staff: bool = False) -> Answer:
        token = self.staff_token if staff else self.token
        return ask(self._gateway + target, token=token)

    def put(self, body: bytes | None, *, content_type: str | None = "application/json") -> Answer:
        headers = {} if content_type is None else {"Content-Type": content_type}
        return ask(self._gateway + PATH, method="PUT", token=self.token, body=body, headers=headers)

    def raw(self, head: bytes, body: bytes = b"", *, method: str = "GET") -> Answer:
        """Sends a request line and headers as they are, with a Host and a token added."""
        lines = head + b"\r\nHost: gateway\r\nConnection: close\r\nAuthorization: Bearer "
        return send(self._gateway, lines + self.token.encode() + b"\r\n\r\n" + body, method=method)


@pytest.fixture(scope="module")
def caller(platform: RunningPlatform) -> Iterator[Caller]:
    """At the end: nothing was recorded by any of it, and no process found a fault of its own."""
    learner = Caller(platform)
    yield learner
    assert learner.get("/progress/me").json["items"] == []
    for process in ("gateway", *SERVICES):
        events = logged(platform, process)
        assert sum(event["event"] == "request" for event in events) > 20
        # Whether it is ready is asked until it is.
        said = [event for event in events if event.get("route") != "/readyz"]
        assert [event for event in said if event["level"] not in ("info", "warning")] == []
        assert [event for event in said if event.get("status", 0) >= 500] == []
        assert SECRET.decode() not in json.dumps(events)


def refusal(answer: Answer) -> Refusal:
    """Status and code of a problem, whose members and headers are as the contracts promise."""
    assert answer.media_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    if answer.body:
        problem = answer.json
        # The gateway speaks of no trace in its own problems.
        assert problem.keys() - {"errors", "traceId"} == {
            "type",
            "title",
            "status",
            "detail",
            "instance",
            "code",
            "requestId",
        }
        assert problem["status"] == answer.status
        assert problem["type"] == f"https://lyceum.example/problems/{problem['code']}"
        assert problem["requestId"] == answer.headers["X-Request-Id"]
        assert problem.get("traceId", "") in answer.headers.get("X-Amzn-Trace-Id", "")
        assert "Traceback" not in problem["detail"]
    return answer.status, answer.json["code"]


def errors(answer: Answer) -> dict[str, str]:
    return {error["pointer"]: error["message"] for error in answer.json["errors"]}


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"occurredAt=now",
    "broken off": UPDATE[:-1],
    "something after it": UPDATE + b"x",
    "single quotes": b"{'deviceId':'phone'}",
    "a comment": b'{"deviceId":"phone"/* mine */}',
    "a duplicate key": b'{"deviceId":"phone","deviceId":"tablet"}',
    "a duplicate key below": b'{"items":{"tides-1-1":{},"tides-1-1":{"completed":true}}}',
    "a duplicate key, escaped": b'{"deviceId":"phone","device\\u0049d":"tablet"}',
    "NaN": b'{"items":{"tides-1-1":{"fraction":NaN}}}',
    "Infinity": b'{"items":{"tides-1-1":{"fraction":Infinity}}}',
    "-Infinity": b'{"items":{"tides-1-1":{"fraction":-Infinity}}}',
    "a number out of range": b'{"items":{"tides-1-1":{"fraction":1e400}}}',
    "a number without end": b'{"attempt":' + b"9" * 5000 + b"}",
    "not UTF-8": b'{"deviceId":"\xff\xfe"}',
    "UTF-16": UPDATE.decode().encode("utf-16"),
    "half a surrogate pair": b'{"deviceId":"\\ud83d"}',
    "a control character": b'{"deviceId":"\x00"}',
    "arrays without end": b"[" * DEEP + b"]" * DEEP,
    "objects without end": b'{"a":' * DEEP + b"0" + b"}" * DEEP,
    "arrays that do not close": b"[" * DEEP,
    "nesting below items": b'{"items":{"tides-1-1":{"fraction":'
    + b"[" * DEEP
    + b"]" * DEEP
    + b"}}}",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_body_that_is_not_strict_json(caller: Caller, what: str) -> None:
    assert refusal(caller.put(MALFORMED[what])) == (400, "malformed_json")


NOT_AN_UPDATE: dict[str, tuple[bytes, dict[str, str | None]]] = {
    "null": (b"null", {"": None}),
    "an array": (b"[]", {"": None}),
    "a string": (b'"phone"', {"": None}),
    "nothing in it": (b"{}", {"/occurredAt": "is required", "/deviceId": "is required"}),
    "an unknown field": (UPDATE[:-1] + b',"device":"x"}', {"/device": "is not known here"}),
    "a number for a moment": (
        b'{"occurredAt":1767322800,"deviceId":"phone"}',
        {"/occurredAt": "must be an RFC 3339 timestamp with a zone"},
    ),
    "a moment without a zone": (
        b'{"occurredAt":"2026-01-02T03:04:05","deviceId":"phone"}',
        {"/occurredAt": "must be an RFC 3339 timestamp with a zone"},
    ),
    "text for a number": (
        UPDATE[:-1] + b',"items":{"a":{"fraction":"0.5"}}}',
        {"/items/a/fraction": "Input should be a valid number"},
    ),
    "a number for a truth": (
        UPDATE[:-1] + b',"items":{"a":{"completed":1}}}',
        {"/items/a/completed": "Input should be a valid boolean"},
    ),
    "a fraction for a whole number": (
        UPDATE[:-1] + b',"attempt":1.5}',
        {"/attempt": None},
    ),
    "an array for an object": (
        UPDATE[:-1] + b',"items":[]}',
        {"/items": "Input should be an object"},
    ),
    "ids that can not be": (
        UPDATE[:-1] + b',"items":{"a/b":{},"..":{},"a\\u0000":{},"\xc3\xa9":{}}}',
        {"/items/a~1b": None, "/items/..": None, "/items/a\0": None, "/items/é": None},
    ),
    "everything wrong at once": (
        b'{"occurredAt":0,"deviceId":0,"attempt":0,"resume":0,"items":0,"more":0}',
        {
            "/occurredAt": None,
            "/deviceId": None,
            "/attempt": None,
            "/resume": None,
            "/items": None,
            "/more": None,
        },
    ),
}


@pytest.mark.parametrize("what", NOT_AN_UPDATE)
def test_a_body_that_is_json_and_no_update(caller: Caller, what: str) -> None:
    body, expected = NOT_AN_UPDATE[what]
    answer = caller.put(body)
    assert refusal(answer) == (422, "invalid_body")
    said = errors(answer)
    assert said.keys() == expected.keys()
    assert said == {where: text or said[where] for where, text in expected.items()}


def test_more_items_than_an_update_may_have(caller: Caller) -> None:
    items = {f"item-{number}": {"completed": True} for number in range(101)}
    body = json.dumps(json.loads(UPDATE) | {"items": items}).encode()
    answer = caller.put(body)
    assert refusal(answer) == (422, "invalid_body")
    assert errors(answer).keys() == {"/items"}


@pytest.mark.parametrize("size", [262_145, MEBIBYTE])
def test_a_body_that_is_too_large(caller: Caller, size: int) -> None:
    body = UPDATE.ljust(size)
    assert refusal(caller.put(body)) == (413, "body_too_large")


def test_a_body_of_a_mebibyte_in_chunks(caller: Caller) -> None:
    chunk = b"10000\r\n" + UPDATE.ljust(65_536) + b"\r\n"
    answer = caller.raw(
        f"PUT {PATH} HTTP/1.1".encode()
        + b"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked",
        chunk * 16 + b"0\r\n\r\n",
        method="PUT",
    )
    assert refusal(answer) == (413, "body_too_large")


def test_a_body_beyond_what_a_gateway_takes(caller: Caller) -> None:
    answer = caller.put(UPDATE.ljust(11 * MEBIBYTE))
    assert refusal(answer) == (413, "payload_too_large")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/xml",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "application/merge-patch+json",
        "application/json; charset=utf-16",
        "application",
        "*/*",
    ],
)
def test_a_missing_or_wrong_content_type(caller: Caller, content_type: str | None) -> None:
    answer = caller.put(UPDATE, content_type=content_type)
    assert refusal(answer) == (415, "unsupported_media_type")
    assert answer.headers["Accept"] == "application/json"


def test_a_compressed_body(caller: Caller) -> None:
    answer = caller.raw(
        f"PUT {PATH} HTTP/1.1\r\nContent-Length: {len(UPDATE)}".encode()
        + b"\r\nContent-Type: application/json\r\nContent-Encoding: gzip",
        UPDATE,
        method="PUT",
    )
    assert refusal(answer) == (415, "unsupported_media_type")


IDS = [
    "a%2Fb",
    "..%2F..%2Fetc%2Fpasswd",
    "%2E%2E",
    "..",
    ".",
    "tides%00",
    "%00",
    "tides%0A",
    "tides%0D%0AX-Injected:%201",
    "caf%C3%A9",
    "%E6%B5%B7",
    "%F0%9F%8C%8A",
    "%FF%FE",
    "tides%20",
    "tides.",
    "tides;a=b",
    "tides+1",
    "%252e%252e",
    "a" * 65,
    "a" * 5000,
    "%",
    "%zz",
]


@pytest.mark.parametrize("identifier", IDS, ids=lambda value: value[:16])
@pytest.mark.parametrize(
    "template", ["/courses/{}", "/content/{}", "/progress/{}", "/progress/me/{}"]
)
def test_an_id_that_can_not_be(caller: Caller, template: str, identifier: str) -> None:
    target = template.format(identifier)
    # Whose progress may be seen is decided before anything is said about the id: staff may.
    answer = caller.get(target, staff=True)
    assert refusal(answer) == (400, "invalid_path")
    assert answer.json["instance"].startswith(template.format("")[:9])


@pytest.mark.parametrize("identifier", IDS, ids=lambda value: value[:16])
def test_an_id_that_can_not_be_is_somebody_elses(caller: Caller, identifier: str) -> None:
    assert refusal(caller.get(f"/progress/{identifier}")) == (403, "forbidden")


@pytest.mark.parametrize(
    "target",
    [
        "/courses/",
        "/courses//",
        "/courses/tides/",
        "/courses/a/b",
        "//courses",
        "/courses/../progress/me",
        "/content/",
        "/progress",
        "/progress/",
        "/progress/me/tides/more",
        "/Courses",
        "/course",
        "/-",
        "/-/",
        "/traces/",
        "/healthz",
        "/openapi.json",
        "/%63ourses",
    ],
)
def test_a_path_that_no_contract_has(caller: Caller, target: str) -> None:
    assert refusal(caller.get(target)) == (404, "route_not_found")


@pytest.mark.parametrize(
    "line",
    [
        b"GET /courses/\x00 HTTP/1.1",
        b"GET /courses/caf\xc3\xa9 HTTP/1.1",
        b"GET /courses/a b HTTP/1.1",
        b"GET /courses/tides\x7f HTTP/1.1",
        b"GET /courses HTTP/9.9",
        b"GET courses HTTP/1.1",
        b"/courses",
        b"G\x00T /courses HTTP/1.1",
        b"BREW /courses HTTP/1.1",
        b"GET /courses HTTP/1.1\r\nX-A: \x00",
        b"GET /courses HTTP/1.1\r\nX A: 1",
        b"GET /courses HTTP/1.1\r\nContent-Length: -1",
        b"GET /courses HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"GET /courses HTTP/1.1\r\nX-A: " + SECRET * 4000,  # what the gateway takes
        b"GET /courses HTTP/1.1\r\nX-A: " + SECRET * 2000,  # what a service takes
        b"GET /courses?" + SECRET * 4000 + b" HTTP/1.1",
        f"PUT {PATH} HTTP/1.1".encode()
        + b"\r\nContent-Type: application/json\r\nContent-Type: text/plain",
    ],
    ids=lambda line: line[:48],
)
def test_bytes_that_are_not_http(caller: Caller, line: bytes) -> None:
    answer = caller.raw(line)
    assert refusal(answer) == (400, "malformed_request")
    # Nothing of what was sent is repeated: it may be a part of a token.
    assert SECRET not in answer.body
    assert answer.json["instance"] == "/"


LIMITS = {
    "0": "Input should be greater than or equal to 1",
    "-1": "Input should be greater than or equal to 1",
    "101": "Input should be less than or equal to 100",
    "abc": "must be a decimal integer",
    "": "must be a decimal integer",
    "1.5": "must be a decimal integer",
    "1e2": "must be a decimal integer",
    "0x10": "must be a decimal integer",
    "1_0": "must be a decimal integer",
    "%201": "must be a decimal integer",
    "%D9%A1": "must be a decimal integer",
    "9" * 400: "must be a decimal integer",
}


@pytest.mark.parametrize("limit", LIMITS, ids=lambda value: value[:8])
@pytest.mark.parametrize("path", ["/courses", "/progress/me"])
def test_a_limit_that_can_not_be(caller: Caller, path: str, limit: str) -> None:
    answer = caller.get(f"{path}?limit={limit}")
    assert refusal(answer) == (400, "invalid_query")
    assert errors(answer) == {"/limit": LIMITS[limit]}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/courses?limit=1&limit=2", {"/limit": "is given more than once"}),
        ("/courses?page=2", {"/page": "is not known here"}),
        ("/courses/tides?fields=id", {"/fields": "is not known here"}),
        ("/content/tides-1-1?rendition=..", {"/rendition": None}),
        ("/content/tides-1-1?disposition=INLINE", {"/disposition": None}),
        ("/progress/me?status=done", {"/status": None}),
        ("/progress/me?updatedSince=yesterday", {"/updatedSince": None}),
        ("/progress/me/tides?limit=1", {"/limit": "is not known here"}),
        ("/courses?b=1&a=2&limit=0", {"/a": None, "/b": None, "/limit": None}),
    ],
)
def test_a_query_that_is_not_known(
    caller: Caller, target: str, expected: dict[str, str | None]
) -> None:
    answer = caller.get(target)
    assert refusal(answer) == (400, "invalid_query")
    said = errors(answer)
    assert said == {where: text or said.get(where, "") for where, text in expected.items()}


@pytest.mark.parametrize("query", ["q=%FF", "q=%C3", "q=%ZZ", "q=100%", "%FF=1"])
def test_a_query_that_is_no_text(caller: Caller, query: str) -> None:
    assert refusal(caller.get(f"/courses?{query}")) == (400, "invalid_query")


def with_another_place(cursor: str) -> str:
    """The same signature over another position."""
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    signature, position = raw[:32], json.loads(raw[32:])
    position["id"] = "another"
    forged = signature + json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(forged).rstrip(b"=").decode()


FORGERIES: dict[str, Callable[[str], str]] = {
    "another first character": lambda cursor: ("B" if cursor[0] != "B" else "C") + cursor[1:],
    "another place": with_another_place,
    "broken off": lambda cursor: cursor[:-2],
    "something after it": lambda cursor: cursor + "AA",
    "padded": lambda cursor: cursor + "%3D",
    "a NUL after it": lambda cursor: cursor + "%00",
    "invented": lambda _: "eyJvZmZzZXQiOjB9",
    "a number": lambda _: "1",
    "unicode": lambda _: "%E2%82%AC",
    "a path": lambda _: "../../etc/passwd",
    "without end": lambda _: "A" * 6000,
}


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forged_cursor(caller: Caller, how: str) -> None:
    cursor = caller.get("/courses?limit=2").json["nextCursor"]
    assert caller.get(f"/courses?limit=2&cursor={cursor}").status == 200
    forged = FORGERIES[how](cursor)
    assert refusal(caller.get(f"/courses?limit=2&cursor={forged}")) == (400, "invalid_cursor")
    assert refusal(caller.get(f"/progress/me?limit=2&cursor={forged}")) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    "filters", ["sort=title", "q=tides", "language=en", "level=beginner", "tag=ocean", "ids=tides"]
)
def test_a_cursor_of_other_filters(caller: Caller, filters: str) -> None:
    cursor = caller.get("/courses?limit=2").json["nextCursor"]
    answer = caller.get(f"/courses?limit=2&cursor={cursor}&{filters}")
    assert refusal(answer) == (400, "invalid_cursor")


def test_a_cursor_of_another_service_or_user(caller: Caller, platform: RunningPlatform) -> None:
    for course in ("one", "two"):
        recorded = platform.request(
            f"/progress/me/{course}", user="staff", method="PUT", body=json.loads(UPDATE)
        )
        assert recorded.status == 201
    of_staff = caller.get("/progress/me?limit=1", staff=True).json["nextCursor"]
    of_catalog = caller.get("/courses?limit=1").json["nextCursor"]
    assert caller.get(f"/progress/me?limit=1&cursor={of_staff}", staff=True).status == 200
    for target in (
        f"/courses?limit=1&cursor={of_staff}",
        f"/progress/me?limit=1&cursor={of_catalog}",
        f"/progress/me?limit=1&cursor={of_staff}",
    ):
        assert refusal(caller.get(target)) == (400, "invalid_cursor")
    # Staff may list another's progress, but not go on from its own list into that.
    learner = platform.document["users"]["learner-a"]["sub"]
    foreign = caller.get(f"/progress/{learner}?limit=1&cursor={of_staff}", staff=True)
    assert refusal(foreign) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/courses", {"GET", "HEAD", "POST"}),
        ("/courses/tides", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
        ("/courses/tides/publish", {"POST"}),
        ("/content/tides-1-1", {"GET", "HEAD", "DELETE"}),
        ("/content/tides-1-1/upload/parts", {"POST"}),
        ("/progress/me", {"GET", "HEAD"}),
        ("/progress/me/batch", {"POST"}),
        ("/progress/me/tides", {"GET", "HEAD", "PUT", "DELETE"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH", "TRACE"])
def test_a_method_that_is_not_there(
    platform: RunningPlatform, caller: Caller, method: str, path: str, allowed: set[str]
) -> None:
    if method in allowed:
        return
    answer = ask(platform.gateway + path, method=method, token=caller.token)
    assert refusal(answer) == (405, "method_not_allowed")
    assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed


def test_what_the_client_does_not_want(platform: RunningPlatform, caller: Caller) -> None:
    answer = ask(
        platform.gateway + "/courses", token=caller.token, headers={"Accept": "application/xml"}
    )
    assert refusal(answer) == (406, "not_acceptable")


@pytest.mark.parametrize(
    "sent",
    ["", "a b", "é", "a" * 129, "line\tbreak", "<script>", "a/b"],
    ids=lambda value: value[:9],
)
def test_a_request_id_of_another_shape_is_replaced(
    platform: RunningPlatform, caller: Caller, sent: str
) -> None:
    answer = ask(platform.gateway + "/courses", token=caller.token, headers={"X-Request-Id": sent})
    assert answer.status == 200
    assert answer.headers["X-Request-Id"] not in ("", sent)
