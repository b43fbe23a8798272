"""How far something is, and when it ends."""

from __future__ import annotations

from collections.abc import Callable

from libs.console._terminal import Terminal, printable

_BAR = 24
_REDRAW_EVERY_SECONDS = 0.1
_LINE_EVERY_SECONDS = 5.0


class Progress:
    """A line on a terminal that is renewed; elsewhere a line now and then.

    Args:
        terminal: where.
        total: how much there is to do.
        clock: monotonic seconds.
        counted: how much of how much is written.
        what: what is being done.
    """

    def __init__(
        self,
        terminal: Terminal,
        total: float,
        *,
        clock: Callable[[], float],
        counted: Callable[[float, float], str] = lambda done, total: f"{done:g} of {total:g}",
        what: str = "",
    ) -> None:
        self._terminal = terminal
        self._total = total
        self._clock = clock
        self._counted = counted
        self._what = printable(what)
        self._began = clock()
        self._told = float("-inf") if terminal.is_terminal else self._began
        self._done = 0.0
        self._counted_from = 0.0

    def doing(self, what: str) -> None:
        """Names what is being done."""
        self._what = printable(what)
        self._tell()

    def advance(self, count: float) -> None:
        """Counts as done; negative where it has to be done again."""
        self.reach(self._done + count)

    def reach(self, done: float, *, total: float | None = None) -> None:
        """So much is done, of so much."""
        if total is not None:
            self._total = total
        self._done = min(max(done, 0.0), self._total)
        self._tell()

    def start_from(self, done: float) -> None:
        """So much was done by an earlier run: it says nothing about this one's speed."""
        self._done = self._counted_from = done

    def line(self) -> str:
        """The line as it stands."""
        share = self._done / self._total if self._total else 1.0
        left = time_left(
            self._clock() - self._began,
            self._done - self._counted_from,
            self._total - self._counted_from,
        )
        counted = self._counted(self._done, self._total)
        return f"{bar(share)} {int(share * 100):3}%  {counted}  {left}  {self._what}".rstrip()

    def end(self) -> None:
        """Takes the line away."""
        self._terminal.clear()

    def _tell(self) -> None:
        now = self._clock()
        is_terminal = self._terminal.is_terminal
        if now - self._told < (_REDRAW_EVERY_SECONDS if is_terminal else _LINE_EVERY_SECONDS):
            return
        self._told = now
        if is_terminal:
            self._terminal.draw(self.line())
        else:
            self._terminal.line(self.line())


def bar(share: float) -> str:
    """A bar of 24 characters."""
    filled = int(min(max(share, 0.0), 1.0) * _BAR)
    return "█" * filled + "░" * (_BAR - filled)


def time_left(elapsed: float, done: float, total: float) -> str:
    """``ETA mm:ss``, by the mean speed since the beginning: what is left is of the same mixture as
    what was done, and a mean does not jump."""
    if done <= 0 or elapsed <= 0:
        return "ETA --:--"
    hours, rest = divmod(round(elapsed * max(total - done, 0) / done), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"ETA {hours}:{minutes:02}:{seconds:02}" if hours else f"ETA {minutes:02}:{seconds:02}"
