"""Which Debian packages the base consists of, and how they are fetched.

Debian's `mmdebstrap` resolves, downloads and verifies; nothing of a package is run, neither here nor
later. Knows nothing of what becomes of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"

# What Python and the wheels of the services load, and what a program expects of a system: users,
# time zones, names of protocols, certificates. Dependencies that only installing needs (dpkg,
# debconf, tar) and libraries of modules that no service imports (readline, curses, nis, dbm, sqlite)
# are downloaded and left aside.
PACKAGES = (
    "base-files",
    "ca-certificates",
    "gcc-12-base",
    "libbz2-1.0",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libssl3",
    "libstdc++6",
    "libuuid1",
    "media-types",
    "netbase",
    "python3.11-minimal",
    "tzdata",
    "zlib1g",
)


class BaseError(Exception):
    """The base can't be made; the text says why and what to do, in a line or two."""


@dataclass(frozen=True)
class Package:
    """One Debian package, downloaded and verified. `control` is what `dpkg` keeps about it, `files`
    gives what it installs, as a tar archive."""

    name: str
    version: str
    architecture: str
    control: str
    files: Callable[[], bytes]


def require_tools() -> None:
    """Raise BaseError unless this is a Linux with the two tools of Debian's."""
    if sys.platform != "linux":
        raise BaseError(
            f"a base is made from Debian packages on Linux, and this is {sys.platform}; "
            "use the public base image, or make the base on a Linux machine and `docker load` it here"
        )
    missing = [tool for tool in ("mmdebstrap", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise BaseError(
            f"{' and '.join(missing)} missing; install with: apt-get install mmdebstrap"
        )


def fetch(
    folder: Path, *, mirror: str | None, source_date_epoch: int, tell: Callable[[str], None]
) -> list[Package]:
    """Download PACKAGES into `folder`, sorted by name.

    `mirror` takes the place of Debian's own, such as a snapshot. `tell` gets mmdebstrap's lines.
    Raises BaseError.
    """
    command = [
        "mmdebstrap", "--variant=extract", "--format=null",
        # The root that it extracts is thrown away: the packages themselves are what is wanted.
        "--skip=cleanup", f"--extract-hook=copy-out /var/cache/apt/archives {folder}",
        f"--include={','.join(PACKAGES)}", SUITE, "-", *([mirror] if mirror else []),
    ]  # fmt: skip
    said: list[str] = []
    environment = {"SOURCE_DATE_EPOCH": str(source_date_epoch), "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        ["/usr/bin/env", *(f"{name}={value}" for name, value in environment.items()), *command],  # noqa: S603 - fixed, no shell
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout
        for line in running.stdout:
            said.append(line.rstrip())
            tell(line.rstrip())
    if running.returncode:
        raise BaseError("mmdebstrap failed:\n  " + "\n  ".join(said[-6:]))
    found = {package.name: package for package in map(_read, folder.rglob("*.deb"))}
    absent = [name for name in PACKAGES if name not in found]
    if absent:
        raise BaseError(f"{SUITE} has no package {', '.join(absent)}")
    return [found[name] for name in sorted(PACKAGES)]


def _read(file: Path) -> Package:
    control = _dpkg_deb("--field", file).decode()
    fields = dict(
        line.split(": ", 1) for line in control.splitlines() if ": " in line and line[0] != " "
    )
    return Package(
        fields["Package"],
        fields["Version"],
        fields["Architecture"],
        control,
        lambda: _dpkg_deb("--fsys-tarfile", file),
    )


def _dpkg_deb(what: str, file: Path) -> bytes:
    done = subprocess.run(
        ["dpkg-deb", what, str(file)],  # noqa: S603, S607 - Debian's, no shell
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise BaseError(f"{file.name} is not a package: {done.stderr.decode().strip()}")
    return done.stdout
