"""What the fault tests measured, one row a fault and endpoint: printed, and kept where it is asked for.

With `FAULT_REPORT` naming a folder, each test module leaves `<module>.json` there, and
`tests/faults/table.py` puts those into docs/resilience.md. Knows no fault.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.load.answer import Answer

FOLDER_VARIABLE = "FAULT_REPORT"


@dataclass(frozen=True)
class Row:
    """One row of the table. Times are in seconds; None where there is nothing to be told.

    first: the slowest answer from the moment of the fault until it is known. later: the median
    while it lasts. recovery: from the end of the fault to the first answer as before.
    """

    fault: str
    endpoint: str
    answer: str
    first: float | None
    later: float | None
    recovery: float | None
    test: str


class Report:
    """The rows of one test module, in the order in which they were noted."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def note(
        self,
        test: str,
        fault: str,
        endpoint: str,
        *,
        first: Sequence[Answer] = (),
        later: Sequence[Answer] = (),
        recovery: float | None = None,
        answer: str | None = None,
    ) -> None:
        """Add a row; what is answered is told from the answers unless `answer` says it."""
        self.rows.append(
            Row(
                fault,
                endpoint,
                answer or describe([*first, *later]),
                max((found.seconds for found in first), default=None),
                statistics.median(found.seconds for found in later) if later else None,
                recovery,
                test,
            )
        )

    def write(self, path: Path) -> None:
        """Keep the rows as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(row) for row in self.rows], indent=1) + "\n")

    def __str__(self) -> str:
        return "\n".join(
            f"{row.fault} | {row.endpoint} | {row.answer} | "
            + " | ".join(
                "-" if value is None else f"{value:.3f}"
                for value in (row.first, row.later, row.recovery)
            )
            for row in self.rows
        )


def describe(answers: Sequence[Answer]) -> str:
    """What was answered, each kind once: the status, its code, and the headers that matter here."""
    kinds: dict[str, None] = {}
    for answer in answers:
        words = [str(answer.status) if answer.status else "no answer"]
        if (
            answer.status >= 400
            and answer.headers.get("Content-Type") == "application/problem+json"
        ):
            words.append(f"`{answer.code}`")
        words += [
            f"`{name}`" for name in ("Warning", "Age", "Retry-After") if name in answer.headers
        ]
        kinds[" ".join(words)] = None
    return "; ".join(sorted(kinds))
