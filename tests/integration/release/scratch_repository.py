"""A scratch clone of the repository, in which changes are planted and Pants is asked.

Of the files as they lie here, not of a commit: a test sandbox has no history. It has one commit, in
which every service is released.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.release._services import SERVICES

_COPIED = ("pantsw", "pants.toml", "BUILD", "3rdparty", "libs", "services", "deploy")


@dataclass(frozen=True)
class Scratch:
    """The clone."""

    root: Path

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        text = self.read(path)
        assert old in text, f"{path} has no {old!r}"
        self.write(path, text.replace(old, new, 1))

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout.strip()

    def commit(self, message: str = "a change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def restore(self) -> None:
        """As it was committed last."""
        self.git("reset", "--quiet", "--hard")
        self.git("clean", "--quiet", "-d", "--force", "services", "libs", "deploy", "3rdparty")

    def version(self, service: str) -> str:
        found = re.search(r'version="([^"]+)"', self.read(f"services/{service}/BUILD"))
        assert found is not None
        return found[1]

    def stop(self) -> None:
        """Ends the clone's daemon of Pants by its process id."""
        for file in self.root.glob(".pids/*/pantsd/pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def scratch_repository(root: Path) -> Scratch:
    """Makes it."""
    for name in _COPIED:
        source = Path(name)
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    scratch = Scratch(root)
    scratch.write(".gitignore", "/.pants.d/\n/.pids/\n/dist/\n__pycache__/\n")
    for service in SERVICES:
        changelog = f"# Changelog\n\n## {scratch.version(service)} (2026-11-01)\n\n- It is there.\n"
        scratch.write(f"services/{service}/CHANGELOG.md", changelog)
    scratch.git("init", "--quiet", "--initial-branch=main")
    scratch.commit("everything is released")
    return scratch
