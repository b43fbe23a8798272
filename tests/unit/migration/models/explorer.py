"""Breadth-first search through every interleaving of a small model.

Owns the search alone. A model says what may happen in a state and what is wrong with a state in
which nothing is left to do; because the search goes by length, the first trace found is a shortest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)
Steps = Iterable[tuple[str, State]]


@dataclass(frozen=True)
class Counterexample:
    """A shortest way to a wrong end. `title` says in which world, `verdict` what is wrong."""

    title: str
    verdict: str
    trace: tuple[str, ...]

    def __str__(self) -> str:
        steps = "\n".join(f"  {number}. {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.verdict} ({self.title})\n{steps}"


@dataclass(frozen=True)
class Search(Generic[State]):
    """What a search saw: how many states, how many ends, which verdicts, the first wrong end."""

    states: int
    ends: int
    verdicts: frozenset[str]
    counterexample: Counterexample | None


def search(
    initial: State,
    steps: Callable[[State], Steps[State]],
    verdict: Callable[[State], str | None],
    *,
    is_end: Callable[[State], bool],
    title: str = "",
) -> Search[State]:
    """Visit every state that can be reached. `verdict` judges the states for which `is_end`."""
    came_from: dict[State, tuple[State, str] | None] = {initial: None}
    level = [initial]
    ends = 0
    verdicts: set[str] = set()
    first: Counterexample | None = None
    while level:
        following: list[State] = []
        for state in level:
            if is_end(state):
                ends += 1
                wrong = verdict(state)
                if wrong is not None:
                    verdicts.add(wrong)
                    first = first or Counterexample(title, wrong, _trace(came_from, state))
            for label, reached in steps(state):
                if reached not in came_from:
                    came_from[reached] = (state, label)
                    following.append(reached)
        level = following
    return Search(len(came_from), ends, frozenset(verdicts), first)


def _trace(came_from: dict[State, tuple[State, str] | None], end: State) -> tuple[str, ...]:
    labels: list[str] = []
    step = came_from[end]
    while step is not None:
        state, label = step
        labels.append(label)
        step = came_from[state]
    return tuple(reversed(labels))
