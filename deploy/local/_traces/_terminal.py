"""Lines for a terminal, or for whoever reads a pipe: no wider than wanted, and in no control of it.

What is written comes from anybody. Characters that move a cursor, switch colours or turn the
direction of writing are replaced; what the encoding can not carry too.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TextIO

WIDEST: Final = 500
_NARROWEST: Final = 20
# Marks of any kind; the rest of "C" and the separators of lines.
_CONTROLS: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_WITHOUT_WIDTH: Final = frozenset({"Mn", "Me"})

BOLD, DIM, RED, YELLOW, GREEN, CYAN = "1", "2", "31", "33", "32", "36"

Piece = tuple[str, str | None]


@dataclass(frozen=True)
class Surface:
    """What can be written there.

    Args:
        width: columns; None where lines may be as long as they are.
        encoding: of the stream.
        has_colours: whether colours can be seen, and are wanted.
    """

    width: int | None
    encoding: str
    has_colours: bool

    @classmethod
    def of(cls, stream: TextIO, variables: Mapping[str, str]) -> Surface:
        """The stream's: a terminal's own width, or COLUMNS; no colours but on a terminal, and none
        with NO_COLOR (https://no-color.org)."""
        is_terminal = stream.isatty()
        return cls(
            width=_width(stream, variables, is_terminal=is_terminal),
            encoding=stream.encoding or "ascii",
            has_colours=is_terminal
            and not variables.get("NO_COLOR")
            and variables.get("TERM") != "dumb",
        )

    def can_write(self, text: str) -> bool:
        """Whether the stream's encoding has all of these characters."""
        try:
            text.encode(self.encoding)
        except (UnicodeError, LookupError):
            return False
        return True

    def clean(self, text: str) -> str:
        """The text, made harmless."""
        text = unicodedata.normalize("NFC", text)
        text = "".join(" " if c in "\t\r\n" else _harmless(c) for c in text)
        if self.can_write(text):
            return text
        return "".join(c if self.can_write(c) else "?" for c in text)

    def line(self, *pieces: Piece, width: int | None = None) -> str:
        """The pieces (clean text and colour), cut to the width, without blanks at the end."""
        limit = width if width is not None else self.width
        shown: list[Piece] = []
        for text, colour in pieces:
            if limit is not None:
                text = self.cut(text, limit)
                limit -= cells(text)
            shown.append((text, colour))
        while shown and not shown[-1][0].strip():
            shown.pop()
        if shown:
            shown[-1] = shown[-1][0].rstrip(), shown[-1][1]
        return "".join(
            f"\x1b[{colour}m{text}\x1b[0m" if colour and self.has_colours and text else text
            for text, colour in shown
        )

    def cut(self, text: str, width: int) -> str:
        """The text in at most so many columns; where it is longer, an ellipsis ends it."""
        if cells(text) <= width:
            return text
        ellipsis = "…" if self.can_write("…") else "~"
        room = width - 1
        kept = []
        for character in text:
            room -= _cells(character)
            if room < 0:
                break
            kept.append(character)
        return "".join(kept) + ellipsis if width > 0 else ""


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def padded(text: str, width: int) -> str:
    """The text, filled up with blanks."""
    return text + " " * (width - cells(text))


def _cells(character: str) -> int:
    if unicodedata.category(character) in _WITHOUT_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _harmless(character: str) -> str:
    return "�" if unicodedata.category(character) in _CONTROLS else character


def _width(stream: TextIO, variables: Mapping[str, str], *, is_terminal: bool) -> int | None:
    wanted = variables.get("COLUMNS", "")
    columns = int(wanted) if wanted.isascii() and wanted.isdecimal() and len(wanted) < 9 else 0
    if not columns and is_terminal:
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except OSError:
            columns = 80
        columns = columns or 80
    return max(_NARROWEST, min(columns, WIDEST)) if columns else None
