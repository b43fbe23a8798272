"""How the two programs are called, and the document that they renew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from libs.picture import source_of
from tests.bench import growth, soak
from tests.bench.growing import terminal
from tests.bench.growing.curves import CURVES
from tests.bench.growing.measure import Size
from tests.bench.growing.soaked import Soak
from tests.unit.growing import made_up

DOCUMENT = Path(__file__).parents[3] / "docs" / "performance-growth.md"
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><rect width="4" height="4"/></svg>'  # fmt: skip

Main = Callable[[Sequence[str]], int]


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (growth.main, ["--only", "nothing"]),
        (growth.main, ["--fast"]),
        (growth.main, ["--quick", "--into", "docs/performance-growth.md"]),
        (soak.main, ["--minutes", "long"]),
        (soak.main, ["--minutes", "0"]),
        (soak.main, ["--minutes", "nan"]),
        (soak.main, ["--minutes", "100000"]),
        (soak.main, ["--only", "payments"]),
        (soak.main, ["--minutes", "1", "--into", "docs/performance-growth.md"]),
    ],
)
def test_what_is_called_wrongly_is_one_line_and_exit_code_2(
    main: Main, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize("main", [growth.main, soak.main])
def test_a_document_that_can_not_be_renewed_is_told_before_anything_is_measured(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    placeless = tmp_path / "placeless.md"
    placeless.write_text("# Nothing", encoding="utf-8")
    binary = tmp_path / "binary.md"
    binary.write_bytes(b"\xff\xfe\xff")
    for path in (tmp_path / "missing.md", tmp_path, placeless, binary):
        assert main(["--into", str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert str(path) in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("main", [growth.main, soak.main])
def test_help_has_examples(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out, _ = capsys.readouterr()
    assert "examples:" in out
    assert "--into docs/performance-growth.md" in out
    assert "exit codes:" in out


def test_the_document_has_a_place_for_every_part() -> None:
    names = ["machine", "capacity", *(curve.name for curve in CURVES)]
    terminal.require_places(DOCUMENT, names, by=growth.BY)
    terminal.require_places(DOCUMENT, list(soak.MIXES), by=soak.BY)
    text = DOCUMENT.read_text(encoding="utf-8")
    for curve in CURVES:
        assert f"## {curve.title}\n<!-- growth {curve.name} -->" in text


def test_a_part_is_renewed_with_its_picture_and_the_rest_is_left(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "Before.\n<!-- growth items -->\nold\n<!-- /growth items -->\n<!-- soak items -->\nkept\n"
        "<!-- /soak items -->\n",
        encoding="utf-8",
    )
    written = terminal.write(document, {"items": r"new \1"}, {"items": DRAWING}, by="growth")
    assert document.read_text(encoding="utf-8") == (
        "Before.\n<!-- growth items -->\n\nnew \\1\n\n<!-- /growth items -->\n"
        "<!-- soak items -->\nkept\n<!-- /soak items -->\n"
    )
    drawing, picture = tmp_path / "page-items.svg", tmp_path / "page-items.png"
    assert written == [document, drawing, picture]
    assert drawing.read_text(encoding="utf-8") == DRAWING
    assert source_of(picture.read_bytes()) is not None


def test_no_picture_means_no_document(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    text = "<!-- growth items -->\nold\n<!-- /growth items -->\n"
    document.write_text(text, encoding="utf-8")
    (tmp_path / "page-items.png").mkdir()
    with pytest.raises(terminal.DocumentError, match="page-items.png"):
        terminal.write(document, {"items": "new"}, {"items": DRAWING}, by="growth")
    assert document.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(("power", "code"), [(1.0, 0), (1.5, 1)])
def test_a_full_run_renews_the_document_and_asks_for_reasons(
    power: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def measured(*_: object, **__: object) -> dict[str, list[Size]]:
        return {"items": made_up.sizes(made_up.curve(), power=power)}

    monkeypatch.setattr(growth, "measured", measured)
    document = tmp_path / "performance-growth.md"
    document.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    assert growth.main(["--only", "items", "--into", str(document)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("worse than linear, and nothing says why") == code
    text = document.read_text(encoding="utf-8")
    assert "![A course grows](performance-growth-items.svg)" in text
    assert "`createCourse`" in text
    assert {path.name for path in tmp_path.iterdir()} == {
        document.name,
        "performance-growth-items.svg",
        "performance-growth-items.png",
    }


@pytest.mark.parametrize(("leaks", "code"), [(0.0, 0), (0.1, 1)])
def test_a_soak_renews_the_document_and_ends_by_its_verdict(
    leaks: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def soaked_all(*_: object) -> dict[str, Soak]:
        return {"course_catalog": made_up.soak(leaks=leaks)}

    monkeypatch.setattr(soak, "soaked_all", soaked_all)
    document = tmp_path / "performance-growth.md"
    document.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    assert soak.main(["--only", "course_catalog", "--into", str(document)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert ("resident memory, MiB: grows" in err) is bool(code)
    name = "performance-growth-soak-course_catalog"
    assert f"![course_catalog]({name}.svg)" in document.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {
        *(document.name, f"{name}.svg", f"{name}.png")
    }
