"""A PNG of an SVG: drawn by resvg, in Open Sans, and marked with what it was drawn from.

Owns the renderer's settings and the mark. It must not know what a picture shows.

No font of the machine is asked: the same SVG gives the same pixels everywhere.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import resvg_py

ZOOM: Final = 2.0
"""Pixels for each unit of the SVG: words stay sharp on a dense screen."""

_FONT = "Open Sans"
_FONT_FILES = ("OpenSans-Regular.ttf", "OpenSans-SemiBold.ttf")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"Source-SHA256"


def as_png(svg: str) -> bytes:
    """The picture. Raises ValueError for what is no SVG."""
    with as_file(files("ttf_opensans") / "ttf") as folder:
        drawn = resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=ZOOM,
            skip_system_fonts=True,
            font_files=[str(folder / name) for name in _FONT_FILES],
            font_family=_FONT,
            sans_serif_family=_FONT,
        )
    head = len(_SIGNATURE) + 25  # IHDR, which comes first, is 13 bytes with 12 around them
    return drawn[:head] + _chunk(b"tEXt", _KEYWORD + b"\0" + _digest(svg)) + drawn[head:]


def source_of(png: bytes) -> str | None:
    """The SHA-256 of the SVG that a picture of ours was drawn from; None where it says nothing."""
    if not png.startswith(_SIGNATURE):
        return None
    place = len(_SIGNATURE)
    while place + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        content = png[place + 8 : place + 8 + length]
        if kind == b"tEXt" and content.startswith(_KEYWORD + b"\0"):
            return content[len(_KEYWORD) + 1 :].decode("ascii")
        place += length + 12
    return None


def write_picture(path: Path, svg: str) -> Path:
    """Write the SVG at `path` and its PNG beside it; gives the PNG's path.

    Raises OSError, and ValueError for what is no SVG: then neither file has been written.
    """
    drawn = as_png(svg)
    path.write_text(svg, encoding="utf-8")
    beside = path.with_suffix(".png")
    beside.write_bytes(drawn)
    return beside


def _digest(svg: str) -> bytes:
    return hashlib.sha256(svg.encode()).hexdigest().encode("ascii")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
