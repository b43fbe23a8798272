"""Secrets do not reach a log: by name, by shape, at any depth, in headers, URLs and exceptions."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.logging import (
    REDACTED,
    get_logger,
    redact_event,
    redact_headers,
    redact_text,
    redact_url,
)
from libs.logging.testing import captured_logs


def _segment(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


CLAIMS = {"sub": "8d0f", "token_use": "access"}
SIGNATURE = "c2lnbmF0dXJlLW9mLXRoZS10b2tlbi1pbi1hLXRlc3Q"
TOKEN = f"{_segment({'kid': 'k', 'alg': 'RS256'})}.{_segment(CLAIMS)}.{SIGNATURE}"
PRESIGNED = (
    "https://lyceum-content.s3.eu-central-1.amazonaws.com/videos/intro-7f3a.mp4"
    "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIAEXAMPLEEXAMPLE12%2F20260102%2Feu"
    "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host"
    "&X-Amz-Security-Token=IQoJb3JpZ2luX2VjEJ&X-Amz-Signature=5d672d79c15b13162d9279b0855cfba6"
)
SECRET = "correct-horse-battery-staple"


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer {SECRET}",
        f"bearer   {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: Basic {SECRET}",
        f"AUTHORIZATION={SECRET}",
        f"{{'Authorization': 'Digest username=\"x\", response=\"{SECRET}\"'}}",
        f'{{"Authorization": "Basic {SECRET}"}}',
        f'{{\\"Authorization\\": \\"Basic {SECRET}\\"}}',
        f"((b'Authorization', b'Basic {SECRET}'), (b'Host', b'x'))",
        f"<CIMultiDictProxy('Authorization': 'Basic {SECRET}', 'Host': 'x')>",
        f"Authorization: AWS4-HMAC-SHA256 Credential={SECRET}/2026, Signature={SECRET}",
        f"Cookie: session={SECRET}; theme=dark",
        f"Set-Cookie: session={SECRET}; HttpOnly",
        f"'Cookie': 'a=\\'{SECRET}\\'; b=c'",
        f"GET /?access_token={SECRET}&a=b HTTP/1.1",
        f"id_token={SECRET}",
        f"password={SECRET}",
        f"password = '{SECRET} with blanks {SECRET}'",
        f'{{"password": "{SECRET}", "a": 1}}',
        f'"password": "an unfinished \\" quote {SECRET}',
        f"db_password: {SECRET}",
        f"client_secret={SECRET}",
        f"aws_secret_access_key={SECRET}",
        f"X-Api-Key: {SECRET}",
        f"apiKey={SECRET}",
        f"passphrase='{SECRET}'",
        f"secrets=['{SECRET}', '{SECRET}']",
        f"token={{'S': '{SECRET}'}}",
        f"token=Token(value='{SECRET}')",
        f"next=https%3A%2F%2Fx%2F%3Ftoken%3D{SECRET}",
        f"https://user:{SECRET}@issuer.example/path",
        f"redis://:{SECRET}@127.0.0.1:6379/0",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    ],
)
def test_credentials_are_taken_out_of_text(text: str) -> None:
    shown = redact_text(text)
    assert SECRET not in shown
    assert REDACTED in shown
    assert redact_text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"verification of {TOKEN} failed",
        f"token_{TOKEN}",
        f"'{TOKEN}'",
        TOKEN.rpartition(".")[0],
        TOKEN.rpartition(".")[0] + ".",
        TOKEN[: len(TOKEN) // 2],
        f"{TOKEN}.{SIGNATURE}.{SIGNATURE}",
        base64.urlsafe_b64encode(b'{ "alg": "RS256" }').decode() + f".{SIGNATURE}.{SIGNATURE}",
        base64.urlsafe_b64encode(b'{\n"alg":"RS256"}').decode() + f".{SIGNATURE}.{SIGNATURE}",
    ],
)
def test_jwt_shaped_text_is_taken_out_wherever_it_is(text: str) -> None:
    shown = redact_text(text)
    assert REDACTED in shown
    for segment in TOKEN.split("."):
        assert segment not in shown


@pytest.mark.parametrize(
    "text",
    [
        PRESIGNED,
        f"GET {PRESIGNED} -> 403",
        f"'{PRESIGNED}'",
        PRESIGNED.partition("?")[2],
        PRESIGNED[: PRESIGNED.index("&X-Amz-Signature") + 30],
        "https://s3.amazonaws.com/b/intro-7f3a.mp4?AWSAccessKeyId=AKIAEXAMPLEEXAMPLE12&Signature=5d672d79",
    ],
)
def test_pre_signed_queries_are_taken_out(text: str) -> None:
    for shown in (redact_text(text), redact_url(text)):
        assert "5d672d79" not in shown
        assert "ASIAEXAMPLE" not in shown
        assert "AKIAEXAMPLE" not in shown
        assert "IQoJb3JpZ2luX2VjEJ" not in shown


def test_of_a_pre_signed_url_not_even_the_objects_key_remains() -> None:
    assert (
        redact_url(PRESIGNED) == f"https://lyceum-content.s3.eu-central-1.amazonaws.com/{REDACTED}"
    )
    assert "intro-7f3a" not in redact_text(f"fetched {PRESIGNED}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.example/courses?limit=5&q=a", "https://api.example/courses?limit=5&q=a"),
        ("https://u:p@api.example:8443/a", "https://api.example:8443/a"),
        ("https://api.example/a?token=x&b=1", f"https://api.example/a?token={REDACTED}&b=1"),
        ("https://api.example/cb#access_token=x", "https://api.example/cb"),
        ("/courses?access_token=x", f"/courses?access_token={REDACTED}"),
        (f"https://api.example/{TOKEN}", f"https://api.example/{REDACTED}"),
        ("https://[::1", REDACTED),
    ],
)
def test_urls(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_headers() -> None:
    assert redact_headers(
        {
            "Authorization": f"Bearer {TOKEN}",
            "COOKIE": "a=b",
            "Set-Cookie": "a=b",
            "Proxy-Authorization": "Basic abc",
            "X-Amz-Security-Token": "abc",
            "x-api-key": "abc",
            "Accept": "application/json",
            "Referer": f"https://x/?token={SECRET}",
        }
    ) == {
        "Authorization": REDACTED,
        "COOKIE": REDACTED,
        "Set-Cookie": REDACTED,
        "Proxy-Authorization": REDACTED,
        "X-Amz-Security-Token": REDACTED,
        "x-api-key": REDACTED,
        "Accept": "application/json",
        "Referer": f"https://x/?token={REDACTED}",
    }


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "db_password",
        "userPasswd",
        "clientSecret",
        "CURSOR_SECRETS",
        "accessToken",
        "refresh-token",
        "idToken",
        "Authorization",
        "cookie",
        "set_cookie",
        "x-api-key",
        "apiKey",
        "awsSecretAccessKey",
        "aws.access.key.id",
        "privateKey",
        "credentials",
        "X-Amz-Signature",
        "jwt",
        "x" * 500 + "password",
    ],
)
@pytest.mark.parametrize("value", [SECRET, 271828, [SECRET], {"S": SECRET}, SECRET.encode()])
def test_values_under_secret_names_are_hidden_at_any_depth(name: str, value: object) -> None:
    with captured_logs() as events:
        get_logger("tests").info("event", **{name: value}, nested=[{"deep": ({name: value},)}])
    text = json.dumps(events)
    assert SECRET not in text
    assert "271828" not in text
    assert text.count(REDACTED) == 2


def test_absent_values_and_flags_stay_readable() -> None:
    with captured_logs() as events:
        get_logger("tests").info("event", token=None, hasCookie=True)
    assert events[0]["token"] is None
    assert events[0]["hasCookie"] is True


def test_headers_written_as_pairs_are_hidden() -> None:
    with captured_logs() as events:
        get_logger("tests").info("event", headers=[("Authorization", SECRET), ("Accept", "a/b")])
    assert events[0]["headers"] == [["Authorization", REDACTED], ["Accept", "a/b"]]


@pytest.mark.parametrize("secret", [TOKEN, f"Bearer {SECRET}", PRESIGNED, f"password={SECRET}"])
def test_nothing_secret_comes_through_whatever_way_it_is_logged(secret: str) -> None:
    class Holder:
        def __repr__(self) -> str:
            return f"Holder({secret})"

    def fail() -> None:
        local = secret  # frames are logged, their variables are not
        try:
            raise KeyError(local)
        except KeyError as error:
            error.add_note(local)
            raise ExceptionGroup(local, [ValueError(local, {local: local})]) from error

    log = get_logger("tests")
    with captured_logs() as events:
        log.info(secret)
        log.info("event", value=secret, **{secret: secret})
        log.info("event", value=Holder(), values=[[{secret: (secret, {secret})}]])
        log.bind(bound=secret).info("event", error=RuntimeError(secret))
        try:
            fail()
        except ExceptionGroup:
            log.exception("failed")
    text = json.dumps(events)
    assert len(events) == 5
    for part in (SECRET, SIGNATURE, "5d672d79", "IQoJb3JpZ2luX2VjEJ", "intro-7f3a"):
        assert part not in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET",
        "/courses/{courseId}",
        "Basic algebra, for everyone",
        "keyboard shortcuts: the essentials",
        "services.course_catalog.storage.dynamodb",
        "lyceum-internal-balancer.eu-central-1.elb.amazonaws.com",
        "https://lyceum.example/problems/course_not_found",
        "libs.auth.InvalidTokenError: expired",
        "2026-01-02T03:04:05.678Z",
        "1-5759e988-bd862e3fe1be46a994272793",
        "8d0f6b1e-0c1c-4a0e-9a8a-0c6d8a3c7f10",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact_text(text) == text


def test_the_processor_gives_a_new_dictionary_of_plain_values() -> None:
    given = {"event": "x", "password": SECRET, "nested": {"when": (1, 2)}}
    shown = redact_event(None, "info", given)
    assert shown == {"event": "x", "password": REDACTED, "nested": {"when": [1, 2]}}
    assert given["password"] == SECRET


@settings(deadline=None)  # a busy machine is not a failure
@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    assert isinstance(redact_text(text), str)
    assert isinstance(redact_url(text), str)


@pytest.mark.parametrize(
    "part",
    [
        "token",
        "eyJ",
        "ey",
        "ey-",
        "eyJ=",
        "a",
        "-",
        "://",
        "password='",
        'password="\\',
        "token=(",
        "token=[",
        "token={",
        "bearer ",
        "cookie ",
        "secret \\",
        "authorization\\\\",
        "-----BEGIN PRIVATE KEY-----",
        "https://x?",
        "x-amz-",
        "token\n",
        " ",
        "credential-",
    ],
)
def test_redaction_is_linear_in_hostile_text(part: str) -> None:
    """A pattern that backtracks would need minutes here; the bound is generous for slow machines."""
    text = part * (100_000 // len(part))
    started = time.process_time()
    redact_text(text)
    assert time.process_time() - started < 2
