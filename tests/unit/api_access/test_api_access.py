"""A token out of a file, and where it may go."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.api_access import AccessError, checked_gateway, read_token, token_in


@pytest.mark.parametrize(
    "content",
    ["abc.def.ghi", "abc.def.ghi\n", "Bearer abc.def.ghi", "Authorization: Bearer abc.def.ghi\n"],
)
def test_a_file_holds_the_token_or_the_header_of_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content, encoding="utf-8")
    assert read_token(file) == token_in(content, "it") == "abc.def.ghi"


@pytest.mark.parametrize("content", ["", "two words", "a\nb", "x" * 20_000, "geheim€"])
def test_what_is_no_token_is_said_and_not_shown(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(AccessError, match="does not hold a token") as caught:
        read_token(file)
    assert not content or content not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="no token of somebody: there is no"):
        read_token(tmp_path / "token", "somebody")
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(AccessError, match="can not be read"):
        read_token(tmp_path / "token")


@pytest.mark.parametrize(
    ("gateway", "sent_to"),
    [
        ("https://api.example.org/", "https://api.example.org"),
        ("https://api.example.org/v1", "https://api.example.org/v1"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_gateways(gateway: str, sent_to: str) -> None:
    assert checked_gateway(gateway) == sent_to


@pytest.mark.parametrize(
    ("gateway", "why"),
    [
        ("http://api.example.org", "by https only"),
        ("http://127.0.0.1.example.org", "by https only"),
        ("ftp://127.0.0.1", "is not like"),
        ("api.example.org", "is not like"),
        ("https://", "is not like"),
        ("https://x.example:port", "is not like"),
        ("https://x.example?a=b", "is not like"),
        ("https://user:secret@x.example", "holds a password"),
    ],
)
def test_a_token_does_not_go_just_anywhere(gateway: str, why: str) -> None:
    with pytest.raises(AccessError, match=why) as caught:
        checked_gateway(gateway)
    assert "secret" not in str(caught.value)
