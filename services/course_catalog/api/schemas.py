"""What a client may ask, read strictly, and what it is shown, as JSON.

Owns names and forms at the edge; openapi.yaml is what they must agree with. What authors write is
`content`'s.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic.alias_generators import to_camel

from libs.http import DecimalInteger, Identifier, Schema, UtcTimestamp, encode_json
from libs.timestamps import format_timestamp
from services.course_catalog.domain.course import (
    SHOWN,
    Course,
    CourseContent,
    Level,
    Status,
    Summary,
)
from services.course_catalog.domain.directory import Query, Sort

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def _separated(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


def _language(value: str) -> str:
    if _LANGUAGE.fullmatch(value) is None:
        raise ValueError("must be a BCP 47 language tag")
    return value


class NoQuery(Schema):
    """An operation without query parameters."""


class ListQuery(Schema):
    """The query of `GET /courses`."""

    limit: Annotated[DecimalInteger, Field(ge=1, le=100)] = 50
    # Whatever a cursor may be made of: that it is none of ours is the codec's to say.
    cursor: str | None = None
    q: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    tag: Annotated[str, StringConstraints(min_length=1, max_length=50)] | None = None
    level: Level | None = None
    language: (
        Annotated[str, StringConstraints(max_length=35), BeforeValidator(_language)] | None
    ) = None
    updated_since: UtcTimestamp | None = None
    status: Status = Status.PUBLISHED
    ids: (
        Annotated[
            list[Identifier], Field(min_length=1, max_length=100), BeforeValidator(_separated)
        ]
        | None
    ) = None
    sort: Sort = Sort.NEWEST

    def query(self) -> Query:
        """The same question to the directory."""
        return Query(
            status=self.status,
            q=self.q,
            tag=self.tag,
            level=self.level,
            language=self.language,
            updated_since=self.updated_since,
            ids=None if self.ids is None else frozenset(self.ids),
            sort=self.sort,
        )

    def binding(self) -> dict[str, object]:
        """What a cursor is bound to: all that decides which courses come in which order."""
        return {
            "operation": "listCourses",
            "q": self.q,
            "tag": self.tag,
            "level": self.level,
            "language": self.language,
            "updatedSince": (
                None if self.updated_since is None else self.updated_since.isoformat()
            ),
            "status": self.status,
            "ids": None if self.ids is None else sorted(set(self.ids)),
            "sort": self.sort,
        }


def pack_summary(summary: Summary) -> bytes:
    """A course as listings show it, without what all of them have in common.

    A hundred thousand are kept in memory, and the names of the members would be a third of each.
    """
    # JSON holds no NUL: inside a string it is escaped.
    return b"\0".join(map(encode_json, _summary(summary).values()))


def unpack_summary(packed: bytes) -> bytes:
    """The course as listings show it, as JSON."""
    return _SUMMARY % tuple(packed.split(b"\0"))


def render_course(course: Course) -> bytes:
    """A whole course."""
    shown = _summary(course)
    return encode_json(shown | _description_and_outline(course))


def render_content(content: CourseContent) -> dict[str, Any]:
    """What an author writes of a course, under the names and in the form that it is sent in."""
    return {
        "slug": content.slug,
        "title": content.title,
        "shortDescription": content.short_description,
        "language": content.language,
        "level": content.level,
        "tags": list(content.tags),
        "instructors": list(content.instructors),
        **_description_and_outline(content),
    }


def api_name(field: str) -> str:
    """A course's field by its name in the API."""
    return to_camel(field)


def render_page(items: list[bytes], next_cursor: str | None) -> bytes:
    """A page out of summaries that are JSON already."""
    return b'{"items":[%b],"nextCursor":%b}' % (b",".join(items), encode_json(next_cursor))


_SUMMARY = b"{%b}" % b",".join(b'"%b":%%b' % name.encode() for name in map(to_camel, SHOWN))


def _summary(summary: Summary | Course) -> dict[str, Any]:
    published_at = summary.published_at
    return {
        "id": summary.id,
        "slug": summary.slug,
        "title": summary.title,
        "shortDescription": summary.short_description,
        "language": summary.language,
        "level": summary.level,
        "tags": summary.tags,
        "instructors": summary.instructors,
        "status": summary.status,
        "outlineVersion": summary.outline_version,
        "version": summary.version,
        "createdAt": format_timestamp(summary.created_at),
        "updatedAt": format_timestamp(summary.updated_at),
        "publishedAt": None if published_at is None else format_timestamp(published_at),
    }


def _description_and_outline(content: CourseContent) -> dict[str, Any]:
    """The part of what an author writes that listings do not show."""
    outline = [
        {
            "id": section.id,
            "title": section.title,
            "items": [
                {
                    "contentId": item.content_id,
                    "title": item.title,
                    "type": item.type,
                    "durationSeconds": item.duration_seconds,
                    "required": item.required,
                    "weight": item.weight,
                }
                for item in section.items
            ],
        }
        for section in content.outline
    ]
    return {"description": content.description, "outline": outline}
