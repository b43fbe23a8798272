"""Regenerates every lock in this folder from its `.in` file.

    ./pantsw run 3rdparty/python/generate_locks.py                  what changed in the .in files
    ./pantsw run 3rdparty/python/generate_locks.py -- --upgrade     and the newest versions allowed

A lock pins every package to one version and its files to their SHA-256 hashes. It carries
no address: which package index or mirror serves the files is the machine's business.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
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
    Resolve("embedded_aws"),
    Resolve("terraform_checks"),
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
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
