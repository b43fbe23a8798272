"""Configuration is read typed, every problem is reported at once, and secrets stay out of messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.config import ConfigurationError, Environment

SECRET = "0123456789abcdef0123456789abcdef"


def problems_of(read: Callable[[Environment], object], **variables: str) -> tuple[str, ...]:
    environment = Environment("CATALOG_", variables)
    read(environment)
    with pytest.raises(ConfigurationError) as refusal:
        environment.finish()
    assert str(refusal.value) == "\n".join(refusal.value.problems)
    return refusal.value.problems


def test_a_complete_configuration_is_read_with_its_types() -> None:
    environment = Environment(
        "CATALOG_",
        {
            "CATALOG_TABLE": "CourseCatalog",
            "CATALOG_PORT": "8081",
            "CATALOG_RATE": "0.05",
            "CATALOG_TRACING": "True",
            "CATALOG_ISSUER": "https://issuer.example/pool/",
            "CATALOG_ORIGINS": "https://a.example, https://b.example",
            "CATALOG_CURSOR_SECRET": SECRET,
            "CATALOG_CURSOR_SECRETS": f"{SECRET},{SECRET[::-1]}",
            "CATALOG_PERMISSIONS": '{"groups": {"staff": ["catalog:write"]}}',
            "OTHER_TABLE": "is another prefix's business",
        },
    )
    assert environment.text("TABLE", pattern="[A-Za-z0-9_.-]{3,255}") == "CourseCatalog"
    assert environment.integer("PORT", minimum=0, maximum=65535) == 8081
    assert environment.number("RATE", minimum=0, maximum=1) == 0.05
    assert environment.flag("TRACING") is True
    assert environment.url("ISSUER") == "https://issuer.example/pool"
    assert environment.words("ORIGINS") == ("https://a.example", "https://b.example")
    assert environment.secret("CURSOR_SECRET", minimum_bytes=32) == SECRET.encode()
    assert environment.secrets("CURSOR_SECRETS", minimum_bytes=32) == (
        SECRET.encode(),
        SECRET[::-1].encode(),
    )
    assert environment.json("PERMISSIONS", default=None) == {"groups": {"staff": ["catalog:write"]}}
    environment.finish()


@pytest.mark.parametrize("variables", [{}, {"CATALOG_" + name: "" for name in "ABCDEFG"}])
def test_defaults_stand_for_what_is_missing_or_empty(variables: dict[str, str]) -> None:
    environment = Environment("CATALOG_", variables)
    assert environment.text("A", default="", pattern="x") == ""
    assert environment.integer("B", minimum=1, maximum=2, default=2) == 2
    assert environment.number("C", minimum=0, maximum=1, default=0.5) == 0.5
    assert environment.flag("D", default=True) is True
    assert environment.url("E", default="") == ""
    assert environment.words("F", default=("a",)) == ("a",)
    assert environment.json("G", default={"a": 1}) == {"a": 1}
    environment.finish()


def test_every_problem_is_reported_at_once() -> None:
    def read(environment: Environment) -> None:
        environment.text("TABLE")
        environment.integer("PORT", minimum=0, maximum=65535)
        environment.url("ISSUER")
        environment.secret("CURSOR_SECRET", minimum_bytes=32)
        environment.flag("TRACING")
        environment.reject("PERMISSIONS", "grants an unknown permission")

    assert problems_of(
        read,
        CATALOG_PORT="80 80",
        CATALOG_CURSOR_SECRET="short",
        CATALOG_TRACING="maybe",
        CATALOG_ISUER="https://issuer.example",
        CATALOG_COLOUR="red",
        CATALOGUE="not of this prefix",
    ) == (
        "CATALOG_TABLE is missing",
        "CATALOG_PORT must be a whole number from 0 to 65535",
        "CATALOG_ISSUER is missing",
        "CATALOG_CURSOR_SECRET must have at least 32 bytes",
        "CATALOG_TRACING must be true or false",
        "CATALOG_PERMISSIONS grants an unknown permission",
        "CATALOG_COLOUR is not a known variable",
        "CATALOG_ISUER is not a known variable, did you mean CATALOG_ISSUER?",
    )


def test_reading_goes_on_with_placeholders_of_the_right_type() -> None:
    environment = Environment("CATALOG_", {})
    assert environment.text("A") == ""
    assert environment.integer("B", minimum=7, maximum=9) == 7
    assert environment.number("C", minimum=0.5, maximum=1) == 0.5
    assert environment.url("D") == "http://unset.invalid"
    assert len(environment.secret("E", minimum_bytes=32)) == 32
    assert [len(key) for key in environment.secrets("F", minimum_bytes=16)] == [16]


def test_a_placeholder_secret_cannot_be_guessed() -> None:
    environment = Environment("CATALOG_", {})
    one = environment.secret("A", minimum_bytes=32)
    assert one != environment.secret("A", minimum_bytes=32)
    assert one != bytes(32)


def test_a_problem_is_reported_once_however_often_it_is_met() -> None:
    def read(environment: Environment) -> None:
        environment.text("TABLE")
        environment.text("TABLE")

    assert problems_of(read) == ("CATALOG_TABLE is missing",)


@pytest.mark.parametrize(
    "value", ["abc", "0x10", "1_0", " 1", "1 ", "1.0", "1e3", "-1", "65536", "\u0661"]
)
def test_integers_are_plain_decimals_in_range(value: str) -> None:
    assert problems_of(
        lambda environment: environment.integer("PORT", minimum=0, maximum=65535),
        CATALOG_PORT=value,
    ) == ("CATALOG_PORT must be a whole number from 0 to 65535",)


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", "1e-3", ".5", "0,5", "1.1", "-0.1", "1" * 400]
)
def test_numbers_are_plain_decimals_in_range(value: str) -> None:
    assert problems_of(
        lambda environment: environment.number("RATE", minimum=0, maximum=1), CATALOG_RATE=value
    ) == ("CATALOG_RATE must be a number from 0 to 1",)


@pytest.mark.parametrize(
    "value",
    [
        "issuer.example",
        "ftp://issuer.example",
        "http://",
        "https:///path",
        "https://user:hunter2@issuer.example",
        "https://issuer.example/#part",
        "https://issuer.example/a b",
        "https://issuer.example:port",
        "https://issuer.example:99999",
        "https://[::1",
        "https://issuer.example/\r\nX-Injected: 1",
    ],
)
def test_urls_are_absolute_http_urls(value: str) -> None:
    (problem,) = problems_of(lambda environment: environment.url("ISSUER"), CATALOG_ISSUER=value)
    assert problem.startswith("CATALOG_ISSUER must ")
    assert value not in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("http://127.0.0.1:4566", "http://127.0.0.1:4566"),
        ("http://[::1]:4566//", "http://[::1]:4566"),
        ("https://issuer.example/keys?next=/", "https://issuer.example/keys?next=/"),
    ],
)
def test_urls_lose_trailing_slashes_of_the_path_only(value: str, read: str) -> None:
    assert Environment("CATALOG_", {"CATALOG_URL": value}).url("URL") == read


@pytest.mark.parametrize("value", ["one\ntwo", "nul\x00", "line\u2028end", "\x1b[31m", "\udcff"])
def test_texts_have_no_control_characters(value: str) -> None:
    assert problems_of(lambda environment: environment.text("TABLE"), CATALOG_TABLE=value) == (
        "CATALOG_TABLE must not contain control characters",
    )


def test_a_pattern_matches_the_whole_text() -> None:
    assert problems_of(
        lambda environment: environment.text("TABLE", pattern="[a-z]+"), CATALOG_TABLE="table; drop"
    ) == ("CATALOG_TABLE must match [a-z]+",)


@pytest.mark.parametrize("value", [",", "a,", ",a", "a,,b", "a, ,b", "a,a", "a,b\n,c\x00"])
def test_words_are_separated_by_single_commas_and_differ(value: str) -> None:
    (problem,) = problems_of(
        lambda environment: environment.words("ORIGINS"), CATALOG_ORIGINS=value
    )
    assert problem.startswith("CATALOG_ORIGINS must ")


@pytest.mark.parametrize(
    "value",
    [
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        "[1e999]",
        "[-Infinity]",
        "{'a': 1}",
        "[" * 100_000,
        '{"password": "hunter2"',
    ],
)
def test_json_is_strict_and_never_quoted(value: str) -> None:
    assert problems_of(
        lambda environment: environment.json("PERMISSIONS", default={}), CATALOG_PERMISSIONS=value
    ) == ("CATALOG_PERMISSIONS must be a JSON document without duplicate keys",)


@pytest.mark.parametrize("value", [SECRET + "\n", " " + SECRET, SECRET[:-1], "\udcff" * 32])
def test_unfit_secrets_are_refused(value: str) -> None:
    (problem,) = problems_of(
        lambda environment: environment.secret("KEY", minimum_bytes=32), CATALOG_KEY=value
    )
    assert problem.startswith("CATALOG_KEY must ")


def test_each_of_several_secrets_must_be_fit() -> None:
    assert problems_of(
        lambda environment: environment.secrets("KEYS", minimum_bytes=32),
        CATALOG_KEYS=f"{SECRET},",
    ) == ("CATALOG_KEYS must have at least 32 bytes",)


@settings(deadline=None)  # a busy machine is not a failure
@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=4))
def test_no_message_ever_shows_a_secret(value: str) -> None:
    environment = Environment("CATALOG_", {"CATALOG_KEY": value})
    environment.secret("KEY", minimum_bytes=10_000)
    with pytest.raises(ConfigurationError) as refusal:
        environment.finish()
    assert str(refusal.value) == "CATALOG_KEY must have at least 10000 bytes"


def test_a_secret_is_counted_in_bytes_of_utf_8() -> None:
    environment = Environment("CATALOG_", {"CATALOG_KEY": "é" * 16})
    assert len(environment.secret("KEY", minimum_bytes=32)) == 32
    environment.finish()


def test_a_hostile_variable_name_cannot_forge_a_line() -> None:
    assert problems_of(lambda environment: None, **{"CATALOG_X\nCATALOG_OK": "1"}) == (
        "CATALOG_X?CATALOG_OK is not a known variable",
    )


@pytest.mark.parametrize("prefix", ["", "CATALOG", "catalog_", "_", "1_", "CATALOG_\n"])
def test_a_prefix_is_upper_case_with_an_underscore(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        Environment(prefix, {})


def test_words_without_a_default_are_required() -> None:
    environment = Environment("APP_", {})
    assert environment.words("CLIENTS", default=None) == ()
    with pytest.raises(ConfigurationError) as refused:
        environment.finish()
    assert refused.value.problems == ("APP_CLIENTS is missing",)
