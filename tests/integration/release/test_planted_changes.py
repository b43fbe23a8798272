"""`changed`, asked of the real Pants: a change of each kind names exactly the services that it changes.

What it says is held against what Pants really packages, for each kind of change that reaches a
package.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.release._changed import changes
from deploy.release._changes import Change, State
from deploy.release._pants import Pants
from deploy.release._services import SERVICES
from tests.integration.release.scratch_repository import Scratch, scratch_repository

# The first of them starts Pants in a scratch clone, and packages all of it; one resolves a lock.
pytestmark = pytest.mark.timeout(900)

CATALOG, CONTENT, PROGRESS = SERVICES
ALL = frozenset(SERVICES)
Plant = Callable[[Scratch], None]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    made = scratch_repository(tmp_path_factory.mktemp("repository"))
    with pytest.MonkeyPatch.context() as patch:
        # Targets of what was not copied: none of the services'.
        patch.setenv("PANTS_UNMATCHED_BUILD_FILE_GLOBS", "warn")
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def packaged(scratch: Scratch) -> dict[str, str]:
    """What Pants packages of each service before anything is changed."""
    scratch.restore()
    return fingerprints(scratch)


def append(path: str, text: str) -> Plant:
    return lambda scratch: scratch.write(path, scratch.read(path) + text)


def replace(path: str, old: str, new: str) -> Plant:
    return lambda scratch: scratch.replace(path, old, new)


def module_of_a_library(scratch: Scratch) -> None:
    scratch.write("libs/config/_planted.py", '"""Planted."""\n')
    scratch.write(
        "libs/config/__init__.py",
        scratch.read("libs/config/__init__.py")
        + "\nfrom libs.config import _planted as _planted\n",
    )


def newer_package(name: str) -> Plant:
    """Another file of a package in the lock, as a new release of it would be."""

    def plant(scratch: Scratch) -> None:
        path = "3rdparty/python/default.lock"
        lock = scratch.read(path)
        start = lock.index(f"\n{name}==") + 1
        entry = lock[start : lock.index("\n", start)]
        scratch.write(path, lock.replace(entry, f"{entry}\n    --hash=sha256:{'0' * 64} \\", 1))

    return plant


ONE = [
    pytest.param(append(f"services/{CATALOG}/app.py", "# planted\n"), CATALOG, id="source"),
    pytest.param(append(f"services/{CONTENT}/openapi.yaml", "# planted\n"), CONTENT, id="resource"),
    pytest.param(
        append(f"services/{PROGRESS}/consumer/__main__.py", "# planted\n"),
        PROGRESS,
        id="source of the second program",
    ),
    pytest.param(
        replace(
            f"services/{PROGRESS}/BUILD",
            '"app.py": {"dependencies": [":contract"]}',
            '"app.py": {"dependencies": [":contract", ":table"]}',
        ),
        PROGRESS,
        id="dependency in a BUILD file",
    ),
]

EVERY = [
    pytest.param(append("libs/aws/_presign.py", "# planted\n"), id="module of a library"),
    pytest.param(module_of_a_library, id="new module of a library"),
    pytest.param(
        replace("deploy/pants/service.prelude", "STOPSIGNAL SIGTERM", "STOPSIGNAL SIGINT"),
        id="Dockerfile in a macro",
    ),
    pytest.param(
        replace("deploy/pants/service.prelude", 'layout="packed"', 'layout="loose"'),
        id="field in a macro",
    ),
    pytest.param(append("deploy/images/layers.py", "# planted\n"), id="file of every image"),
    pytest.param(
        replace("pants.toml", 'build_args = ["BASE_IMAGE"]', 'build_args = ["BASE_IMAGE", "X=1"]'),
        id="pants.toml: docker",
    ),
    pytest.param(
        replace("pants.toml", '"CPython==3.11.*"', '"CPython>=3.11.2,<3.12"'),
        id="pants.toml: interpreter",
    ),
    pytest.param(newer_package("aiohttp"), id="locked package"),
    pytest.param(
        replace("3rdparty/python/default.in", "structlog>=26.1", "structlog>=26.1,<27"),
        id="requirement",
    ),
]

# Planted together: each of them would show.
WITHOUT_EFFECT = [
    append("libs/auth/testing.py", "# planted\n"),
    append("libs/console/_progress.py", "# planted\n"),
    append("deploy/release/_git.py", "# planted\n"),
    append(f"services/{CATALOG}/README.md", "planted\n"),
    append(f"services/{CATALOG}/table.json", "\n"),
    replace(f"services/{CATALOG}/BUILD", "service(", "# planted\nservice("),
    append("deploy/pants/service.prelude", "\n# planted\n"),
    replace("pants.toml", "timeout_default = 120", "timeout_default = 121"),
    replace("3rdparty/python/default.in", "jsonschema>=4.25", "jsonschema>=4.25,<5"),
    newer_package("moto"),
]


@pytest.mark.parametrize(("plant", "service"), ONE)
def test_what_one_service_has_changes_that_one(
    scratch: Scratch, packaged: dict[str, str], plant: Plant, service: str
) -> None:
    scratch.restore()
    plant(scratch)
    found = changes(scratch.root, None)
    assert names(found, State.MUST_BE_BUMPED) == {service}, [one.reasons for one in found]
    assert names(found, State.UNCHANGED) == ALL - {service}
    assert changed_packages(scratch, packaged) == {service}


@pytest.mark.parametrize("plant", EVERY)
def test_what_every_service_has_changes_all(scratch: Scratch, plant: Plant) -> None:
    scratch.restore()
    plant(scratch)
    found = changes(scratch.root, None)
    assert names(found, State.MUST_BE_BUMPED) == ALL, [one.reasons for one in found]


def test_what_reaches_no_package_changes_none(scratch: Scratch, packaged: dict[str, str]) -> None:
    scratch.restore()
    for plant in WITHOUT_EFFECT:
        plant(scratch)
    found = changes(scratch.root, None)
    assert names(found, State.UNCHANGED) == ALL, [one.reasons for one in found]
    assert changed_packages(scratch, packaged) == set()


def test_a_version_of_its_own_makes_it_a_release(scratch: Scratch) -> None:
    scratch.restore()
    append(f"services/{CATALOG}/app.py", "# planted\n")(scratch)
    version = scratch.version(CATALOG)
    scratch.replace(f"services/{CATALOG}/BUILD", f'version="{version}"', 'version="99.0.0"')
    (catalog, *_) = changes(scratch.root, None)
    assert catalog.problems == (
        "services/course_catalog/CHANGELOG.md has no heading of 99.0.0: write it",
    )
    append(f"services/{CATALOG}/CHANGELOG.md", "\n## 99.0.0 (unreleased)\n\n- More.\n")(scratch)
    (catalog, *others) = changes(scratch.root, None)
    assert catalog.state is State.MUST_BE_RELEASED
    assert catalog.reasons == (f"version {version} → 99.0.0", "services/course_catalog/app.py")
    assert {one.state for one in others} == {State.UNCHANGED}


def changed_packages(scratch: Scratch, packaged: dict[str, str]) -> set[str]:
    """Of which services Pants packages something else now: the truth that `changed` is held against."""
    return {name for name, now in fingerprints(scratch).items() if now != packaged[name]}


def names(found: list[Change], state: State) -> set[str]:
    return {one.service.name for one in found if one.state is state}


def fingerprints(scratch: Scratch) -> dict[str, str]:
    """What is in the PEXes of each service, but for what Pants notes of itself."""
    Pants(scratch.root).package(
        [f"services/{name}:{part}" for name in SERVICES for part in ("deps", "srcs")]
    )
    return {name: _fingerprint(scratch.root / "dist" / f"services.{name}") for name in SERVICES}


def _fingerprint(folder: Path) -> str:
    with zipfile.ZipFile(folder / "srcs.pex") as sources:
        members = sorted((one.filename, one.CRC) for one in sources.infolist())
        srcs = json.loads(sources.read("PEX-INFO"))
    deps = json.loads((folder / "deps.pex" / "PEX-INFO").read_bytes())
    return json.dumps(
        [
            [one for one in members if not one[0].startswith((".bootstrap", "PEX-INFO", "__"))],
            srcs["code_hash"],
            deps["distributions"],
            deps["requirements"],
            deps["interpreter_constraints"],
        ]
    )
