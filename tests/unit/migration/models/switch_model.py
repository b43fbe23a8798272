"""The change of the owning store under writers, in every interleaving.

One item holds the ids of the writes it took; a write asks who owns, and commits later at that
store. Replication ships whole images in order. The operator's tool fences, waits, drains and flips;
it may be slow, or die and be started again, and a fence whose tool is gone must end. At the end the
owner's item must have every acknowledged id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.unit.migration.models.explorer import Search, search

Ids = frozenset[tuple[int, int]]
SOURCE, TARGET = "source", "target"
FORWARD = ("fence", "wait", "drain forward", "to target")
THERE_AND_BACK = (*FORWARD, "fence", "wait", "drain reverse", "to source")


@dataclass(frozen=True)
class Switchover:
    """A way to switch: the tool's steps, and what else holds."""

    steps: tuple[str, ...]
    canary: bool = False
    """Until the flip each write goes to either store, at random."""
    reverse: bool = True
    both_ways: bool = False
    """Forward and reverse replication run at the same time."""
    fence_ends: str = ""
    """How a fence ends whose tool is slow: "" never, by the "clock", by a "write" to the gate that
    competes with the tool's flip."""


class State(NamedTuple):
    """One moment. `owner` is what the gate answers, "" while fenced."""

    owner: str
    source: Ids
    target: Ids
    forward: tuple[Ids, ...]  # images on their way
    reverse: tuple[Ids, ...]
    writers: tuple[tuple[int, str], ...]  # writes done, store of the one under way
    step: int
    acknowledged: Ids
    forwarding: bool
    fenced_from: str
    stands: bool  # the fence in the gate's row is still the one that the tool wrote
    restarts: int


def check(
    switchover: Switchover, *, writers: int = 2, writes: int = 2, restarts: int = 0
) -> Search[State]:
    """Every interleaving of so many writers with so many writes each."""
    none: Ids = frozenset()
    start = State(
        SOURCE, none, none, (), (), ((0, ""),) * writers, 0, none, True, SOURCE, False, restarts
    )

    def verdict(state: State) -> str | None:
        owner = state.source if state.owner == SOURCE else state.target
        return "LOST" if state.acknowledged - owner else None

    return search(
        start,
        lambda state: _steps(switchover, writes, state),
        verdict,
        is_end=lambda state: (
            state.step == len(switchover.steps)
            and all(done == writes and not at for done, at in state.writers)
            and not state.forward
            and not state.reverse
        ),
    )


def _steps(switchover: Switchover, writes: int, state: State) -> Iterator[tuple[str, State]]:
    yield from _writers(switchover, writes, state)
    if state.forward:
        image, rest = state.forward[0], state.forward[1:]
        if state.forwarding:
            yield "an image is applied to the target", state._replace(target=image, forward=rest)
        else:
            yield "an image comes too late", state._replace(forward=rest)
    if state.reverse and (switchover.both_ways or not state.forwarding):
        image, rest = state.reverse[0], state.reverse[1:]
        yield "an image is applied to the source", state._replace(source=image, reverse=rest)
    if not state.owner and switchover.fence_ends == "clock":
        # Every process takes the fence for ended by its own clock; the gate's row is as before.
        yield "the fence ends by the clock", state._replace(owner=state.fenced_from)
    if not state.owner and switchover.fence_ends == "write":
        yield (
            "the fence is ended in the gate",
            state._replace(owner=state.fenced_from, stands=False),
        )
    if state.step < len(switchover.steps):
        yield from _tool(switchover, state)


def _writers(switchover: Switchover, writes: int, state: State) -> Iterator[tuple[str, State]]:
    for number, (done, at) in enumerate(state.writers):
        name = f"writer {number + 1}"
        if not at and done < writes:
            canary = switchover.canary and state.owner == SOURCE
            for store in (SOURCE, TARGET) if canary else (state.owner,):
                if store:
                    yield f"{name} is sent to the {store}", _writer(state, number, done, store)
        elif at:
            wrote = _writer(state, number, done + 1, "")
            acknowledged = state.acknowledged | {(number, done)}
            if at == SOURCE:
                image = state.source | {(number, done)}
                yield (
                    f"{name} writes to the source",
                    wrote._replace(
                        source=image, forward=(*state.forward, image), acknowledged=acknowledged
                    ),
                )
            else:
                image = state.target | {(number, done)}
                on_its_way = (*state.reverse, image) if switchover.reverse else ()
                yield (
                    f"{name} writes to the target",
                    wrote._replace(target=image, reverse=on_its_way, acknowledged=acknowledged),
                )


def _writer(state: State, number: int, done: int, at: str) -> State:
    writers = (*state.writers[:number], (done, at), *state.writers[number + 1 :])
    return state._replace(writers=writers)


def _tool(switchover: Switchover, state: State) -> Iterator[tuple[str, State]]:
    step = switchover.steps[state.step]
    after = state._replace(step=state.step + 1)
    first = state.step - state.step % 4  # a fence is a journal's first step
    if state.restarts and state.step > first:
        yield (
            "the tool dies and is started again",
            state._replace(step=first, restarts=state.restarts - 1),
        )
    match step:
        case "fence":
            owner = state.owner or state.fenced_from
            yield "the tool fences", after._replace(owner="", fenced_from=owner, stands=True)
        case "wait":
            if not any(at for _, at in state.writers):
                yield "no request is under way", after
        case "drain forward":
            if not state.forward:
                yield "all images are applied to the target", after
        case "drain reverse":
            if not state.reverse:
                yield "all images are applied to the source", after
        case "to target" | "to source":
            if switchover.fence_ends == "write" and not state.stands:
                # The flip's condition fails: the tool starts over.
                yield "the flip is refused", state._replace(step=first)
            else:
                to_target = step == "to target"
                forwarding = not to_target or not switchover.reverse or switchover.both_ways
                yield (
                    f"the {'target' if to_target else 'source'} owns",
                    after._replace(
                        owner=TARGET if to_target else SOURCE,
                        fenced_from=TARGET if to_target else SOURCE,
                        forwarding=forwarding,
                    ),
                )


RIGHT = Switchover(FORWARD, fence_ends="write")
RIGHT_AND_BACK = Switchover(THERE_AND_BACK, fence_ends="write")

BROKEN = {
    "canary of writes, forward replication": Switchover(("to target",), canary=True, reverse=False),
    "canary of writes, replication both ways": Switchover(
        ("to target",), canary=True, both_ways=True
    ),
    "flip once the lag is zero, no fence": Switchover(("drain forward", "to target")),
    "fence, requests under way not waited for": Switchover(("fence", "drain forward", "to target")),
    "back without reverse replication": Switchover(
        (*FORWARD, "fence", "wait", "to source"), reverse=False
    ),
    "fence that ends by the clock": Switchover(FORWARD, fence_ends="clock"),
}
