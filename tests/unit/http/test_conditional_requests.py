"""ETag, If-None-Match, If-Match and HEAD, as RFC 9110 has them."""

import pytest

from tests.unit.http.sample_app import Client


@pytest.mark.parametrize(
    "known",
    ['"v1"', 'W/"v1"', "*", '"v0", "v1"', '"v0","v1"', ' "v1" ', '"v0", W/"v1",', ',"v1"'],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_the_client_holds_is_not_sent_again(
    client: Client, known: str, method: str
) -> None:
    answer = await client.call(method, "/things/t1", headers={"If-None-Match": known})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["ETag"] == '"v1"'
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Vary"] == "Authorization, Origin"
    assert "Content-Type" not in answer.headers


@pytest.mark.parametrize(
    "known", ['"v2"', "v1", '"v1', "", '"V1"', '"v0" "v1"', "W/v1", 'w/"v1"', '"v1", *', "**"]
)
async def test_what_it_does_not_hold_is_sent(client: Client, known: str) -> None:
    answer = await client.call("GET", "/things/t1", headers={"If-None-Match": known})
    assert answer.status == 200
    assert (await answer.json())["version"] == 1


@pytest.mark.parametrize("path", ["/things/t1", "/things", "/me", "/healthz", "/docs"])
async def test_head_is_get_without_the_body(client: Client, path: str) -> None:
    get = await client.call("GET", path)
    head = await client.call("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    ignored = {"Date", "X-Request-ID", "X-Amzn-Trace-Id"}
    assert {name: value for name, value in head.headers.items() if name not in ignored} == {
        name: value for name, value in get.headers.items() if name not in ignored
    }
    assert int(head.headers["Content-Length"]) == len(get.body)


@pytest.mark.parametrize("known", ['"v1"', "*", '"v0", "v1"'])
async def test_a_change_of_what_the_client_saw(client: Client, known: str) -> None:
    answer = await client.call("PUT", "/things/t1", headers={"If-Match": known})
    assert (answer.status, answer.headers["ETag"]) == (200, '"v2"')


@pytest.mark.parametrize("known", ['"v0"', 'W/"v1"', '"v0", W/"v1"'])
async def test_a_change_of_what_has_changed_meanwhile(client: Client, known: str) -> None:
    answer = await client.call("PUT", "/things/t1", headers={"If-Match": known})
    assert answer.status == 412
    assert (await answer.json())["code"] == "precondition_failed"
    assert client.sample.version == 1


async def test_a_change_of_what_the_client_never_saw(client: Client) -> None:
    answer = await client.call("PUT", "/things/t1")
    assert answer.status == 428
    assert (await answer.json())["code"] == "precondition_required"


@pytest.mark.parametrize("known", ["", "v1", '"v1', '"v1" "v2"', "*, *", ","])
async def test_an_if_match_that_is_no_list_of_tags(client: Client, known: str) -> None:
    answer = await client.call("PUT", "/things/t1", headers={"If-Match": known})
    assert answer.status == 400
    assert (await answer.json())["code"] == "invalid_header"


async def test_if_none_match_does_not_turn_a_change_into_304(client: Client) -> None:
    headers = {"If-Match": '"v1"', "If-None-Match": '"v2"'}
    assert (await client.call("PUT", "/things/t1", headers=headers)).status == 200
