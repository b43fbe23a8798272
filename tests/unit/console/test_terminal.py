"""What a person sees: lines, one that is renewed below them, and how far something is."""

from __future__ import annotations

import io

import pytest

from libs.console import Progress, Style, Terminal, bar, printable, time_left


class Screen(io.StringIO):
    """A stream that somebody looks at, or nobody."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_elsewhere_than_on_a_terminal_lines_are_lines() -> None:
    screen = Screen(is_terminal=False)
    terminal = Terminal(screen)
    terminal.draw("drawn")
    terminal.line(terminal.styled(Style.RED, "told"))
    terminal.clear()
    assert screen.getvalue() == "told\n"


def test_on_a_terminal_what_is_drawn_stays_below_the_lines() -> None:
    screen = Screen(is_terminal=True)
    terminal = Terminal(screen)
    terminal.draw("50 %")
    terminal.line(terminal.styled(Style.RED, "told"))
    terminal.clear()
    assert screen.getvalue() == "\r\x1b[K50 %\r\x1b[K\x1b[31mtold\x1b[0m\n50 %\r\x1b[K"


def test_a_line_is_not_drawn_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    screen = Screen(is_terminal=True)
    Terminal(screen).draw("0123456789abc")
    assert screen.getvalue() == "\r\x1b[K012345678"


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError])
def test_a_terminal_that_is_gone_stops_nothing(error: type[Exception]) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    Terminal(Gone()).line("told")


def test_what_would_steer_a_terminal_is_shown() -> None:
    assert printable("a\x1b[2Jb\nü→") == "a\\x1b[2Jb\\x0aü→"


@pytest.mark.parametrize(("share", "drawn"), [(0.0, 0), (0.5, 12), (1.0, 24), (1.7, 24), (-1.0, 0)])
def test_a_bar(share: float, drawn: int) -> None:
    assert bar(share) == "█" * drawn + "░" * (24 - drawn)


@pytest.mark.parametrize(
    ("elapsed", "done", "total", "text"),
    [
        (0, 0, 10, "ETA --:--"),
        (10, 0, 10, "ETA --:--"),
        (10, 5, 10, "ETA 00:10"),
        (60, 1, 100, "ETA 1:39:00"),
        (10, 10, 10, "ETA 00:00"),
        (10, 12, 10, "ETA 00:00"),
    ],
)
def test_the_time_that_is_left(elapsed: float, done: float, total: float, text: str) -> None:
    assert time_left(elapsed, done, total) == text


def test_a_progress_counts_names_and_estimates() -> None:
    clock = Clock()
    progress = Progress(Terminal(Screen(is_terminal=True)), 4, clock=clock, what="a\x1bb")
    assert progress.line() == f"{bar(0)}   0%  0 of 4  ETA --:--  a\\x1bb"
    clock.now = 10.0
    progress.advance(1)
    assert progress.line() == f"{bar(0.25)}  25%  1 of 4  ETA 00:30  a\\x1bb"
    progress.reach(9, total=8)
    assert progress.line() == f"{bar(1)} 100%  8 of 8  ETA 00:00  a\\x1bb"


def test_what_an_earlier_run_did_says_nothing_of_the_speed() -> None:
    clock = Clock()
    progress = Progress(Terminal(Screen(is_terminal=True)), 100, clock=clock)
    progress.start_from(50)
    clock.now = 10.0
    progress.advance(25)
    assert "75 of 100  ETA 00:10" in progress.line()


def test_a_progress_is_told_now_and_then_where_nobody_looks_on() -> None:
    clock, screen = Clock(), Screen(is_terminal=False)
    progress = Progress(Terminal(screen), 100, clock=clock)
    for second in range(1, 12):
        clock.now = float(second)
        progress.advance(1)
    assert len(screen.getvalue().splitlines()) == 2


def test_and_not_more_often_than_an_eye_can_see_where_somebody_does() -> None:
    clock, screen = Clock(), Screen(is_terminal=True)
    progress = Progress(Terminal(screen), 100, clock=clock)
    for _ in range(100):
        clock.now += 0.01
        progress.advance(1)
    assert 5 <= screen.getvalue().count("\r") <= 11


def test_several_lines_are_renewed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "3")
    screen = Screen(is_terminal=True)
    terminal = Terminal(screen)
    terminal.draw("copy\nlag")
    terminal.draw("copy 2\nlag 2\nbelow the screen")
    terminal.line("told")
    terminal.clear()
    assert screen.getvalue() == (
        "\r\x1b[Kcopy\nlag"
        "\x1b[1A\r\x1b[Jcopy 2\nlag 2"
        "\x1b[1A\r\x1b[Jtold\ncopy 2\nlag 2"
        "\x1b[1A\r\x1b[J"
    )
