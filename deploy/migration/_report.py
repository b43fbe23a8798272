"""What is told while it goes on, and what came out: for a person, or as a line of JSON each.

For a person, what goes on is on standard error and what came out on standard output. With `--json`
each is one JSON document a line on standard output, with `event` (names are stable, see README.md)
and `at`; nothing but what can not be done is then on standard error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TextIO

from libs.console import Style, Terminal, bar, printable, time_left

COMMAND = "./pantsw run deploy/migration/migrate.py --"

_TOLD_EVERY_SECONDS = 10.0
_UNTOLD_SECONDS = 2.0
"""What takes no longer is not worth a line of a log."""

_REDRAWN_EVERY_SECONDS = 0.1


class Report:
    """Tells.

    Args:
        output: for what came out.
        errors: for what goes on.
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
        self._what = self._step = ""
        self._total = 0.0
        self._began = (0.0, 0.0)
        self._told_at = float("-inf")

    @property
    def is_watched(self) -> bool:
        """Whether lines can be drawn over."""
        return self._terminal.is_terminal and not self._as_json

    def tell(self, what: str, done: float, total: float) -> None:
        """So much of so much is done (0: nobody knows), now; on a terminal with an estimate."""
        now = self._clock()
        # "verifying x: reading y" goes on as one work.
        step = what.partition(":")[0].partition(";")[0]
        if step != self._step or bool(total) != bool(self._total):
            self._step, self._began = step, (now, done)
            self._told_at = now - _TOLD_EVERY_SECONDS + _UNTOLD_SECONDS
        is_news = what != self._what and not total
        self._what, self._total = what, total
        every = _REDRAWN_EVERY_SECONDS if self.is_watched else _TOLD_EVERY_SECONDS
        if not is_news and now - self._told_at < every:
            return
        self._told_at = now
        if self._as_json:
            self._document("goesOn", {"what": what, "done": done, "total": total or None})
        elif self.is_watched:
            self._terminal.draw(f"  {self._line(what, done, total)}")
        else:
            self._terminal.line(self._line(what, done, total))

    def _line(self, what: str, done: float, total: float) -> str:
        what = printable(what)
        if not total:
            return f"… {what}" if not done else f"… {what}: {done:,.0f}"
        began, done_then = self._began
        left = time_left(self._clock() - began, done - done_then, total - done_then)
        share = min(done / total, 1.0)
        return f"{bar(share)} {int(share * 100):3}%  {done:,.0f} of {total:,.0f}  {left}  {what}"

    def goes_on(
        self, event: str, text: str, fields: Mapping[str, object], *, style: Style | None = None
    ) -> None:
        """Something happened."""
        if self._as_json:
            self._document(event, fields)
        else:
            shown = printable(text)
            self._terminal.line(self._terminal.styled(style, shown) if style else shown)

    def warn(self, event: str, text: str, fields: Mapping[str, object]) -> None:
        """Something that is not as it should be, and does not stop anything."""
        self.goes_on(event, text, fields, style=Style.YELLOW)

    def came_out(
        self, event: str, text: str, fields: Mapping[str, object], *, style: Style | None = None
    ) -> None:
        """What was asked for; `text` may have several lines."""
        self.end_progress()
        if self._as_json:
            self._document(event, fields)
            return
        for line in text.split("\n"):
            shown = printable(line)
            self._results.line(self._results.styled(style, shown) if style else shown)

    def next_step(self, *commands: str) -> None:
        """What is to be done now; a person alone is told."""
        self.end_progress()
        if not self._as_json:
            for command in commands:
                self._results.line(self._results.styled(Style.BOLD, f"next: {printable(command)}"))

    def draw(self, lines: Sequence[str]) -> None:
        """In place of what was drawn before; only where it is watched."""
        self._terminal.draw("\n".join(printable(line) for line in lines))

    def can_not(self, *problems: str) -> None:
        """It can not be done; a line for each reason."""
        self.end_progress()
        for problem in problems:
            self._terminal.line(
                f"{self._terminal.styled(Style.RED, 'migrate.py:')} {printable(problem)}"
            )

    def end_progress(self) -> None:
        """Nothing is being done any more."""
        self._terminal.clear()
        self._what = self._step = ""

    def _document(self, event: str, fields: Mapping[str, object]) -> None:
        at = self._now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        self._results.line(json.dumps({"event": event, "at": at, **fields}, ensure_ascii=False))
