"""What the report makes of numbers, what the curves ask, and the one file of consumed capacity."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from deploy.rightsizing._inputs import read_capacity
from services.course_catalog.domain.course import MAX_DESCRIPTION, MAX_ITEMS
from services.progress_tracking.api.schemas import MAX_ENTRIES
from tests.bench import growth
from tests.bench.growing import report, soaked
from tests.bench.growing.curves import CURVES, MEMORY, START
from tests.bench.growing.measure import FULL, QUICK, seconds_of, sizes_of, weigh
from tests.bench.growing.soaked import window_seconds
from tests.bench.soak import Latencies, Processors, processors
from tests.unit.growing.made_up import curve, sizes, soak

SVG = "{http://www.w3.org/2000/svg}"


def test_a_verdict_stands_beside_each_exponent() -> None:
    measured = sizes(curve(), power=0.5)
    text = report.section(curve(), measured, picture="growth-items.svg")
    assert text.startswith("![A course grows](growth-items.svg)\n")
    assert "(growth-items.png)" in text
    assert "| `GET /courses/{id}`, CPU | 0.50 | 0.50 to 0.50 | 0.50 | sub-linear |" in text
    assert "| memory after the load | 0.00 | 0.00 to 0.00 | 0.00 | sub-linear |" in text
    assert "Worse than linear" not in text
    assert "refused" not in text
    assert curve().note in text
    assert report.unexplained(curve(), measured) == []


def test_what_is_worse_than_linear_is_explained_or_that_is_told() -> None:
    measured = sizes(curve(), power=1.5)
    assert report.unexplained(curve(), measured) == ["course"]
    text = report.section(curve(), measured)
    assert "**worse than linear**" in text
    assert "Worse than linear, `GET /courses/{id}`, CPU: **not explained**" in text
    explained = replace(curve(), reasons={"course": "each item is compared with each"})
    assert report.unexplained(explained, measured) == []
    assert "CPU: each item is compared with each." in report.section(explained, measured)
    found: Any = report.as_json(explained, measured)
    assert found["fits"]["course"]["reason"] == "each item is compared with each"
    assert found["fits"][MEMORY]["reason"] is None


def test_what_was_refused_has_a_column() -> None:
    table = report.numbers_table(curve(), sizes(curve(), power=1, refused=25))
    head, _, first, *_ = table.splitlines()
    assert "| answer, bytes | refused |" in head
    assert "| 1,234 | 25.0% |" in first
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_numbers_are_plain_values() -> None:
    found: Any = json.loads(json.dumps(report.as_json(curve(), sizes(curve(), power=1))))
    assert [one["size"] for one in found["sizes"]] == list(curve().sizes)
    case = found["sizes"][0]["cases"]["course"]
    assert case["cpuMicroseconds"] == {"median": 1_100.0, "least": 1_000.0, "most": 1_200.0}
    assert found["fits"]["course"]["verdict"] == "linear"


def test_the_start_is_fitted_where_it_grows() -> None:
    assert START in report.fits(curve("courses"), sizes(curve("courses"), power=0))
    assert START not in report.fits(curve(), sizes(curve(), power=0))


@pytest.mark.parametrize("name", [found.name for found in CURVES])
@pytest.mark.parametrize("power", [0.0, 1.6])
def test_a_plot_has_a_line_for_each_case_and_nothing_outside(name: str, power: float) -> None:
    drawn = report.plot(curve(name), sizes(curve(name), power=power))
    root = ElementTree.fromstring(drawn)
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    lines = root.findall(f"{SVG}polyline")
    assert len(lines) == len(curve(name).cases) + 2  # in proportion, and the memory
    for line in lines:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height
    texts = {element.text for element in root.findall(f"{SVG}text")}
    assert {case.label for case in curve(name).cases.values()} <= texts


@pytest.mark.parametrize("quick", [False, True])
def test_a_curve_has_sizes_to_fit_and_an_end_in_sight(quick: bool) -> None:
    for found in CURVES:
        asked = sizes_of(found, quick=quick)
        assert len(set(asked)) >= 3
        assert list(asked) == sorted(asked)
        extent = QUICK if quick else FULL
        assert 0 < seconds_of(found, extent, quick=quick) < 600
        assert set(found.reasons) <= {MEMORY, START, *found.cases}


def test_bodies_are_as_large_as_they_say_and_allowed() -> None:
    for size in curve("body").sizes:
        asked = curve("body").cases["create"].asked(size)
        assert asked is not None
        assert len(asked.body) == pytest.approx(size, rel=0.02)
        body = json.loads(asked.body)
        assert len(body["description"]) <= MAX_DESCRIPTION
        assert sum(len(section["items"]) for section in body["outline"]) <= MAX_ITEMS
    asked = curve("batch").cases["batch"].asked(max(curve("batch").sizes))
    assert asked is not None
    assert len(json.loads(asked.body)["entries"]) == MAX_ENTRIES


def test_what_is_weighed_is_what_the_file_says_of_the_typical_course() -> None:
    """The curves and the file count by the same rule; nobody has to copy a number."""
    operations = read_capacity(growth.CAPACITY).operations
    rows = curve().rows(60)
    given = Counter({("GetItem", '"CourseCatalog"', True): 1})
    assert weigh(given, rows) == (operations["getCourse"].reads, 0)
    rows = curve("items-progress").rows(20)
    given = Counter(
        {("Query", '"P#', True): 1, ("Query", '"H#', True): 1, ("UpdateItem", "", False): 1}
    )
    record = operations["recordProgress"]
    assert weigh(given, rows) == (record.reads, record.writes)
    outlines = Counter({("BatchGetItem", "outline", False): 1})
    assert weigh(outlines, curve("learner").rows(1)) == (
        read_capacity(growth.CAPACITY).background["readOutline"].reads,
        0,
    )


def test_the_table_of_capacity_is_that_of_the_file() -> None:
    capacity = read_capacity(growth.CAPACITY)
    lines = report.capacity_table(capacity).splitlines()[2:]
    assert len(lines) == len(capacity.operations) + len(capacity.background)
    units = capacity.operations["createCourse"]
    assert f"| `createCourse` | {units.calls:g} | {units.reads:g} | {units.writes:g} | 0 |" in lines
    assert str(capacity.measured_on) in report.capacity_line(capacity)


def test_a_soak_is_flat_or_names_what_is_not() -> None:
    assert {one.verdict.value for one in soaked.drifts(soak()).values()} == {"flat"}
    text = soaked.section(soak(), picture="soak.svg")
    assert text.startswith("![course_catalog](soak.svg)")
    assert "10 minutes at 700 requests a second, 420,000 in all, which took " in text
    assert "| file descriptors | 40.00 | +0.00 | +0.00 to +0.00 | +1.00 | flat |" in text
    assert "leaves 0 bytes behind at most" in text
    leaking = soaked.drifts(soak(leaks=0.1))
    assert {name for name, one in leaking.items() if one.verdict != "flat"} == {
        "resident memory, MiB",
        "memory of its own (USS), MiB",
    }
    assert "**grows**" in soaked.section(soak(leaks=0.1))
    found: Any = json.loads(json.dumps(soaked.as_json(soak(leaks=0.1))))
    assert found["drifts"]["resident memory, MiB"]["verdict"] == "grows"
    assert len(found["samples"]) == 40


@pytest.mark.parametrize(
    ("disturbed", "verdict", "said"),
    [
        (range(20, 36), "flat", "In 16 of the 40 windows "),
        (range(10, 36), "undecided", "the p99 is judged with them, as they are most"),
    ],
)
@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ({"stolen_share": 0.3}, "the machine's host kept more than 2% of its processors' time"),
        ({"load_microseconds": 58.0}, "more than 15% above what it did in the quickest quarter"),
    ],
)
def test_what_the_machine_did_is_not_the_services(
    disturbed: range, verdict: str, said: str, reason: dict[str, Any], why: str
) -> None:
    run = soak()
    quiet = [replace(sample, load_microseconds=50.0) for sample in run.samples]
    run.samples = [
        replace(sample, second_p99_milliseconds=20.0 + 3 * n, **reason)
        if n in disturbed
        else sample
        for n, sample in enumerate(quiet)
    ]
    assert soaked.drifts(run)["p99 of a second, ms"].verdict == verdict
    assert said in soaked.section(run)
    assert why in soaked.section(run)
    # Of memory every window tells.
    run.samples = [
        replace(sample, resident_mebibytes=100.0 + n) for n, sample in enumerate(run.samples)
    ]
    assert soaked.drifts(run)["resident memory, MiB"].verdict == "grows"


def test_what_a_host_kept_is_read_of_the_kernel(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 50 800 20 0 10 20 5 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    before = processors(stat)
    assert before == Processors(total=1_000, stolen=20)
    assert Processors(total=1_200, stolen=70).stolen_since(before) == 0.25
    assert before.stolen_since(before) == 0.0


def test_a_soak_is_three_panels() -> None:
    root = ElementTree.fromstring(soaked.plot(soak()))
    assert len(root.findall(f"{SVG}polyline")) == 5
    # The number below the last tick is not cut.
    assert float(root.attrib["width"]) > 3 * 420


def test_what_the_machine_gave_to_others_is_not_the_services() -> None:
    clock = [0.0]
    latencies = Latencies(lambda: clock[0])

    def answers(numbers: range, *, disturbed: range = range(0)) -> None:
        for number in numbers:
            clock[0] = number / 100
            is_late = number in disturbed or (number % 100 < 5 and number < 1_300)
            latencies.tell(0.3 if is_late else 0.005 + (number % 100) * 1e-5)

    # Something in most seconds, something long in one, and of the last second only its beginning.
    answers(range(1_510), disturbed=range(520, 550))
    window, second, count = latencies.taken()
    assert (window, count) == (0.3, 1_510)
    assert second == pytest.approx(0.00599)
    assert latencies.taken() == (0.0, 0.0, 0)

    # What the service does is in every second.
    for number in range(300):
        clock[0] = 20 + number / 100
        latencies.tell(0.3 if number % 50 == 0 else 0.005)
    assert latencies.taken()[1] == 0.3


def test_a_short_soak_has_windows_to_fit() -> None:
    assert window_seconds(10) == 15
    assert window_seconds(0.2) == pytest.approx(1.5)
