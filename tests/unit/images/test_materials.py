"""The bill of materials: what it lists, what it refuses, and that CycloneDX takes it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.images._materials import (
    PACKAGES,
    SITE_PACKAGES,
    STATUS,
    MaterialsError,
    cyclonedx,
    is_material,
    read_materials,
)

LAYERS = ["sha256:" + "1" * 64, "sha256:" + "2" * 64]
ALPHA, BETA, GAMMA = (
    "alpha-1.0-py3-none-any.whl",
    "beta_x-2.1-py3-none-any.whl",
    "gamma-3-py3-none-any.whl",
)
LOCKED = f"{'a' * 64}  {ALPHA}\n{'b' * 64}  {BETA}\n{'c' * 64}  {GAMMA}\n{'d' * 64}  delta-4-py3-none-any.whl\n"


def metadata(name: str, version: str, *lines: str) -> bytes:
    head = ("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines)
    return "\n".join((*head, "", "Requires-Dist: what stands in the text\n")).encode()


def texts(**changes: bytes) -> dict[str, bytes]:
    wheels = {"requirements": ["alpha[fast]>=1"], "wheels": [ALPHA, BETA, GAMMA]}
    files = {
        PACKAGES: json.dumps(wheels).encode(),
        f"{SITE_PACKAGES}/alpha-1.0.dist-info/METADATA": metadata(
            "alpha",
            "1.0",
            "License-Expression: MIT OR Apache-2.0",
            "Requires-Dist: Beta-X>=2",
            'Requires-Dist: gamma; extra == "fast"',
            'Requires-Dist: delta; extra == "slow"',
            'Requires-Dist: delta; sys_platform == "win32"',
        ),
        f"{SITE_PACKAGES}/beta_x-2.1.dist-info/METADATA": metadata(
            "Beta.X", "2.1", "Classifier: License :: OSI Approved :: BSD License"
        ),
        f"{SITE_PACKAGES}/gamma-3.dist-info/METADATA": metadata("gamma", "3"),
        f"{STATUS}libc6": b"Package: libc6\nVersion: 2.36-9+deb12u10\nArchitecture: amd64\n",
        f"{STATUS}libc6.md5sums": b"d41d8cd98f00b204e9800998ecf8427e  lib/x\n",
    }
    return {**files, **changes}


def bill(created: datetime | None = None) -> dict[str, Any]:
    materials = read_materials(texts(), LOCKED)
    text = cyclonedx("course_catalog", "1.2.3", materials, layers=LAYERS, created=created)
    return dict(json.loads(text))


def components(document: dict[str, Any]) -> dict[str, Any]:
    return {component["purl"]: component for component in document["components"]}


def test_it_is_valid_cyclonedx() -> None:
    for created in (None, datetime(2026, 1, 2, tzinfo=UTC)):
        text = json.dumps(bill(created))
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_the_service_itself_is_what_it_is_about() -> None:
    itself = bill()["metadata"]["component"]
    assert (itself["type"], itself["name"], itself["version"]) == (
        "application",
        "course_catalog",
        "1.2.3",
    )
    assert [one["value"] for one in itself["properties"]] == LAYERS


def test_each_wheel_is_listed_with_the_hash_of_the_lock() -> None:
    found = components(bill())
    assert {
        purl: component["hashes"]
        for purl, component in found.items()
        if purl.startswith("pkg:pypi/")
    } == {
        "pkg:pypi/alpha@1.0": [{"alg": "SHA-256", "content": "a" * 64}],
        "pkg:pypi/beta-x@2.1": [{"alg": "SHA-256", "content": "b" * 64}],
        "pkg:pypi/gamma@3": [{"alg": "SHA-256", "content": "c" * 64}],
    }


def test_each_package_of_the_base_is_listed() -> None:
    assert "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12" in components(
        bill()
    )
    assert len(bill()["components"]) == 4


def test_licenses_are_told_as_the_packages_tell_them() -> None:
    found = components(bill())
    assert found["pkg:pypi/alpha@1.0"]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert found["pkg:pypi/beta-x@2.1"]["licenses"] == [{"license": {"name": "BSD License"}}]
    assert "licenses" not in found["pkg:pypi/gamma@3"]


def test_who_needs_whom_is_told_for_where_the_image_runs() -> None:
    needs = {one["ref"]: set(one.get("dependsOn", ())) for one in bill()["dependencies"]}
    assert needs["pkg:pypi/alpha@1.0"] == {"pkg:pypi/beta-x@2.1", "pkg:pypi/gamma@3"}
    assert needs["pkg:pypi/beta-x@2.1"] == set()
    assert "pkg:pypi/alpha@1.0" in needs["lyceum/course_catalog@1.2.3"]
    assert "pkg:pypi/gamma@3" not in needs["lyceum/course_catalog@1.2.3"]


def test_the_same_image_has_the_same_bill() -> None:
    assert bill() == bill()
    assert "timestamp" not in bill()["metadata"]
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert bill(moment)["metadata"]["timestamp"] == "2026-01-02T00:00:00+00:00"
    assert bill(moment)["serialNumber"] == bill()["serialNumber"]


@pytest.mark.parametrize(
    ("files", "locked", "told"),
    [
        pytest.param({}, LOCKED, "it is no image of a service's", id="of something else"),
        pytest.param(texts(), "", f"{ALPHA} is not in the lock", id="not locked"),
        pytest.param(
            {k: v for k, v in texts().items() if "gamma" not in k},
            LOCKED,
            f"{GAMMA} should be in the image",
            id="missing",
        ),
        pytest.param(
            texts(**{f"{SITE_PACKAGES}/gamma-3.dist-info/METADATA": metadata("gamma", "4")}),
            LOCKED,
            f"{GAMMA} should be in the image",
            id="another version",
        ),
        pytest.param(
            texts(**{f"{SITE_PACKAGES}/evil-1.dist-info/METADATA": metadata("evil", "1")}),
            LOCKED,
            "packages of no wheel: evil",
            id="a stranger",
        ),
    ],
)
def test_what_is_not_as_locked_is_refused(files: dict[str, bytes], locked: str, told: str) -> None:
    with pytest.raises(MaterialsError) as refused:
        read_materials(files, locked)
    assert told in str(refused.value)


def test_only_what_is_needed_of_an_image_is_read() -> None:
    assert all(map(is_material, texts()))
    assert not is_material(f"{SITE_PACKAGES}/alpha/__init__.py")
    assert not is_material("/etc/passwd")
