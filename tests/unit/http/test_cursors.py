"""A cursor opens the listing that it was made for, in this service, and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.http import MAX_CURSOR_CHARACTERS, CursorCodec, Problem

# A busy machine is not a failure, and a failure is one everywhere.
EVERYWHERE_THE_SAME = settings(deadline=None, derandomize=True, database=None)
SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"
CODEC = CursorCodec([SECRET])

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
MAPPINGS = st.dictionaries(TEXT, JSON_VALUES, max_size=3)


def refuse(codec: CursorCodec, text: str, binding: dict[str, object]) -> None:
    with pytest.raises(Problem) as caught:
        codec.decode(text, binding=binding)
    assert (caught.value.status, caught.value.code) == (400, "invalid_cursor")


@EVERYWHERE_THE_SAME
@given(MAPPINGS, MAPPINGS)
def test_a_position_comes_back_with_its_binding(
    position: dict[str, object], binding: dict[str, object]
) -> None:
    text = CODEC.encode(position, binding=binding)
    assert CODEC.decode(text, binding=binding) == position
    assert len(text) <= MAX_CURSOR_CHARACTERS
    assert text.replace("-", "").replace("_", "").isalnum()


@EVERYWHERE_THE_SAME
@given(MAPPINGS, MAPPINGS, st.data())
def test_no_changed_character_is_accepted(
    position: dict[str, object], binding: dict[str, object], data: st.DataObject
) -> None:
    text = CODEC.encode(position, binding=binding)
    index = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    replacement = data.draw(
        st.sampled_from("ABCxyz019-_=+/ \n.é\x00").filter(lambda found: found != text[index])
    )
    refuse(CODEC, text[:index] + replacement + text[index + 1 :], binding)


@EVERYWHERE_THE_SAME
@given(MAPPINGS, st.data())
def test_no_shortened_or_lengthened_text_is_accepted(
    position: dict[str, object], data: st.DataObject
) -> None:
    text = CODEC.encode(position, binding={})
    cut = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    refuse(CODEC, text[:cut], {})
    refuse(CODEC, text + data.draw(st.sampled_from(["A", "=", "==", "AAAA", "\n"])), {})


def test_every_bit_counts() -> None:
    text = CODEC.encode({"at": "c1"}, binding={"q": "x"})
    for index, character in enumerate(text):
        for replacement in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
            if replacement != character:
                refuse(CODEC, text[:index] + replacement + text[index + 1 :], {"q": "x"})


@EVERYWHERE_THE_SAME
@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_a_cursor_for_other_filters_is_refused(
    position: dict[str, object], binding: dict[str, object], foreign: dict[str, object]
) -> None:
    text = CODEC.encode(position, binding=binding)
    if repr(foreign) != repr(binding) and foreign != binding:
        refuse(CODEC, text, foreign)


def test_the_order_of_filters_does_not_matter() -> None:
    text = CODEC.encode({"at": 1}, binding={"a": 1, "b": 2})
    assert CODEC.decode(text, binding={"b": 2, "a": 1}) == {"at": 1}


@EVERYWHERE_THE_SAME
@given(MAPPINGS)
def test_another_secret_is_refused(position: dict[str, object]) -> None:
    refuse(CursorCodec([OTHER]), CODEC.encode(position, binding={}), {})


@EVERYWHERE_THE_SAME
@given(MAPPINGS)
def test_rotation_accepts_the_old_and_signs_with_the_new(position: dict[str, object]) -> None:
    rotated = CursorCodec([OTHER, SECRET])
    assert rotated.decode(CODEC.encode(position, binding={}), binding={}) == position
    text = rotated.encode(position, binding={})
    assert CursorCodec([OTHER]).decode(text, binding={}) == position
    refuse(CODEC, text, {})


@EVERYWHERE_THE_SAME
@given(st.text(max_size=300))
def test_no_text_of_a_strangers_is_accepted(text: str) -> None:
    refuse(CODEC, text, {})


def test_a_cursor_of_any_length_is_answered() -> None:
    refuse(CODEC, "A" * 2_000_000, {})


def test_a_position_that_would_not_come_back_is_not_given_out() -> None:
    with pytest.raises(ValueError, match="2048"):
        CODEC.encode({"at": "x" * 2000}, binding={})
    with pytest.raises(ValueError, match="JSON compliant"):
        CODEC.encode({"at": float("nan")}, binding={})


@pytest.mark.parametrize("secrets", [[], [b""], [SECRET[:31]], [SECRET, b"short"]])
def test_weak_secrets_are_refused(secrets: list[bytes]) -> None:
    with pytest.raises(ValueError, match="secret"):
        CursorCodec(secrets)
