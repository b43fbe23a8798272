"""Which way back keeps a composed item right, and why a target's key is a function of the source's."""

from __future__ import annotations

import sys

import pytest

from tests.unit.migration.models.explorer import Counterexample
from tests.unit.migration.models.reverse_model import (
    BROKEN,
    RIGHT,
    SCRIPTS,
    WayBack,
    check,
    check_shared,
)

FOUND = {
    "plain put of what was read": 14,
    "tag read after the rows": 14,
    "no tombstones": 19,
}


def shortest(way_back: WayBack) -> tuple[Counterexample | None, int]:
    found: Counterexample | None = None
    ends = 0
    for script in SCRIPTS:
        seen = check(way_back, script)
        ends += seen.ends
        wrong = seen.counterexample
        if wrong and (found is None or len(wrong.trace) < len(found.trace)):
            found = wrong
    return found, ends


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_way_back_is_caught(name: str) -> None:
    found, _ = shortest(BROKEN[name])
    sys.stdout.write(f"\n{name}: {found}\n")
    assert found is not None
    assert len(found.trace) == FOUND[name]


def test_no_broken_way_back_is_forgotten() -> None:
    assert FOUND.keys() == BROKEN.keys()


def test_the_way_back_is_right_under_a_stale_applier() -> None:
    found, ends = shortest(RIGHT)
    assert found is None
    assert ends > 100


def test_a_cell_of_two_source_keys_is_right_only_if_their_records_have_one_order() -> None:
    assert check_shared(b_first=False).counterexample is None
    found = check_shared(b_first=True).counterexample
    sys.stdout.write(f"\n{found}\n")
    assert found is not None
