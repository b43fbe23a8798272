"""What is in an image: its layers, their sizes, and the files one finds at the end.

Reads the archive that `docker save` writes, of whichever engine. Knows nothing of services.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Layer:
    """`size` is that of its files, as Docker counts; `compressed` what a registry keeps and sends.
    `diff_id` is the digest of its archive: the same content has the same."""

    diff_id: str
    size: int
    compressed: int


@dataclass(frozen=True)
class Contents:
    """`files` are those of the uppermost layer that has them, by absolute path."""

    layers: tuple[Layer, ...]
    files: Mapping[str, tarfile.TarInfo]
    texts: Mapping[str, bytes] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def compressed(self) -> int:
        """Bytes of all layers, compressed."""
        return sum(layer.compressed for layer in self.layers)


def read_contents(
    archive: Path, *, keep: Callable[[str], bool] = lambda path: False, compress: bool = True
) -> Contents:
    """Read an archive. `keep` says of which files the bytes are wanted; without `compress`, which
    takes seconds, compressed sizes are 0."""
    layers: list[Layer] = []
    files: dict[str, tarfile.TarInfo] = {}
    texts: dict[str, bytes] = {}
    with tarfile.open(archive) as image:
        for name in _layer_names(image):
            layer = image.extractfile(name)
            assert layer is not None
            compressed = _compressed_size(layer) if compress else 0
            layer.seek(0)
            diff_id = f"sha256:{hashlib.file_digest(layer, 'sha256').hexdigest()}"  # type: ignore[arg-type]
            layer.seek(0)
            layers.append(Layer(diff_id, _apply(layer, files, texts, keep), compressed))
    return Contents(tuple(layers), files, texts)


def _layer_names(image: tarfile.TarFile) -> list[str]:
    manifest = image.extractfile("manifest.json")
    assert manifest is not None
    (entry,) = json.load(manifest)
    return list(entry["Layers"])


def _compressed_size(layer: IO[bytes]) -> int:
    # As gzip does by default, and Docker when it pushes.
    gzip = zlib.compressobj(6, zlib.DEFLATED, 31)
    size = 0
    while piece := layer.read(_PIECE):
        size += len(gzip.compress(piece))
    return size + len(gzip.flush())


def _apply(
    layer: IO[bytes],
    files: dict[str, tarfile.TarInfo],
    texts: dict[str, bytes],
    keep: Callable[[str], bool],
) -> int:
    size = 0
    with tarfile.open(fileobj=layer) as archive:
        for member in archive:
            path = "/" + member.name.removeprefix("./").strip("/")
            folder, _, name = path.rpartition("/")
            if name == _OPAQUE:
                _remove_below(files, folder)
            elif name.startswith(_WHITEOUT):
                gone = f"{folder}/{name.removeprefix(_WHITEOUT)}"
                _remove_below(files, gone)
                files.pop(gone, None)
            else:
                files[path] = member
                size += member.size
                if member.isreg() and keep(path):
                    content = archive.extractfile(member)
                    assert content is not None
                    texts[path] = content.read()
    return size


def _remove_below(files: dict[str, tarfile.TarInfo], folder: str) -> None:
    for path in [path for path in files if path.startswith(f"{folder}/")]:
        del files[path]
