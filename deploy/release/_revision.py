"""Which commit an image says it is made of: the last one that changed anything it is made of.

So an image built today from content of last month says last month, and is that image. Files that
hold more than one image's matter are looked into: another package's entry in the lock, a comment
in a BUILD file, a section of `pants.toml` that no package comes of, change no image.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from deploy.release._content import Content, lock_entries, lock_path, pants_parts
from deploy.release._errors import ReleaseError
from deploy.release._git import Git

PANTS_TOML = "pants.toml"
PANTS_LOCK = "3rdparty/python/pants.lock"
_MACROS = "deploy/pants"


@dataclass(frozen=True)
class Revision:
    """`uncommitted`: files that the image is made of and no commit has; then it is a draft."""

    sha: str
    date: datetime
    uncommitted: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.sha}-dirty" if self.uncommitted else self.sha


def revision_of(git: Git, content: Content, distributions: Collection[str]) -> Revision:
    """The revision of an image. Raises ReleaseError: no commit knows of it."""
    made_of = _MadeOf.of(git, content, distributions)
    uncommitted = tuple(path for path in git.dirty() if made_of.may_hold(path))
    for commit in git.commits(made_of.paths()):
        if made_of.is_changed_by(git, commit.sha):
            return Revision(commit.sha, commit.date, uncommitted)
    raise ReleaseError("what the image is made of was never committed")


@dataclass(frozen=True)
class _MadeOf:
    """Where in the repository that is which an image is made of."""

    files: frozenset[str]
    builds: frozenset[str]
    suffixes: frozenset[tuple[str, str]]  # of its files, by folder
    locks: tuple[str, ...]  # and the requirements that it is made from
    distributions: frozenset[str]

    @classmethod
    def of(cls, git: Git, content: Content, distributions: Collection[str]) -> _MadeOf:
        paths = [PurePosixPath(path) for path in content.files]
        folders = {folder for path in paths for folder in path.parents}
        return cls(
            files=content.files,
            builds=frozenset(str(folder / "BUILD") for folder in folders),
            suffixes=frozenset((str(path.parent), path.suffix) for path in paths),
            locks=_locks(git),
            distributions=frozenset(distributions),
        )

    def paths(self) -> list[str]:
        folders = {folder for folder, _ in self.suffixes if folder != "."}
        shared = {PANTS_TOML, PANTS_LOCK, _MACROS, *self.locks}
        return sorted({*self.files, *self.builds, *folders, *shared} - {""})

    def may_hold(self, path: str) -> bool:
        """Whether a file may be part of it: more can't be told of what no commit has."""
        return (
            path in self.files
            or path in self.builds
            or path in (PANTS_TOML, PANTS_LOCK, *self.locks)
            or path.startswith(f"{_MACROS}/")
        )

    def is_changed_by(self, git: Git, commit: str) -> bool:
        """Whether a commit changed anything of it."""
        parent = git.parent(commit)

        def text(path: str, at: str | None) -> str | None:
            return git.text(at, path) if at else None

        for path in sorted(git.changed_in(commit, parent)):
            if path in self.files:
                return True
            before, now = text(path, parent), text(path, commit)
            if path in self.builds or path.startswith(f"{_MACROS}/"):
                changed = _syntax(before) != _syntax(now)
            elif path in (PANTS_TOML, PANTS_LOCK):
                changed = _of_pants(
                    text(PANTS_TOML, parent), text(PANTS_LOCK, parent)
                ) != _of_pants(text(PANTS_TOML, commit), text(PANTS_LOCK, commit))
            elif path in self.locks:
                changed = self._entries(before) != self._entries(now)
            else:
                # A module that was taken away is in no list of today's files.
                one = PurePosixPath(path)
                changed = now is None and (str(one.parent), one.suffix) in self.suffixes
            if changed:
                return True
        return False

    def _entries(self, lock: str | None) -> Mapping[str, str]:
        entries = lock_entries(lock or "")
        return {name: entries[name] for name in self.distributions & entries.keys()}


def _locks(git: Git) -> tuple[str, ...]:
    try:
        lock = lock_path(git.text("HEAD", PANTS_TOML) or "")
    except ValueError as error:
        raise ReleaseError(f"{PANTS_TOML} can not be read: {error}") from None
    return (lock, str(PurePosixPath(lock).with_suffix(".in"))) if lock else ()


def _of_pants(toml: str | None, lock: str | None) -> Mapping[str, str]:
    try:
        return pants_parts(toml or "", lock or "")
    except ValueError:
        return {}


def _syntax(build: str | None) -> str:
    """A BUILD file without its comments and layout; BUILD files are Python in form."""
    try:
        return ast.dump(ast.parse(build or ""))
    except (SyntaxError, ValueError):
        return build or ""
