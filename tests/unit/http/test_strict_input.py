"""Bad input, each kind with its exact answer."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.unit.http.sample_app import Answer, Client

JSON = {"Content-Type": "application/json"}


async def refusal(answer: Answer) -> tuple[int, str]:
    problem = await answer.json()
    assert answer.content_type == "application/problem+json"
    assert problem["status"] == answer.status
    return answer.status, str(problem["code"])


async def echo(client: Client, body: bytes, **headers: str) -> Answer:
    return await client.call("POST", "/echo", data=body, headers={**JSON, **headers})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Expecting value at line 1 column 1"),
        (b"{", "line 1 column 2"),
        (b'{"a":1}x', "Extra data"),
        (b"{'a':1}", "double quotes"),
        (b'{"a":1,"a":1}', 'duplicate name "a"'),
        (b'{"x":{"a":1,"b":2,"a":3}}', 'duplicate name "a"'),
        (b'{"a":1,"\\u0061":2}', 'duplicate name "a"'),
        (b'{"a":NaN}', "NaN is not a JSON number"),
        (b"[Infinity]", "Infinity is not a JSON number"),
        (b"-Infinity", "-Infinity is not a JSON number"),
        (b"1e400", "out of range"),
        (b"-1e400", "out of range"),
        (b"9" * 39, "38 digits"),
        (b"9" * 5000, "38 digits"),
        (b"01", "Extra data"),
        (b'"\xff"', "invalid UTF-8 at byte 1"),
        (b"\xef\xbb\xbf{}", "byte-order mark"),
        (b"\xff\xfe{\x00}\x00", "invalid UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b'"\x01"', "Invalid control character"),
        (b"[" * 10_000 + b"]" * 10_000, "nested deeper than 64"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested deeper than 64"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64"),
        (b"[" * 10_000, "nested deeper than 64"),
    ],
)
async def test_what_is_not_strict_json_is_malformed(client: Client, body: bytes, said: str) -> None:
    answer = await echo(client, body)
    assert await refusal(answer) == (400, "malformed_json")
    detail = (await answer.json())["detail"]
    assert said in str(detail)


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        -1.5e10,
        10**38 - 1,
        "ü\u0000𝄞",
        [[]] * 200,
        {"a": {"a": {"a": []}}},
        json.loads("[" * 64 + "]" * 64),
        json.loads("[" * 63 + '{"a":"\\u00e9"}' + "]" * 63),
    ],
)
async def test_what_is_strict_json_is_read(client: Client, value: object) -> None:
    answer = await echo(client, json.dumps(value).encode())
    assert answer.status == 200
    assert await answer.json() == {"value": value}


async def test_an_escaped_pair_is_one_character(client: Client) -> None:
    answer = await echo(client, b'"\\ud834\\udd1e"')
    assert await answer.json() == {"value": "𝄞"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/merge-patch+json"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_another_media_type_is_unsupported(client: Client, headers: dict[str, str]) -> None:
    answer = await client.call("POST", "/echo", data=b"{}", headers=headers)
    assert await refusal(answer) == (415, "unsupported_media_type")
    assert answer.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "APPLICATION/JSON", 'application/json;charset="UTF-8"'],
)
async def test_the_same_media_type_otherwise_spelt(client: Client, content_type: str) -> None:
    answer = await client.call("POST", "/echo", data=b"1", headers={"Content-Type": content_type})
    assert answer.status == 200


async def test_two_content_types_are_unsupported(client: Client) -> None:
    answer = await client.raw(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
        b"Content-Type: application/json\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {client.token}\r\n\r\n".encode()
        + b"{}"
    )
    # aiohttp's parser refuses the repetition before the layer sees it.
    assert answer.split(b"\r\n")[0] in (
        b"HTTP/1.1 415 Unsupported Media Type",
        b"HTTP/1.1 400 Bad Request",
        b"HTTP/1.0 400 Bad Request",
    )


async def test_a_body_of_one_mebibyte_is_too_large(client: Client) -> None:
    answer = await echo(client, b"1" * 2**20)
    assert await refusal(answer) == (413, "body_too_large")


async def test_a_declared_length_is_refused_before_a_byte_of_it_is_sent(client: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.listener.port)
    writer.write(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n"
        b"Content-Type: application/json\r\n"
        + f"Authorization: Bearer {client.token}\r\n\r\n".encode()
    )
    await writer.drain()
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_body_without_a_length_is_cut_off_at_the_bound(client: Client) -> None:
    sent = 0
    stop = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while not stop.is_set():
            sent += 65_536
            yield b" " * 65_536

    try:
        async with client.session.post(
            f"{client.url}/echo",
            data=endless(),
            headers={**JSON, "Authorization": f"Bearer {client.token}"},
        ) as response:
            assert response.status == 413
            assert (await response.json(content_type=None))["code"] == "body_too_large"
    finally:
        stop.set()
    # Buffers of the sockets lie between what was sent and what was read.
    assert sent < 64 * 2**20


async def test_a_content_coding_in_a_second_line_is_unsupported(client: Client) -> None:
    answer = await client.raw(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
        b"Content-Type: application/json\r\nContent-Encoding: identity\r\n"
        b"Content-Encoding: gzip\r\n"
        + f"Authorization: Bearer {client.token}\r\n\r\n".encode()
        + b"{}"
    )
    assert answer.startswith(b"HTTP/1.1 415 ")


async def test_a_body_of_exactly_the_bound_is_read(client: Client) -> None:
    answer = await echo(client, b'"' + b"a" * (262_144 - 2) + b'"')
    assert answer.status == 200


async def test_every_error_of_a_body_is_reported(client: Client) -> None:
    answer = await client.call(
        "POST",
        "/things",
        json={
            "thingId": "a/b",
            "occurredAt": "2026-01-02T03:04:05",
            "size": "3",
            "done": 1,
            "parts": [{"name": "", "weight": 2}, {"weight": "x", "extra~/": 1}],
            "byKey": {"~/": 1, "k": "v"},
            "unknown": True,
        },
    )
    assert await refusal(answer) == (422, "invalid_body")
    problem = await answer.json()
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert {error["pointer"]: error["message"] for error in errors} == {
        "/thingId": "String should match pattern '^[A-Za-z0-9_-]{1,64}$'",
        "/occurredAt": "must be an RFC 3339 timestamp with a zone",
        "/size": "Input should be a valid integer",
        "/done": "Input should be a valid boolean",
        "/parts/0/name": "String should have at least 1 character",
        "/parts/0/weight": "Input should be less than or equal to 1",
        "/parts/1/name": "is required",
        "/parts/1/weight": "Input should be a valid number",
        "/parts/1/extra~0~1": "is not known here",
        "/byKey/~0~1": "String should match pattern '^[A-Za-z0-9_-]{1,64}$'",
        "/byKey/k": "Input should be a valid integer",
        "/unknown": "is not known here",
    }


async def test_a_body_of_nothing_but_mistakes_has_a_bounded_answer(client: Client) -> None:
    answer = await client.call("POST", "/things", json={f"x{number}": 1 for number in range(9000)})
    assert await refusal(answer) == (422, "invalid_body")
    errors = (await answer.json())["errors"]
    assert isinstance(errors, list)
    assert len(errors) == 1000


@pytest.mark.parametrize("character", ["a", "/", "\N{MUSICAL SYMBOL G CLEF}"])
async def test_a_long_name_is_not_repeated_in_every_error_below_it(
    client: Client, character: str
) -> None:
    name = character * 10_000
    answer = await client.call(
        "POST", "/things", json={name: 1, "thingId": "t1", "byKey": {name: "v", "k": "v"}}
    )
    assert await refusal(answer) == (422, "invalid_body")
    errors = (await answer.json())["errors"]
    assert isinstance(errors, list)
    assert sorted(error["pointer"] for error in errors) == ["", "/byKey", "/byKey", "/byKey/k"]
    assert len(answer.body) < 1000


async def test_a_wrong_name_is_pointed_at_whatever_it_is(client: Client) -> None:
    answer = await client.call("POST", "/things", json={"thingId": "t1", "byKey": {"[key]": 1}})
    errors = (await answer.json())["errors"]
    assert isinstance(errors, list)
    assert [error["pointer"] for error in errors] == ["/byKey/[key]"]


@pytest.mark.parametrize("body", [[], "text", 1, None, True])
async def test_a_body_of_another_shape(client: Client, body: object) -> None:
    answer = await client.call("POST", "/things", data=json.dumps(body).encode(), headers=JSON)
    assert await refusal(answer) == (422, "invalid_body")
    errors = (await answer.json())["errors"]
    assert errors == [{"pointer": "", "message": "Input should be an object"}]


@pytest.mark.parametrize("name", ["thing_id", "THINGID"])
async def test_fields_have_one_spelling(client: Client, name: str) -> None:
    answer = await client.call("POST", "/things", json={name: "t1"})
    assert await refusal(answer) == (422, "invalid_body")


async def test_errors_repeat_nothing_of_the_input(client: Client) -> None:
    answer = await client.call(
        "POST", "/things", json={"thingId": "s3cr3t s3cr3t", "size": "s3cr3t", "done": "s3cr3t"}
    )
    assert answer.status == 422
    assert b"s3cr3t" not in answer.body


async def test_a_valid_body_is_read_and_rendered(client: Client) -> None:
    body = {
        "thingId": "t1",
        "occurredAt": "2026-01-02T04:04:05.678+01:00",
        "size": 3,
        "done": True,
        "parts": [{"name": "ü", "weight": 1}],
        "byKey": {"k": 1},
    }
    answer = await client.call("POST", "/things", json=body)
    assert answer.status == 201
    assert answer.headers["Location"] == "/things/t1"
    assert await answer.json() == {**body, "occurredAt": "2026-01-02T03:04:05.678Z"} | {
        "parts": [{"name": "ü", "weight": 1.0}]
    }


async def test_a_patch_is_checked_after_it_is_merged(client: Client) -> None:
    patch = {"Content-Type": "application/merge-patch+json"}
    answer = await client.call("PATCH", "/things/t1", data=b'{"size":4}', headers=patch)
    assert (await answer.json())["size"] == 4
    answer = await client.call("PATCH", "/things/t1", data=b'{"nope":4}', headers=patch)
    assert await refusal(answer) == (422, "invalid_body")
    answer = await client.call("PATCH", "/things/t1", data=b"{}", headers=JSON)
    assert await refusal(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("limit=0", ["/limit"]),
        ("limit=-1", ["/limit"]),
        ("limit=101", ["/limit"]),
        ("limit=abc", ["/limit"]),
        ("limit=", ["/limit"]),
        ("limit", ["/limit"]),
        ("limit=0x1", ["/limit"]),
        ("limit=1_0", ["/limit"]),
        ("limit=%201", ["/limit"]),
        ("limit=1.0", ["/limit"]),
        ("limit=1e1", ["/limit"]),
        ("limit=%D9%A1", ["/limit"]),
        ("limit=" + "9" * 400, ["/limit"]),
        ("limit=1&limit=1", ["/limit"]),
        ("limit=1&limit=x", ["/limit", "/limit"]),
        ("unknown=1", ["/unknown"]),
        ("Limit=1", ["/Limit"]),
        ("updated_since=2026-01-02T03:04:05Z", ["/updated_since"]),
        ("updatedSince=2026-01-02T03:04:05", ["/updatedSince"]),
        ("updatedSince=2026-01-02", ["/updatedSince"]),
        ("updatedSince=1767323045", ["/updatedSince"]),
        ("kind=BIG", ["/kind"]),
        ("kind=huge&limit=x&z=1", ["/kind", "/limit", "/z"]),
        ("a~/b=1", ["/a~0~1b"]),
    ],
)
async def test_a_wrong_query_is_refused_with_every_error(
    client: Client, query: str, pointers: list[str]
) -> None:
    answer = await client.call("GET", f"/things?{query}")
    assert await refusal(answer) == (400, "invalid_query")
    errors = (await answer.json())["errors"]
    assert isinstance(errors, list)
    assert [error["pointer"] for error in errors] == pointers


@pytest.mark.parametrize("query", ["kind=%FF", "kind=%ZZ", "kind=%", "%C3=1", "kind=%ED%A0%80"])
async def test_a_query_that_is_no_text(client: Client, query: str) -> None:
    answer = await client.call("GET", f"/things?{query}")
    assert await refusal(answer) == (400, "invalid_query")


@pytest.mark.parametrize("query", ["", "?", "?&", "?limit=50", "?limit=%35%30&"])
async def test_a_query_that_says_the_default(client: Client, query: str) -> None:
    answer = await client.call("GET", f"/things{query}")
    assert (answer.status, await answer.json()) == (
        200,
        {"limit": 50, "updatedSince": None, "kind": None},
    )


async def test_a_query_in_full(client: Client) -> None:
    answer = await client.call(
        "GET", "/things?limit=1&updatedSince=2026-01-02T03:04:05%2B01:00&kind=big"
    )
    assert await answer.json() == {
        "limit": 1,
        "updatedSince": "2026-01-02T02:04:05.000Z",
        "kind": "big",
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/things/a%2Fb", (400, "invalid_path")),
        ("/things/%2F", (400, "invalid_path")),
        ("/things/..", (400, "invalid_path")),
        ("/things/.", (400, "invalid_path")),
        ("/things/%2e%2e", (400, "invalid_path")),
        ("/things/%2e%2e%2fme", (400, "invalid_path")),
        ("/things/%00", (400, "invalid_path")),
        ("/things/a%00b", (400, "invalid_path")),
        ("/things/a%0A", (400, "invalid_path")),
        ("/things/%C3%BC", (400, "invalid_path")),
        ("/things/%FF", (400, "invalid_path")),
        ("/things/%", (400, "invalid_path")),
        ("/things/%ZZ", (400, "invalid_path")),
        ("/things/a b".replace(" ", "%20"), (400, "invalid_path")),
        ("/things/a+b", (400, "invalid_path")),
        ("/things/a;b", (400, "invalid_path")),
        ("/things/{thingId}", (404, "not_found")),
        ("/things/" + "a" * 65, (400, "invalid_path")),
        ("/things/" + "a" * 4000, (400, "invalid_path")),
        ("/things/", (404, "not_found")),
        ("/things/a/b", (404, "not_found")),
        ("/things/../me", (404, "not_found")),
        ("//things/t1", (404, "not_found")),
        ("/things//t1", (404, "not_found")),
        ("/%74hings%2Ft1", (404, "not_found")),
        ("/nothing", (404, "not_found")),
        ("/", (404, "not_found")),
    ],
)
async def test_ids_and_paths(client: Client, path: str, expected: tuple[int, str]) -> None:
    for method in ("GET", "PUT") if expected[0] == 404 else ("GET",):
        answer = await client.call(method, path)
        assert await refusal(answer) == expected
        head = await client.call("HEAD", path)
        assert (head.status, head.body) == (expected[0], b"")


@pytest.mark.parametrize("path", ["/things/" + "a" * 64, "/things/A_-9", "/%74hings/%61"])
async def test_ids_that_are_ids(client: Client, path: str) -> None:
    assert (await client.call("GET", path)).status == 200


@pytest.mark.parametrize(
    "target", [b"/things/\x00", b"/things/\xff\xfe", b"/things/a b", b"http://other/things/t1"]
)
async def test_request_targets_in_raw_bytes(client: Client, target: bytes) -> None:
    answer = await client.raw(
        b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Authorization: Bearer " + client.token.encode() + b"\r\n\r\n"
    )
    status = int(answer.split(b" ", 2)[1])
    assert status in (200, 400, 404)
    if status != 200:
        assert b"\r\nContent-Type: application/problem+json" in answer
