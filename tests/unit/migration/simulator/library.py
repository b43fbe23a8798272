"""A small monolith for the simulator: books, and users' shelves with several rows each.

Owns a mapping with everything that makes mappings hard (an attribute renamed, an item that leaves
its rule, rows that come and go with a map's members), the application that writes at whichever
store the gate names, and the truth: what every acknowledged write left behind.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from deploy.migration._control import SOURCE
from deploy.migration._items import (
    MARK,
    Item,
    canonical,
    is_migrations_write,
    live,
    mark_of,
    unmarked,
)
from deploy.migration._patterns import KeyPattern
from deploy.migration.gate import Gate
from deploy.migration.mapping import (
    AttributeIs,
    Cell,
    Fields,
    Nobody,
    Part,
    Row,
    Rule,
    Source,
    SplitMapping,
    Table,
    Target,
)
from deploy.migration.renaming import Attribute, Renamed
from tests.unit.migration.simulator.clients import SimulatedDatabase, World
from tests.unit.migration.simulator.virtual_time import sleep

MONOLITH = Table("Monolith", "pk", "sk")
BOOKS = Target("books", Table("Books", "bookId"))
SHELVES = Target("shelves", Table("Shelves", "userId", "sk"))
CONTROL = Table("Control", "pk", "sk")
MEMBERS = ("x", "y", "z")

_BOOK = Renamed((Attribute("name", "title"),))


def _shelf_head(source: Source) -> list[Row]:
    rest = {name: value for name, value in source.attributes.items() if name != "books"}
    return [Row({}, rest)] if "headless" not in rest else []


def _shelf_books(source: Source) -> list[Row]:
    books = source.attributes.get("books", {"M": {}})["M"]
    return [Row({"book": book}, {"note": note}) for book, note in books.items()]


def _compose_shelf(_: Fields, rows: Mapping[str, Sequence[Row]]) -> Item | None:
    item: dict[str, Mapping[str, object]] = {}
    for row in rows["head"]:
        item.update(row.attributes)
    if rows["books"]:
        item["books"] = {"M": {row.fields["book"]: row.attributes["note"] for row in rows["books"]}}
        if not rows["head"]:
            item["headless"] = {"BOOL": True}
    return item if rows["head"] or rows["books"] else None


MAPPING = SplitMapping(
    MONOLITH,
    (
        Rule(
            "book", BOOKS, KeyPattern("BOOK#{book}"), KeyPattern("META"),
            (Part("book", KeyPattern("{book}"), None, _BOOK.rows),), _BOOK.compose,
            AttributeIs("kind", "book"),
        ),
        Rule(
            "shelf", SHELVES, KeyPattern("USER#{user}"), KeyPattern("SHELF"),
            (
                Part("head", KeyPattern("{user}"), KeyPattern("HEAD"), _shelf_head),
                Part("books", KeyPattern("{user}"), KeyPattern("BOOK#{book}"), _shelf_books),
            ),
            _compose_shelf,
        ),
    ),
    nobody=(
        Nobody("lost", KeyPattern("BOOK#{book}"), KeyPattern("META"), "given away",
               AttributeIs("kind", "lost")),
        Nobody("user", KeyPattern("USER#{user}"), KeyPattern("PROFILE"), "users stay"),
    ),
)  # fmt: skip


Rows = dict[Cell, Item]


class ViolationError(AssertionError):
    """Something that no user may ever see."""


class Application:
    """What writes and reads, at the store that the gate names, and what is true since."""

    def __init__(self, world: World, gate: Gate, database: SimulatedDatabase, names: int) -> None:
        self._world = world
        self._names = [f"n{number}" for number in range(names)]
        self._gate = gate
        self._database = database
        self._values = 0
        self.truth: dict[Cell, Item] = {}
        self.stopped = False
        self.is_slow = False
        self.calm_from = float("inf")
        """From then on nothing is written, so that a mistake is not written over."""
        self.requests = 0
        self.timeouts = 0
        self.violations: list[str] = []
        self.longest_wait = 0.0
        self.given_up: list[float] = []
        """The next writes are carried out so much later, when whoever made them has given them up."""
        self.strays: dict[Cell, Cell] = {}
        """Cells that such a write changed in a store that was no longer the owner, and the source
        cells that they belong to; what was written is true nowhere."""
        self._undecided: dict[tuple[str, str], tuple[str, list[Rows], set[Cell]]] = {}
        """By module and name: where such a write landed behind a fence, the rows before and after each,
        and what changed. Whether it counts is decided by whether the fence ends or the owner changes."""
        self._is_stray = False

    def seed(self, items: int) -> None:
        """Items from before the migration, some written twice and some deleted again."""
        chance = self._world.chance
        for _ in range(items):
            for _ in range(chance.choice((1, 2))):
                self._write_source(
                    SOURCE, chance.choice(("books", "shelves")), chance.choice(self._names)
                )
        profile = {"pk": {"S": "USER#n0"}, "sk": {"S": "PROFILE"}}
        self._world.tables["Monolith"].write(MONOLITH.cell(profile), profile)

    async def use(self, chance: random.Random) -> None:
        """Requests, one after another, until stopped."""
        loop = asyncio.get_running_loop()
        act: Callable[[str, str, str], None]
        while not self.stopped:
            await sleep(240.0 if self.is_slow else chance.expovariate(4))
            if self.is_slow and chance.random() < 0.9:
                continue
            module, name = chance.choice(("books", "shelves")), chance.choice(self._names)
            began = loop.time()
            try:
                async with self._gate.enter(module) as owner:
                    self.longest_wait = max(self.longest_wait, loop.time() - began)
                    if chance.random() < 0.4 or loop.time() > self.calm_from:
                        act = self._read
                    elif owner == SOURCE:
                        act = self._write_source
                    else:
                        act = self._write_target
                    if act != self._read and self.given_up:
                        late = partial(self._land, act, owner, module, name)
                        loop.call_later(self.given_up.pop(), late)
                        await loop.create_future()
                    await self._database.call(partial(self._carry_out, act, owner, module, name))
            except TimeoutError:
                self.timeouts += 1
            self.requests += 1

    def _carry_out(
        self, act: Callable[[str, str, str], None], owner: str, module: str, name: str
    ) -> None:
        self.decide(let_in=module)
        act(owner, module, name)

    def _land(
        self, act: Callable[[str, str, str], None], owner: str, module: str, name: str
    ) -> None:
        """A request that nobody waits for any more is carried out, in the store that it was sent to:
        as any other where that is the owner still, else only there."""
        self.decide()
        owns, fence = self._state(module)
        if owns == owner and not fence:
            act(owner, module, name)
            return
        truth = dict(self.truth)
        was, states, changed = self._undecided.get(
            (module, name), (owner, [self.rows_of(module, name)], set())
        )
        self._replace(module, name, states[-1])
        before = {table.table.name: dict(table.items) for table in self._world.tables.values()}
        self._is_stray = True
        act(owner, module, name)
        self._is_stray = False
        after = self.rows_of(module, name)
        self.truth = truth
        cells = {
            cell
            for table in self._world.tables.values()
            for cell in table.items.keys() | before[table.table.name].keys()
            for old, new in [(before[table.table.name].get(cell), table.items.get(cell))]
            # What takes a tombstone away, or stands as it stood, is seen by nobody.
            if old != new and not is_migrations_write(old, new)
        }
        if owns == owner:
            self._undecided[module, name] = (was, [*states, after], changed | cells)
        else:
            self.strays |= dict.fromkeys(cells, _source_cell(module, name))

    def decide(self, *, let_in: str = "") -> None:
        """What landed behind a fence counts where the fence was given up, and where a request that
        the gate let in (to the module `let_in`) still follows it. Where the owner changed either may be: what the new owner
        has is true from then on."""
        for (module, name), (was, states, changed) in list(self._undecided.items()):
            owner, fence = self._state(module)
            if fence and module != let_in:
                continue
            del self._undecided[module, name]
            if owner == was:
                self._replace(module, name, states[-1])
                continue
            found = self._rows_at(owner, module, name)
            matching = [rows for rows in states if _canonical(rows) == _canonical(found)]
            if not matching:
                self.violations.append(f"{owner} {module} {name}: has {found}, none of {states}")
            self._replace(module, name, (matching or states)[-1])
            self.strays |= dict.fromkeys(changed, _source_cell(module, name))

    def _replace(self, module: str, name: str, rows: Rows) -> None:
        for old in self.rows_of(module, name):
            del self.truth[old]
        self.truth.update(rows)

    def _rows_at(self, owner: str, module: str, name: str) -> dict[Cell, Item]:
        if owner == SOURCE:
            item = self._world.tables["Monolith"].items.get(_source_cell(module, name))
            return dict(MAPPING.rows(live(item)))
        items = self._world.tables[MAPPING.target(module).table.name].items
        return {
            c: r for c, i in items.items() if c.partition == name and (r := live(i)) is not None
        }

    def _state(self, module: str) -> tuple[str, str]:
        """Owner and fence, as the control table has them at this moment."""
        row = self._world.tables[CONTROL.name].items[
            Cell(CONTROL.name, MONOLITH.name, f"state#module#{module}")
        ]
        values = row["values"]["M"]
        return str(values["owner"]["S"]), str(values["fence"]["S"])

    def _read(self, owner: str, module: str, name: str) -> None:
        """What is read must be what was last written: checked where it happens."""
        key = _source_cell(module, name)
        true = self.rows_of(module, name)
        if owner == SOURCE:
            item = self._world.tables["Monolith"].items.get(key)
            found = MAPPING.rows(live(item))
            stands = [item]
        else:
            table = MAPPING.target(module).table
            items = self._world.tables[table.name].items
            mine = {c: i for c, i in items.items() if c.partition == name}
            found = {c: row for c, i in mine.items() if (row := live(i)) is not None}
            stands = list(mine.values())
        if any((mark := mark_of(item)) is not None and mark.tombstone for item in stands):
            self.violations.append(f"{owner} {module} {name}: a tombstone is shown")
        if _canonical(found) != _canonical(true):
            self.violations.append(f"{owner} {module} {name}: reads {found}, true is {true}")

    def rows_of(self, module: str, name: str) -> dict[Cell, Item]:
        table = MAPPING.target(module).table.name
        return {c: i for c, i in self.truth.items() if c.table == table and c.partition == name}

    def _write_source(self, _: str, module: str, name: str) -> None:
        chance = self._world.chance
        table = self._world.tables["Monolith"]
        cell = _source_cell(module, name)
        present = table.items.get(cell)
        item = None if chance.random() < 0.3 else self._source_item(module)
        if item is not None:
            item = {**MONOLITH.key(cell), **item}
            if present is not None and MARK in present and chance.random() < 0.5:
                item = {**item, MARK: present[MARK]}  # an update in place keeps what it knows not
        table.write(cell, item)
        for old in self.rows_of(module, name):
            del self.truth[old]
        self.truth.update(MAPPING.rows(None if item is None else unmarked(item)))

    def _write_target(self, _: str, module: str, name: str) -> None:
        """The new owner writes its rows one by one."""
        chance = self._world.chance
        source = self._world.tables["Monolith"].items.get(_source_cell(module, name))
        if source is not None and source.get("kind") == {"S": "lost"}:
            return  # nobody's here; an application of one mind doesn't make two of one
        table = MAPPING.target(module).table
        sort = None
        row: Item = {"title": self._value(), "kind": {"S": "book"}}
        if module == "shelves":
            sort = chance.choice(("HEAD", *(f"BOOK#{member}" for member in MEMBERS)))
            row = {"note": self._value()} if sort != "HEAD" else {"color": self._value()}
        cell = Cell(table.name, name, sort)
        present = self._world.tables[table.name].items.get(cell)
        if chance.random() < 0.3:
            self._world.tables[table.name].write(cell, None)
            self.truth.pop(cell, None)
            return
        item = {**table.key(cell), **row}
        self.truth[cell] = item
        if present is not None and MARK in present and chance.random() < 0.5:
            item = {**item, MARK: present[MARK]}
        self._world.tables[table.name].write(cell, item)

    def _source_item(self, module: str) -> Item:
        chance = self._world.chance
        if module == "books":
            # A stray that makes it nobody's is for a person: the way back does not write over that.
            kind = "lost" if chance.random() < 0.2 and not self._is_stray else "book"
            return {"name": self._value(), "kind": {"S": kind}}
        members = [member for member in MEMBERS if chance.random() < 0.5]
        books = {member: self._value() for member in members}
        return {"color": self._value(), **({"books": {"M": books}} if books else {})}

    def _value(self) -> dict[str, str]:
        # Few values, so that an item may become again what it was.
        if self._world.chance.random() < 0.3:
            return {"S": self._world.chance.choice("pq")}
        self._values += 1
        return {"S": str(self._values)}


def _source_cell(module: str, name: str) -> Cell:
    if module == "books":
        return Cell("Monolith", f"BOOK#{name}", "META")
    return Cell("Monolith", f"USER#{name}", "SHELF")


def _canonical(rows: Mapping[Cell, Item]) -> dict[Cell, object]:
    return {cell: canonical(row) for cell, row in rows.items()}


def compare(found: Mapping[Cell, Item], true: Mapping[Cell, Item]) -> list[str]:
    """Lost, stale and resurrected rows, in these words."""
    wrong: list[str] = []
    for cell in sorted(found.keys() | true.keys(), key=str):
        if cell not in found:
            wrong.append(f"LOST {cell}")
        elif cell not in true:
            wrong.append(f"RESURRECTED {cell}: {dict(found[cell])}")
        elif canonical(found[cell]) != canonical(true[cell]):
            wrong.append(f"STALE {cell}: {dict(found[cell])}, true is {dict(true[cell])}")
    return wrong
