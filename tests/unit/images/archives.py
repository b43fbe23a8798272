"""Archives as `docker save` writes them, made by hand."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path


def layer(*members: tuple[str, bytes | None]) -> bytes:
    """A layer's archive; None is a folder."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
    return made.getvalue()


def image(path: Path, layers: Sequence[bytes]) -> Path:
    """An image's archive at `path`."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": "c.json", "RepoTags": [], "Layers": names}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, content in [*zip(names, layers, strict=True), ("manifest.json", manifest)]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
