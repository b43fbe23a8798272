"""The machine sees: an engine that lacks a rule of the protocol is caught by the same scenarios."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from deploy.migration._context import Settings
from tests.unit.migration.simulator.broken import BROKEN
from tests.unit.migration.simulator.machine import SETTINGS, Scenario, play, storm

# The weather in which each broken engine is seen: the trap, the story, when it begins, how often,
# how hard, and from when on nothing is written over; and the gate's settings.
LOST, DIES, STILL, SLOW, LATE = (
    "answers are lost", "a worker dies", "a worker stands still", "calls are throttled",
    "requests that were given up land late",
)  # fmt: skip
THERE_AND_BACK = ("switch shelves", "reverse shelves")
WEATHER: dict[str, tuple[Callable[[int], Scenario], Settings]] = {
    "backfill overwrites": (
        lambda seed: storm(seed, LOST, "switch books", calm_from=6.0), SETTINGS,
    ),
    "records in any order": (
        lambda seed: storm(seed, LOST, "switch books", calm_from=6.0), SETTINGS,
    ),
    "no tombstones": (lambda seed: storm(seed, SLOW, "switch books", calm_from=6.0), SETTINGS),
    "sequence numbers compared as text": (
        lambda seed: storm(seed, SLOW, "switch books", calm_from=6.0), SETTINGS,
    ),
    "rules asked about the new image alone": (
        lambda seed: storm(seed, SLOW, "switch books", calm_from=6.0), SETTINGS,
    ),
    "checkpoint before application": (
        lambda seed: storm(seed, DIES, "switch books", calm_from=12.0), SETTINGS,
    ),
    "tombstones removed at any time": (
        lambda seed: storm(seed, LOST, "switch books", names=30, calm_from=8.0), SETTINGS,
    ),
    "flip right behind the fence": (
        lambda seed: storm(seed, STILL, *THERE_AND_BACK, every=2.4, numbers=(10, 18)),
        replace(SETTINGS, gate_lease=0.01, longest_request=0.1),
    ),
    "requests under way not waited for": (
        lambda seed: storm(seed, STILL, "switch books"),
        replace(SETTINGS, gate_lease=5.0),
    ),
    "resync that leaves earlier epochs": (
        lambda seed: storm(seed, SLOW, "silence", "switch books", calm_from=20_000.0), SETTINGS,
    ),
    "composed without comparing": (
        lambda seed: storm(seed, LOST, *THERE_AND_BACK, begins=30.0, calm_from=60.0), SETTINGS,
    ),
    "a worker that believes what it once saw": (
        lambda seed: storm(seed, "iterators expire", *THERE_AND_BACK), SETTINGS,
    ),
    "the migration's own writes replicated": (
        lambda seed: storm(seed, "iterators expire", *THERE_AND_BACK), SETTINGS,
    ),
    "what the way back wrote passed over": (
        lambda seed: storm(
            seed, "iterators expire", *THERE_AND_BACK, "cancel", "start", "copied",
            "switch shelves", calm_from=32.0,
        ),
        # Anew within the hour: what was before the epoch is read as what it is.
        replace(SETTINGS, clock_skew=3_600.0),
    ),
    "no gate": (
        lambda seed: storm(seed, "iterators expire", *THERE_AND_BACK), SETTINGS,
    ),
    "children that are not listed yet not waited for": (
        lambda seed: storm(
            seed, "new shards are listed late", *THERE_AND_BACK, every=3.5, numbers=(40, 60),
        ),
        SETTINGS,
    ),
    "any stream of the table": (
        lambda seed: storm(
            seed, "the stream is turned off and on", "switch books", every=9.0, calm_from=30.0,
        ),
        SETTINGS,
    ),
    "late writes replicated": (
        lambda seed: storm(seed, LATE, *THERE_AND_BACK, every=1.2, names=8), SETTINGS,
    ),
    "late writes known by the clock": (
        lambda seed: storm(seed, LATE, *THERE_AND_BACK, every=1.2, names=8), SETTINGS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_an_engine_without_a_rule_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weather, settings = WEATHER[name]
    BROKEN[name](monkeypatch)
    for seed in range(24):
        try:
            found = play(weather(seed), settings=settings).wrong
        except Exception as error:
            found = [f"raised {error!r}"]
        if found:
            sys.stdout.write(f"\n{name}, seed {seed}: {found[0]}\n")
            return
    pytest.fail("nothing was seen")


@pytest.mark.parametrize(
    "name", ["backfill overwrites", "composed without comparing", "late writes replicated"]
)
def test_the_engine_with_every_rule_stands_the_same_weather(name: str) -> None:
    weather, settings = WEATHER[name]
    assert play(weather(0), settings=settings).wrong == []
