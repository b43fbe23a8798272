"""One conditional UpdateItem, put together clause by clause.

Owns the spelling of DynamoDB's expressions; knows no row. Every attribute name goes through a
placeholder, because DynamoDB reserves several hundred words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from libs.aws import marshal

Scalar: TypeAlias = str | int | float


class ConditionalUpdate:
    """The clauses of an UpdateItem. All conditions must hold for it to happen."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, object] = {}
        self._set: list[str] = []
        self._remove: list[str] = []
        self._add: list[str] = []
        self._delete: list[str] = []
        self._conditions: list[str] = []

    def set(self, attribute: str, value: Scalar) -> None:
        """SET the attribute."""
        self._set.append(f"{self._name(attribute)} = {self._value(value)}")

    def remove(self, attribute: str) -> None:
        """REMOVE the attribute; one that is not there is no error."""
        self._remove.append(self._name(attribute))

    def add_to_set(self, attribute: str, members: Collection[str]) -> None:
        """ADD: the union of the stored string set and `members`, whatever is stored by then."""
        self._add.append(f"{self._name(attribute)} {self._value(frozenset(members))}")

    def delete_from_set(self, attribute: str, members: Collection[str]) -> None:
        """DELETE: the stored string set without `members`."""
        self._delete.append(f"{self._name(attribute)} {self._value(frozenset(members))}")

    def require_absent(self, attribute: str) -> None:
        """Only where the attribute, or the whole row, does not exist."""
        self._conditions.append(self._absent(attribute))

    def require_equal(self, attribute: str, value: Scalar) -> None:
        """Only where the attribute has this value."""
        self._conditions.append(f"{self._name(attribute)} = {self._value(value)}")

    def require_less(self, attribute: str, value: Scalar) -> None:
        """Only where the attribute exists and is less."""
        self._conditions.append(f"{self._name(attribute)} < {self._value(value)}")

    def require_absent_or_less(self, attribute: str, value: Scalar) -> None:
        """Only where the attribute does not exist or is less: a register that only grows."""
        self._conditions.append(
            f"({self._absent(attribute)} OR {self._name(attribute)} < {self._value(value)})"
        )

    def require_absent_or_greater(self, attribute: str, value: Scalar) -> None:
        """Only where the attribute does not exist or is greater: a register that only sinks."""
        self._conditions.append(
            f"({self._absent(attribute)} OR {self._name(attribute)} > {self._value(value)})"
        )

    def require_absent_or_before(self, ranking: Mapping[str, Scalar]) -> None:
        """Only where the stored tuple of these attributes does not exist or is less.

        Tuples are compared as Python does, attribute by attribute in the order of `ranking`. The
        attributes are written together, so the first stands for all of them.
        """
        first = next(iter(ranking))
        before = ""
        for attribute, value in reversed(list(ranking.items())):
            name, placeholder = self._name(attribute), self._value(value)
            less = f"{name} < {placeholder}"
            before = f"({less} OR ({name} = {placeholder} AND {before}))" if before else less
        self._conditions.append(f"({self._absent(first)} OR {before})")

    def require_absent_or_smaller(self, attribute: str, size: int) -> None:
        """Only where the stored set does not exist or has at most `size` members."""
        self._conditions.append(
            f"({self._absent(attribute)} OR size({self._name(attribute)}) <= {self._value(size)})"
        )

    def parameters(self) -> dict[str, Any]:
        """UpdateItem's expression parameters. Needs at least one clause and one condition."""
        clauses = {
            "SET": self._set,
            "REMOVE": self._remove,
            "ADD": self._add,
            "DELETE": self._delete,
        }
        return {
            "UpdateExpression": " ".join(
                f"{keyword} {', '.join(parts)}" for keyword, parts in clauses.items() if parts
            ),
            "ConditionExpression": " AND ".join(self._conditions),
            "ExpressionAttributeNames": {name: stored for stored, name in self._names.items()},
            "ExpressionAttributeValues": marshal(self._values),
        }

    def _absent(self, attribute: str) -> str:
        return f"attribute_not_exists({self._name(attribute)})"

    def _name(self, attribute: str) -> str:
        return self._names.setdefault(attribute, f"#{attribute}")

    def _value(self, value: object) -> str:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = value
        return placeholder
