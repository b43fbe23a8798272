"""DynamoDB's published rule of what a request consumes, by the bytes of rows in wire form.

Owns the rule alone. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

_READ_BYTES = 4096
_WRITE_BYTES = 1024


def read_units(rows: Iterable[Mapping[str, Any]], *, consistent: bool) -> float:
    """Of rows that are read together: one that is read by itself is rounded up by itself."""
    steps = max(1, math.ceil(sum(map(item_bytes, rows)) / _READ_BYTES))
    return steps * (1.0 if consistent else 0.5)


def write_units(row: Mapping[str, Any]) -> float:
    """Of a row that is written, or that refuses to be; without its indexes."""
    return float(max(1, math.ceil(item_bytes(row) / _WRITE_BYTES)))


def item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """The bytes that DynamoDB counts for an item in wire form."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(content) // 2 + 2
        case "B":
            return len(content)
        case "SS" | "NS" | "BS":
            return sum(_value_bytes({kind[0]: member}) for member in content)
        case "L":
            return 3 + sum(1 + _value_bytes(member) for member in content)
        case "M":
            return 3 + len(content) + item_bytes(content)
    return 1  # BOOL and NULL
