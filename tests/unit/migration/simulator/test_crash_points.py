"""A whole small migration, there and back, with a death at each of its calls.

Every call of the workers and of the operators is once the last of its process; a write is once
carried out at once, and once when the next process is long at work. (Never is what a death at the
call before it does.) The process is started again, and in the end nothing is lost, stale or
resurrected. All of them are played where 2,000 seeds are (`LYCEUM_MIGRATION_SEEDS`), else some,
evenly spread. Of a longer one, there and back and there again for good, it is every sixteenth call:
as many times as long, it has as many times more calls, and each would be played to its end.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from tests.unit.migration.simulator.machine import SETTINGS, Crash, Outcome, Scenario, play
from tests.unit.migration.simulator.seeds import SEEDS

SMALL = replace(
    SETTINGS, segments=1, page=10, scan_page=10, batch=10, poll=0.4, look=0.6, discover=2.0, settle=1.0,
    gate_lease=0.2, longest_request=0.3, units_per_second=1_000.0,
)  # fmt: skip
WHOLE = Scenario(
    5, ("switch shelves", "reverse shelves"), (), workers=1, writers=1, names=2, latest=0.8
)
LONGER = replace(
    WHOLE,
    story=("switch shelves", "reverse shelves", "switch shelves", "complete shelves"),
    writers=2,
)
EVERY = min(10, max(1, 400 // SEEDS))
OF_LONGER = 16
PARTS = 5
"""Each is a test of its own, that none takes minutes."""


@pytest.mark.parametrize("who", ["worker", "operator"])
@pytest.mark.parametrize("part", range(PARTS))
def test_a_death_at_any_call_loses_nothing(who: str, part: int) -> None:
    die_at_each(WHOLE, who, part * EVERY, PARTS * EVERY)


@pytest.mark.parametrize("who", ["worker", "operator"])
def test_a_death_within_a_longer_migration_loses_nothing(who: str) -> None:
    die_at_each(LONGER, who, 0, OF_LONGER)


def die_at_each(scenario: Scenario, who: str, first: int, step: int) -> None:
    """Play the scenario with a death at each of these calls."""
    whole = play(scenario, settings=SMALL)
    writes = set(whole.writes_of[who])
    calls = range(1 + first, whole.calls_of[who] + 1, step)
    crashes = [
        Crash(who, call, fate)
        for call in calls
        for fate in (("at once", "later") if call in writes else ("never",))
    ]
    deaths = sum(crashed(scenario, crash).deaths for crash in crashes)
    sys.stdout.write(
        f"\n{len(calls)} of {whole.calls_of[who]} calls of the {who}, {len(writes & {*calls})} of "
        f"them writes: {deaths} deaths; 0 lost, 0 stale, 0 resurrected\n"
    )
    assert writes & {*calls}
    # Each was really died at; a call of what goes on beside the last step may come too late.
    assert deaths >= 0.95 * len(crashes)


def crashed(scenario: Scenario, crash: Crash) -> Outcome:
    """What came of the migration with a death in it."""
    played = replace(scenario, crash=crash)
    try:
        outcome = play(played, settings=SMALL)
    except Exception as error:
        raise AssertionError(f"{played}\n  raised {error!r}") from error
    assert outcome.wrong == [], f"{played}\n  {outcome.wrong[:10]}"
    return outcome
