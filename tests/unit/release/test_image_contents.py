"""What an image is made of, out of what Pants shows, and what two of them differ in."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.release._changes import Change, State, compare
from deploy.release._content import (
    Contents,
    content_of,
    contents_of,
    distributions_in,
    lock_entries,
    lock_path,
    pants_parts,
)
from deploy.release._services import SERVICES, Service, is_released_in, version_in

CATALOG = SERVICES["course_catalog"]
HERE = "services/course_catalog"
TOML = """
[GLOBAL]
pants_version = "2.17.1"
backend_packages = ["pants.backend.python", "pants.backend.python.typecheck.mypy"]
[python]
interpreter_constraints = ["CPython==3.11.*"]
default_resolve = "default"
[python.resolves]
default = "3rdparty/python/example.lock"
mypy = "3rdparty/python/mypy.lock"
[test]
timeout_default = 120
"""
PANTS_LOCK = (
    "pantsbuild-pants==2.17.1 \\\n    --hash=sha256:aa\npex==2.1.137 \\\n    --hash=sha256:bb\n"
)
LOCK = "aiohttp==3.14.5 \\\n    --hash=sha256:aa\nmoto==5.2.5 \\\n    --hash=sha256:bb\n"


def target(kind: str, *dependencies: str, **fields: Any) -> dict[str, Any]:
    return {"target_type": kind, "dependencies": list(dependencies), **fields}


def source(path: str, *dependencies: str, fingerprint: str = "one") -> dict[str, Any]:
    return target("python_source", *dependencies, sources=[path], sources_fingerprint=fingerprint)


def repository(**changed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The targets of a service with an image; `changed` by address."""
    targets = {
        f"{HERE}:image": target(
            "docker_image",
            f"{HERE}:deps",
            f"{HERE}:srcs",
            "deploy/images/layers.py:layers",
            image_tags=["0.1.0", "0.1.0-{pants.hash}"],
            instructions=["FROM base", "EXPOSE 8080"],
        ),
        f"{HERE}:deps": target(
            "pex_binary",
            f"{HERE}/app.py",
            dependencies_raw=["!!//3rdparty:stubs"],
            include_sources=False,
            layout="packed",
        ),
        f"{HERE}:srcs": target("pex_binary", f"{HERE}/app.py", include_requirements=False),
        f"{HERE}/app.py": source(
            f"{HERE}/app.py", "libs/http/_app.py", "3rdparty:aiohttp", "3rdparty:stubs"
        ),
        "libs/http/_app.py": source("libs/http/_app.py"),
        "libs/http/_unused.py": source("libs/http/_unused.py"),
        "3rdparty:aiohttp": target(
            "python_requirement", "3rdparty/default.lock:lock", requirements=["aiohttp>=3.14"]
        ),
        "3rdparty:stubs": target("python_requirement", requirements=["types-PyYAML"]),
        "3rdparty/default.lock:lock": target(
            "_lockfile", sources=["default.lock"], sources_fingerprint="one"
        ),
        "deploy/images/layers.py:layers": target(
            "file", sources=["deploy/images/layers.py"], sources_fingerprint="one"
        ),
    }
    return {**targets, **changed}


def contents(
    targets: dict[str, dict[str, Any]] | None = None,
    *,
    version: str = "0.1.0",
    toml: str = TOML,
    lock: str = LOCK,
) -> Contents:
    return Contents(
        {
            CATALOG.name: content_of(
                CATALOG, version, targets or repository(), pants_parts(toml, PANTS_LOCK)
            )
        },
        lock_entries(lock),
    )


def change(
    before: Contents | None,
    now: Contents,
    *,
    changelog: str = "## 0.1.0\n\n## 0.2.0\n",
    released: bool = True,
    service: Service = CATALOG,
) -> Change:
    return compare(
        service,
        "abc" if before else None,
        before,
        now,
        changelog=changelog,
        distributions=lambda: {"aiohttp"},
        released_before=released,
    )


def test_an_image_is_its_sources_its_requirements_and_its_fields() -> None:
    content = contents().images[CATALOG.name]
    assert content.files == {f"{HERE}/app.py", "libs/http/_app.py", "deploy/images/layers.py"}
    assert content.parts["requirement 3rdparty:aiohttp"] == '["aiohttp>=3.14"]'
    assert not any(
        "stubs" in name or "lock" in name for name in content.parts if "pants" not in name
    )


def test_nothing_changed() -> None:
    found = change(contents(), contents())
    assert (found.state, found.reasons) == (State.UNCHANGED, ())


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (
            repository(**{"libs/http/_app.py": source("libs/http/_app.py", fingerprint="two")}),
            "libs/http/_app.py",
        ),
        (
            repository(**{f"{HERE}/app.py": source(f"{HERE}/app.py", "libs/http/_app.py", "libs/http/_unused.py", "3rdparty:aiohttp", "3rdparty:stubs")}),
            "libs/http/_unused.py is new in it",
        ),
        (
            repository(**{f"{HERE}/app.py": source(f"{HERE}/app.py", "3rdparty:aiohttp", "3rdparty:stubs")}),
            "libs/http/_app.py is no longer in it",
        ),
        (
            repository(**{f"{HERE}:deps": target("pex_binary", f"{HERE}/app.py", dependencies_raw=["!!//3rdparty:stubs"], include_sources=False, layout="loose")}),
            f'{HERE}:deps layout: "packed" → "loose"',
        ),
        (
            repository(**{f"{HERE}:image": target("docker_image", f"{HERE}:deps", f"{HERE}:srcs", "deploy/images/layers.py:layers", image_tags=["0.1.0", "0.1.0-{pants.hash}"], instructions=["FROM base", "EXPOSE 9090"])}),
            f"{HERE}:image instructions: -EXPOSE 8080, +EXPOSE 9090",
        ),
        (
            repository(**{"3rdparty:aiohttp": target("python_requirement", requirements=["aiohttp>=3.15"])}),
            'requirement 3rdparty:aiohttp: ["aiohttp>=3.14"] → ["aiohttp>=3.15"]',
        ),
    ],
)  # fmt: skip
def test_each_change_is_told(targets: dict[str, dict[str, Any]], reason: str) -> None:
    found = change(contents(), contents(targets))
    assert found.reasons == (reason,)
    assert found.state is State.MUST_BE_BUMPED


@pytest.mark.parametrize(
    "targets",
    [
        repository(**{"libs/http/_unused.py": source("libs/http/_unused.py", fingerprint="two")}),
        repository(**{"3rdparty:stubs": target("python_requirement", requirements=["types-PyYAML>=7"])}),
        repository(**{f"{HERE}/app.py": {**repository()[f"{HERE}/app.py"], "skip_mypy": True, "tags": ["slow"]}}),
        repository(**{"3rdparty/default.lock:lock": target("_lockfile", sources=["default.lock"], sources_fingerprint="two")}),
    ],
    ids=["unused module", "excluded requirement", "fields of checks", "the lock itself"],
)  # fmt: skip
def test_what_does_not_reach_it_is_no_change(targets: dict[str, dict[str, Any]]) -> None:
    assert change(contents(), contents(targets)).state is State.UNCHANGED


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("timeout_default = 120", "timeout_default = 60", False),
        ('mypy = "3rdparty/python/mypy.lock"', 'mypy = "elsewhere.lock"', False),
        (', "pants.backend.python.typecheck.mypy"', "", False),
        (', "pants.backend.python.typecheck.mypy"', ', "pants.backend.codegen.protobuf.python"', True),
        ('pants_version = "2.17.1"', 'pants_version = "2.18.0"', True),
        ("CPython==3.11.*", "CPython==3.12.*", True),
        ("[test]", "[a-section-nobody-knows]\nkey = 1\n[test]", True),
    ],
)  # fmt: skip
def test_what_of_pants_toml_counts(old: str, new: str, changes: bool) -> None:
    found = change(contents(), contents(toml=TOML.replace(old, new)))
    assert (found.state is not State.UNCHANGED) is changes
    assert all(reason.startswith("pants.toml [") for reason in found.reasons)


def test_of_the_lock_only_what_is_inside_counts() -> None:
    assert (
        change(contents(), contents(lock=LOCK.replace("moto==5.2.5", "moto==5.3.0"))).reasons == ()
    )
    newer = change(contents(), contents(lock=LOCK.replace("aiohttp==3.14.5", "aiohttp==3.14.6")))
    assert newer.reasons == ("lock: aiohttp==3.14.5 → aiohttp==3.14.6",)
    other = change(contents(), contents(lock=LOCK.replace("sha256:aa", "sha256:cc")))
    assert other.reasons == ("lock: other files of aiohttp==3.14.5",)


def test_the_packages_are_asked_for_only_where_the_lock_was_changed() -> None:
    def asked() -> set[str]:
        raise AssertionError("it takes a minute")

    compare(
        CATALOG, "abc", contents(), contents(), changelog="", distributions=asked, released_before=True
    )  # fmt: skip


def test_a_released_version_must_be_bumped() -> None:
    changed = repository(**{"libs/http/_app.py": source("libs/http/_app.py", fingerprint="two")})
    found = change(contents(), contents(changed))
    assert found.problems == (
        "its version 0.1.0 was already released: bump it in services/course_catalog/BUILD"
        " and write services/course_catalog/CHANGELOG.md",
    )
    assert change(contents(), contents(changed), released=False).state is State.MUST_BE_RELEASED


def test_a_new_version_alone_is_a_release() -> None:
    bumped = repository(
        **{
            f"{HERE}:image": {
                **repository()[f"{HERE}:image"],
                "image_tags": ["0.2.0", "0.2.0-{pants.hash}"],
            }
        }
    )
    found = change(contents(), contents(bumped, version="0.2.0"))
    assert (found.state, found.reasons) == (State.MUST_BE_RELEASED, ("version 0.1.0 → 0.2.0",))
    unwritten = change(contents(), contents(bumped, version="0.2.0"), changelog="## 0.1.0\n")
    assert unwritten.problems == (
        "services/course_catalog/CHANGELOG.md has no heading of 0.2.0: write it",
    )


def test_before_there_were_images_the_packages_are_compared() -> None:
    packages = {name: one for name, one in repository().items() if not name.endswith(":image")}
    found = change(contents(packages), contents(repository(), version="0.1.0"), released=False)
    assert found.reasons == (
        "deploy/images/layers.py is new in it",
        "services/course_catalog:image is new",
    )


def test_what_was_never_released_must_be() -> None:
    found = change(None, contents())
    assert (found.state, found.since, found.reasons) == (State.MUST_BE_RELEASED, None, ())


def test_what_is_kept_is_read_as_it_was() -> None:
    assert contents_of(contents().document()) == contents()


def test_where_the_lock_is() -> None:
    assert lock_path(TOML) == "3rdparty/python/example.lock"


def test_the_packages_of_a_pex() -> None:
    info = {"distributions": {"types_PyYAML-6.0-py3-none-any.whl": "aa", "zope.x-1-py3.whl": "bb"}}
    assert distributions_in(info) == {"types-pyyaml", "zope-x"}


@pytest.mark.parametrize(
    ("build", "version"),
    [
        ('service(version="1.20.3", prefix="A_")', "1.20.3"),
        ("service(\n    version = '1.0.0',\n)", None),
        ('service(version="1.0")', None),
        ("", None),
    ],
)
def test_the_version_of_a_build_file(build: str, version: str | None) -> None:
    assert version_in(build) == version


@pytest.mark.parametrize(
    ("changelog", "released"),
    [
        ("## 0.1.0\n", True),
        ("## 0.1.0 (2026-01-01)\n", True),
        ("## [0.1.0] - 2026-01-01\n", True),
        ("## 0.1.0 (Unreleased)\n", False),
        ("## 0.1.01\n", False),
        (None, False),
    ],
)
def test_what_a_changelog_takes_for_released(changelog: str | None, released: bool) -> None:
    assert is_released_in("0.1.0", changelog) is released
