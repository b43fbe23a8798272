"""What is told while it goes on, and what came out: for a person, or as a line of JSON each.

For a person, what goes on is on standard error and what came out on standard output. With `--json`
each is one JSON document a line on standard output, with `event` (names are stable, see README.md)
and `at`; nothing but what can not be done is then on standard error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from libs.console import Progress, Style, Terminal, printable

COMMAND = "./pantsw run deploy/release/release.py"


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
        self._output = output
        self._terminal = Terminal(errors)
        self._results = Terminal(output)
        self._as_json = as_json
        self._clock = clock
        self._now = now

    def goes_on(
        self,
        event: str,
        text: str,
        fields: Mapping[str, object],
        *,
        style: Style | None = None,
    ) -> None:
        """Something happened."""
        if self._as_json:
            self._document(event, fields)
        else:
            shown = printable(text)
            self._terminal.line(self._terminal.styled(style, shown) if style else shown)

    def quietly(self, event: str, fields: Mapping[str, object]) -> None:
        """Something happened that a person sees in the progress."""
        if self._as_json:
            self._document(event, fields)

    def came_out(
        self,
        event: str,
        text: str,
        fields: Mapping[str, object],
        *,
        style: Style | None = None,
    ) -> None:
        """What was asked for; `text` may have several lines."""
        self.end_progress()
        if self._as_json:
            self._document(event, fields)
        else:
            for line in text.split("\n"):
                shown = printable(line)
                self._results.line(self._results.styled(style, shown) if style else shown)

    def can_not(self, *problems: str) -> None:
        """It can not be done; a line for each reason."""
        self.end_progress()
        for problem in problems:
            self._terminal.line(
                f"{self._terminal.styled(Style.RED, 'release.py:')} {printable(problem)}"
            )

    def warn(self, event: str, text: str, fields: Mapping[str, object]) -> None:
        """Something that is not as it should be, and does not stop anything."""
        self.goes_on(event, text, fields, style=Style.YELLOW)

    def progress(self, total: float, what: str, *, counted: str = "tasks") -> Progress | None:
        """A progress to draw; None where nobody looks. `counted` is what there are so many of."""
        if self._as_json:
            return None
        return Progress(
            self._terminal,
            total,
            clock=self._clock,
            counted=lambda done, total: f"{done:.0f} of {total:.0f} {counted}",
            what=what,
        )

    def doing(self, what: str) -> None:
        """Something that takes a while is being done."""
        if self._as_json:
            return
        if self._terminal.is_terminal:
            self._terminal.draw(f"  … {what}")
        else:
            self._terminal.line(what)

    def end_progress(self) -> None:
        """Nothing is being done any more."""
        self._terminal.clear()

    def _document(self, event: str, fields: Mapping[str, object]) -> None:
        at = self._now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        self._results.line(json.dumps({"event": event, "at": at, **fields}, ensure_ascii=False))
