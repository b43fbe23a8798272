"""What the demo tells: for a person a story with progress, for a script a line of JSON each.

For a person the story is on standard error and the table of facts on standard output. With `--json`
each is a document on standard output, with `event` and `at`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from libs.console import Progress, Style, Terminal, printable


class Report:
    """Tells.

    Args:
        output: for what came out.
        errors: for the story.
        as_json: for a script.
        clock: monotonic seconds.
        now: the time of day.
    """

    def __init__(
        self,
        output: TextIO,
        errors: TextIO,
        *,
        as_json: bool,
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._terminal = Terminal(errors)
        self._results = Terminal(output)
        self._as_json = as_json
        self._clock = clock
        self._now = now
        self._began = clock()
        self._progress: Progress | None = None

    def step(self, number: str, title: str, *why: str) -> None:
        """A step of the seed begins."""
        self.done()
        if self._as_json:
            self._document("step", {"number": number, "title": title})
            return
        head = f"Step {number}  {title}" if number else title
        self._terminal.line("")
        self._terminal.line(self._terminal.styled(Style.BOLD, f"{head}  ({self._elapsed()})"))
        for line in why:
            self._terminal.line(f"  {self._terminal.styled(Style.DIM, line)}")

    def command(self, line: str) -> None:
        """What an operator would type now."""
        if not self._as_json:
            self._terminal.line(f"  $ {printable(line)}")

    def happened(
        self, event: str, text: str, fields: Mapping[str, object], *, style: Style | None = None
    ) -> None:
        """Something came out."""
        self.done()
        if self._as_json:
            self._document(event, fields)
            return
        shown = f"  {printable(text)}"
        self._terminal.line(self._terminal.styled(style, shown) if style else shown)

    def goes_on(self, what: str, done: float, total: float) -> None:
        """So much of so much (0: nobody knows) of what takes a while; a person alone is told."""
        if self._as_json:
            return
        if not total:
            self._terminal.draw(f"  … {printable(what)}")
            return
        if self._progress is None:
            self._progress = Progress(
                self._terminal,
                total,
                clock=self._clock,
                counted=lambda done, total: f"{done:,.0f} of {total:,.0f}",
                what=what,
            )
        self._progress.doing(what)
        self._progress.reach(done, total=total)

    def done(self) -> None:
        """It takes no longer."""
        if self._progress is not None:
            self._progress.end()
            self._progress = None
        self._terminal.clear()

    def came_out(self, event: str, text: str, fields: Mapping[str, object]) -> None:
        """What was asked for: `text` may have several lines."""
        self.done()
        if self._as_json:
            self._document(event, fields)
            return
        for line in text.split("\n"):
            self._results.line(printable(line))

    def can_not(self, problem: str, last_lines: tuple[str, ...] = ()) -> None:
        """It can not go on."""
        self.done()
        for line in last_lines:
            self._terminal.line(f"  {printable(line)}")
        self._terminal.line(f"{self._terminal.styled(Style.RED, 'demo.py:')} {printable(problem)}")

    def _elapsed(self) -> str:
        minutes, seconds = divmod(round(self._clock() - self._began), 60)
        return f"{minutes}:{seconds:02}"

    def _document(self, event: str, fields: Mapping[str, object]) -> None:
        at = self._now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        self._results.line(json.dumps({"event": event, "at": at, **fields}, ensure_ascii=False))
