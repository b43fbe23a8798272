"""The last step of a build: what is written into an image's configuration, and what is left as it was."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy.release._errors import ReleaseError
from deploy.release._image import finished, rewrite

CREATED = "2026-11-01T10:00:00Z"
LABELS = {"org.opencontainers.image.revision": "abc"}
ENVIRONMENT = {"CATALOG_REVISION": "abc", "CATALOG_IMAGE_HASH": "def"}
LAYER = b"a layer" * 100


def configuration(builder: str = "buildkit", time: str = "2026-11-26T08:00:00Z") -> dict[str, Any]:
    """As two builders leave it, at different times."""
    noted: dict[str, Any] = (
        {"moby.buildkit.buildinfo.v1": "e30="}
        if builder == "buildkit"
        else {
            "container": "f00",
            "container_config": {"Hostname": "f00"},
            "docker_version": "20.10.24",
        }
    )
    return {
        **noted,
        "architecture": "amd64",
        "os": "linux",
        "created": time,
        "config": {
            "Hostname": "" if builder == "buildkit" else "f00",
            "Image": "" if builder == "buildkit" else "sha256:123",
            "User": "65532:65532",
            "Env": ["PATH=/usr/bin", "CATALOG_VERSION=0.3.0", "CATALOG_REVISION=unknown"],
            "Labels": {"org.opencontainers.image.version": "0.3.0"},
            "Entrypoint": ["/app/bin/python", "-I", "-m"],
            "Healthcheck": {"Test": ["CMD", "true"]},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(LAYER).hexdigest()}"]},
        "history": [
            {"created": time, "created_by": "COPY /out/ /"},
            {"created": time, "created_by": "ENV …", "empty_layer": True},
        ],
    }


def test_labels_and_variables_are_added_and_the_rest_is_as_it_was() -> None:
    before = configuration()
    after = finished(before, labels=LABELS, environment=ENVIRONMENT, created=CREATED)
    assert after["rootfs"] == before["rootfs"]
    assert after["config"]["Env"] == [
        "PATH=/usr/bin",
        "CATALOG_VERSION=0.3.0",
        "CATALOG_REVISION=abc",
        "CATALOG_IMAGE_HASH=def",
    ]
    assert after["config"]["Labels"] == {
        "org.opencontainers.image.revision": "abc",
        "org.opencontainers.image.version": "0.3.0",
    }
    for name in ("User", "Entrypoint", "Healthcheck"):
        assert after["config"][name] == before["config"][name]


def test_the_same_content_gives_the_same_bytes_whenever_and_by_whatever_it_was_built() -> None:
    made = {
        json.dumps(
            finished(
                configuration(builder, time),
                labels=LABELS,
                environment=ENVIRONMENT,
                created=CREATED,
            ),
            sort_keys=True,
        )
        for builder in ("buildkit", "classic")
        for time in ("2026-11-26T08:00:00Z", "2027-01-01T00:00:00Z")
    }
    assert len(made) == 1


def saved(path: Path, *, layout: str) -> Path:
    """What `docker save` writes: as engines before 25, and as those from then on."""
    made = json.dumps(configuration()).encode()
    name = hashlib.sha256(made).hexdigest()
    if layout == "oci":
        config, layer = f"blobs/sha256/{name}", "blobs/sha256/1aye4"
    else:
        config, layer = f"{name}.json", "1aye4/layer.tar"
    manifest = json.dumps(
        [{"Config": config, "RepoTags": None, "Layers": [layer, "twice/layer.tar"]}]
    ).encode()
    with tarfile.open(path, "w") as archive:
        for member, content in ((layer, LAYER), (config, made), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("twice/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, f"../{layer}"
        archive.addfile(link)
    return path


@pytest.mark.parametrize("layout", ["oci", "docker"])
def test_a_saved_image_is_written_with_its_layers_untouched(tmp_path: Path, layout: str) -> None:
    target = tmp_path / "image.tar"
    digest = rewrite(
        saved(tmp_path / "saved.tar", layout=layout),
        target,
        names=["lyceum/course_catalog:0.3.0"],
        labels=LABELS,
        environment=ENVIRONMENT,
        created=CREATED,
    )
    with tarfile.open(target) as archive:

        def content(name: str) -> bytes:
            found = archive.extractfile(name)
            assert found is not None
            return found.read()

        (entry,) = json.loads(content("manifest.json"))
        assert entry["RepoTags"] == ["lyceum/course_catalog:0.3.0"]
        assert [content(layer) for layer in entry["Layers"]] == [LAYER, LAYER]
        assert f"sha256:{hashlib.sha256(content(entry['Config'])).hexdigest()}" == digest


@pytest.mark.parametrize("content", [b"", b"no tar", gzip.compress(b"no tar")])
def test_what_is_no_image_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "saved.tar"
    path.write_bytes(content)
    with pytest.raises(ReleaseError, match="the saved image can not be read"):
        rewrite(path, tmp_path / "out.tar", names=[], labels={}, environment={}, created=CREATED)
