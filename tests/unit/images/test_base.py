"""The base image: what of Debian's packages is in it, that it is the same each time, and its errors."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.images.base._filesystem import write_root
from deploy.images.base._image import write_image
from deploy.images.base._packages import BaseError, Package
from deploy.images.base.build import main

EPOCH = 1_735_689_600
CERTIFICATE = "usr/share/ca-certificates/mozilla/{}.crt"


def package(name: str, *files: str, mode: int = 0o644, time: int = EPOCH - 10) -> Package:
    """A package that installs files, each with its own path as content."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for file in files:
            member = tarfile.TarInfo(f"./{file}")
            member.size, member.mode, member.mtime = len(file), mode, time
            member.uname = "builder"
            archive.addfile(member, io.BytesIO(file.encode()))
    control = f"Package: {name}\nVersion: 1\nArchitecture: amd64\n"
    return Package(name, "1", "amd64", control, made.getvalue)


CERTIFICATES = package("ca-certificates", CERTIFICATE.format("b"), CERTIFICATE.format("a"))


def root(*packages: Package) -> tuple[bytes, dict[str, tarfile.TarInfo], dict[str, bytes]]:
    made = io.BytesIO()
    write_root(packages, made, source_date_epoch=EPOCH)
    made.seek(0)
    members, texts = {}, {}
    with tarfile.open(fileobj=made) as archive:
        for member in archive:
            assert member.name not in members
            members[member.name] = member
            content = archive.extractfile(member) if member.isreg() else None
            texts[member.name] = content.read() if content else b""
    return made.getvalue(), members, texts


@pytest.mark.parametrize(
    "left_out",
    [
        "bin/dash",
        "bin/sh",
        "usr/bin/openssl",
        "usr/sbin/update-ca-certificates",
        "sbin/ldconfig",
        "usr/share/man/man1/python3.11.1.gz",
        "usr/share/doc/libc6/changelog.gz",
        "usr/share/locale/de/LC_MESSAGES/libc.mo",
        "usr/lib/x86_64-linux-gnu/gconv/UTF-16.so",
        "usr/lib/python3.11/lib-dynload/readline.cpython-311-x86_64-linux-gnu.so",
        "etc/cron.daily/dpkg",
        "etc/apt/sources.list",
    ],
)
def test_what_a_service_never_needs_is_left_out(left_out: str) -> None:
    assert left_out not in root(CERTIFICATES, package("some", left_out))[1]


@pytest.mark.parametrize(
    "kept",
    [
        "usr/bin/python3.11",
        "usr/lib/python3.11/asyncio/events.py",
        "usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so",
        "lib/x86_64-linux-gnu/libc.so.6",
        "usr/share/zoneinfo/Europe/Berlin",
        "usr/share/doc/libc6/copyright",
        "etc/services",
    ],
)
def test_what_a_service_runs_on_is_kept(kept: str) -> None:
    _, _, texts = root(CERTIFICATES, package("some", kept))
    assert texts[kept] == kept.encode()


def test_there_are_folders_for_all_that_is_in_them() -> None:
    _, members, _ = root(CERTIFICATES, package("some", "a/b/c/d"))
    assert all(members[name].isdir() for name in ("a", "a/b", "a/b/c"))


def test_certificates_are_one_file_in_a_steady_order() -> None:
    _, members, texts = root(CERTIFICATES)
    a, b = CERTIFICATE.format("a"), CERTIFICATE.format("b")
    assert texts["etc/ssl/certs/ca-certificates.crt"] == (a + b).encode()
    assert a not in members


def test_without_certificates_there_is_no_base() -> None:
    with pytest.raises(BaseError, match="no certificate"):
        root(package("some", "etc/services"))


def test_the_user_of_the_services_is_there_and_owns_only_a_home() -> None:
    _, members, texts = root(CERTIFICATES)
    assert b"nonroot:x:65532:65532:" in texts["etc/passwd"]
    owned = [name for name, member in members.items() if member.uid or member.gid]
    assert owned == ["home/nonroot"]
    assert members["tmp"].mode == 0o1777


def test_what_is_installed_is_listed_where_scanners_look() -> None:
    _, _, texts = root(CERTIFICATES, package("libc6", "lib/x"))
    assert b"Package: libc6" in texts["var/lib/dpkg/status.d/libc6"]


def test_the_same_packages_give_the_same_bytes_in_any_order() -> None:
    libc = package("libc6", "lib/x", "lib/a")
    assert root(CERTIFICATES, libc)[0] == root(libc, CERTIFICATES)[0]


def test_no_file_is_newer_than_it_may_be_nor_belongs_to_a_builder() -> None:
    _, members, _ = root(CERTIFICATES, package("new", "lib/new", time=EPOCH + 1_000))
    assert max(member.mtime for member in members.values()) == EPOCH
    assert {member.uname for member in members.values()} == {""}


def made_image(folder: Path) -> tuple[bytes, str, Sequence[str]]:
    folder.mkdir()
    (folder / "layer.tar").write_bytes(root(CERTIFICATES)[0])
    image = write_image(
        folder / "layer.tar",
        folder / "image.tar",
        name="debian12",
        architecture="arm64",
        source_date_epoch=EPOCH,
    )
    return (folder / "image.tar").read_bytes(), image.id, image.tags


def test_the_image_is_what_docker_loads_and_the_same_each_time(tmp_path: Path) -> None:
    content, identity, tags = made_image(tmp_path / "first")
    assert made_image(tmp_path / "second") == (content, identity, tags)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {
            name: found.read()
            for name in archive.getnames()
            if (found := archive.extractfile(name)) is not None
        }
    (manifest,) = json.loads(files["manifest.json"])
    config = files[manifest["Config"]]
    assert identity == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert manifest["RepoTags"] == list(tags)
    told = json.loads(config)
    layer = hashlib.sha256(files[manifest["Layers"][0]]).hexdigest()
    assert told["rootfs"]["diff_ids"] == [f"sha256:{layer}"]
    assert (told["architecture"], told["created"]) == ("arm64", "2025-01-01T00:00:00Z")
    assert told["config"]["User"] == "65532"
    assert tags == ("lyceum/base:debian12", f"lyceum/base:debian12-{layer[:12]}")


def build(tmp_path: Path, *arguments: str, **tools: str) -> subprocess.CompletedProcess[str]:
    """The program, on a machine with nothing but the scripts given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("env", "head", "sed", "sh"):
        found = next(
            path for path in (Path("/usr/bin") / name, Path("/bin") / name) if path.exists()
        )
        (folder / name).symlink_to(found)
    for name, script in tools.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-m", "deploy.images.base.build", *arguments],
        env={"PATH": str(folder), "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="what is told elsewhere is told first")
class TestErrors:
    """Each is one line that says what to do."""

    def test_mmdebstrap_is_missing(self, tmp_path: Path) -> None:
        done = build(tmp_path)
        assert done.returncode == 2
        assert done.stderr == (
            "build.py: mmdebstrap and dpkg-deb missing; install with: apt-get install mmdebstrap\n"
        )

    def test_there_is_no_engine(self, tmp_path: Path) -> None:
        tools = {"mmdebstrap": "exit 1", "dpkg_deb": "exit 1"}
        done = build(tmp_path, docker="echo 'Cannot connect to the daemon' >&2; exit 1", **tools)
        assert done.returncode == 2
        assert done.stderr.startswith("build.py: Docker: Cannot connect to the daemon\n")
        assert "DOCKER_HOST" in done.stderr

    def test_an_archive_needs_no_engine_and_what_debian_says_is_told(self, tmp_path: Path) -> None:
        tools = {"mmdebstrap": "echo 'E: no such mirror'; exit 1", "dpkg_deb": "exit 1"}
        done = build(tmp_path, "--output", str(tmp_path / "base.tar"), "--json", **tools)
        assert done.returncode == 1
        assert done.stderr == "build.py: mmdebstrap failed:\n  E: no such mirror\n"
        assert not (tmp_path / "base.tar").exists()


def test_elsewhere_than_on_linux_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main([]) == 2
    assert "this is darwin" in capsys.readouterr().err
