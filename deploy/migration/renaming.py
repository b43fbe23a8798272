"""The most frequent rule: one row for an item, attributes renamed.

Owns `Renamed`, whose `rows` and `compose` are a rule's in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deploy.migration._items import Item
from deploy.migration.mapping import Fields, Row, Source


def _same(value: Mapping[str, object]) -> Mapping[str, object]:
    return value


@dataclass(frozen=True)
class Attribute:
    """An attribute that is named or written otherwise in the target.

    `default` gives the value where the source has none; None leaves it out. An item that has none
    though it is `required` is an error. What the row has goes back under the source's name.
    """

    source: str
    target: str
    forward: Callable[[Mapping[str, object]], Mapping[str, object]] = _same
    back: Callable[[Mapping[str, object]], Mapping[str, object]] = _same
    default: Callable[[Source], Mapping[str, object] | None] | None = None
    required: Callable[[Source], bool] = lambda _: False


@dataclass(frozen=True)
class Derived:
    """An attribute of the target that follows from the others of the row; not brought back."""

    target: str
    compute: Callable[[Row], Mapping[str, object] | None]


@dataclass(frozen=True)
class Renamed:
    """One row for an item: attributes renamed, some derived; all others go as they are."""

    attributes: tuple[Attribute, ...] = ()
    derived: tuple[Derived, ...] = ()

    def rows(self, source: Source) -> list[Row]:
        """As `Part.rows`. Raises ValueError where two attributes would have one name."""
        renamed = {attribute.source for attribute in self.attributes}
        row: dict[str, Mapping[str, object]] = {
            name: value for name, value in source.attributes.items() if name not in renamed
        }
        made = {attribute.target for attribute in self.attributes if attribute.target in row} | {
            derived.target for derived in self.derived if derived.target in row
        }
        if made:
            raise ValueError(f"has an attribute of the target's name already: {sorted(made)}")
        for attribute in self.attributes:
            value = source.attributes.get(attribute.source)
            if value is not None:
                row[attribute.target] = attribute.forward(value)
            elif attribute.required(source):
                raise ValueError(f"{attribute.source!r} is missing")
            elif attribute.default is not None:
                default = attribute.default(source)
                if default is not None:
                    row[attribute.target] = default
        for derived in self.derived:
            computed = derived.compute(Row(source.fields, row))
            if computed is not None:
                row[derived.target] = computed
        return [Row({}, row)]

    def compose(self, _: Fields, rows: Mapping[str, Sequence[Row]]) -> Item | None:
        """As `Rule.compose`, for a rule of one part."""
        ((row, *more),) = (tuple(rows.values())) if any(rows.values()) else ((None,),)
        if row is None:
            return None
        if more:
            raise ValueError("has more than one row")
        names = {attribute.target: attribute for attribute in self.attributes}
        left_out = {derived.target for derived in self.derived}
        item: dict[str, Mapping[str, object]] = {}
        for name, value in row.attributes.items():
            if name in names:
                item[names[name].source] = names[name].back(value)
            elif name not in left_out:
                item[name] = value
        return item
