"""Attribute values survive the way to DynamoDB and back, exactly."""

import math
from decimal import Decimal

import pytest
from boto3.dynamodb.types import TypeDeserializer
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.aws import marshal, unmarshal

# A busy machine is not a failure, and a failure is one everywhere.
EVERYWHERE_THE_SAME = settings(deadline=None, derandomize=True, database=None)
INTEGERS = st.integers(min_value=-(10**38) + 1, max_value=10**38 - 1)
# DynamoDB's own range; what is smaller or larger is refused (a test below).
FLOATS = st.floats(
    allow_nan=False, allow_infinity=False, min_value=-9.9e125, max_value=9.9e125
).filter(lambda number: number == 0 or abs(number) >= 1e-130)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXT | st.binary()
SETS = (
    st.frozensets(TEXT, min_size=1)
    | st.frozensets(INTEGERS | FLOATS, min_size=1)
    | st.frozensets(st.binary(), min_size=1)
)
VALUES = st.recursive(
    SCALARS | SETS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@EVERYWHERE_THE_SAME
@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_every_item_comes_back_equal(item: dict[str, object]) -> None:
    assert unmarshal(marshal(item)) == item


@EVERYWHERE_THE_SAME
@given(st.dictionaries(TEXT, SCALARS, max_size=5))
def test_types_come_back_but_for_integral_floats(item: dict[str, object]) -> None:
    for name, value in unmarshal(marshal(item)).items():
        original = item[name]
        if isinstance(original, float) and original.is_integer():
            assert isinstance(value, int if abs(original) < 1e38 else float)
        else:
            assert value.__class__ is original.__class__


@EVERYWHERE_THE_SAME
@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_the_wire_form_means_the_same_to_boto3(item: dict[str, object]) -> None:
    wire = marshal(item)
    theirs = TypeDeserializer()
    for name, value in item.items():
        if isinstance(value, bool | int | float | str | None):
            assert theirs.deserialize(wire[name]) == (
                Decimal(marshal({"": value})[""]["N"]) if isinstance(value, float) else value
            )


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (True, {"BOOL": True}),
        (False, {"BOOL": False}),
        (None, {"NULL": True}),
        ("", {"S": ""}),
        (0, {"N": "0"}),
        (-(10**38) + 1, {"N": "-" + "9" * 38}),
        (0.1, {"N": "0.1"}),
        (2.0**60, {"N": "1152921504606846976"}),
        (1e100, {"N": "1e+100"}),
        (-0.0, {"N": "0"}),
        ([], {"L": []}),
        ({}, {"M": {}}),
        ((1, "a"), {"L": [{"N": "1"}, {"S": "a"}]}),
        ({"b", "a"}, {"SS": ["a", "b"]}),
        ({2, 1}, {"NS": ["1", "2"]}),
        (b"\x00", {"B": b"\x00"}),
        ({"deep": {"er": [True, {"": ""}]}}, None),
    ],
)
def test_wire_forms(value: object, wire: object) -> None:
    marshalled = marshal({"a": value})
    if wire is not None:
        assert marshalled == {"a": wire}
    back = unmarshal(marshalled)["a"]
    assert back == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        10**38,
        -(10**38) - 1,
        1.5e-200,
        1.5e200,
        10**126,
        set(),
        frozenset(),
    ],
)
def test_what_dynamodb_would_not_keep_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="DynamoDB"):
        marshal({"a": value})


@pytest.mark.parametrize("value", [object(), Decimal(1), {1, "a"}, {True}, {1: "a"}, 1j])
def test_what_has_no_type_there_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        marshal({"a": value})


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ("5.0", 5), ("1E+2", 100), ("-0", 0), ("0.5", 0.5), ("1.5E-3", 0.0015)],
)
def test_numbers_as_dynamodb_may_spell_them(text: str, number: float) -> None:
    back = unmarshal({"n": {"N": text}})["n"]
    assert back == number
    assert isinstance(back, int) is isinstance(number, int)


@pytest.mark.parametrize("value", [{}, {"S": "a", "N": "1"}, {"X": 1}])
def test_what_is_not_wire_form_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"type"):
        unmarshal({"a": value})
