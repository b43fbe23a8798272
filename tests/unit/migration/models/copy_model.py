"""The copy of one source key into one target cell, in every interleaving.

DynamoDB's guarantees are per item, so one key is enough: the application's writes, the stream that
records them, a backfill that read the item once, an applier with a checkpoint that may crash, one
request whose answer was lost and which lands at any later time (a worker's that has lost its lease,
or the SDK's first attempt behind its second), the removal of tombstones, and a trimmed stream with
the resync after it.

A value is a number: 0 is what stood before the stream, n the n-th write. A negative number is a
write that takes the item out of the mapping's rule: it exists, but does not belong here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from tests.unit.migration.models.explorer import Search, search


class Record(NamedTuple):
    """What the stream says of one write; `value` None is a deletion."""

    number: int
    value: int | None
    second: int


class Cell(NamedTuple):
    """A target cell; `value` None is a tombstone. `order` is what its guard compares.

    A `native` cell was put by the new owner and carries nothing of the migration.
    """

    value: int | None
    epoch: int
    order: int
    native: bool = False


BEFORE_THE_STREAM = 50
"""A value that was overwritten or deleted before the stream began."""

Apply = Callable[[Cell | None, Record, int], Cell | None]
Backfill = Callable[[Cell | None, int | None, int], Cell | None]


@dataclass(frozen=True)
class Protocol:
    """A way to copy: how a record and a scanned item change the cell, and what else is allowed."""

    apply: Apply
    backfill: Backfill
    sweep: Callable[[State], bool] | None = None
    stale_scan: bool = False
    copy_first: bool = False
    old_epochs_end: bool = True
    """After a resync's backfill, what is of an earlier epoch becomes a tombstone."""
    flip_when_quiet: bool = True


@dataclass(frozen=True)
class World:
    """What may happen besides the application's writes, and how often."""

    crashes: int = 0
    lost_answers: int = 0
    trims: int = 0
    ties: bool = False
    """All writes fall into one second."""
    after: str = ""
    """What the new owner does after the switch: `p`ut, `u`pdate in place, `d`elete."""


class State(NamedTuple):
    """One moment. `script` and `after` shrink as they are carried out."""

    script: str
    written: int
    source: int | None
    log: tuple[Record, ...]
    position: int
    checkpoint: int
    backfill: str  # "todo", "read", "done"
    read: int | None
    cell: Cell | None
    late: Record | int | None  # a record, or a scanned value, on its way
    late_epoch: int
    crashes: int
    lost_answers: int
    trims: int
    epoch: int
    old_epochs: bool  # cells of an earlier epoch are still to be ended
    flipped: bool
    after: str
    owner_value: int | None


def f(value: int | None) -> int | None:
    """The mapping: what a source value is in the target."""
    return None if value is None or value < 0 else value


def check(protocol: Protocol, script: str, initial: int | None, world: World) -> Search[State]:
    """Every interleaving of one script."""
    start = State(
        script, 0, initial, (), 0, 0, "todo", None, None, None, 0,
        world.crashes, world.lost_answers, world.trims, 0, False, False, world.after, None,
    )  # fmt: skip
    before = "an item" if initial is not None else "nothing"
    return search(
        start,
        lambda state: _steps(protocol, world, state),
        _verdict,
        is_end=lambda state: _is_end(world, state),
        title=f"{before} stands, then {script or 'nothing'!r}",
    )


def scripts(length: int, alphabet: str = "wd") -> Iterator[str]:
    """All scripts of up to so many operations, the short ones first."""
    for size in range(length + 1):
        for script in product(alphabet, repeat=size):
            yield "".join(script)


def _is_end(world: World, state: State) -> bool:
    drained = (
        not state.script
        and state.backfill == "done"
        and state.position == len(state.log)
        and state.late is None
        and not state.old_epochs
    )
    return drained and (not world.after or (state.flipped and not state.after))


def _verdict(state: State) -> str | None:
    wanted = state.owner_value if state.flipped else f(state.source)
    found = None if state.cell is None else state.cell.value
    if found == wanted:
        return None
    if wanted is None:
        return "RESURRECTED"
    return "LOST" if found is None else "STALE"


def _steps(protocol: Protocol, world: World, state: State) -> Iterator[tuple[str, State]]:
    if state.flipped:
        yield from _new_owner(state)
    elif state.script:
        yield _application(world, state)
    if state.backfill == "todo":
        yield (
            f"backfill reads {_named(state.source)}",
            state._replace(backfill="read", read=state.source),
        )
        if protocol.stale_scan:
            # What stood between is in the stream, and heals; this is not.
            yield (
                "backfill reads what stood before the stream began",
                state._replace(backfill="read", read=BEFORE_THE_STREAM),
            )
    if state.backfill == "read":
        cell = protocol.backfill(state.cell, f(state.read), state.epoch)
        yield "backfill writes", state._replace(cell=cell, backfill="done")
        if state.lost_answers and state.read is not None:
            yield (
                "backfill's answer is lost: it writes again, the first is on its way",
                (
                    state._replace(
                        cell=cell,
                        backfill="done",
                        late=f(state.read),
                        late_epoch=state.epoch,
                        lost_answers=state.lost_answers - 1,
                    )  # fmt: skip
                ),
            )
    yield from _stream(protocol, state)
    if state.late is not None:
        late = state.late
        cell = (
            protocol.apply(state.cell, late, state.late_epoch)
            if isinstance(late, Record)
            else protocol.backfill(state.cell, late, state.late_epoch)
        )
        yield "the late request lands", state._replace(cell=cell, late=None)
    if _is_tombstone(state.cell) and protocol.sweep is not None and protocol.sweep(state):
        yield "the tombstone is removed", state._replace(cell=None)
    if state.old_epochs and state.backfill == "done" and state.late is None:
        yield from _old_epochs(protocol, state)
    if world.after and not state.flipped and _may_flip(protocol, state):
        value = None if state.cell is None else state.cell.value
        yield "the new table owns", state._replace(flipped=True, owner_value=value)


def _application(world: World, state: State) -> tuple[str, State]:
    operation, rest = state.script[0], state.script[1:]
    number = state.written + 1
    value = {"w": number, "o": -number, "d": None}[operation]
    name = {"w": f"write {number}", "o": f"write {number}, outside the rule", "d": "delete"}
    if operation == "d" and state.source is None:
        return "delete of nothing", state._replace(script=rest)
    record = Record(len(state.log) + 1, value, 0 if world.ties else len(state.log) + 1)
    return name[operation], state._replace(
        script=rest, written=number, source=value, log=(*state.log, record)
    )


def _new_owner(state: State) -> Iterator[tuple[str, State]]:
    if not state.after:
        return
    operation, rest = state.after[0], state.after[1:]
    value = 100 + len(rest)
    changed = state._replace(after=rest)
    if operation == "d":
        yield "the new owner deletes", changed._replace(cell=None, owner_value=None)
    elif operation == "p":
        yield (
            f"the new owner puts {value}",
            changed._replace(cell=Cell(value, 0, 0, native=True), owner_value=value),
        )
    else:
        base = state.cell or Cell(None, 0, 0, native=True)
        yield (
            f"the new owner updates to {value}",
            changed._replace(cell=base._replace(value=value), owner_value=value),
        )


def _stream(protocol: Protocol, state: State) -> Iterator[tuple[str, State]]:
    if state.position < len(state.log) and (not protocol.copy_first or state.backfill == "done"):
        record = state.log[state.position]
        cell = protocol.apply(state.cell, record, state.epoch)
        yield (
            f"record {record.number} is applied",
            state._replace(position=state.position + 1, cell=cell),
        )
        if state.lost_answers:
            yield (
                f"record {record.number} is applied, a first attempt is on its way",
                (
                    state._replace(
                        position=state.position + 1,
                        cell=cell,
                        late=record,
                        late_epoch=state.epoch,
                        lost_answers=state.lost_answers - 1,
                    )  # fmt: skip
                ),
            )
    if state.checkpoint < state.position:
        yield "checkpoint", state._replace(checkpoint=state.position)
        if state.crashes:
            yield (
                "crash: back to the checkpoint",
                state._replace(position=state.checkpoint, crashes=state.crashes - 1),
            )
    if state.trims and state.position < len(state.log):
        # A trim takes what was not applied; the resync begins a new epoch with what there is.
        yield "the stream is trimmed: resync", state._replace(
            trims=state.trims - 1, position=len(state.log), checkpoint=len(state.log),
            epoch=state.epoch + 1, backfill="todo", read=None, old_epochs=True,
        )  # fmt: skip


def _old_epochs(protocol: Protocol, state: State) -> Iterator[tuple[str, State]]:
    cell = state.cell
    done = state._replace(old_epochs=False)
    if protocol.old_epochs_end and cell is not None and cell.epoch < state.epoch:
        yield (
            "what is of an earlier epoch becomes a tombstone",
            done._replace(cell=Cell(None, state.epoch, 0)),
        )
    else:
        yield "nothing is of an earlier epoch" if protocol.old_epochs_end else "done", done


def _may_flip(protocol: Protocol, state: State) -> bool:
    drained = (
        not state.script
        and state.backfill == "done"
        and state.checkpoint == len(state.log)
        and not state.old_epochs
    )
    quiet = state.late is None or not protocol.flip_when_quiet
    return drained and quiet and not _is_tombstone(state.cell)


def _is_tombstone(cell: Cell | None) -> bool:
    return cell is not None and cell.value is None


def _named(value: int | None) -> str:
    return "nothing" if value is None else f"value {value}"


# --- the protocols -----------------------------------------------------------------------------


def put_backfill(cell: Cell | None, value: int | None, epoch: int) -> Cell | None:
    return cell if value is None else Cell(value, epoch, 0)


def absent_backfill(cell: Cell | None, value: int | None, epoch: int) -> Cell | None:
    """I3, and I6: a native cell has no epoch to compare."""
    if value is None:
        return cell
    if cell is None or (not cell.native and cell.epoch < epoch):
        return Cell(value, epoch, 0)
    return cell


def plain_apply(cell: Cell | None, record: Record, epoch: int) -> Cell | None:
    value = f(record.value)
    return None if value is None else Cell(value, epoch, record.number)


def guarded_apply(cell: Cell | None, record: Record, epoch: int) -> Cell | None:
    """I2 and I6: ordered by epoch and sequence number; a deletion leaves a tombstone."""
    if cell is None:
        return Cell(f(record.value), epoch, record.number)
    if cell.native or (cell.epoch, cell.order) >= (epoch, record.number):
        return cell
    return Cell(f(record.value), epoch, record.number)


def guarded_apply_without_tombstones(cell: Cell | None, record: Record, epoch: int) -> Cell | None:
    after = guarded_apply(cell, record, epoch)
    return None if after is not cell and after is not None and after.value is None else after


def newest_second(*, ties_win: bool) -> Apply:
    def apply(cell: Cell | None, record: Record, epoch: int) -> Cell | None:
        stamp = record.second + 1
        newer = cell is None or cell.order < stamp or (ties_win and cell.order == stamp)
        return Cell(f(record.value), epoch, stamp) if newer else cell

    return apply


def guarded_apply_of_new_images(cell: Cell | None, record: Record, epoch: int) -> Cell | None:
    """The rule is asked about the new image alone: what left it is not seen to have left."""
    if record.value is not None and f(record.value) is None:
        return cell
    return guarded_apply(cell, record, epoch)


def _drained_and_past(state: State) -> bool:
    cell = state.cell
    return cell is not None and state.backfill == "done" and state.checkpoint >= cell.order


def _and_quiet(state: State) -> bool:
    """I5. A crash that is still to come goes back to the checkpoint, which is past the tombstone."""
    return _drained_and_past(state) and state.late is None


RIGHT = Protocol(guarded_apply, absent_backfill, sweep=_and_quiet)

BROKEN = {
    "plain put, plain put and delete": Protocol(plain_apply, put_backfill),
    "copy first, then replay": Protocol(plain_apply, put_backfill, copy_first=True),
    "put if absent, plain put and delete": Protocol(plain_apply, absent_backfill),
    "put if absent, ordered, no tombstones": Protocol(
        guarded_apply_without_tombstones, absent_backfill
    ),
    "newest second wins, the first of a second": Protocol(
        newest_second(ties_win=False), absent_backfill
    ),
    "newest second wins, the last of a second": Protocol(
        newest_second(ties_win=True), absent_backfill
    ),
    "eventually consistent scan": replace(RIGHT, stale_scan=True),
    "tombstones removed at any time": replace(RIGHT, sweep=lambda _: True),
    "tombstones removed once backfill has drained": replace(
        RIGHT, sweep=lambda state: state.backfill == "done"
    ),
    "tombstones removed past the checkpoint, answers outstanding": replace(
        RIGHT, sweep=_drained_and_past
    ),
    "rules asked about the new image alone": Protocol(guarded_apply_of_new_images, absent_backfill),
    "resync that leaves earlier epochs": replace(RIGHT, old_epochs_end=False),
    "switch with answers outstanding": replace(
        RIGHT, sweep=_drained_and_past, flip_when_quiet=False
    ),
}
