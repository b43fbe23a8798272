"""How the programs that measure growth are called: one line for what is wrong, progress, a document.

Owns arguments' forms and the writing of a document with its pictures. It must not know what is
measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from libs.console import Progress, Terminal
from libs.picture import write_picture
from tests.bench.comparison.document import renewed


class Parser(argparse.ArgumentParser):
    """What is wrong in one line, without the usage before it."""

    def error(self, message: str) -> None:  # type: ignore[override]
        sys.stderr.write(f"{self.prog}: {message}\n")
        raise SystemExit(2)


class DocumentError(Exception):
    """A document that can not be renewed; one line says why."""


def progress(terminal: Terminal, seconds: float) -> Progress:
    """The progress of a run that is expected to take so long."""
    return Progress(
        terminal,
        seconds,
        clock=time.monotonic,
        counted=lambda done, total: f"{done:.0f} of about {total:.0f} s",
    )


@asynccontextmanager
async def ticking(shown: Progress) -> AsyncIterator[Progress]:
    """The progress, told again each second while something long is under way, and taken away."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            shown.advance(0)

    task = asyncio.create_task(tick())
    try:
        yield shown
    finally:
        task.cancel()
        shown.end()


def require_places(document: Path, names: list[str], *, by: str) -> None:
    """Raise DocumentError unless the document has a place for each part: before anything is measured."""
    _renewed(document, dict.fromkeys(names, ""), by=by)


def picture_of(document: Path, name: str) -> Path:
    """Where the picture of a part stands: beside the document."""
    return document.with_name(f"{document.stem}-{name}.svg")


def write(
    document: Path, parts: Mapping[str, str], pictures: Mapping[str, str], *, by: str
) -> list[Path]:
    """Renew the parts of the document and its pictures; gives what was written. Raises DocumentError."""
    text = _renewed(document, parts, by=by)
    written = []
    try:
        for name, drawing in pictures.items():
            path = picture_of(document, name)
            written += [path, write_picture(path, drawing)]
        document.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DocumentError(f"{error.filename}: {error.strerror}") from error
    return [document, *written]


def _renewed(document: Path, parts: Mapping[str, str], *, by: str) -> str:
    try:
        return renewed(document.read_text(encoding="utf-8"), parts, by=by)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        raise DocumentError(f"{document}: {reason}") from error
    except ValueError as error:
        raise DocumentError(f"{document}: {error}") from error
