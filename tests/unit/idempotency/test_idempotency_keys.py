"""The key as it is spelt, and which requests are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.idempotency import MAX_KEY_CHARACTERS, fingerprint, parse_key

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)


@given(PRINTABLE.filter(lambda key: len(key) <= MAX_KEY_CHARACTERS))
def test_a_quoted_key_is_what_it_quotes(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_key(f'"{escaped}"') == key


@pytest.mark.parametrize(
    "key", ["8e03978e-40d5-43e8-bc93-6894a57f9324", "a", "A/b+c==", "x" * 255, "~!#$%&'()*:<=>?@[]"]
)
def test_bare_and_quoted_are_the_same_key(key: str) -> None:
    assert parse_key(key) == parse_key(f'"{key}"') == parse_key(f" \t{key} ") == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        '""',
        '"',
        '"a',
        'a"',
        '"a"b"',
        '"a\\b"',
        '"a\\"',
        "a b",
        "a,b",
        "a;b",
        "a\\b",
        '"a";p=1',
        '"a", "b"',
        "a\x00b",
        '"a\x00b"',
        "a\x7f",
        "schlüssel",
        '"schlüssel"',
        "a\n",
        "x" * 256,
        '"' + "x" * 256 + '"',
        ":aGVsbG8=:" * 100,
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_key(text)


@given(st.text())
def test_any_text_is_a_bounded_key_or_a_value_error(text: str) -> None:
    try:
        key = parse_key(text)
    except ValueError:
        return
    assert 1 <= len(key) <= MAX_KEY_CHARACTERS
    assert key.isascii()
    assert key.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def _shuffled(value: object) -> object:
    if isinstance(value, dict):
        return {name: _shuffled(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return [_shuffled(member) for member in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


@given(JSON)
def test_the_same_value_is_the_same_request(body: object) -> None:
    assert fingerprint("POST", "/x", {}, body) == fingerprint("POST", "/x", {}, _shuffled(body))


@pytest.mark.parametrize(
    "other",
    [
        ("PUT", "/things", {"a": "1"}, {"b": 1}),
        ("POST", "/other", {"a": "1"}, {"b": 1}),
        ("POST", "/things", {"a": "2"}, {"b": 1}),
        ("POST", "/things", {"a": "1"}, {"b": 2}),
        ("POST", "/things", {"a": "1"}, {"b": "1"}),
        ("POST", "/things", {"a": "1"}, {"b": True}),
        ("POST", "/things", {"a": "1"}, {"b": [1]}),
        ("POST", "/things", {"a": "1"}, {"b": 1, "c": None}),
        ("POST", "/things", {"a": "1"}, None),
    ],
)
def test_whatever_differs_makes_another_request(
    other: tuple[str, str, dict[str, str], object],
) -> None:
    assert fingerprint(*other) != fingerprint("POST", "/things", {"a": "1"}, {"b": 1})
    assert len(fingerprint(*other)) == 64
