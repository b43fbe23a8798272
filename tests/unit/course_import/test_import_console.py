"""What the person at the terminal sees."""

from __future__ import annotations

import io
import json

import pytest

from deploy.course_import._archive import open_source
from deploy.course_import._console import Console, plan_document, report
from deploy.course_import._findings import REASONS, Finding, counted
from deploy.course_import._mapping import plan_course
from deploy.course_import._olx import read_course
from libs.console import printable
from tests.unit.course_import.exports import SAMPLE


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_says_how_far_it_is_and_when_it_ends() -> None:
    clock = Clock()
    progress = Console(io.StringIO(), Terminal(), as_json=False, clock=clock).progress(10_000_000)
    assert progress.line().endswith("0%  0.0 of 10.0 MB  ETA --:--")
    clock.now += 10
    progress.advance(2_500_000)
    progress.doing("A film")
    assert progress.line() == "██████░░░░░░░░░░░░░░░░░░  25%  2.5 of 10.0 MB  ETA 00:30  A film"
    clock.now += 3_600
    assert "ETA 3:00:30" in progress.line()
    progress.advance(7_500_000)
    assert "100%  10.0 of 10.0 MB  ETA 00:00" in progress.line()


def test_bytes_that_have_to_be_sent_again_are_taken_back() -> None:
    progress = Console(io.StringIO(), Terminal(), as_json=False).progress(100)
    progress.advance(60)
    progress.advance(-60)
    assert "  0%" in progress.line()
    progress.advance(-5)
    progress.advance(500)
    assert "100%" in progress.line()


def test_a_terminal_has_one_line_that_is_written_over() -> None:
    clock, errors = Clock(), Terminal()
    console = Console(io.StringIO(), errors, as_json=False, clock=clock)
    progress = console.progress(100)
    for _ in range(50):
        clock.now += 1
        progress.advance(2)
    progress.end()
    assert "\n" not in errors.getvalue()
    assert errors.getvalue().count("\r") == 51
    assert errors.getvalue().endswith("\r\x1b[K")


def test_elsewhere_there_is_a_line_now_and_then() -> None:
    clock, errors = Clock(), io.StringIO()
    progress = Console(io.StringIO(), errors, as_json=False, clock=clock).progress(100)
    for _ in range(50):
        clock.now += 1
        progress.advance(2)
    progress.end()
    lines = errors.getvalue().splitlines()
    assert len(lines) == 10
    assert "\r" not in errors.getvalue()
    assert "\x1b" not in errors.getvalue()


def test_a_note_takes_the_line_of_progress_away_first() -> None:
    errors = Terminal()
    console = Console(io.StringIO(), errors, as_json=False)
    console.progress(100).doing("x")
    console.failed("gone wrong")
    assert errors.getvalue().endswith("\r\x1b[Kolx.py: gone wrong\n")


def test_the_report_counts_and_names() -> None:
    findings = [
        Finding("external_video", f"video/{n}", ("Ch", "Seq"), "https://x") for n in range(5)
    ]
    findings.append(Finding("scripts", "html/a"))
    short = list(report(findings, verbose=False))
    assert short[0] == "Left out:"
    assert short[1] == "    5  the video is not in the export; its page links to it"
    assert short[2] == "         video/0 in Ch / Seq: https://x"
    assert short[5] == "         … and 2 more (--verbose names each)"
    assert short[6] == "Arrives, but not as it was:"
    assert sum("video/" in line for line in report(findings, verbose=True)) == 5
    assert list(report([], verbose=False)) == ["Everything of the course has arrived as it was."]


def test_counts_add_up() -> None:
    findings = [Finding(reason, "x") for reason in REASONS for _ in range(2)]
    assert sum(count for _, count in counted(findings)) == len(findings)


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b31m", "a\nb", "\u202egnp.exe", "\x07"])
def test_what_strangers_wrote_does_not_steer_the_terminal(hostile: str) -> None:
    shown = printable(f"a{hostile}b")
    assert shown.isprintable()
    lines = "\n".join(
        report([Finding("scripts", f"html/{hostile}", (hostile,), hostile)], verbose=True)
    )
    assert all(line.isprintable() for line in lines.split("\n"))


def test_a_script_gets_one_line() -> None:
    output = io.StringIO()
    with open_source(SAMPLE) as source:
        plan = plan_course(read_course(source))
    Console(output, io.StringIO(), as_json=True).show_plan(plan, verbose=False, outcome={"a": 1})
    (line,) = output.getvalue().splitlines()
    document = json.loads(line)
    assert document == {**json.loads(json.dumps(plan_document(plan))), "a": 1}
    assert sum(document["report"]["counts"].values()) == len(document["report"]["findings"])
