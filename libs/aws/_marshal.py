"""Between plain values and DynamoDB's attribute values, without a loss.

Owns the wire form ({"S": …}, {"N": …}). What DynamoDB cannot keep exactly is refused here, before
it is sent: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Limits.html
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

MAX_DIGITS = 38
# Integers from here on cannot all be kept; a number this large was a float.
_INTEGER_BOUND = 10**MAX_DIGITS
_INTEGER = re.compile(r"-?[0-9]{1,38}")
# The range of a DynamoDB number; what is nearer to zero would be refused by the service.
_LARGEST = Decimal("9.9999999999999999999999999999999999999E+125")
_SMALLEST = Decimal("1E-130")


def marshal(item: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """An item in wire form.

    Takes str, bool, None, int (38 digits), finite float, bytes, mapping with str keys, list,
    tuple, and non-empty set of str, of int or float, or of bytes. Raises TypeError for other types
    and ValueError for values that DynamoDB would not keep.
    """
    return {name: marshal_value(value) for name, value in item.items()}


def marshal_value(value: object) -> dict[str, Any]:
    """One attribute value in wire form; as `marshal`."""
    # bool first: it is an int.
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | float():
            return {"N": _number(value)}
        case bytes():
            return {"B": value}
        case set() | frozenset():
            return _marshal_set(value)
        case Mapping():
            if not all(isinstance(name, str) for name in value):
                raise TypeError("a map in DynamoDB has text as keys")
            return {"M": {name: marshal_value(entry) for name, entry in value.items()}}
        case list() | tuple():
            return {"L": [marshal_value(entry) for entry in value]}
    raise TypeError(f"DynamoDB has no type for {type(value).__name__}")


def unmarshal(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An item as plain values: numbers are int where integral (to 38 digits), else float; sets are frozensets;
    lists are lists. Raises ValueError for what is not wire form."""
    # Most values are texts.
    return {
        name: value["S"] if "S" in value and len(value) == 1 else unmarshal_value(value)
        for name, value in item.items()
    }


def unmarshal_value(value: Mapping[str, Any]) -> Any:
    """One attribute value as a plain value; as `unmarshal`."""
    if len(value) != 1:
        raise ValueError("an attribute value has exactly one type")
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return content
        case "N":
            return _parse_number(content)
        case "BOOL":
            return content
        case "NULL":
            return None
        case "M":
            return unmarshal(content)
        case "L":
            return [unmarshal_value(entry) for entry in content]
        case "SS":
            return frozenset(content)
        case "NS":
            return frozenset(map(_parse_number, content))
        case "B":
            return bytes(content)
        case "BS":
            return frozenset(map(bytes, content))
    raise ValueError(f"DynamoDB has no type {kind!r}")


def _number(value: int | float) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("DynamoDB keeps finite numbers only")
        if value.is_integer() and abs(value) < _INTEGER_BOUND:
            # Its exact digits: repr's shortest text of 2.0**60 is another integer.
            return str(int(value))
        # repr is the shortest text that gives the same float back: 17 digits at most.
        text = repr(value)
        if not _SMALLEST <= abs(Decimal(text)) <= _LARGEST:
            raise ValueError("the number is out of DynamoDB's range")
        return text
    if abs(value) >= _INTEGER_BOUND:
        raise ValueError(f"DynamoDB keeps {MAX_DIGITS} digits of a number")
    return str(value)


def _parse_number(text: str) -> int | float:
    if _INTEGER.fullmatch(text):
        return int(text)
    # DynamoDB may answer 1E+2 or 5.0 for an integral number.
    number = Decimal(text)
    if number == number.to_integral_value() and abs(number) < _INTEGER_BOUND:
        return int(number)
    return float(number)


def _marshal_set(values: set[Any] | frozenset[Any]) -> dict[str, Any]:
    if not values:
        raise ValueError("DynamoDB has no empty sets; leave the attribute out")
    if all(isinstance(value, str) for value in values):
        return {"SS": sorted(values)}
    if all(isinstance(value, bytes) for value in values):
        return {"BS": sorted(values)}
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return {"NS": [_number(value) for value in sorted(values)]}
    raise TypeError("a set in DynamoDB holds text, numbers or bytes, all of one kind")
