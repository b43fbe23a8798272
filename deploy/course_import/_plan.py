"""A course as it is to be in Lyceum: what the mapping gives and the import carries out.

Owns no rule but the API's bounds. Bodies are opened when they are sent, because a course's content
together may be larger than memory.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from deploy.course_import._findings import Finding
from deploy.course_import._identifiers import CourseKey

MAX_TITLE = 200
MAX_SHORT_DESCRIPTION = 500
MAX_DESCRIPTION = 50_000
MAX_CAPTION_BYTES = 256 << 10
MAX_DURATION = 86_400
MAX_WEIGHT = 1_000
MIN_WEIGHT = 0.001
MAX_SECTIONS = 200
MAX_ITEMS = 500
MAX_INSTRUCTORS = 20


@dataclass(frozen=True)
class Choices:
    """What the export does not know and the person who imports may say."""

    level: str | None = None
    tags: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True)
class Body:
    """The bytes of an item: `size` of them, with this SHA-256 in hexadecimal digits."""

    content_type: str
    size: int
    sha256: str
    open: Callable[[], IO[bytes]] = field(repr=False, compare=False)

    @classmethod
    def made(cls, content_type: str, content: bytes, again: Callable[[], bytes]) -> Body:
        """A body that was made: `content` now, and the same bytes from `again` when it is opened."""
        return cls(
            content_type,
            len(content),
            hashlib.sha256(content).hexdigest(),
            lambda: io.BytesIO(again()),
        )


@dataclass(frozen=True)
class Captions:
    """A WebVTT track."""

    language: str
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Item:
    """One item of the outline and its content.

    `key` names it within the course, the same in every run; the id of its content is the service's.
    `sources` are the elements it is made of.
    """

    key: str
    title: str
    type: str
    body: Body
    sources: tuple[str, ...]
    duration_seconds: int | None = None
    required: bool = True
    weight: float = 1
    captions: tuple[Captions, ...] = ()


@dataclass(frozen=True)
class Section:
    """A section of the outline; `sources` are the levels that it stands for."""

    id: str
    title: str
    items: tuple[Item, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A course as it is to be."""

    key: CourseKey
    slug: str
    title: str
    short_description: str
    description: str
    language: str
    level: str
    tags: tuple[str, ...]
    instructors: tuple[str, ...]
    sections: tuple[Section, ...]
    findings: tuple[Finding, ...]
    sources: tuple[str, ...]  # levels above the sections

    def items(self) -> Iterator[Item]:
        """Every item, in order."""
        for section in self.sections:
            yield from section.items
