"""A scratch copy of the repository in which the real Pants runs.

Owns the copy and Pants' daemon in it. What is asked of Pants is the tests' business.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Checkout:
    """A scratch copy of the repository."""

    root: Path

    def pants(
        self, *arguments: str, timeout: float = 300, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Pants in it, with these variables besides the environment's own."""
        return subprocess.run(
            ["./pantsw", *arguments],
            cwd=self.root,
            env={
                **os.environ,
                "PANTS_UNMATCHED_BUILD_FILE_GLOBS": "warn",
                "PANTS_DYNAMIC_UI": "false",
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def plant(self, path: str, statement: str) -> Path:
        """Write a file of one line."""
        planted = self.root / path
        planted.write_text(f"{statement}\n")
        return planted

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that is in a file."""
        file = self.root / path
        text = file.read_text()
        assert old in text, f"{path} has no {old!r}"
        file.write_text(text.replace(old, new))

    def stop(self) -> None:
        """Ends the scratch copy's daemon by its process id."""
        for file in self.root.glob(".pids/*/pantsd/pid"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)


@contextmanager
def scratch_checkout(
    root: Path, folders: Sequence[str] = ("3rdparty", "libs", "services", "deploy", "tests")
) -> Iterator[Checkout]:
    """A copy of `folders` in the folder `root`, which exists; its daemon ends with it."""
    for name in ("pantsw", "pants.toml", "BUILD"):
        shutil.copy(name, root / name)
    for name in folders:
        shutil.copytree(name, root / name, ignore=shutil.ignore_patterns("test_*.py"))
    made = Checkout(root)
    try:
        yield made
    finally:
        made.stop()
