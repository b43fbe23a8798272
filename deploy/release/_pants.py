"""What Pants says about this repository, or about a copy of one of its revisions."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.release._errors import ReleaseError

Target = Mapping[str, Any]
"""A target as `peek` shows it: its fields after macros, its dependencies after inference."""

_SECONDS = 1_800.0
_ROOTS = ("services", "libs", "3rdparty", "deploy/images")


class Pants:
    """Pants in one folder, by its own `pantsw`.

    Args:
        root: the repository, or a copy of it.
        daemon: a copy that is soon gone gets no daemon.
    """

    def __init__(self, root: Path, *, daemon: bool = True) -> None:
        self._root = root
        self._daemon = daemon

    def targets(self, roots: Iterable[str]) -> dict[str, Target]:
        """The targets by address, all that are reached from `roots` among them.

        A root that is not there is left out. Raises ReleaseError.
        """
        found = self._peek([f"{root}::" for root in _ROOTS if (self._root / root).is_dir()])
        waiting = [root for root in roots if root in found]
        seen = set(waiting)
        while waiting:
            missing = [address for address in waiting if address not in found]
            if missing:
                found |= self._peek(missing)
            reached = {
                dependency
                for address in waiting
                for dependency in found.get(address, {}).get("dependencies", ())
            }
            waiting = sorted(reached - seen)
            seen |= reached
        return found

    def package(self, addresses: Sequence[str]) -> None:
        """Builds targets into `dist/`. Raises ReleaseError."""
        self._run("package", *addresses)

    def _peek(self, addresses: Sequence[str]) -> dict[str, Target]:
        shown: list[Target] = json.loads(self._run("peek", *addresses))
        return {target["address"]: target for target in shown}

    def _run(self, *arguments: str) -> str:
        # Where Pants itself runs this program, it has set variables for this program's Python.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PEX_", "PYTHON")) and name not in ("PEX", "VIRTUAL_ENV")
        }
        environment |= {"PANTS_DYNAMIC_UI": "false", "PANTS_LEVEL": "warn"}
        if not self._daemon:
            environment["PANTS_PANTSD"] = "false"
        try:
            done = subprocess.run(
                [str(self._root / "pantsw"), *arguments],  # noqa: S603 - fixed, no shell
                cwd=self._root,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except OSError as error:
            raise ReleaseError(
                f"{self._root / 'pantsw'} can not be run: {error.strerror}"
            ) from None
        except subprocess.TimeoutExpired:
            raise ReleaseError(f"pantsw {arguments[0]} took longer than {_SECONDS:.0f} s") from None
        if done.returncode:
            log = self._root / "dist" / "release" / "pants.log"
            with contextlib.suppress(OSError):
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text(done.stderr, encoding="utf-8")
            raise ReleaseError(
                f"./pantsw {' '.join(arguments[:2])} failed: {_reason(done.stderr)}"
                f" (all that it said: {log})"
            )
        return done.stdout


def _reason(errors: str) -> str:
    """Why Pants failed, of all that it wrote: the exception, and the last word of a tool it ran."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    named = [
        place
        for place, line in enumerate(lines)
        if re.match(r"[A-Za-z_.]+(Error|Exception|Failure): ", line)
    ]
    if not named:
        return lines[-1] if lines else "without a word"
    rest = [line for line in lines[named[-1] + 1 :] if not line.startswith("Use `--keep-sandboxes")]
    is_tools = "ProcessExecutionFailure" in lines[named[-1]]
    return " … ".join([lines[named[-1]], *(rest[-1:] if is_tools else rest[:1])])
