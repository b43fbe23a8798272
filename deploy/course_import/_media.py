"""What a file is, by its name, and how long a video runs, by its own header."""

from __future__ import annotations

import os
from typing import IO

# The machine's own table of types differs from machine to machine, and a second run must say the same.
_TYPES = {
    "aac": "audio/aac", "avif": "image/avif", "bmp": "image/bmp", "css": "text/css",
    "csv": "text/csv", "docx":
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "gif": "image/gif", "htm": "text/html", "html": "text/html", "ico": "image/x-icon",
    "ipynb": "application/json", "jfif": "image/jpeg", "jpeg": "image/jpeg", "jpg": "image/jpeg",
    "json": "application/json", "m4a": "audio/mp4", "m4v": "video/mp4", "mov": "video/quicktime",
    "mp3": "audio/mpeg", "mp4": "video/mp4", "oga": "audio/ogg", "ogg": "audio/ogg",
    "ogv": "video/ogg", "pdf": "application/pdf", "png": "image/png", "pptx":
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "svg": "image/svg+xml", "tif": "image/tiff", "tiff": "image/tiff", "txt": "text/plain",
    "wav": "audio/wav", "webm": "video/webm", "webp": "image/webp", "xlsx":
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xml": "application/xml",
    "zip": "application/zip",
}  # fmt: skip

_MAX_BOXES = 10_000


def content_type(name: str) -> str:
    """The media type of a file, `application/octet-stream` where nothing is known."""
    return _TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")


def mp4_duration(file: IO[bytes], size: int) -> float | None:
    """How many seconds an MP4 or MOV runs, None where it does not say.

    Reads the header boxes alone (ISO/IEC 14496-12, 8.2.2: moov/mvhd), at whatever end of the file.
    """
    return _movie_header(file, 0, size)


def _movie_header(file: IO[bytes], begin: int, end: int) -> float | None:
    position = begin
    for _ in range(_MAX_BOXES):
        if position + 8 > end:
            return None
        file.seek(position, os.SEEK_SET)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        header = 8
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
            header = 16
        elif length == 0:  # up to the end
            length = end - position
        if length < header:
            return None
        kind = head[4:8]
        if kind == b"moov":
            return _movie_header(file, position + header, min(position + length, end))
        if kind == b"mvhd":
            file.seek(position + header, os.SEEK_SET)
            return _duration(file.read(32))
        position += length
    return None


def _duration(header: bytes) -> float | None:
    if len(header) < 32:
        return None
    if header[0] == 1:
        scale, units = int.from_bytes(header[20:24], "big"), int.from_bytes(header[24:32], "big")
    else:
        scale, units = int.from_bytes(header[12:16], "big"), int.from_bytes(header[16:20], "big")
    if not scale or units in (0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF):
        return None
    return units / scale
