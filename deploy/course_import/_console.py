"""What the person at the terminal sees: progress while it runs, the outline, the report.

Progress and troubles go to standard error, what was asked for to standard output. On a terminal
progress is one line that is written over; elsewhere it is a line now and then. Knows no HTTP.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import TextIO

from deploy.course_import._findings import ADAPTED, LEFT_OUT, REASONS, Finding, counted
from deploy.course_import._plan import Item, Plan
from libs.console import Progress, Terminal, printable


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
        self._terminal = Terminal(errors)
        self._as_json = as_json
        self._clock = clock

    def failed(self, text: str) -> None:
        """What was asked for can not be had; one line."""
        self._terminal.clear()
        self._terminal.line(f"olx.py: {printable(text)}")

    def note(self, text: str) -> None:
        """Something worth knowing meanwhile."""
        self._terminal.line(text)

    def progress(self, total: int, what: str = "") -> Progress:
        """A new progress over `total` bytes."""
        self._terminal.clear()
        return Progress(self._terminal, total, clock=self._clock, counted=_sizes, what=what)

    def clear(self) -> None:
        """Takes the line of progress away."""
        self._terminal.clear()

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


def _sizes(done: float, total: float) -> str:
    return f"{megabytes(done)} of {megabytes(total)} MB"


def megabytes(count: float) -> str:
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


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}:{rest:02}"
