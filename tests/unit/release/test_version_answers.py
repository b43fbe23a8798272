"""Whether the right version answers: what convinces, what is given up, and what is waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.release._errors import ReleaseError
from deploy.release._verify import Identity, Said, Verification, VersionPage, verify, version_url
from tests.unit.release.simulated_ecs import SimulatedTime

OLD, NEW = Identity("0.3.0", "aaa"), Identity("0.3.1", "bbb")
ANSWERS = {
    "old": Said("0.3.0", "aaa"),
    "new": Said("0.3.1", "bbb"),
    "same version, other content": Said("0.3.1", "ccc"),
    "503": Said(trouble="503"),
}


def asked(
    names: list[str], *, expected: Identity | None = NEW, outgoing: Identity | None = OLD
) -> Verification:
    """The last of the answers goes on for ever."""
    time, left = SimulatedTime(), list(names)

    def ask() -> Said:
        return ANSWERS[left.pop(0) if len(left) > 1 else left[0]]

    return verify(
        ask,
        expected,
        outgoing=outgoing,
        consecutive=3,
        within=20,
        pause=0.5,
        clock=time.clock,
        sleep=time.sleep,
    )


def test_enough_right_answers_in_a_row_convince() -> None:
    found = asked(["new"])
    assert (found.is_right, found.answers, found.unexpected) == (True, 3, {})


def test_one_of_the_old_begins_the_row_anew() -> None:
    found = asked(["new", "new", "old", "new"])
    assert (found.is_right, found.answers) == (True, 6)
    assert found.unexpected == {str(ANSWERS["old"]): 1}


@pytest.mark.parametrize("bad", ["old", "503"])
def test_the_old_one_and_errors_may_end(bad: str) -> None:
    assert asked([bad] * 10 + ["new"]).is_right


@pytest.mark.parametrize("bad", ["old", "503"])
def test_but_not_for_ever(bad: str) -> None:
    found = asked([bad])
    assert not found.is_right
    assert "within 20 s there were no 3 answers in a row of 0.3.1" in found.reason


def test_a_third_version_is_given_up_at_once() -> None:
    found = asked(["same version, other content"])
    assert (found.is_right, found.answers) == (False, 3)
    assert found.reason == "0.3.1 (ccc) answers, not 0.3.1 (bbb)"


def test_where_it_is_not_known_who_is_to_answer_anybody_but_the_outgoing_will_do() -> None:
    found = asked(["old", "old", "old", "old", "new"], expected=None)
    assert (found.is_right, found.answers) == (True, 7)


@given(st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=60))
def test_it_is_right_exactly_if_the_last_answers_were(names: list[str]) -> None:
    time, heard = SimulatedTime(), []
    left = iter(names)

    def ask() -> Said:
        heard.append(next(left, names[-1]))
        return ANSWERS[heard[-1]]

    found = verify(
        ask, NEW, outgoing=OLD, consecutive=3, within=20, pause=0.5, clock=time.clock, sleep=time.sleep
    )  # fmt: skip
    assert found.answers == len(heard) <= 41
    assert found.is_right == (heard[-3:] == ["new"] * 3)
    assert sum(found.unexpected.values()) == len(heard) - heard.count("new")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://api.example.org", "https://api.example.org/version"),
        ("https://api.example.org/catalog/", "https://api.example.org/catalog/version"),
        ("https://api.example.org/catalog/version", "https://api.example.org/catalog/version"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/version"),
    ],
)
def test_where_the_version_is_said(address: str, url: str) -> None:
    assert version_url(address) == url


@pytest.mark.parametrize(
    "address",
    ["", "api.example.org", "ftp://x.org", "https://", "https://x.org:y", "https://x.org?a=b"],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ReleaseError, match="--url"):
        version_url(address)


@pytest.fixture()
def page() -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    """A server, and what it answers by path."""
    answers: dict[str, tuple[int, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - the handler's own name
            status, body = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", answers
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b'{"version": "0.3.1", "imageHash": "bbb"}', Said("0.3.1", "bbb")),
        (503, b"", Said(trouble="503")),
        (200, b"<html>", Said(trouble="an answer that is no version")),
        (200, b'{"version": "0.3.1"}', Said(trouble="an answer that is no version")),
        (200, b"[]", Said(trouble="an answer that is no version")),
    ],
)
def test_what_a_page_says(
    page: tuple[str, dict[str, tuple[int, bytes]]], status: int, body: bytes, said: Said
) -> None:
    url, answers = page
    answers["/version"] = (status, body)
    assert VersionPage(f"{url}/version")() == said


def test_no_answer_is_trouble() -> None:
    assert VersionPage("http://127.0.0.1:1/version")().trouble.startswith("no answer")
