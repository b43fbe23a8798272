"""The files of an export, whether it is a `.tar.gz` or a folder: names, sizes, bytes.

Owns what is refused about an archive, because an export comes from strangers: names that lead out of
it, links, devices, names that stand twice, and more of anything than a course can need. Nothing of it
is extracted: an archive is decompressed into one unnamed temporary file (in memory while it is small)
and read from there, so no name of the archive ever reaches the file system. Knows no OLX, but for
`course.xml`, which says where a course begins.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
import threading
import unicodedata
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer  # pants: no-infer-dep

ROOT_FILE = "course.xml"

_CHUNK = 1 << 20
_BUFFER = 64 << 10
_IN_MEMORY = 64 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_LARGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much of anything an export may hold; generous for a course, deadly for no machine."""

    files: int = 50_000
    depth: int = 12
    name_bytes: int = 1_024
    file_bytes: int = 5 << 30
    total_bytes: int = 20 << 30
    # gzip can not do better than about 1030:1; texts of courses reach 10:1. Small archives are
    # left alone, because they can not expand to anything that hurts.
    ratio: int = 200
    ratio_from_bytes: int = 64 << 20


class ArchiveError(Exception):
    """The export can not be read, or is refused; one line says why."""


class Source(Protocol):
    """The files of one export, by names relative to the folder of `course.xml`."""

    @property
    def files(self) -> Mapping[str, int]:
        """Every file: its name, with `/` between the parts, and its size in bytes."""

    def open(self, name: str) -> IO[bytes]:
        """The bytes of a file, to be read from its beginning. Raises KeyError."""

    def read(self, name: str, *, limit: int) -> bytes:
        """A file, whole. Raises KeyError, and ArchiveError above `limit` bytes."""


@contextmanager
def open_source(
    path: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[Source]:
    """The export at `path`, a `.tar.gz`, a `.tar` or a folder. Raises ArchiveError.

    `advance` hears of the bytes of the archive that have been read.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        yield _Folder(path, limits)
        return
    if not stat.S_ISREG(mode):
        raise ArchiveError(f"{path}: neither a file nor a folder")
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        plain = cast("IO[bytes]", spool)
        try:
            with path.open("rb") as packed:
                _decompress(packed, plain, path.name, path.stat().st_size, limits, advance)
            yield _Archive(plain, path.name, limits)
        except OSError as error:
            raise ArchiveError(f"{path}: {error.strerror or error}") from error


class _Files(ABC):
    """Names and sizes, as far as an archive and a folder have them in common."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._root = ""
        self._all: dict[str, int] = {}
        self._total = 0
        self.files: Mapping[str, int] = {}

    def _add(self, name: str, size: int) -> None:
        if name in self._all:
            raise ArchiveError(f"{_shown(name)} stands twice in it")
        if len(self._all) >= self._limits.files:
            raise ArchiveError(f"it holds more than {self._limits.files} files")
        if size > self._limits.file_bytes:
            raise ArchiveError(f"{_shown(name)} has {size} bytes, above {self._limits.file_bytes}")
        self._total += size
        if self._total > self._limits.total_bytes:
            raise ArchiveError(f"its files have more than {self._limits.total_bytes} bytes")
        self._all[name] = size

    def _settle(self) -> None:
        """Finds the course: `course.xml` at the top, or in the one folder at the top."""
        roots = [
            name.removesuffix(ROOT_FILE)
            for name in self._all
            if name.rpartition("/")[2] == ROOT_FILE and name.count("/") <= 1
        ]
        if not roots:
            raise ArchiveError(f"it is no OLX export: there is no {ROOT_FILE}")
        if "" in roots:
            self._root = ""
        elif len(roots) == 1:
            self._root = roots[0]
        else:
            raise ArchiveError(f"it holds {len(roots)} courses, not one")
        self.files = {
            name.removeprefix(self._root): size
            for name, size in self._all.items()
            if name.startswith(self._root)
        }

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """A file's bytes, by its name in `files`."""

    def read(self, name: str, *, limit: int) -> bytes:
        size = self.files[name]
        if size > limit:
            raise ArchiveError(f"{_shown(name)} has {size} bytes, above {limit}")
        with self.open(name) as file:
            content = file.read(limit + 1)
        if len(content) > limit:  # a folder's file may grow meanwhile
            raise ArchiveError(f"{_shown(name)} has more than {limit} bytes")
        return content


class _Archive(_Files):
    def __init__(self, plain: IO[bytes], label: str, limits: Limits) -> None:
        super().__init__(limits)
        self._plain = plain
        self._turns = threading.Lock()
        self._offsets: dict[str, int] = {}
        length = plain.seek(0, os.SEEK_END)
        plain.seek(0)
        members = 0
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", _Headers(plain)), mode="r:") as archive:
                for member in archive:
                    members += 1
                    # tarfile keeps every member it has seen.
                    if members > 2 * limits.files:
                        raise ArchiveError(f"it holds more than {limits.files} files")
                    self._member(member, length)
        except ArchiveError as error:
            raise ArchiveError(f"{label}: {error}") from None
        except (tarfile.TarError, ValueError, EOFError, RecursionError, OverflowError) as error:
            raise ArchiveError(f"{label}: not a tar archive, or a damaged one ({error})") from error
        try:
            self._settle()
        except ArchiveError as error:
            raise ArchiveError(f"{label}: {error}") from None

    def _member(self, member: tarfile.TarInfo, length: int) -> None:
        if member.isdir():
            if member.name not in (".", "./"):
                _normal(member.name, self._limits)
            return
        name = _normal(member.name, self._limits)
        if member.issym() or member.islnk():
            raise ArchiveError(f"{_shown(name)} is a link")
        # `isreg` is also true of a sparse file, whose size says nothing about its bytes.
        if not member.isreg() or member.sparse is not None:
            raise ArchiveError(f"{_shown(name)} is not a plain file")
        if member.size < 0 or member.offset_data + member.size > length:
            raise ArchiveError(f"{_shown(name)} is cut short")
        if _is_hidden(name):
            return
        self._add(name, member.size)
        self._offsets[name] = member.offset_data

    def open(self, name: str) -> IO[bytes]:
        size = self.files[name]
        offset = self._offsets[self._root + name]
        return io.BufferedReader(_Part(self._plain, self._turns, offset, size), _BUFFER)


class _Folder(_Files):
    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(limits)
        self._path = path
        self._paths: dict[str, Path] = {}
        try:
            self._walk(path, "")
            self._settle()
        except ArchiveError as error:
            raise ArchiveError(f"{path}: {error}") from None
        except OSError as error:
            raise ArchiveError(f"{path}: {error.strerror or error}") from error

    def _walk(self, folder: Path, prefix: str) -> None:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                name = _normal(prefix + entry.name, self._limits)
                if entry.is_symlink():
                    raise ArchiveError(f"{_shown(name)} is a link")
                if entry.is_dir():
                    self._walk(Path(entry.path), f"{prefix}{entry.name}/")
                elif entry.is_file():
                    self._add(name, entry.stat(follow_symlinks=False).st_size)
                    self._paths[name] = Path(entry.path)
                else:
                    raise ArchiveError(f"{_shown(name)} is not a plain file")

    def open(self, name: str) -> IO[bytes]:
        path = self._paths[self._root + name]
        try:
            # It may have become a link since it was listed.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            raise ArchiveError(f"{path}: {error.strerror}") from error
        return os.fdopen(descriptor, "rb")


class _Headers:
    """What tarfile reads headers from; a header that claims to be huge is not read."""

    def __init__(self, plain: IO[bytes]) -> None:
        self._plain = plain
        self.name = ""
        self.mode = "rb"

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise ArchiveError(f"a header of {size} bytes")
        return self._plain.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._plain.seek(offset, whence)

    def tell(self) -> int:
        return self._plain.tell()


class _Part(io.RawIOBase):
    """A run of bytes of another file; each keeps a place of its own, also between threads."""

    def __init__(self, plain: IO[bytes], turns: threading.Lock, offset: int, size: int) -> None:
        self._plain = plain
        self._turns = turns
        self._offset = offset
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(min(len(view), self._size - self._at), 0)
        with self._turns:
            self._plain.seek(self._offset + self._at)
            content = self._plain.read(wanted)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(begin + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at


def _decompress(
    packed: IO[bytes],
    plain: IO[bytes],
    label: str,
    packed_bytes: int,
    limits: Limits,
    advance: Callable[[int], None],
) -> None:
    """Copies `packed` to `plain`, out of gzip where it is in it, within the limits."""
    total = 0

    def keep(chunk: bytes) -> None:
        nonlocal total
        total += len(chunk)
        if total > limits.total_bytes:
            raise ArchiveError(f"{label}: it unpacks to more than {limits.total_bytes} bytes")
        if total > limits.ratio_from_bytes and total > limits.ratio * max(packed_bytes, 1):
            raise ArchiveError(f"{label}: it unpacks to more than {limits.ratio} times its size")
        plain.write(chunk)

    first = packed.read(len(_GZIP_MAGIC))
    packed.seek(0)
    if first != _GZIP_MAGIC:
        while chunk := packed.read(_CHUNK):
            keep(chunk)
            advance(len(chunk))
        return
    gunzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        while chunk := packed.read(_CHUNK):
            advance(len(chunk))
            while chunk:
                if gunzip.eof:  # another member, or the padding of a tape
                    if not chunk.strip(b"\0"):
                        break
                    gunzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
                keep(gunzip.decompress(chunk, _CHUNK))
                chunk = gunzip.unconsumed_tail or gunzip.unused_data
    except zlib.error as error:
        raise ArchiveError(f"{label}: damaged gzip data ({error})") from error
    while not gunzip.eof:
        rest = gunzip.decompress(b"", _CHUNK)
        if not rest:
            raise ArchiveError(f"{label}: it is cut short")
        keep(rest)


def _normal(name: str, limits: Limits) -> str:
    """`name` in one form. Raises ArchiveError where it leads elsewhere or is no name."""
    if name.startswith("/") or name[1:2] == ":":
        raise ArchiveError(f"{_shown(name)} is an absolute name")
    if "\\" in name or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise ArchiveError(f"{_shown(name)} is not a name of a file")
    if len(name.encode("utf-8", "surrogatepass")) > limits.name_bytes:
        raise ArchiveError(f"{_shown(name[:80])}… is a name of more than {limits.name_bytes} bytes")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ArchiveError(f"{_shown(name)} leads out of the archive")
    if not parts:
        raise ArchiveError(f"{_shown(name)} is not a name of a file")
    if len(parts) > limits.depth:
        raise ArchiveError(f"{_shown(name)} lies more than {limits.depth} folders deep")
    # A Mac writes é in two code points, an attribute of the same export in one.
    return unicodedata.normalize("NFC", "/".join(parts))


def _is_hidden(name: str) -> bool:
    """Whether it is something of a machine's, not of the course: `.DS_Store`, `._x`, `.git/…`."""
    return any(part.startswith(".") for part in name.split("/"))


def _shown(name: str) -> str:
    """`name` as it can be printed, whatever is in it."""
    return ascii(name) if not name.isprintable() else f"'{name}'"
