"""The command as its user calls it: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deploy.rightsizing.rightsizing import COMMAND, main
from tests.unit.rightsizing.inputs import committed


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.count(COMMAND) >= 5


@pytest.mark.parametrize("command", ["plan", "scale", "simulate", "prices"])
def test_json_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out)


def test_a_plan_tells_all_that_it_was_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan"]) == 0
    out = capsys.readouterr().out
    for title in ("Tasks", "Autoscaling", "Tables", "Hottest keys", "A month's bill"):
        assert title in out
    for assumption in type(committed().profile.assumptions).model_fields.values():
        assert str(assumption.alias) in out


def test_more_learners_are_one_option_away(capsys: pytest.CaptureFixture[str]) -> None:
    def usd(*arguments: str) -> float:
        assert main(["plan", "--json", *arguments]) == 0
        return float(json.loads(capsys.readouterr().out)["usd"])

    assert usd("--learners", "1000000") > usd()
    assert usd("--after-months", "12") > usd()
    assert usd("--price", "cognito.activeUser=0") < usd()


def test_what_is_unknown_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices"]) == 0
    assert "REQUIRED: --quota xray.segmentsPerSecond=NUMBER" in capsys.readouterr().out
    assert main(["prices", "--quota", "xray.segmentsPerSecond=5"]) == 0
    assert "REQUIRED" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--profile", "missing.yaml"],
        ["plan", "--price", "nonsense=1"],
        ["plan", "--price", "nat.gb"],
        ["plan", "--price", "nat.gb=-1"],
        ["plan", "--quota", "nonsense=1"],
        ["simulate", "--svg", "no/such/folder/x.svg"],
        ["simulate", "--svg", "x.png"],
        ["scale", "--into", "missing.md"],
    ],
)
def test_what_can_not_be_done_is_one_line_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["plan", "--learners", "none"],
        ["plan", "--learners", "0"],
        ["plan", "--after-months", "1000"],
        ["simulate", "--factor", "0.5"],
        ["simulate", "--service", "payments"],
        ["plan", "--json", "--markdown"],
    ],
)
def test_what_is_called_wrongly_as_well(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_a_plot_is_a_picture_of_every_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spike.svg"
    assert main(["simulate", "--json", "--svg", str(path)]) == 0
    cases = json.loads(capsys.readouterr().out)["courses"]
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    words = " ".join(root.itertext())
    assert root.tag.endswith("svg")
    for case in cases:
        assert case["name"] in words
    lines = [one for one in root.iter() if one.tag.endswith("polyline")]
    assert len(lines) == 5 * len(cases)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    # Nothing is drawn outside the picture.
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    for line in lines:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_tables_of_a_document_are_renewed_and_the_rest_is_left(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    before, after = "# Words\n\n", "\n\nmore words\n"
    empty = "<!-- rightsizing quotas -->\n<!-- /rightsizing quotas -->"
    path.write_text(before + empty + after, encoding="utf-8")
    assert main(["scale", "--into", str(path)]) == 0
    renewed = path.read_text(encoding="utf-8")
    assert renewed.startswith(before)
    assert renewed.endswith(after)
    assert "| apiGateway.requestsPerSecond |" in renewed
    assert main(["scale", "--into", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == renewed


def test_a_document_without_a_place_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.md"
    path.write_text("words\n", encoding="utf-8")
    assert main(["simulate", "--into", str(path)]) == 2
    assert "no place for spike" in capsys.readouterr().err
