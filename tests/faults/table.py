"""Puts what the fault tests measured into docs/resilience.md: `python -m tests.faults.table FOLDER`.

FOLDER is what `FAULT_REPORT` named when the tests ran. Everything between the two marks of the
document is replaced; the rest is written by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.faults.report import Row

DOCUMENT = Path("docs") / "resilience.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
MODULES = (
    "test_dynamodb_faults",
    "test_s3_faults",
    "test_token_issuer_faults",
    "test_process_faults",
    "test_fault_leaks",
)
_HEAD = (
    "| fault | endpoint | answer | first | later | recovery | test |",
    "|---|---|---|---|---|---|---|",
)


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    return "\n".join((*_HEAD, *map(_line, rows)))


def replaced(document: str, rows: list[Row]) -> str:
    """The document with this table in the place of the one that is there. Raises ValueError."""
    before, _, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the document needs {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"


def _line(row: Row) -> str:
    times = (_seconds(value) for value in (row.first, row.later, row.recovery))
    cells = (row.fault, row.endpoint, row.answer, *times, f"`{row.test}`")
    return f"| {' | '.join(cells)} |"


def _seconds(value: float | None) -> str:
    """Two digits that mean something: 7 ms, 240 ms, 1.3 s, 13 s."""
    if value is None:
        return ""
    if value < 1:
        return f"{max(1, round(value * 1000, -1 if value >= 0.1 else None)):.0f} ms"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the document; 2 when a module's report is missing."""
    parser = argparse.ArgumentParser(prog="table", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    rows = []
    for module in MODULES:
        path = options.folder / f"{module}.json"
        if not path.exists():
            sys.stderr.write(f"{path} is missing: run all fault tests with FAULT_REPORT\n")
            return 2
        rows += [Row(**row) for row in json.loads(path.read_text())]
    options.document.write_text(replaced(options.document.read_text(), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
