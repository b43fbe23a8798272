"""Regenerates every lock in this folder from its `.in` file.

    ./pantsw run 3rdparty/python/generate_locks.py                  what changed in the .in files
    ./pantsw run 3rdparty/python/generate_locks.py -- --upgrade     and the newest versions allowed

A lock pins every package to one version and its files to their SHA-256 hashes. It carries
no address: which package index or mirror serves the files is the machine's business.

`default.wheels` says which of the hashes is which wheel's, for those that Linux can run: an image's
bill of materials names the wheels that are in it (deploy/images/sbom.py).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import uv

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Resolve:
    """One set of requirements that is resolved together."""

    name: str
    python: str = "3.11"
    constrained_by: str | None = None


# Ordered: a resolve comes after the one that constrains it.
RESOLVES = (
    Resolve("default"),
    # The runner is merged with the code's packages at run time, so they must agree.
    Resolve("pytest", constrained_by="default"),
    Resolve("mypy", constrained_by="default"),
    Resolve("ruff"),
    Resolve("dockerfile"),
    Resolve("embedded_aws"),
    Resolve("terraform_checks"),
    # What the services are measured against runs on the same versions, where both have a package.
    Resolve("bench_peers", constrained_by="default"),
    # Pants 2.17 runs on Python 3.9.
    Resolve("pants", python="3.9"),
)


def compile_command(resolve: Resolve, *, upgrade: bool) -> list[str]:
    """The `uv pip compile` call that writes the lock of `resolve`."""
    command = [
        uv.find_uv_bin(), "pip", "compile", "--quiet", "--universal",
        "--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header",
        "--python-version", resolve.python,
        f"{resolve.name}.in", "--output-file", f"{resolve.name}.lock",
    ]  # fmt: skip
    if resolve.constrained_by:
        command += ["--constraints", f"{resolve.constrained_by}.lock"]
    if upgrade:
        command += ["--upgrade"]
    return command


# What images are made of: wheels of pure Python, and those for Linux and this version of CPython.
_IN_IMAGES = re.compile(r".+-((py2\.)?py3|cp3\d+)-(none|abi3|cp311)-(any|manylinux.+)\.whl")


def wheel_lines(document: str) -> list[str]:
    """The lines of `default.wheels`, from a `pylock.toml` of the same resolve."""
    found: dict[str, str] = {}
    for package in tomllib.loads(document)["packages"]:
        for wheel in package.get("wheels", ()):
            # PEP 751: a name where it is not the address's last part.
            name = wheel.get("name") or str(wheel.get("url") or wheel["path"]).rpartition("/")[2]
            if _IN_IMAGES.fullmatch(name):
                found[name] = wheel["hashes"]["sha256"]
    return [f"{digest}  {name}" for name, digest in sorted(found.items())]


def write_wheels() -> int:
    """Write `default.wheels`; gives uv's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "pylock.toml"
        command = [
            uv.find_uv_bin(), "pip", "compile", "--quiet", "--universal", "--no-annotate",
            "--no-header", "--python-version", "3.11", "--format", "pylock.toml",
            "default.in", "--constraints", "default.lock", "--output-file", str(document),
        ]  # fmt: skip
        done = subprocess.run(command, cwd=FOLDER, check=False)  # noqa: S603 - fixed, no shell
        if done.returncode == 0:
            lines = wheel_lines(document.read_text())
            (FOLDER / "default.wheels").write_text("\n".join(lines) + "\n")
    return done.returncode


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions the .in files allow"
    )
    options = parser.parse_args(arguments)
    for number, resolve in enumerate(RESOLVES, start=1):
        print(f"[{number}/{len(RESOLVES)}] {resolve.name}.lock", file=sys.stderr)  # noqa: T201
        command = compile_command(resolve, upgrade=options.upgrade)
        done = subprocess.run(command, cwd=FOLDER, check=False)  # noqa: S603 - fixed, no shell
        if done.returncode:
            print(f"generate_locks: {resolve.name}.in has no solution (above)", file=sys.stderr)  # noqa: T201
            return 2
    return 2 if write_wheels() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
