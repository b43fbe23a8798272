"""What a mapping means for the data that is there, before anything is changed.

Owns the survey: every item is placed and mapped, and everything that is wrong is a line of its own,
all at once. Writes nothing and keeps nothing but counts and a bounded number of examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from deploy.migration._items import MARK_BYTES, MAX_ITEM_BYTES, Item, canonical, item_size, mark_of
from deploy.migration.mapping import MappingError, SplitMapping

MAX_EXAMPLES: Final = 20
NEAR_BYTES: Final = MAX_ITEM_BYTES * 95 // 100
"""A row from here on is named: its next update may be refused."""


@dataclass
class Survey:
    """What was found.

    `problems` forbid the migration, `warnings` do not. `more` counts problems beyond the examples.
    """

    items: int = 0
    bytes: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    rows_by_module: Counter[str] = field(default_factory=Counter)
    bytes_by_module: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    more: int = 0

    def problem(self, line: str) -> None:
        """One more problem; beyond MAX_EXAMPLES they are counted alone."""
        if len(self.problems) < MAX_EXAMPLES:
            self.problems.append(line)
        else:
            self.more += 1


def check_mapping(mapping: SplitMapping) -> Survey:
    """A survey that has met no item yet: what is wrong with the mapping by itself, all of it."""
    return Survey(problems=mapping.problems())


def survey_items(mapping: SplitMapping, items: Iterable[Item], survey: Survey) -> None:
    """Place and map each item, there and back."""
    for item in items:
        survey.items += 1
        survey.bytes += item_size(item)
        try:
            _survey_item(mapping, item, survey)
        except MappingError as error:
            survey.problem(str(error))


def _survey_item(mapping: SplitMapping, item: Item, survey: Survey) -> None:
    if mark_of(item) is not None:
        raise MappingError(f"{mapping.source.cell(item)}: carries the mark of another migration")
    placed = mapping.place(item)
    rule = placed.rule
    if rule is None:
        survey.by_rule["nobody's"] += 1
        return
    survey.by_rule[rule.name] += 1
    for cell, row in placed.rows.items():
        size = item_size(row) + MARK_BYTES
        survey.rows_by_module[rule.target.module] += 1
        survey.bytes_by_module[rule.target.module] += size
        if size >= NEAR_BYTES:
            survey.warnings.append(f"{cell}: has {size} of {MAX_ITEM_BYTES} bytes")
    source = mapping.source.cell(item)
    back = mapping.composed(rule, source, placed.rows.values())
    again = mapping.rows(back)
    if again.keys() != placed.rows.keys() or any(
        canonical(again[cell]) != canonical(row) for cell, row in placed.rows.items()
    ):
        raise MappingError(
            f"{source}: the rule {rule.name!r} does not lead back: the item that its rows give "
            f"has other rows"
        )


async def survey_table(
    mapping: SplitMapping, pages: AsyncIterable[Sequence[Item]], survey: Survey
) -> None:
    """`survey_items` for every page. A mapping that is wrong by itself is not tried on data."""
    if mapping.problems():
        return
    async for page in pages:
        survey_items(mapping, page, survey)
