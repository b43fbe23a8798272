"""Lines that stay, and below them one that is renewed; colours; all of it on terminals alone.

Elsewhere, as in a log, lines are lines: nothing is drawn over and nothing is coloured.
"""

from __future__ import annotations

import contextlib
import shutil
from enum import StrEnum
from typing import TextIO


class Style(StrEnum):
    """SGR codes."""

    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


class Terminal:
    """A stream for a person."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = ""

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks on, and lines can be renewed."""
        try:
            return self._stream.isatty()
        except ValueError:  # closed
            return False

    def line(self, text: str) -> None:
        """Writes a line that stays; what was drawn stays below it."""
        if self._drawn:
            self._write(f"{self._wiped()}{text}\n{self._fitted(self._drawn)}")
        else:
            self._write(f"{text}\n")

    def draw(self, text: str) -> None:
        """Shows a line, or several, in place of what was drawn before; only on a terminal."""
        if self.is_terminal:
            self._write(f"{self._wiped()}{self._fitted(text)}")
            self._drawn = text

    def clear(self) -> None:
        """Takes away what was drawn."""
        if self._drawn:
            self._write(self._wiped())
            self._drawn = ""

    def styled(self, style: Style, text: str) -> str:
        """The text in a colour, where there are colours."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.is_terminal else text

    def _wiped(self) -> str:
        """What takes away what is drawn: from the first of its lines to the end of the screen."""
        above = self._fitted(self._drawn).count("\n")
        return f"\x1b[{above}A\r\x1b[J" if above else "\r\x1b[K"

    def _fitted(self, text: str) -> str:
        # Lines that wrapped, or left the screen, could not be drawn over.
        width, height = shutil.get_terminal_size()
        return "\n".join(line[: width - 1] for line in text.split("\n")[: height - 1])

    def _write(self, text: str) -> None:
        # A terminal that is gone, a pipe that nobody reads: no reason to stop half-way.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def printable(text: str) -> str:
    """`text` with what would steer a terminal made visible: it may come from strangers."""
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}" for character in text
    )
