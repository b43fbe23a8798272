"""The sample courses as files: their format, how they are read and what must hold between them.

Owns the format of ``deploy/local/samples``; knows no service, no table and no bucket (``_seed.py``
loads what is read here). Everything wrong in the files is reported at once.

Layout::

    samples/
      courses/<slug>.yaml     one course: the API's course document, camelCase, with its outline
      content/<slug>.yaml     the content of that course: {courseId, items: [one entry an outline item]}
      media/...               what the entries' ``file`` and ``captions[].file`` name

A course document::

    id: crs-tides                         # ^[A-Za-z0-9_-]{1,64}$
    slug: reading-the-tides               # lower case words joined by hyphens; the file's name
    title: Reading the tides
    shortDescription: One sentence.
    description: |
      Paragraphs.
    language: en                          # BCP 47
    level: beginner                       # beginner | intermediate | advanced
    tags: [ocean, physics]
    instructors: [Coastal Observatory]    # organisations, no people's names
    status: published                     # default; or draft
    createdAt: 2026-01-05T09:00:00Z
    publishedAt: 2026-01-12T09:00:00Z     # absent for a draft
    outline:
      - id: tides-1
        title: Why the sea rises
        items:
          - {contentId: tides-1-1, title: The pull of the moon, type: video,
             durationSeconds: 62, required: true, weight: 1}

A content file::

    courseId: crs-tides
    items:
      - id: tides-1-1                     # an outline item's contentId
        title: The pull of the moon       # absent: the outline item's title
        contentType: video/mp4
        file: media/tides/moon.mp4        # below samples/; or, for text, `text: |` in its place
        captions:
          - {language: en, kind: captions, file: media/tides/moon.en.vtt}
      - id: tides-1-2
        contentType: text/markdown; charset=utf-8
        text: |
          # Spring and neap
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

SAMPLES_DIRECTORY = Path(__file__).parent / "samples"

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
LanguageTag = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Title = Annotated[str, Field(min_length=1, max_length=200)]
# No part starts with a dot: nothing above samples/ can be named.
RelativePath = Annotated[str, Field(pattern=r"^(\w[\w.-]*/)*\w[\w.-]*$")]


class SampleError(Exception):
    """The samples can not be loaded as they stand: ``problems`` names every reason, with its file."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Document(BaseModel):
    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", alias_generator=to_camel, allow_inf_nan=False
    )


_D = TypeVar("_D", bound=_Document)


class OutlineItem(_Document):
    """One thing to watch, read or do; ``content_id`` is its entry in the content file."""

    content_id: Identifier
    title: Title
    type: Literal["video", "quiz", "assignment", "reading"]
    duration_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    required: bool = True
    weight: Annotated[int | float, Field(gt=0, le=1000)] = 1


class OutlineSection(_Document):
    """A titled run of outline items."""

    id: Identifier
    title: Title
    items: Annotated[list[OutlineItem], Field(min_length=1)]


class Course(_Document):
    """The course document as the catalogue's API shows it, without what the service computes."""

    id: Identifier
    slug: Slug
    title: Title
    description: Annotated[str, Field(min_length=1)]
    short_description: Annotated[str, Field(min_length=1, max_length=500)]
    language: LanguageTag
    level: Literal["beginner", "intermediate", "advanced"]
    tags: list[str]
    instructors: list[str]
    status: Literal["published", "draft"] = "published"
    outline: list[OutlineSection]
    created_at: AwareDatetime
    published_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _published_courses_say_since_when(self) -> Course:
        if (self.status == "published") != (self.published_at is not None):
            raise ValueError("publishedAt belongs to published courses, and only to them")
        return self

    @property
    def outline_items(self) -> tuple[OutlineItem, ...]:
        """Every item in the order of the outline."""
        return tuple(item for section in self.outline for item in section.items)

    @property
    def updated_at(self) -> datetime:
        return self.published_at or self.created_at


class CaptionFile(_Document):
    """One caption or subtitle track (WebVTT) of a content entry."""

    language: LanguageTag
    kind: Literal["captions", "subtitles"] = "captions"
    file: RelativePath


class ContentEntry(_Document):
    """What stands behind one outline item: its bytes, from a file or from text written in place."""

    id: Identifier
    title: Title | None = None
    content_type: Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9.+-]+(; ?charset=utf-8)?$")]
    file: RelativePath | None = None
    text: Annotated[str, Field(min_length=1)] | None = None
    duration_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    captions: list[CaptionFile] = []

    @model_validator(mode="after")
    def _one_source(self) -> ContentEntry:
        if (self.file is None) == (self.text is None):
            raise ValueError("exactly one of file and text says where the bytes are")
        return self


class CourseContent(_Document):
    """A content file: the entries of one course."""

    course_id: Identifier
    items: list[ContentEntry]


@dataclass(frozen=True)
class Sample:
    """One course with its content in the order of its outline."""

    course: Course
    content: tuple[ContentEntry, ...]
    directory: Path

    def body(self, entry: ContentEntry) -> bytes:
        """The bytes of ``entry``."""
        if entry.text is not None:
            return entry.text.encode()
        assert entry.file is not None
        return (self.directory / entry.file).read_bytes()

    def caption_body(self, caption: CaptionFile) -> bytes:
        """The bytes of a caption track."""
        return (self.directory / caption.file).read_bytes()


def read_samples(directory: Path = SAMPLES_DIRECTORY) -> tuple[Sample, ...]:
    """Every sample course below ``directory``, sorted by slug.

    Raises:
        SampleError: a file is malformed, or what must hold between the files does not.
    """
    problems: list[str] = []
    courses = _read_all(directory / "courses", Course, problems)
    contents = _read_all(directory / "content", CourseContent, problems)
    _check_unique("course id", (course.id for course in courses.values()), problems)
    _check_unique("slug", (course.slug for course in courses.values()), problems)
    _check_unique(
        "content id",
        (item.content_id for course in courses.values() for item in course.outline_items),
        problems,
    )
    samples = []
    for name, course in sorted(courses.items()):
        if course.slug != name:
            problems.append(f"courses/{name}.yaml: the file is not named after its slug")
        content = contents.pop(name, CourseContent.model_construct(course_id=course.id, items=[]))
        if content.course_id != course.id:
            problems.append(f"content/{name}.yaml: courseId is not that of courses/{name}.yaml")
        samples.append(_join(directory, name, course, content, problems))
    problems += [f"content/{name}.yaml: there is no courses/{name}.yaml" for name in contents]
    if problems:
        raise SampleError(tuple(problems))
    return tuple(samples)


def samples_digest(directory: Path = SAMPLES_DIRECTORY) -> str:
    """A digest of every file of the samples: another one means there may be something to add."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix in {".yaml", ".vtt", ".mp4"}:
            digest.update(f"{path.relative_to(directory)} {path.stat().st_size}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _join(
    directory: Path, name: str, course: Course, content: CourseContent, problems: list[str]
) -> Sample:
    entries = {entry.id: entry for entry in content.items}
    where = f"content/{name}.yaml"
    _check_unique(f"{where}: entry", (entry.id for entry in content.items), problems)
    wanted = [item.content_id for item in course.outline_items]
    problems += [
        f"{where}: no entry for outline item {key}" for key in wanted if key not in entries
    ]
    problems += [f"{where}: {key} is in no outline" for key in entries if key not in wanted]
    for entry in content.items:
        named = [entry.file] if entry.file else []
        named += [caption.file for caption in entry.captions]
        problems += [
            f"{where}: {entry.id}: there is no file {file}"
            for file in named
            if not (directory / file).is_file()
        ]
        tracks = ((caption.language, caption.kind) for caption in entry.captions)
        _check_unique(f"{where}: {entry.id}: caption", tracks, problems)
    return Sample(course, tuple(entries[key] for key in wanted if key in entries), directory)


def _check_unique(what: str, values: Iterable[object], problems: list[str]) -> None:
    problems += [
        f"{what} {value} stands {n} times" for value, n in Counter(values).items() if n > 1
    ]


def _read_all(folder: Path, model: type[_D], problems: list[str]) -> dict[str, _D]:
    documents = {}
    for path in sorted(folder.glob("*.yaml")):
        where = f"{folder.name}/{path.name}"
        try:
            documents[path.stem] = model.model_validate(yaml.safe_load(path.read_bytes()))
        except yaml.YAMLError as error:
            problems.append(f"{where}: not YAML: {error}")
        except ValidationError as error:
            problems += [
                f"{where}: {'.'.join(map(str, found['loc']))}: {found['msg']}"
                for found in error.errors()
            ]
    return documents
