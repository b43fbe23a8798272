"""The way back: one source item that is composed of several rows, in every interleaving.

Replication back can't apply a record's image, because the item is made of rows that change one by
one. It reads the rows and writes what they give. Two appliers, one of them stale, each do that for
every record: read the item's tag, read the rows (one after another, as a query does), write on the
condition that the tag is the same, with a tag that was never there. Modelled also: the same cell
fed by two source keys, each with an order of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from tests.unit.migration.models.explorer import Search, search


@dataclass(frozen=True)
class WayBack:
    """A way to write a composed item."""

    compare: bool = True
    """The write is conditional on the tag that was read."""
    tag_first: bool = True
    tombstones: bool = True


class Applier(NamedTuple):
    """One `sync` under way: how far, the tag it read, the rows it read."""

    at: int = 0
    tag: int = 0
    rows: tuple[int | None, ...] = ()


class State(NamedTuple):
    """One moment; row values and tags are numbers, tag 0 is an absent item."""

    script: str
    rows: tuple[int | None, int | None]
    item: tuple[int | None, ...] | None  # None: absent or a tombstone
    tag: int
    next_tag: int
    records: int  # written, each to be followed by a sync
    done: int
    appliers: tuple[Applier, Applier]
    stale: int  # syncs that a stale applier may still begin


def check(way_back: WayBack, script: str) -> Search[State]:
    """Every interleaving; the script's digits write row 0 or 1, `x` and `y` delete them."""
    start = State(script, (None, 0), (None, 0), 1, 2, 0, 0, (Applier(), Applier()), 1)
    return search(
        start,
        lambda state: _steps(way_back, state),
        _verdict,
        is_end=lambda state: (
            not state.script
            and state.done == state.records
            and all(applier.at == 0 for applier in state.appliers)
        ),
        title=f"row 2 stands, then {script!r}",
    )


def _verdict(state: State) -> str | None:
    wanted = None if state.rows == (None, None) else state.rows
    if state.item == wanted:
        return None
    if wanted is None:
        return "RESURRECTED"
    return "LOST" if state.item is None else "STALE"


def _steps(way_back: WayBack, state: State) -> Iterator[tuple[str, State]]:
    if state.script:
        operation, script = state.script[0], state.script[1:]
        row = 0 if operation in "0x" else 1
        value = None if operation in "xy" else state.records + 1
        rows = (value, state.rows[1]) if row == 0 else (state.rows[0], value)
        verb = "is deleted" if value is None else f"becomes {value}"
        yield (
            f"row {row + 1} {verb}",
            state._replace(script=script, rows=rows, records=state.records + 1),
        )
    for number in (0, 1):
        yield from _sync(way_back, state, number)


def _sync(way_back: WayBack, state: State, number: int) -> Iterator[tuple[str, State]]:
    applier = state.appliers[number]
    name = "the stale applier" if number else "the applier"
    order = ("tag", "0", "1") if way_back.tag_first else ("0", "1", "tag")
    if applier.at == 0 and number == 0 and state.done == state.records:
        return
    if applier.at == 0 and number == 1 and (not state.stale or not state.records):
        return
    if applier.at < 3:
        what = order[applier.at]
        begun = state._replace(stale=state.stale - 1) if number and not applier.at else state
        if what == "tag":
            read = applier._replace(at=applier.at + 1, tag=state.tag)
            yield f"{name} reads the tag", _with(begun, number, read)
        else:
            value = state.rows[int(what)]
            read = applier._replace(at=applier.at + 1, rows=(*applier.rows, value))
            yield f"{name} reads row {int(what) + 1}", _with(begun, number, read)
        return
    after = _with(state, number, Applier())
    if number == 0:
        after = after._replace(done=state.done + 1)
    if way_back.compare and applier.tag != state.tag:
        # Somebody wrote meanwhile: all over again.
        yield f"{name} is refused", _with(state, number, Applier()) if number == 0 else after
        return
    if any(value is not None for value in applier.rows):
        after = after._replace(item=applier.rows, tag=state.next_tag, next_tag=state.next_tag + 1)
        yield f"{name} writes", after
    elif way_back.tombstones:
        after = after._replace(item=None, tag=state.next_tag, next_tag=state.next_tag + 1)
        yield f"{name} writes a tombstone", after
    else:
        yield f"{name} deletes", after._replace(item=None, tag=0)


def _with(state: State, number: int, applier: Applier) -> State:
    first, second = state.appliers
    return state._replace(appliers=(applier, second) if number == 0 else (first, applier))


RIGHT = WayBack()
BROKEN = {
    "plain put of what was read": WayBack(compare=False),
    "tag read after the rows": WayBack(tag_first=False),
    "no tombstones": WayBack(tombstones=False),
}
SCRIPTS = ["".join(script) for size in (1, 2, 3) for script in product("01xy", repeat=size)]


# --- one cell of two source keys ---------------------------------------------------------------


class Shared(NamedTuple):
    """A cell named by an attribute: key A gives it up, then key B takes it.

    Each key's records come in its own order, and no order between keys is promised; `B first` says
    how the sequence numbers of two shards happen to stand to each other.
    """

    waiting: tuple[str, ...]
    cell: tuple[str, int] | None
    b_first: bool


def check_shared(*, b_first: bool) -> Search[Shared]:
    """Both orders of arrival of the two records."""

    def steps(state: Shared) -> Iterator[tuple[str, Shared]]:
        for record in state.waiting:
            order = 1 if (record == "B") == state.b_first else 2
            cell = state.cell
            if cell is None or cell[1] < order:
                cell = ("" if record == "A" else "B", order)
            rest = tuple(other for other in state.waiting if other != record)
            verb = "gives the cell up" if record == "A" else "takes the cell"
            yield f"{record} {verb}, number {order}", state._replace(waiting=rest, cell=cell)

    return search(
        Shared(("A", "B"), ("A", 0), b_first),
        steps,
        lambda state: None if state.cell and state.cell[0] == "B" else "LOST",
        is_end=lambda state: not state.waiting,
        title="a cell named by an attribute",
    )
