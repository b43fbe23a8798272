"""Questions to git about this repository. Changes nothing in it, not even its index."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.release._errors import ReleaseError

_SECONDS = 120.0


@dataclass(frozen=True)
class Commit:
    """A commit and its committer's date."""

    sha: str
    date: datetime


class Git:
    """The repository at a folder.

    Raises ReleaseError from each method: it is no repository, git is missing, a revision is
    unknown.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def resolve(self, revision: str) -> str:
        """The id of the commit that a revision names."""
        done = self._run("rev-parse", "--verify", "--quiet", "--end-of-options",
                         f"{revision}^{{commit}}", check=False)  # fmt: skip
        if done.returncode:
            self._require_repository()
            hint = (
                "; this clone is shallow (git fetch --unshallow brings the rest)"
                if self.is_shallow()
                else ""
            )
            raise ReleaseError(f"there is no revision {revision!r} in this clone{hint}")
        return done.stdout.strip()

    def tree(self, commit: str) -> str:
        """The id of a commit's content."""
        return self._output("rev-parse", f"{commit}^{{tree}}").strip()

    def is_shallow(self) -> bool:
        """Whether the history ends before its beginning."""
        return self._output("rev-parse", "--is-shallow-repository").strip() == "true"

    def dirty(self) -> list[str]:
        """Files that are not as in HEAD, those that git does not know yet included."""
        found = self._output("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
        return sorted(entry[3:] for entry in found.split("\0") if entry)

    def text(self, commit: str, path: str) -> str | None:
        """A file as it was; None where there was none."""
        done = self._run("cat-file", "blob", f"{commit}:{path}", check=False)
        return None if done.returncode else done.stdout

    def commits(
        self, paths: Sequence[str], *, first_parent: bool = False, only: str = ""
    ) -> list[Commit]:
        """The commits behind HEAD that changed one of these files, the newest first.

        `only` is git's `--diff-filter`.
        """
        found = self._output(
            "log",
            "--format=%H %ct",
            *(["--first-parent"] if first_parent else []),
            *([f"--diff-filter={only}"] if only else []),
            "HEAD",
            "--",
            *paths,
        )
        pairs = (line.split() for line in found.splitlines() if line)
        return [Commit(sha, datetime.fromtimestamp(int(at), UTC)) for sha, at in pairs]

    def changed_in(self, commit: str, parent: str | None) -> frozenset[str]:
        """The files in which a commit differs from its parent; without one, all of its files."""
        between = [parent, commit] if parent else ["--root", "--no-commit-id", commit]
        found = self._output("diff-tree", "-r", "-z", "--name-only", "--no-renames", *between)
        return frozenset(path for path in found.split("\0") if path)

    def parent(self, commit: str) -> str | None:
        """The (first) parent; None for the first commit, and at the end of a shallow clone."""
        done = self._run("rev-parse", "--verify", "--quiet", f"{commit}^", check=False)
        return done.stdout.strip() or None

    def export(self, commit: str, folder: Path) -> None:
        """Writes the files of a commit into an empty folder.

        By an index of its own: a worktree would be an entry in the repository that a kill leaves.
        """
        with tempfile.TemporaryDirectory() as scratch:
            index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
            self._run("read-tree", commit, environment=index)
            self._run("checkout-index", "--all", f"--prefix={folder}/", environment=index)

    def _require_repository(self) -> None:
        if self._run("rev-parse", "--git-dir", check=False).returncode:
            raise ReleaseError(f"{self._root} is not in a git repository")

    def _output(self, *arguments: str) -> str:
        return self._run(*arguments).stdout

    def _run(
        self,
        *arguments: str,
        check: bool = True,
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(
                ["git", "-C", str(self._root), *arguments],  # noqa: S603, S607 - the git of PATH, no shell
                capture_output=True,
                text=True,
                errors="surrogateescape",
                check=False,
                timeout=_SECONDS,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", **(environment or {})},
            )
        except FileNotFoundError:
            raise ReleaseError("there is no git on PATH") from None
        except subprocess.TimeoutExpired:
            raise ReleaseError(f"git {arguments[0]} took longer than {_SECONDS:.0f} s") from None
        if check and done.returncode:
            self._require_repository()
            said = (done.stderr.strip() or "without a word").splitlines()[-1]
            raise ReleaseError(f"git {arguments[0]} failed: {said}")
        return done
