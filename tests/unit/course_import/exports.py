"""Exports as tests write them: files in memory, archives of whatever members."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from deploy.course_import._archive import ArchiveError

SAMPLE = Path(__file__).parents[3] / "deploy" / "course_import" / "samples" / "night-sky"


class Files:
    """A source of files that stand here."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._content = {
            name: content.encode() if isinstance(content, str) else content
            for name, content in files.items()
        }
        self.files = {name: len(content) for name, content in self._content.items()}

    def open(self, name: str) -> IO[bytes]:
        return io.BytesIO(self._content[name])

    def read(self, name: str, *, limit: int) -> bytes:
        if self.files[name] > limit:
            raise ArchiveError(f"{name} is too large")
        return self._content[name]


def export(unit: str, **files: str | bytes) -> Files:
    """A course with one unit that holds `unit`; a file's `__` stands for `/`."""
    course = (
        '<course url_name="run" org="Org" course="C1" display_name="Course" language="en">'
        '<chapter url_name="ch" display_name="Chapter">'
        '<sequential url_name="seq" display_name="Sequential">'
        f'<vertical url_name="unit" display_name="Unit">{unit}</vertical>'
        "</sequential></chapter></course>"
    )
    return Files(
        {
            "course.xml": course,
            "about/short_description.html": "Short.",
            "about/overview.html": "<p>Long.</p>",
            **files,
        }
    )


def member(name: str, content: bytes = b"", **settings: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive, with any field of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in settings.items():
        setattr(info, field, value)
    return info, content


def archive(members: Iterable[tuple[tarfile.TarInfo, bytes]], *, mode: str = "w:gz") -> bytes:
    """An archive of these members, in their order."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, format=tarfile.PAX_FORMAT) as writer:  # type: ignore[call-overload]
        for info, content in members:
            writer.addfile(info, io.BytesIO(content))
    return packed.getvalue()


COURSE_XML = member("course/course.xml", b'<course url_name="run" org="Org" course="C1"/>')
