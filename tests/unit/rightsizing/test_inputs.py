"""What is wrong with a file is said at once, all of it, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.rightsizing._inputs import (
    InputError,
    Profile,
    read_capacity,
    read_measurements,
    read_prices,
    read_profile,
    read_quotas,
    require_measured,
)
from tests.unit.rightsizing.inputs import FOLDER, capacity, committed, measurements, profile


def changed(tmp_path: Path, name: str, change: Callable[[Any], object]) -> Path:
    """A committed file with a change."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    document = json.loads(text) if name.endswith("json") else yaml.safe_load(text)
    change(document)
    path = tmp_path / name
    path.write_text(json.dumps(document, default=str), encoding="utf-8")
    return path


def complaint(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_problem_of_a_profile_at_once(tmp_path: Path) -> None:
    def change(document: Any) -> None:
        document["load"]["peakFactor"] = 0.5
        document["load"]["perLearnerDay"]["getCourse"] = -1
        document["learners"]["registered"] = float("nan")
        document["assumptions"]["fargateCpuFactor"].pop("because")
        document["nonsense"] = 1

    found = complaint(read_profile, changed(tmp_path, "lyceum.yaml", change))
    for name in (
        "load.peakFactor",
        "load.perLearnerDay.getCourse",
        "learners.registered",
        "assumptions.fargateCpuFactor.because",
        "nonsense",
    ):
        assert name in found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maximumUtilisation", 0),
        ("maximumUtilisation", 1.1),
        ("utilisationWithoutSpot", 0),
        ("dynamodbTargetUtilisation", 2),
        ("fargateCpuFactor", 0),
        ("memoryHeadroom", 0),
    ],
)
def test_an_impossible_assumption(tmp_path: Path, name: str, value: float) -> None:
    def change(document: Any) -> None:
        document["assumptions"][name]["value"] = value

    assert name in complaint(read_profile, changed(tmp_path, "lyceum.yaml", change))


def test_another_set_of_services(tmp_path: Path) -> None:
    def change(document: Any) -> None:
        document["services"]["payments"] = document["services"].pop("course_catalog")

    found = complaint(read_profile, changed(tmp_path, "lyceum.yaml", change))
    assert "services must be course_catalog" in found


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (read_profile, "lyceum.yaml"),
        (read_measurements, "measurements.json"),
        (read_capacity, "capacity.json"),
        (read_prices, "prices.yaml"),
        (read_quotas, "quotas.yaml"),
    ],
)
def test_another_version_of_any_file(
    tmp_path: Path, read: Callable[[Path], object], name: str
) -> None:
    def change(document: Any) -> None:
        document["version"] = 2

    assert "version" in complaint(read, changed(tmp_path, name, change))


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "No such file" in complaint(read_profile, tmp_path / "missing.yaml")
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    assert str(broken) in complaint(read_measurements, broken)
    odd = tmp_path / "odd.yaml"
    odd.write_text("a: [1", encoding="utf-8")
    assert str(odd) in complaint(read_prices, odd)
    odd.write_text("just words", encoding="utf-8")
    assert str(odd) in complaint(read_prices, odd)


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    """Of two prices for one thing YAML would silently take the second."""
    text = (FOLDER / "prices.yaml").read_text(encoding="utf-8")
    path = tmp_path / "prices.yaml"
    path.write_text(text + "  nat.gb:\n    unit: GB\n    usd: 1\n", encoding="utf-8")
    assert "nat.gb stands twice" in complaint(read_prices, path)


def test_tiers_that_are_no_tiers(tmp_path: Path) -> None:
    def shrinking(document: Any) -> None:
        document["prices"]["endpoint.gb"]["tiers"][1]["upTo"] = 1

    def endless(document: Any) -> None:
        document["prices"]["endpoint.gb"]["tiers"][0].pop("upTo")

    def both(document: Any) -> None:
        document["prices"]["endpoint.gb"]["usd"] = 1

    for change, words in (
        (shrinking, "bounds of tiers must grow"),
        (endless, "every tier but the last has a bound"),
        (both, "has a price and tiers"),
    ):
        assert words in complaint(read_prices, changed(tmp_path, "prices.yaml", change))


def test_a_request_that_was_never_measured() -> None:
    load = profile(per_second={"recordProgress": 1.0, "fly": 2.0, "swim": 3.0})
    with pytest.raises(InputError, match="fly is in no measurements; swim is in no measurements"):
        require_measured(load, measurements(), capacity())
    consumed = capacity().model_copy(update={"operations": {}, "background": {}})
    with pytest.raises(InputError, match="recordProgress is in no consumed capacity"):
        require_measured(profile(per_second={"recordProgress": 1.0}), measurements(), consumed)


def test_the_committed_files_go_together() -> None:
    files = committed()
    require_measured(files.profile, files.measurements, files.capacity)
    # Every operation that was measured has its units, and the other way round.
    measured = {name for one in files.measurements.services.values() for name in one.operations}
    assert measured == set(files.capacity.operations)
    assert files.measurements.shape == files.capacity.shape


def test_every_price_and_quota_names_a_page_and_a_date() -> None:
    files = committed()
    sources = {name: price.source for name, price in files.prices.prices.items()}
    sources |= {name: quota.source for name, quota in files.quotas.quotas.items()}
    for name, source in sources.items():
        assert source.page.startswith(("https://", "AWS Price List, offer ")), name
        assert source.read <= files.prices.read_on, name


def test_nobody_is_no_scale() -> None:
    nobody = profile(registered=0)
    assert isinstance(nobody, Profile)
    with pytest.raises(InputError, match="nothing to scale from"):
        nobody.at(10)
