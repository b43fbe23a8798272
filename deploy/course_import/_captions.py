"""Transcripts of Open edX as WebVTT: from SRT, from SJSON, from WebVTT itself.

Owns the three formats. WebVTT's own rules hold of what is given: a cue ends after it starts, cues are
in order of their starts, no text holds `-->` or an empty line, `&` and `<` are escaped where they do
not belong to the few tags that both formats know.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

MAX_BYTES = 5 << 20
MAX_CUES = 50_000
_LAST_MILLISECOND = 100 * 3_600_000 - 1  # hours have two digits here

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_TAG = re.compile(r"</?([a-zA-Z]+)[^<>]*>|\{\\[^{}]*\}")
_KEPT_TAGS = frozenset("biu")


class CaptionsError(Exception):
    """A transcript that can not be read; one line says why."""


@dataclass(frozen=True)
class Cue:
    """What is said from `start` to `end`, in milliseconds; `text` is WebVTT's, escaped."""

    start: int
    end: int
    text: str


def cues_of(content: bytes, name: str) -> tuple[Cue, ...]:
    """The cues of a transcript; `name` is its file's. Raises CaptionsError.

    A file says by its text what it is, because Open edX has kept SRT in files named `.sjson` and the
    other way around.
    """
    if len(content) > MAX_BYTES:
        raise CaptionsError(f"it has {len(content)} bytes, above {MAX_BYTES}")
    text = _decoded(content)
    beginning = text.lstrip()[:1]
    found = _sjson(text) if beginning == "{" else _blocks(text)
    cues = sorted(found, key=lambda cue: (cue.start, cue.end))
    if not cues:
        raise CaptionsError(f"{name} holds no cue of SRT, SJSON or WebVTT")
    if len(cues) > MAX_CUES:
        raise CaptionsError(f"{name} holds more than {MAX_CUES} cues")
    return tuple(cues)


def to_webvtt(cues: Iterable[Cue]) -> bytes:
    """A WebVTT file."""
    blocks = [f"{_stamp(cue.start)} --> {_stamp(cue.end)}\n{cue.text}\n" for cue in cues]
    return "\n".join(["WEBVTT\n", *blocks]).encode()


def plain_text(cues: Iterable[Cue]) -> str:
    """What is said, as one text."""
    return " ".join(
        html.unescape(re.sub(r"<[^>]*>", "", cue.text)).replace("\n", " ") for cue in cues
    )


def _decoded(content: bytes) -> str:
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _blocks(text: str) -> Iterable[Cue]:
    """The cues of SRT and WebVTT: a line of times, then text up to an empty line."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    times: tuple[int, int] | None = None
    said: list[str] = []
    for line in [*lines, ""]:
        timing = _TIMING.fullmatch(line)
        if timing is None and line.strip():
            said.append(line)
            continue
        if times is not None:
            # Where the empty line is missing, the next cue's number is the last line of text.
            if timing is not None and said and said[-1].strip().isdecimal():
                said.pop()
            yield from _cue(*times, "\n".join(said))
        said = []
        times = None
        if timing is not None:
            parts = timing.groups()
            times = _milliseconds(parts[:4]), _milliseconds(parts[4:])


def _sjson(text: str) -> Iterable[Cue]:
    """The cues of SJSON: three lists, milliseconds of starts and of ends, and texts."""
    try:
        document = json.loads(text)
        starts, ends, texts = document["start"], document["end"], document["text"]
        rows = list(zip(starts, ends, texts, strict=True))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CaptionsError(f"it is not SJSON: {error}") from None
    for start, end, said in rows:
        if not _is_number(start) or not _is_number(end):
            raise CaptionsError("it is not SJSON: a time is not a number")
        if isinstance(said, str):
            # SJSON's texts are already escaped for HTML.
            yield from _cue(round(start), round(end), html.unescape(said))


def _cue(start: int, end: int, said: str) -> Iterable[Cue]:
    text = "\n".join(line.strip() for line in _escaped(said).splitlines() if line.strip())
    if text and 0 <= start <= _LAST_MILLISECOND - 1:
        yield Cue(start, min(max(end, start + 1), _LAST_MILLISECOND), text)


def _escaped(said: str) -> str:
    parts = []
    position = 0
    for tag in _TAG.finditer(said):
        parts.append(html.escape(html.unescape(said[position : tag.start()]), quote=False))
        name = (tag[1] or "").lower()
        if name in _KEPT_TAGS:
            parts.append(f"</{name}>" if tag[0].startswith("</") else f"<{name}>")
        position = tag.end()
    parts.append(html.escape(html.unescape(said[position:]), quote=False))
    return "".join(parts)


def _milliseconds(parts: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, fraction = parts
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole * 1000 + int((fraction or "0").ljust(3, "0"))


def _stamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{rest:03}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
