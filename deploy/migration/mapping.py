"""What belongs where: a mapping of one source table to one table for each module.

Owns the rules' form, what can be proved of them without data, and both directions of the mapping:
an item to its rows, and rows to their item. Functions that a mapping gives must be pure: the same
item has the same rows, whenever it is asked. Sends nothing.

A target's key is made of the source's key, never of another attribute: each key's changes have an
order, changes of two keys have none, so a cell of two keys could not be kept right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
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
        return _fields(self.partition, self.sort)


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

    def problems(self) -> list[str]:
        """Everything that is wrong with the mapping whatever the data, each a line."""
        return [
            *self._overlaps(),
            *(problem for rule in self.rules for problem in _unprovable(self.source, rule)),
            *self._collisions(),
        ]

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

    def _overlaps(self) -> Iterator[str]:
        claims: list[Rule | Nobody] = [*self.rules, *self.nobody]
        names = [claim.name for claim in claims]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"two rules have the name {name!r}"
        for one, other in combinations(claims, 2):
            shared = _shared(one.partition, one.sort, other.partition, other.sort)
            if shared is None:
                continue
            if _exclude(one.where, other.where):
                targets = {claim.target for claim in (one, other) if isinstance(claim, Rule)}
                if len(targets) > 1:
                    yield (
                        f"the rules {one.name!r} and {other.name!r} are of two modules: one item, "
                        f"as {_shown(shared)}, would have two owners"
                    )
            else:
                yield (
                    f"the rules {one.name!r} and {other.name!r} overlap: "
                    f"both are for {_shown(shared)}"
                )

    def _collisions(self) -> Iterator[str]:
        """Parts, and what stays, whose keys can meet in one table."""
        claims = [
            (f"the part {part.name!r} of {rule.name!r}", rule.target, part.partition, part.sort)
            for rule in self.rules
            for part in rule.parts
        ] + [
            (f"what stays in {stays.target.table.name} ({stays.why})", stays.target,
             stays.partition, stays.sort)
            for stays in self.stays
        ]  # fmt: skip
        own = KeyPattern(f"{RESERVED}{{rest:rest}}")
        for name, _, partition, _ in claims:
            if partition.common(own) is not None:
                yield f"{name} can have keys that begin with {RESERVED!r}, the migration's own"
        for one, other in combinations(claims, 2):
            if one[1].table.name != other[1].table.name:
                continue
            shared = _shared(one[2], one[3], other[2], other[3])
            if shared is not None:
                yield f"{one[0]} and {other[0]} collide: both can have {_shown(shared)}"
        modules = [target.module for target in self.targets]
        tables = [target.table.name for target in self.targets]
        for kind, names in (("module", modules), ("table", tables)):
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield f"the {kind} {name!r} has two targets"
        if self.source.name in tables:
            yield f"the source {self.source.name!r} is a target too"


# --- the most frequent rule: one row for an item, attributes renamed ---------------------------


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


# --- what the proofs are made of ---------------------------------------------------------------


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


def _fields(partition: KeyPattern, sort: KeyPattern | None) -> frozenset[str]:
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


def _exclude(one: AttributeIs | None, other: AttributeIs | None) -> bool:
    return one is not None and other is not None and one.name == other.name and one != other


def _shared(
    partition: KeyPattern,
    sort: KeyPattern | None,
    other_partition: KeyPattern,
    other_sort: KeyPattern | None,
) -> tuple[str, str | None] | None:
    """A key of both, None where there is none. Fields that occur in both keys of one claim are
    taken for free: what this calls shared may then be impossible, never the other way round."""
    key = partition.common(other_partition)
    if key is None:
        return None
    if sort is None or other_sort is None:
        return (key, None)
    sort_key = sort.common(other_sort)
    return None if sort_key is None else (key, sort_key)


def _shown(key: tuple[str, str | None]) -> str:
    return key[0] if key[1] is None else f"{key[0]} / {key[1]}"


def _unprovable(source: Table, rule: Rule) -> Iterator[str]:
    """What keeps the rule's keys from being an injective function of the source's."""
    fields = rule.fields
    if (source.sort is None) != (rule.sort is None):
        yield f"the rule {rule.name!r} and {source.name} differ about a sort key"
    for name in sorted(rule.transforms.keys() - fields):
        yield f"the rule {rule.name!r} transforms {name!r}, which is no field of its key"
    if not rule.parts:
        yield f"the rule {rule.name!r} has no part"
    names = [part.name for part in rule.parts]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"the rule {rule.name!r} has two parts of the name {name!r}"
    for part, missing in product(rule.parts, sorted(fields)):
        if missing not in _fields(part.partition, part.sort):
            yield (
                f"the part {part.name!r} of {rule.name!r} leaves {missing!r} out of its key: "
                f"two items could become one row"
            )
    for part in rule.parts:
        if (rule.target.table.sort is None) != (part.sort is None):
            yield (
                f"the part {part.name!r} of {rule.name!r} and {rule.target.table.name} differ "
                f"about a sort key"
            )
        for name in sorted(set(part.partition.fields) - fields):
            yield (
                f"the part {part.name!r} of {rule.name!r} has {name!r} in its partition key, "
                f"which is no field of the source's key"
            )
