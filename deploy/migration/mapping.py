"""What belongs where: a mapping of one source table to one table for each module.

Owns the rules' form and both directions of the mapping: an item to its rows, and rows to their item.
What can be proved of one without data is `_proof.py`'s. Functions that a mapping gives must be pure: the same
item has the same rows, whenever it is asked. Sends nothing.

A target's key is made of the source's key, never of another attribute: each key's changes have an
order, changes of two keys have none, so a cell of two keys could not be kept right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from deploy.migration._items import MARK, MARK_BYTES, MAX_ITEM_BYTES, Item, item_size, unmarked
from deploy.migration._patterns import Field, KeyPattern, PatternError

Fields = Mapping[str, str]

RESERVED = "~migration#"
"""Partition keys that begin like this are the migration's own, in every table."""


class MappingError(ValueError):
    """An item that the mapping cannot place; one clear line, with the item's key."""


class Cell(NamedTuple):
    """The primary key of one item of one table."""

    table: str
    partition: str
    sort: str | None

    def __str__(self) -> str:
        key = self.partition if self.sort is None else f"{self.partition} / {self.sort}"
        return f"{self.table} {key}"


@dataclass(frozen=True)
class Table:
    """A table's name and its key attributes, which hold text."""

    name: str
    partition: str
    sort: str | None = None

    def key(self, cell: Cell) -> Item:
        """The primary key of a cell in wire form."""
        key: dict[str, Mapping[str, str]] = {self.partition: {"S": cell.partition}}
        if self.sort is not None:
            key[self.sort] = {"S": cell.sort or ""}
        return key

    def cell(self, item: Item) -> Cell:
        """The cell of an item, or of a key. Raises MappingError where the key is no text."""
        try:
            sort = None if self.sort is None else str(item[self.sort]["S"])
            return Cell(self.name, str(item[self.partition]["S"]), sort)
        except KeyError as missing:
            raise MappingError(f"{self.name}: an item's key has no text: {missing}") from None

    def attributes(self, item: Item) -> Item:
        """The item without its key and its mark."""
        keys = {self.partition, self.sort, MARK}
        return {name: value for name, value in item.items() if name not in keys}


@dataclass(frozen=True)
class Target:
    """A module of the monolith and the table of the service that it becomes."""

    module: str
    table: Table


@dataclass(frozen=True)
class Source:
    """What a rule's functions see of an item: the fields of its key and its attributes."""

    fields: Fields
    attributes: Item


@dataclass(frozen=True)
class Row:
    """A row of a part: the fields of its key and its attributes without the key."""

    fields: Fields
    attributes: Item


@dataclass(frozen=True, eq=False)
class Part:
    """One kind of row that an item becomes.

    `rows` gives each row's attributes with the fields that its key has besides the source's. The
    partition key has fields of the source's key alone, so that all rows of an item can be found.
    """

    name: str
    partition: KeyPattern
    sort: KeyPattern | None
    rows: Callable[[Source], Iterable[Row]]


@dataclass(frozen=True)
class AttributeIs:
    """A condition on one text attribute. Two with other texts exclude each other."""

    name: str
    text: str

    def holds(self, item: Item) -> bool:
        return item.get(self.name, {}).get("S") == self.text


@dataclass(frozen=True)
class FieldTransform:
    """A field that is spelt otherwise in the target. Checked on every item: back of forward is
    the field again, so two source keys never meet in one cell."""

    forward: Callable[[str], str]
    back: Callable[[str], str]


Compose = Callable[[Fields, Mapping[str, Sequence[Row]]], Item | None]


@dataclass(frozen=True, eq=False)
class Rule:
    """Which items belong to a module, and what each becomes in its table.

    `compose` makes the source item's attributes of all its rows, by part; None where there is no
    such item. What it gives has the same rows again.
    """

    name: str
    target: Target
    partition: KeyPattern
    sort: KeyPattern | None
    parts: tuple[Part, ...]
    compose: Compose
    where: AttributeIs | None = None
    transforms: Mapping[str, FieldTransform] = field(default_factory=dict)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of the fields of the source's key."""
        return key_fields(self.partition, self.sort)


@dataclass(frozen=True, eq=False)
class Nobody:
    """Items of the source that belong to no module here, and why."""

    name: str
    partition: KeyPattern
    sort: KeyPattern | None
    why: str
    where: AttributeIs | None = None


@dataclass(frozen=True, eq=False)
class Stays:
    """Rows of a target that are the service's alone and have no item in the source, and why."""

    target: Target
    partition: KeyPattern
    sort: KeyPattern | None
    why: str


class Origin(NamedTuple):
    """Where a row comes from: its rule, its part, the source's cell."""

    rule: Rule
    part: Part
    source: Cell


class Lookup(NamedTuple):
    """Where rows of one item are: one row, or all of a partition whose sort key begins so."""

    part: Part
    partition: str
    sort: str | None
    prefix: str | None


@dataclass(frozen=True)
class Placed:
    """An item's place: its rule, None for nobody's, and its rows by cell. `name`: of the rule, or of
    what says that it is nobody's."""

    rule: Rule | None
    rows: Mapping[Cell, Item]
    name: str = ""


class SplitMapping:
    """A source table, its rules, what belongs to nobody, and what stays in the targets."""

    def __init__(
        self,
        source: Table,
        rules: Sequence[Rule],
        *,
        nobody: Sequence[Nobody] = (),
        stays: Sequence[Stays] = (),
    ) -> None:
        self.source = source
        self.rules = tuple(rules)
        self.nobody = tuple(nobody)
        self.stays = tuple(stays)
        self._claims: tuple[Rule | Nobody, ...] = (*self.rules, *self.nobody)
        self._parts: dict[str, list[tuple[Rule, Part]]] = {}
        """Of each target's table, in the order in which a cell is compared with them."""
        for rule in self.rules:
            self._parts.setdefault(rule.target.table.name, []).extend(
                (rule, part) for part in rule.parts
            )

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets of the rules, each once, in their order."""
        return tuple(dict.fromkeys(rule.target for rule in self.rules))

    def target(self, module: str) -> Target:
        """The target of a module. Raises KeyError."""
        return {target.module: target for target in self.targets}[module]

    def place(self, item: Item) -> Placed:
        """Where an item belongs, and its rows. Raises MappingError."""
        cell = self.source.cell(item)
        if cell.partition.startswith(RESERVED):
            return Placed(None, {})
        found = [
            (claim, fields)
            for claim in self._claims
            if (fields := _claimed(claim, cell, item)) is not None
        ]
        if not found:
            raise MappingError(f"{cell}: no rule is for it")
        if len(found) > 1:
            names = " and ".join(repr(claim.name) for claim, _ in found)
            raise MappingError(f"{cell}: the rules {names} are all for it")
        ((claim, fields),) = found
        if isinstance(claim, Nobody):
            return Placed(None, {}, claim.name)
        return Placed(claim, dict(self._rows(claim, cell, fields, item)), claim.name)

    def rows(self, item: Item | None) -> Mapping[Cell, Item]:
        """The rows of an item, none where there is no item. Raises MappingError."""
        return {} if item is None else self.place(item).rows

    def origin(self, cell: Cell) -> Origin | Stays | None:
        """What a cell of a target is of; None where no rule and nothing that stays is like it."""
        for rule, part in self._parts.get(cell.table, ()):
            fields = _read(part.partition, part.sort, cell)
            if fields is None:
                continue
            try:
                back = {
                    name: _back(rule, name, value)
                    for name, value in fields.items()
                    if name in rule.fields
                }
                return Origin(rule, part, _cell(self.source, rule, back))
            except (PatternError, KeyError):
                continue
        for stays in self.stays:
            if (
                stays.target.table.name == cell.table
                and _read(stays.partition, stays.sort, cell) is not None
            ):
                return stays
        return None

    def is_like(self, rule: Rule, source: Cell) -> bool:
        """Whether an item of that key can be of the rule."""
        return _read(rule.partition, rule.sort, source) is not None

    def lookups(self, rule: Rule, source: Cell) -> list[Lookup]:
        """Where all rows of a source item are. Raises MappingError."""
        fields = _read(rule.partition, rule.sort, source)
        if fields is None:
            raise MappingError(f"{source}: is not of the rule {rule.name!r}")
        forward = {name: _forward(rule, name, value) for name, value in fields.items()}
        found: list[Lookup] = []
        for part in rule.parts:
            partition = part.partition.format(forward)
            if part.sort is None or set(part.sort.fields) <= forward.keys():
                sort = None if part.sort is None else part.sort.format(forward)
                found.append(Lookup(part, partition, sort, None))
            else:
                found.append(Lookup(part, partition, None, _prefix(part.sort, forward)))
        return found

    def composed(self, rule: Rule, source: Cell, rows: Iterable[Item]) -> Item | None:
        """The source item that these rows of the target are, None where there is none.

        Rows of other items and other parts are left out. Raises MappingError.
        """
        fields = _read(rule.partition, rule.sort, source) or {}
        by_part: dict[str, list[Row]] = {part.name: [] for part in rule.parts}
        for row in rows:
            cell = rule.target.table.cell(row)
            for part in rule.parts:
                read = _read(part.partition, part.sort, cell)
                if read is not None and self._is_of(rule, read, fields):
                    attributes = rule.target.table.attributes(row)
                    by_part[part.name].append(Row(read, attributes))
        with _Named(source, rule):
            composed = rule.compose(fields, by_part)
        if composed is None:
            return None
        item = {**self.source.key(source), **composed}
        size = item_size(item) + MARK_BYTES
        if size > MAX_ITEM_BYTES:
            raise MappingError(f"{source}: would have {size} bytes with the migration's mark")
        return item

    def _is_of(self, rule: Rule, row_fields: Fields, fields: Fields) -> bool:
        return all(
            row_fields[name] == _forward(rule, name, value)
            for name, value in fields.items()
            if name in row_fields
        )

    def _rows(
        self, rule: Rule, cell: Cell, fields: Fields, item: Item
    ) -> Iterator[tuple[Cell, Item]]:
        source = Source(fields, self.source.attributes(unmarked(item)))
        table = rule.target.table
        seen: set[Cell] = set()
        for part in rule.parts:
            with _Named(cell, rule):
                rows = list(part.rows(source))
            for row in rows:
                with _Named(cell, rule):
                    forward = {
                        **row.fields,
                        **{name: _forward(rule, name, value) for name, value in fields.items()},
                    }
                    sort = None if part.sort is None else part.sort.format(forward)
                    placed = Cell(table.name, part.partition.format(forward), sort)
                origin = self.origin(placed)
                if not isinstance(origin, Origin) or (origin.rule, origin.source) != (rule, cell):
                    raise MappingError(
                        f"{cell}: {placed} does not lead back to it: the rule {rule.name!r} "
                        f"transforms keys ambiguously"
                    )
                if placed in seen:
                    raise MappingError(f"{cell}: the rule {rule.name!r} gives {placed} twice")
                seen.add(placed)
                clash = row.attributes.keys() & {table.partition, table.sort, MARK}
                if clash:
                    raise MappingError(f"{cell}: {placed} has {sorted(clash)} as an attribute")
                mapped = {**table.key(placed), **row.attributes}
                size = item_size(mapped) + MARK_BYTES
                if size > MAX_ITEM_BYTES:
                    raise MappingError(
                        f"{cell}: {placed} would have {size} bytes with the migration's mark, "
                        f"more than the {MAX_ITEM_BYTES} of an item"
                    )
                yield placed, mapped


class _Named:
    """Errors of a mapping's functions become one line with the item and the rule."""

    def __init__(self, cell: Cell, rule: Rule) -> None:
        self._cell = cell
        self._rule = rule

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, KeyError):
            raise MappingError(
                f"{self._cell}: the rule {self._rule.name!r}: {error} is missing"
            ) from error
        if isinstance(error, ValueError | TypeError | AttributeError | LookupError):
            raise MappingError(f"{self._cell}: the rule {self._rule.name!r}: {error}") from error


def _claimed(claim: Rule | Nobody, cell: Cell, item: Item) -> Fields | None:
    fields = _read(claim.partition, claim.sort, cell)
    if fields is None or (claim.where is not None and not claim.where.holds(item)):
        return None
    return fields


def _read(partition: KeyPattern, sort: KeyPattern | None, cell: Cell) -> Fields | None:
    read = partition.match(cell.partition)
    if read is None or (sort is None) != (cell.sort is None):
        return None
    if sort is None or cell.sort is None:
        return read
    more = sort.match(cell.sort)
    if more is None or any(read.get(name, value) != value for name, value in more.items()):
        return None
    return {**read, **more}


def _cell(table: Table, rule: Rule, fields: Fields) -> Cell:
    sort = None if rule.sort is None else rule.sort.format(fields)
    return Cell(table.name, rule.partition.format(fields), sort)


def key_fields(partition: KeyPattern, sort: KeyPattern | None) -> frozenset[str]:
    """The names of the fields of a key."""
    return frozenset((*partition.fields, *(() if sort is None else sort.fields)))


def _forward(rule: Rule, name: str, value: str) -> str:
    transform = rule.transforms.get(name)
    return value if transform is None else transform.forward(value)


def _back(rule: Rule, name: str, value: str) -> str:
    transform = rule.transforms.get(name)
    return value if transform is None else transform.back(value)


def _prefix(pattern: KeyPattern, fields: Fields) -> str:
    """What every sort key with these fields begins with."""
    prefix = ""
    for token in pattern.tokens:
        if isinstance(token, Field):
            if token.name not in fields:
                break
            prefix += fields[token.name]
        else:
            prefix += token
    return prefix
