"""What the command line shows: bars, rates, estimates, and what a plan takes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deploy.migration._context import Settings
from deploy.migration._control import COPYING, RUNNING, Module, Run
from deploy.migration._estimate import Prices, estimate, read_prices
from deploy.migration._ports import Index, TableFacts
from deploy.migration._presence import Doing, Seen
from deploy.migration._report import Report
from deploy.migration._status import Look, Speed, document, lines, next_steps
from deploy.migration.commands import Progress
from deploy.migration.planning import check_mapping, survey_items
from tests.unit.migration.command_line import Screen, book
from tests.unit.migration.simulator.library import MAPPING

RUN = Run(COPYING, 1, 8, items=1000, bytes=5_000_000, copying_since=100.0)
PROGRESS = Progress(
    phase=COPYING,
    run=RUN,
    segments_done=2,
    items=250,
    copied_bytes=1_250_000,
    lags={"Monolith": 30.0, "Books": 0.0, "Shelves": 7.0},
    waits=("40 write units a second of Books are taken",),
    quarantine={},
    modules=(Module("books"), Module("shelves")),
)
LOOK = Look(
    clock=50.0, wall=110.0, progress=PROGRESS, doing=None,
    workers=(Seen("one", 109.0, 100.0), Seen("two", 109.0, 100.0)),
)  # fmt: skip


class Here:
    """A context for what is only shown."""

    mapping = MAPPING
    settings = Settings()


HERE: Any = Here()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_copy_is_shown_with_its_rate_its_end_and_what_holds_it_up() -> None:
    assert lines(LOOK, HERE, Speed().see(LOOK)) == [
        "Monolith → Books, Shelves: COPYING, 2 workers",
        "copy    ██████░░░░░░░░░░░░░░░░░░  25%  250 of 1,000 items  1.2 MB  25/s  ETA 00:30",
        "        waits: 40 write units a second of Books are taken",
        "lag     ████████████░░░░░░░░░░░░  30 s; the copy waits from 60 s, a switch from 1 s",
        "        Shelves: 7 s",
        "module  books    RUNNING    owner Monolith",
        "module  shelves  RUNNING    owner Monolith",
    ]
    shown: Any = document(LOOK, HERE, 25.0)
    assert (shown["itemsPerSecond"], shown["secondsLeft"]) == (25.0, 30.0)
    assert json.loads(json.dumps(shown))["lagSeconds"] == {"Monolith": 30, "Books": 0, "Shelves": 7}


def test_a_rate_is_of_the_last_seconds_once_it_was_looked_twice() -> None:
    speed = Speed()
    speed.see(LOOK)
    later = replace(LOOK, clock=54.0, progress=replace(PROGRESS, items=450))
    assert speed.see(later) == 50.0
    much_later = replace(LOOK, clock=70.0, progress=replace(PROGRESS, items=450))
    assert speed.see(much_later) == 0.0  # nothing for 16 seconds
    assert "ETA --:--" in lines(much_later, HERE, 0.0)[1]


def test_a_verification_has_a_bar_and_one_who_is_gone_is_said_to_be() -> None:
    doing = Doing("ann@host", "verify books", "verifying books: reading Books", 750, 1000, at=108.0)
    running = replace(PROGRESS, phase=RUNNING, run=replace(RUN, phase=RUNNING), waits=())
    look = replace(LOOK, progress=running, doing=doing)
    assert lines(look, HERE, 0.0)[4] == (
        "verify  ██████████████████░░░░░░  75%  verifying books: reading Books (ann@host)"
    )
    gone = replace(look, wall=208.0)
    assert lines(gone, HERE, 0.0)[4].endswith(
        "(ann@host, not heard of for 100 s: the next command takes its place)"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["copy"]),
        ({"phase": "PAUSED", "run": replace(RUN, paused=True)}, ["resume"]),
        ({"phase": "POSITION_LOST", "run": replace(RUN, phase="POSITION_LOST")}, ["resync"]),
        ({"run": replace(RUN, rehearsal=True)}, ["rehearse"]),
        ({"phase": "CANCELLED", "run": replace(RUN, phase="CANCELLED")}, ["start"]),
        ({"phase": RUNNING, "run": replace(RUN, phase=RUNNING)}, ["verify books"]),
    ],
)
def test_the_next_step_follows_from_the_state(changes: dict[str, Any], expected: list[str]) -> None:
    look = replace(LOOK, progress=replace(PROGRESS, **changes))
    assert next_steps(look, lambda command: command) == expected
    alone = next_steps(replace(look, workers=()), lambda command: command)
    assert alone[-1] == expected[-1]
    assert len(alone) == (1 if expected == ["start"] else 2)


def test_progress_is_drawn_on_a_terminal_and_told_now_and_then_elsewhere() -> None:
    clock, screen, log = Clock(), Screen(is_terminal=True), Screen()
    drawn = Report(Screen(), screen, as_json=False, clock=clock)
    told = Report(Screen(), log, as_json=False, clock=clock)
    for second in range(25):
        clock.now = float(second)
        for report in (drawn, told):
            report.tell("copying; paused" if second > 20 else "copying", second * 10, 1000)
    for report in (drawn, told):
        report.tell("requests wait; replication drains", 0, 0)
    assert screen.getvalue().count("\r") == 26
    assert (
        "█████░░░░░░░░░░░░░░░░░░░  24%  240 of 1,000  ETA 01:16  copying; paused"
        in screen.getvalue()
    )
    assert log.getvalue().splitlines() == [
        "░░░░░░░░░░░░░░░░░░░░░░░░   2%  20 of 1,000  ETA 01:38  copying",
        "██░░░░░░░░░░░░░░░░░░░░░░  12%  120 of 1,000  ETA 01:28  copying",
        "█████░░░░░░░░░░░░░░░░░░░  22%  220 of 1,000  ETA 01:18  copying; paused",
        "… requests wait; replication drains",
    ]


# --- what a plan takes --------------------------------------------------------------------------

PRICES = Prices(read_prices().read_on, "us-east-1", 0.125e-6, 0.625e-6, 0.2e-6, 0.25)
FACTS = TableFacts(True, ["pk"], {"pk": "S"}, "NEW_AND_OLD_IMAGES", (), 0, 0)


def _survey(**facts: TableFacts) -> Any:
    survey = check_mapping(MAPPING)
    survey.facts.update({"Monolith": FACTS, "Books": FACTS, "Shelves": FACTS, **facts})
    survey_items(MAPPING, [book(f"b{n}", "x" * 1000) for n in range(3000)], survey)
    return survey


def test_units_of_tables_and_their_indexes_make_the_cost() -> None:
    indexed = replace_facts(indexes=(Index("byTitle", ("title",), None),))
    found = estimate(MAPPING, _survey(Books=indexed), Settings(), workers=1, prices=PRICES)
    units = {load.table: load.units for load in found.loads}
    # A row of 1.1 KB with its mark is two units, and two more in the index.
    assert units["Books"] == 12_000
    assert found.usd_copy == pytest.approx(units["Monolith"] * 0.125e-6 + 12_000 * 0.625e-6)
    assert (found.seconds, found.slowest) == (12.0, "write units of Books")


def test_a_table_that_gives_less_than_the_copy_may_take_is_a_warning() -> None:
    slow = replace_facts(write_units=100.0)
    found = estimate(MAPPING, _survey(Books=slow), Settings(), workers=1, prices=PRICES)
    assert found.warnings == (
        "Books: the copy may take 1000 write units a second, and 100 are provisioned: throttle it"
        " (`throttle --write 50`) or raise the table's",
    )
    assert found.seconds == 60.0


def test_prices_are_read_of_the_one_dated_file() -> None:
    prices = read_prices()
    assert prices.region == "us-east-1"
    assert prices.write_unit == pytest.approx(0.625e-6)
    assert prices.read_on.year >= 2026


def replace_facts(**changes: Any) -> TableFacts:
    return FACTS._replace(**changes)
