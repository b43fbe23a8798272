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
from deploy.migration._ports import TableFacts
from deploy.migration._proof import problems
from deploy.migration.mapping import Cell, MappingError, SplitMapping

MAX_EXAMPLES: Final = 20
NEAR_BYTES: Final = MAX_ITEM_BYTES * 95 // 100
"""A row from here on is named: its next update may be refused."""

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_MOST_PARTITION_BYTES: Final = 2048
_MOST_SORT_BYTES: Final = 1024


@dataclass
class Survey:
    """What was found.

    `problems` forbid the migration, `warnings` do not. `more` and `more_warnings` count those beyond
    the examples. Write units are by table, `largest` the largest row's bytes by module.
    """

    items: int = 0
    bytes: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    rows_by_module: Counter[str] = field(default_factory=Counter)
    bytes_by_module: Counter[str] = field(default_factory=Counter)
    write_units: Counter[str] = field(default_factory=Counter)
    largest: Counter[str] = field(default_factory=Counter)
    facts: dict[str, TableFacts] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    more: int = 0
    more_warnings: int = 0

    def problem(self, line: str) -> None:
        """One more problem; beyond MAX_EXAMPLES they are counted alone."""
        if len(self.problems) < MAX_EXAMPLES:
            self.problems.append(line)
        else:
            self.more += 1

    def warning(self, line: str) -> None:
        """As `problem`, of what forbids nothing."""
        if len(self.warnings) < MAX_EXAMPLES:
            self.warnings.append(line)
        else:
            self.more_warnings += 1

    def lines(self) -> list[str]:
        """The problems, and how many more there are."""
        return [*self.problems, *([f"and {self.more} more like these"] if self.more else [])]


def check_mapping(mapping: SplitMapping) -> Survey:
    """A survey that has met no item yet: what is wrong with the mapping by itself, all of it."""
    return Survey(problems=problems(mapping))


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
        raise MappingError(
            f"{mapping.source.cell(item)}: carries the mark of an earlier migration (`cancel` of that removes it)"
        )
    placed = mapping.place(item)
    rule = placed.rule
    if rule is None:
        survey.by_rule[placed.name] += 1
        return
    survey.by_rule[rule.name] += 1
    module = rule.target.module
    for cell, row in placed.rows.items():
        size = item_size(row) + MARK_BYTES
        survey.rows_by_module[module] += 1
        survey.bytes_by_module[module] += size
        survey.largest[module] = max(survey.largest[module], size)
        if size >= NEAR_BYTES:
            survey.warning(
                f"{cell}: has {size} of {MAX_ITEM_BYTES} bytes; an update may soon be refused"
            )
        _check_row(cell, row, size, survey)
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


def _check_row(cell: Cell, row: Item, size: int, survey: Survey) -> None:
    """What the table itself would refuse; and the write units that the row takes of it."""
    for text, most, which in (
        (cell.partition, _MOST_PARTITION_BYTES, "partition"),
        (cell.sort or "", _MOST_SORT_BYTES, "sort"),
    ):
        if len(text.encode()) > most:
            raise MappingError(f"{cell}: its {which} key has more than {most} bytes")
    facts = survey.facts.get(cell.table)
    if facts is None:
        return
    for name, kind in facts.types.items():
        value = row.get(name)
        if value is not None and (kind not in value or not value[kind]):
            raise MappingError(
                f"{cell}: {name!r} must be of type {kind} and not empty, for it is a key of an index"
            )
    indexed = sum(all(name in row for name in index.key) for index in facts.indexes)
    survey.write_units[cell.table] += -(-size // 1024) * (1 + indexed)


async def survey_table(
    mapping: SplitMapping, pages: AsyncIterable[Sequence[Item]], survey: Survey
) -> None:
    """`survey_items` for every page. A mapping that is wrong by itself is not tried on data."""
    if problems(mapping):
        return
    async for page in pages:
        survey_items(mapping, page, survey)
    for rule in mapping.rules:
        if not survey.by_rule[rule.name]:
            survey.warning(f"no item is of the rule {rule.name!r}")
