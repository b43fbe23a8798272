"""Dimensions: which values a series may be told apart by, and how many of them there can be.

Each combination of values is a metric of its own, kept for 15 months and billed as one. So none is
open-ended: what a client can choose must never become a value of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection

OTHER = "other"
"""The value that stands for all those beyond the bound."""

_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
# CloudWatch refuses a whole document for one value that is empty or blank, is not ASCII, has
# control characters or begins with a colon (PutMetricData, "Dimension"). It takes 1,024 characters.
_VALUE = re.compile(r"[!-9;-~][ -~]{0,254}")


class Dimension:
    """A name and the values it may take; share one object between instruments that belong together.

    Either ``values`` is the closed set of them, or the first ``maximum`` distinct values count as
    themselves for the rest of the process's life. Every other value is `OTHER`.
    """

    __slots__ = ("_admitted", "_maximum", "name")

    def __init__(
        self, name: str, *, values: Collection[str] | None = None, maximum: int | None = None
    ) -> None:
        """Raises ValueError for a name that is not PascalCase, and unless exactly one bound is given."""
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"a dimension's name is PascalCase, not {name!r}")
        if (values is None) == (maximum is None):
            raise ValueError(f"{name} needs either its values or their maximum number")
        if maximum is not None and not 1 <= maximum <= 1000:
            raise ValueError(f"the maximum of {name} is a number from 1 to 1000")
        wrong = [value for value in values or () if _VALUE.fullmatch(value) is None]
        if wrong:
            raise ValueError(f"CloudWatch does not take {wrong} as values of {name}")
        self.name = name
        self._admitted = {OTHER, *(values or ())}
        self._maximum = len(self._admitted) if maximum is None else maximum + 1

    @property
    def limit(self) -> int:
        """How many values there can be at most, `OTHER` included."""
        return self._maximum

    def admit(self, value: str) -> str:
        """The value itself while there is room for it, else `OTHER`."""
        if value in self._admitted:
            return value
        if len(self._admitted) >= self._maximum or _VALUE.fullmatch(value) is None:
            return OTHER
        self._admitted.add(value)
        return value
