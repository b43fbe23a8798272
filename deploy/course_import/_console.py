"""What the person at the terminal sees: progress while it runs, the outline, the report.

Progress and troubles go to standard error, what was asked for to standard output. On a terminal
progress is one line that is written over; elsewhere it is a line now and then. Knows no HTTP.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable
from typing import TextIO

from deploy.course_import._findings import ADAPTED, LEFT_OUT, REASONS, Finding, counted
from deploy.course_import._plan import Item, Plan

_BAR = 24
_LINE_EVERY_SECONDS = 5.0
_REDRAW_EVERY_SECONDS = 0.1


class Console:
    """Writes for a person, or for a script (`as_json`).

    Args:
        output: for what was asked for.
        errors: for progress and troubles.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        output: TextIO,
        errors: TextIO,
        *,
        as_json: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output = output
        self._errors = errors
        self._as_json = as_json
        self._clock = clock
        self._shown = ""

    def failed(self, text: str) -> None:
        """What was asked for can not be had; one line."""
        self.clear()
        self._errors.write(f"olx.py: {printable(text)}\n")
        self._errors.flush()

    def note(self, text: str) -> None:
        """Something worth knowing meanwhile."""
        self.clear()
        self._errors.write(f"{text}\n")
        self._errors.flush()

    def progress(self, total: int, what: str = "") -> Progress:
        """A new progress over `total` bytes."""
        self.clear()
        return Progress(self, total, self._clock, what, is_terminal=self._errors.isatty())

    def clear(self) -> None:
        """Takes the line of progress away."""
        if self._shown:
            self._errors.write("\r\x1b[K")
            self._errors.flush()
            self._shown = ""

    def draw(self, line: str) -> None:
        """Shows a line of progress in place of the last one (terminals only)."""
        width = shutil.get_terminal_size().columns - 1
        self._errors.write(f"\r{line[:width]}\x1b[K")
        self._errors.flush()
        self._shown = line

    def show_plan(self, plan: Plan, *, verbose: bool, outcome: dict[str, object]) -> None:
        """The outline and the report."""
        if self._as_json:
            document = {**plan_document(plan), **outcome}
            self._output.write(json.dumps(document, ensure_ascii=False) + "\n")
        else:
            self._output.write("\n".join(_outline(plan)) + "\n")
            self._output.write("\n".join(report(plan.findings, verbose=verbose)) + "\n")
        self._output.flush()

    def show_outcome(
        self, plan: Plan, *, verbose: bool, outcome: dict[str, object], text: str
    ) -> None:
        """What was done, and the report."""
        if self._as_json:
            self._output.write(
                json.dumps({**plan_document(plan), **outcome}, ensure_ascii=False) + "\n"
            )
        else:
            self._output.write("\n".join(report(plan.findings, verbose=verbose)) + "\n")
            self._output.write(text + "\n")
        self._output.flush()


class Progress:
    """How far it is, in bytes, with an estimate of when it ends.

    The estimate is by the mean speed since the beginning: what is left is of the same mixture as
    what was done, and a mean does not jump.
    """

    def __init__(
        self,
        console: Console,
        total: int,
        clock: Callable[[], float],
        what: str,
        *,
        is_terminal: bool,
    ) -> None:
        self._console = console
        self._total = total
        self._clock = clock
        self._is_terminal = is_terminal
        self._began = clock()
        self._drawn = float("-inf") if is_terminal else self._began
        self._done = 0
        self._what = what

    def doing(self, what: str) -> None:
        """Names what is being done."""
        self._what = printable(what)
        self._draw()

    def advance(self, count: int) -> None:
        """Counts bytes as done; negative where they have to be sent again."""
        self._done = min(max(self._done + count, 0), self._total)
        self._draw()

    def line(self) -> str:
        """The line as it stands."""
        share = self._done / self._total if self._total else 1.0
        filled = int(share * _BAR)
        bar = "█" * filled + "░" * (_BAR - filled)
        sizes = f"{megabytes(self._done)} of {megabytes(self._total)} MB"
        return f"{bar} {int(share * 100):3}%  {sizes}  {self._left()}  {self._what}".rstrip()

    def end(self) -> None:
        """Takes the line away."""
        self._console.clear()

    def _left(self) -> str:
        elapsed = self._clock() - self._began
        if not self._done or elapsed <= 0:
            return "ETA --:--"
        seconds = round(elapsed * (self._total - self._done) / self._done)
        hours, rest = divmod(seconds, 3600)
        minutes, seconds = divmod(rest, 60)
        return (
            f"ETA {hours}:{minutes:02}:{seconds:02}" if hours else f"ETA {minutes:02}:{seconds:02}"
        )

    def _draw(self) -> None:
        now = self._clock()
        every = _REDRAW_EVERY_SECONDS if self._is_terminal else _LINE_EVERY_SECONDS
        if now - self._drawn < every:
            return
        self._drawn = now
        if self._is_terminal:
            self._console.draw(self.line())
        else:
            self._console.note(self.line())


def megabytes(count: int) -> str:
    """Bytes as MB of 10⁶ bytes, with a digit after the point below 100."""
    return f"{count / 1e6:.1f}" if count < 100e6 else f"{count / 1e6:.0f}"


def plan_document(plan: Plan) -> dict[str, object]:
    """The plan for `--json`: the course, its outline, its findings."""
    return {
        "course": {
            "key": str(plan.key),
            "slug": plan.slug,
            "title": plan.title,
            "shortDescription": plan.short_description,
            "language": plan.language,
            "level": plan.level,
            "tags": list(plan.tags),
            "instructors": list(plan.instructors),
        },
        "outline": [
            {
                "id": section.id,
                "title": section.title,
                "items": [_item_document(item) for item in section.items],
            }
            for section in plan.sections
        ],
        "report": {
            "counts": dict(counted(plan.findings)),
            "findings": [finding.document() for finding in plan.findings],
        },
    }


def _item_document(item: Item) -> dict[str, object]:
    return {
        "key": item.key,
        "title": item.title,
        "type": item.type,
        "contentType": item.body.content_type,
        "sizeBytes": item.body.size,
        "durationSeconds": item.duration_seconds,
        "required": item.required,
        "weight": item.weight,
        "captions": [track.language for track in item.captions],
        "sources": list(item.sources),
    }


def _outline(plan: Plan) -> Iterable[str]:
    items = list(plan.items())
    total = sum(item.body.size for item in items)
    yield f"{printable(plan.title)}  ({plan.slug}, {plan.language}, {plan.level})"
    yield f"{len(plan.sections)} sections, {len(items)} items, {megabytes(total)} MB"
    for number, section in enumerate(plan.sections, start=1):
        yield ""
        yield f"{number}. {printable(section.title)}"
        for item in section.items:
            notes = [_duration(item.duration_seconds)]
            notes += [f"weight {item.weight:g}"] if item.weight != 1 else []
            notes += ["optional"] if not item.required else []
            notes += [f"captions {', '.join(track.language for track in item.captions)}"] * bool(
                item.captions
            )
            said = ", ".join(note for note in notes if note)
            yield f"   {item.type:<10} {printable(item.title)}" + (f"  ({said})" if said else "")
    yield ""


def report(findings: Iterable[Finding], *, verbose: bool) -> Iterable[str]:
    """The findings by reason, with counts; each of them with `verbose`, else the first few."""
    findings = list(findings)
    if not findings:
        yield "Everything of the course has arrived as it was."
        return
    for outcome, heading in ((LEFT_OUT, "Left out:"), (ADAPTED, "Arrives, but not as it was:")):
        reasons = [entry for entry in counted(findings) if REASONS[entry[0]][0] == outcome]
        if reasons:
            yield heading
        for reason, count in reasons:
            yield f"{count:5}  {REASONS[reason][1]}"
            those = [finding for finding in findings if finding.reason == reason]
            for finding in those if verbose else those[:_EXAMPLES]:
                place = " / ".join(finding.where)
                detail = f": {finding.detail}" if finding.detail else ""
                yield "         " + printable(
                    f"{finding.subject}{f' in {place}' if place else ''}{detail}"
                )
            if not verbose and count > _EXAMPLES:
                yield f"         … and {count - _EXAMPLES} more (--verbose names each)"


_EXAMPLES = 3


def printable(text: str) -> str:
    """`text` with what would steer a terminal made visible: titles come from strangers."""
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}" for character in text
    )


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}:{rest:02}"
