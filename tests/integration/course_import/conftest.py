"""Says which exports are imported: the sample always, one of life where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "LYCEUM_OLX_EXPORT"
SAMPLE = Path(__file__).parents[3] / "deploy" / "course_import" / "samples" / "night-sky"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives `every_export` to tests; a variable that names nothing is an error, not a reason."""
    if "every_export" in metafunc.fixturenames:
        named = os.environ.get(VARIABLE, "")
        exports = [SAMPLE, *([Path(named)] if named else [])]
        metafunc.parametrize("every_export", exports, ids=lambda path: path.name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Nothing is skipped, and yet nobody should think that what is not here was tested."""
    if not os.environ.get(VARIABLE):
        terminalreporter.write_line(
            f"{VARIABLE} names no OLX export: the project's own sample alone was imported."
        )
