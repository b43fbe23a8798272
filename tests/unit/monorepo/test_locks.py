"""The locks: complete, hash-pinned, without addresses, and true to their requirements."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

FOLDER = Path("3rdparty/python")
RESOLVES = sorted(path.stem for path in FOLDER.glob("*.in"))


def requirements(name: str) -> list[Requirement]:
    lines = (FOLDER / f"{name}.in").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def entries(name: str) -> list[str]:
    """A lock's entries: a requirement line with its continued lines."""
    text = (FOLDER / f"{name}.lock").read_text()
    return [entry for entry in re.split(r"(?<!\\)\n", text) if entry.strip()]


def pins(name: str) -> dict[str, Version]:
    found: dict[str, Version] = {}
    for entry in entries(name):
        requirement = Requirement(entry.split("\\")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate():
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", entry
            found[canonicalize_name(requirement.name)] = Version(specifier.version)
    return found


def test_there_is_a_lock_for_each_resolve() -> None:
    assert [
        *(
            "bench_peers",
            "default",
            "dockerfile",
            "embedded_aws",
            "mypy",
            "pants",
            "pytest",
            "ruff",
            "terraform_checks",
        ),
    ] == RESOLVES
    assert sorted(path.stem for path in FOLDER.glob("*.lock")) == RESOLVES


@pytest.mark.parametrize("name", RESOLVES)
def test_a_lock_satisfies_its_requirements(name: str) -> None:
    locked = pins(name)
    for requirement in requirements(name):
        version = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement


@pytest.mark.parametrize("name", RESOLVES)
def test_every_entry_of_a_lock_is_pinned_by_hash(name: str) -> None:
    for entry in entries(name):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("name", RESOLVES)
def test_a_lock_carries_no_address(name: str) -> None:
    text = (FOLDER / f"{name}.lock").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("name", ["pytest", "mypy"])
def test_what_a_tool_shares_with_the_code_has_one_version(name: str) -> None:
    tool, code = pins(name), pins("default")
    assert {k: v for k, v in tool.items() if k in code and code[k] != v} == {}


def test_every_wheel_that_is_named_is_one_of_the_lock() -> None:
    """deploy/images takes the hashes of an image's wheels from there."""
    locked = {
        (canonicalize_name(requirement.name), str(requirement.specifier).removeprefix("==")): entry
        for entry in entries("default")
        for requirement in [Requirement(entry.split("\\")[0].strip())]
    }
    lines = (FOLDER / "default.wheels").read_text().splitlines()
    assert lines
    for line in lines:
        digest, _, file = line.partition("  ")
        name, version, _, _ = parse_wheel_filename(file)
        assert f"--hash=sha256:{digest}" in locked[name, str(version)], file
