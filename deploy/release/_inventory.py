"""Reads what the images are made of: of the files as they lie here, or of a revision.

A revision never changes, so what was found is kept in `dist/release/`, by its tree's id.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.release._content import (
    Contents,
    content_of,
    contents_of,
    distributions_in,
    lock_entries,
    lock_path,
    pants_parts,
    roots_of,
)
from deploy.release._errors import ReleaseError
from deploy.release._git import Git
from deploy.release._pants import Pants
from deploy.release._services import SERVICES, Service, required_version

# Grows when what is kept means something else.
_FORMAT = 1
_PANTS_LOCK = "3rdparty/python/pants.lock"


@dataclass(frozen=True)
class Inventory:
    """Of the repository at `root`. Raises ReleaseError from each method."""

    root: Path
    git: Git

    def here(self) -> Contents:
        """As the files lie here, committed or not."""
        return self._read(self.root, Pants(self.root))

    def at(self, commit: str) -> Contents:
        """As they were in a commit."""
        kept = self.root / "dist" / "release" / "contents" / f"{self.git.tree(commit)}.json"
        found = _kept(kept)
        if found is None:
            with tempfile.TemporaryDirectory(prefix="lyceum-revision-") as folder:
                copy = Path(folder) / "copy"
                copy.mkdir()
                self.git.export(commit, copy)
                found = self._read(copy, Pants(copy, daemon=False))
            _keep(kept, found)
        return found

    def distributions(self, services: Sequence[Service]) -> dict[str, frozenset[str]]:
        """The third-party packages that are really in the images, by Pants' own resolving."""
        Pants(self.root).package([f"services/{service.name}:deps" for service in services])
        return {
            service.name: distributions_in(
                _pex_info(self.root / "dist" / f"services.{service.name}" / "deps.pex")
            )
            for service in services
        }

    def _read(self, root: Path, pants: Pants) -> Contents:
        present = [service for service in SERVICES.values() if (root / service.build).is_file()]
        folders = [f"services/{service.name}" for service in present]
        targets = pants.targets(
            f"{folder}:{name}" for folder in folders for name in ("image", "deps", "srcs")
        )
        toml = _text(root / "pants.toml")
        try:
            of_pants = pants_parts(toml, _text(root / _PANTS_LOCK))
            lock = lock_path(toml)
        except ValueError as error:
            raise ReleaseError(f"pants.toml can not be read: {error}") from None
        return Contents(
            images={
                service.name: content_of(
                    service,
                    required_version(service, _text(root / service.build)),
                    targets,
                    of_pants,
                )
                for service in present
                if any(address in targets for address in roots_of(service, targets))
            },
            locked=lock_entries(_text(root / lock)) if lock else {},
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{path} can not be read ({type(error).__name__})") from None


def _pex_info(pex: Path) -> Mapping[str, Any]:
    try:
        if pex.is_dir():
            found = json.loads((pex / "PEX-INFO").read_bytes())
        else:
            with zipfile.ZipFile(pex) as archive:
                found = json.loads(archive.read("PEX-INFO"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise ReleaseError(f"{pex} is not the PEX that was to be built") from None
    info: Mapping[str, Any] = found
    return info


def _kept(path: Path) -> Contents | None:
    try:
        document = json.loads(path.read_bytes())
        return contents_of(document["contents"]) if document["format"] == _FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, contents: Contents) -> None:
    document = {"format": _FORMAT, "contents": contents.document()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        draft.write_text(json.dumps(document), encoding="utf-8")
        draft.replace(path)
    except OSError:
        return  # it is found again the next time
