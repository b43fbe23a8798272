"""docs/resilience.md and the fault tests speak of the same: no row without its test, and no test
without a row."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.faults.report import Row
from tests.faults.table import BEGIN, DOCUMENT, END, MODULES, main, replaced

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests" / "faults"


def rows_of(document: str) -> list[list[str]]:
    """The cells of each row of the measured table."""
    measured = document.partition(BEGIN)[2].partition(END)[0]
    lines = measured.strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names_of(module: Path) -> set[str]:
    """The names of its tests."""
    return {
        node.name
        for node in ast.parse(module.read_text(encoding="utf-8")).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
        and node.name.startswith("test_")
    }


@pytest.fixture(scope="module")
def document() -> str:
    return (ROOT / DOCUMENT).read_text(encoding="utf-8")


def test_every_row_has_its_test_and_every_test_a_row(document: str) -> None:
    named = {row[-1].strip("`") for row in rows_of(document)}
    existing = set().union(*(names_of(path) for path in TESTS.glob("test_*.py")))
    assert named == existing


def test_every_row_is_whole(document: str) -> None:
    for row in rows_of(document):
        assert len(row) == 7, row
        assert all((row[0], row[1], row[2])), row


def test_every_module_of_fault_tests_is_in_the_table() -> None:
    assert {path.stem for path in TESTS.glob("test_*.py")} == set(MODULES)


def test_a_table_takes_the_place_of_the_one_before() -> None:
    row = Row("a fault", "`GET /`", "200", 0.0066, 0.2351, 13.2, "test_it")
    for before in ("", "\n| old |\n"):
        text = replaced(f"# Title\n{BEGIN}{before}{END}\nafter\n", [row])
        assert text.startswith(f"# Title\n{BEGIN}\n| fault |")
        assert text.endswith(f"{END}\nafter\n")
        assert rows_of(text) == [
            ["a fault", "`GET /`", "200", "7 ms", "240 ms", "13 s", "`test_it`"]
        ]
    with pytest.raises(ValueError, match="the document needs"):
        replaced("# Title\n", [row])


def test_a_missing_report_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "run all fault tests" in capsys.readouterr().err
