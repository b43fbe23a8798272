"""The file of the last traces: bounded, private, written by one process and read by any.

One line of JSON a document, the trace's id first. Two files, the older one dropped when the newer is
full, so at least the last `Limits.traces` traces are there. Nobody locks: a reader takes whole lines
only, so that a line that is being written, or never was to its end, is passed over.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local._traces._document import Document, trace_id_of

NAME: Final = "segments.jsonl"
_LINE: Final = re.compile(rb'\{"trace_id":"(1-[0-9a-f]{8}-[0-9a-f]{24})",.*\}')
_TRIES: Final = 5


@dataclass(frozen=True)
class Limits:
    """How much is kept.

    Args:
        traces: traces a file.
        file_bytes: bytes a file; a line more than that is still written whole.
        documents: documents a trace and file.
    """

    traces: int = 1_000
    file_bytes: int = 8 * 1024 * 1024
    documents: int = 500


class TraceLog:
    """The writing end. Continues what is there. There may be one at a time.

    Raises OSError, also when it is made.
    """

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self._folder = folder
        self._limits = limits or Limits()
        self._descriptor = -1
        self._size = 0
        self._is_torn = False
        self._documents: Counter[str] = Counter()
        self._open()

    def add(self, document: Document) -> bool:
        """Appends a document; false where its trace has as many as it may.

        Raises OSError (a full disk): the document is lost, later ones may be written.
        """
        trace_id = trace_id_of(document)
        line = _encoded(trace_id, document)
        if os.fstat(self._descriptor).st_nlink == 0:  # removed by somebody
            self._reopen()
        if self._is_full(trace_id):
            path = self._folder / NAME
            with suppress(FileNotFoundError):  # moved already, when no new one could be made
                path.replace(path.with_name(NAME + ".1"))
            self._reopen()
        if self._documents[trace_id] >= self._limits.documents:
            return False
        text = b"\n" + line if self._is_torn else line
        # Until all of it is there, what follows has to begin on a line of its own.
        self._is_torn = True
        written = os.write(self._descriptor, text)
        self._size += written
        if written < len(text):
            raise OSError("a line was written in part")
        self._is_torn = False
        self._documents[trace_id] += 1
        return True

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def _is_full(self, trace_id: str) -> bool:
        if self._size >= self._limits.file_bytes:
            return True
        return trace_id not in self._documents and len(self._documents) >= self._limits.traces

    def _reopen(self) -> None:
        old = self._descriptor
        self._open()
        os.close(old)

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / NAME
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            content = path.read_bytes()
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._size = len(content)
        self._is_torn = bool(content) and not content.endswith(b"\n")
        self._documents = Counter(trace_id for trace_id, _ in _lines(content))


def read_log(folder: Path) -> dict[str, list[bytes]]:
    """The lines of each trace, in the order in which they came; the trace that got the last one last.

    Empty where nothing was ever written. Raises OSError.
    """
    traces: dict[str, list[bytes]] = {}
    for content in _contents(folder):
        for trace_id, line in _lines(content):
            lines = traces.pop(trace_id, [])
            lines.append(line)
            traces[trace_id] = lines
    return traces


def _contents(folder: Path) -> list[bytes]:
    """Of the older and of the newer file."""
    newer = folder / NAME
    older = newer.with_name(NAME + ".1")
    for _ in range(_TRIES):
        # The newer one first: if it becomes the older one meanwhile, that shows, and the new one
        # that has come into its place is read too.
        inode, content = _read(newer)
        old_inode, old_content = _read(older)
        if inode is None or inode != old_inode:
            break
    else:  # moved each time: the two are the same, and what is newer comes too fast to be waited for
        old_content = b""
    return [old_content, content]


def _read(path: Path) -> tuple[int | None, bytes]:
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_ino, file.read()
    except FileNotFoundError:
        return None, b""


def _lines(content: bytes) -> Iterator[tuple[str, bytes]]:
    *lines, _ = content.split(b"\n")
    for line in lines:
        if found := _LINE.fullmatch(line):
            yield found[1].decode("ascii"), line


def _encoded(trace_id: str, document: Document) -> bytes:
    text = json.dumps(
        {"trace_id": trace_id, **{k: v for k, v in document.items() if k != "trace_id"}},
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )
    # "replace": half of a surrogate pair has no UTF-8 form.
    return text.encode("utf-8", "replace") + b"\n"
