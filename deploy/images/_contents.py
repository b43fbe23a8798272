"""What is in an image: its layers, their sizes, and the files one finds at the end.

Reads the archive that `docker save` writes, of whichever engine. Knows nothing of services.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Layer:
    """`size` is that of its files, as Docker counts; `compressed` what a registry keeps and sends."""

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


def read_contents(archive: Path, *, keep: tuple[str, ...] = ()) -> Contents:
    """Read an archive. The bytes of files below the paths in `keep` are kept too."""
    layers: list[Layer] = []
    files: dict[str, tarfile.TarInfo] = {}
    texts: dict[str, bytes] = {}
    with tarfile.open(archive) as image:
        for name in _layer_names(image):
            layer = image.extractfile(name)
            assert layer is not None
            compressed = _compressed_size(layer)
            layer.seek(0)
            layers.append(Layer(_apply(layer, files, texts, keep), compressed))
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
    keep: tuple[str, ...],
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
                if member.isreg() and path.startswith(keep):
                    content = archive.extractfile(member)
                    assert content is not None
                    texts[path] = content.read()
    return size


def _remove_below(files: dict[str, tarfile.TarInfo], folder: str) -> None:
    for path in [path for path in files if path.startswith(f"{folder}/")]:
        del files[path]
