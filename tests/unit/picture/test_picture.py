"""Drawings as pictures: pixels, the mark of their source, and the committed ones."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import pytest

from libs.picture import as_png, source_of, write_picture

DOCS = Path(__file__).parents[3] / "docs"

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20" font-family="sans-serif">'
    '<rect width="40" height="20" fill="#ffffff"/>'
    '<rect width="10" height="20" fill="#15803d"/>{words}</svg>'
)
PLAIN = SVG.format(words="")
WORDED = SVG.format(words='<text x="14" y="15" font-size="12" fill="#000000">Ly</text>')


def pixels(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and the bytes of the rows, each still filtered (PNG, 9)."""
    width, height = struct.unpack_from(">II", png, 16)
    place, data = 8, b""
    while place < len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        content = png[place + 8 : place + 8 + length]
        (check,) = struct.unpack_from(">I", png, place + 8 + length)
        assert check == zlib.crc32(kind + content), kind
        if kind == b"IDAT":
            data += content
        place += length + 12
    return width, height, zlib.decompress(data)


def test_the_same_drawing_gives_the_same_bytes() -> None:
    assert as_png(WORDED) == as_png(WORDED)


def test_shapes_and_words_are_drawn() -> None:
    width, height, rows = pixels(as_png(PLAIN))
    assert (width, height) == (80, 40)
    # The first pixel of a row is the same filtered or not: nothing is left of it or above it.
    assert rows[1:5] == bytes((0x15, 0x80, 0x3D, 0xFF))
    assert pixels(as_png(WORDED))[2] != rows


def test_a_picture_tells_what_it_was_drawn_from() -> None:
    assert source_of(as_png(PLAIN)) == hashlib.sha256(PLAIN.encode()).hexdigest()
    assert source_of(b"no picture") is None
    assert source_of(as_png(PLAIN)[:33]) is None


def test_what_is_no_drawing_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "drawing.svg"
    with pytest.raises(ValueError, match=r"\w"):
        write_picture(path, "no drawing")
    assert list(tmp_path.iterdir()) == []
    assert write_picture(path, PLAIN).read_bytes() == as_png(PLAIN)
    assert path.read_text(encoding="utf-8") == PLAIN


def test_each_drawing_of_the_documents_has_its_picture() -> None:
    drawings = sorted(DOCS.glob("*.svg"))
    assert drawings
    for drawing in drawings:
        picture = drawing.with_suffix(".png")
        assert (
            picture.is_file()
        ), f"{picture.name} is missing: write it as {drawing.name} is written"
        drawn_from = hashlib.sha256(drawing.read_bytes()).hexdigest()
        assert source_of(picture.read_bytes()) == drawn_from, f"{picture.name} is an older one"
