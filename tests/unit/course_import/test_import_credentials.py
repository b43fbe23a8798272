"""Where the token comes from, and where it may go."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from deploy.course_import._credentials import Credentials, find_credentials
from libs.api_access import AccessError

HERE = "http://127.0.0.1:8080"


def find(
    source: str, gateway: str | None, state: Path = Path("nowhere"), stdin: str = ""
) -> Credentials:
    return find_credentials(source, gateway, state=state, stdin=io.StringIO(stdin))


@pytest.mark.parametrize(
    "content",
    ["abc.def.ghi", "abc.def.ghi\n", "Bearer abc.def.ghi", "Authorization: Bearer abc.def.ghi\n"],
)
def test_a_file_holds_the_token_or_the_header_of_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    assert find(str(file), HERE).read_token() == "abc.def.ghi"
    assert find("-", HERE, stdin=content).read_token() == "abc.def.ghi"


def test_a_file_is_read_again_standard_input_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    credentials = find(str(file), HERE)
    assert credentials.read_token() == "one"
    file.write_text("two")
    assert credentials.read_token() == "two"
    kept = find("-", HERE, stdin="one")
    assert (kept.read_token(), kept.read_token()) == ("one", "one")


def test_the_platform_on_this_machine_names_its_gateway_and_keeps_a_header_for_each_user(
    tmp_path: Path,
) -> None:
    (tmp_path / "headers").mkdir()
    (tmp_path / "headers" / "author").write_text("Authorization: Bearer abc\n")
    (tmp_path / "platform.json").write_text(json.dumps({"gateway": HERE}))
    credentials = find("platform:author", None, tmp_path)
    assert (credentials.gateway, credentials.read_token()) == (HERE, "abc")
    with pytest.raises(AccessError, match="no token of user nobody"):
        find("platform:nobody", None, tmp_path).read_token()
    with pytest.raises(AccessError, match="no name of a demo user"):
        find("platform:../../etc/passwd", None, tmp_path)
    with pytest.raises(AccessError, match="no platform runs on this machine"):
        find("platform:author", None, tmp_path / "other")


@pytest.mark.parametrize(
    ("gateway", "why"),
    [
        (None, "--gateway is missing"),
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
def test_a_token_does_not_go_just_anywhere(gateway: str | None, why: str) -> None:
    with pytest.raises(AccessError, match=why) as caught:
        find("-", gateway, stdin="t")
    assert "secret" not in str(caught.value)
