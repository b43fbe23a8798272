"""What authors send: a course's content, whole or as a merge patch, read strictly.

Every mistake of a body is reported at once, by its place. Where a body has the wrong form the
domain's rules can't be asked any more, so those that go beyond one field (what stands twice, how
much there is in all) are looked for in the plain JSON as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from libs.http import Identifier, Problem, Schema, merge_patch, validate_body
from services.course_catalog.api.schemas import render_content
from services.course_catalog.domain import course as rules
from services.course_catalog.domain.course import (
    CourseContent,
    ItemType,
    Level,
    OutlineItem,
    Section,
    repeated,
    require_valid,
)
from services.course_catalog.domain.errors import InvalidCourseError, Violation


def _not_blank(value: str) -> str:
    if rules.is_blank(value):
        raise ValueError("must not be blank")
    return value


def _slug(value: str) -> str:
    if not rules.is_slug(value):
        raise ValueError(rules.SLUG_RULE)
    return value


def _language(value: str) -> str:
    if not rules.is_language(value):
        raise ValueError(rules.LANGUAGE_RULE)
    return value


NotBlank = AfterValidator(_not_blank)
Tag = Annotated[str, StringConstraints(min_length=1, max_length=rules.MAX_TAG), NotBlank]
Instructor = Annotated[
    str, StringConstraints(min_length=1, max_length=rules.MAX_INSTRUCTOR), NotBlank
]
Title = Annotated[str, StringConstraints(min_length=1, max_length=rules.MAX_TITLE), NotBlank]


class OutlineItemBody(Schema):
    """`OutlineItemContent` of the contract."""

    content_id: Identifier
    title: Title
    type: ItemType
    duration_seconds: Annotated[int, Field(ge=0, le=rules.MAX_DURATION_SECONDS)] | None = None
    required: bool = True
    weight: Annotated[float, Field(ge=rules.MIN_WEIGHT, le=rules.MAX_WEIGHT)] = 1.0


class SectionBody(Schema):
    """`SectionContent` of the contract."""

    id: Identifier
    title: Title
    items: Annotated[tuple[OutlineItemBody, ...], Field(min_length=1, max_length=rules.MAX_ITEMS)]


class CourseBody(Schema):
    """`CourseContent` of the contract."""

    slug: Annotated[str, AfterValidator(_slug)]
    title: Title
    description: Annotated[
        str, StringConstraints(min_length=1, max_length=rules.MAX_DESCRIPTION), NotBlank
    ]
    short_description: Annotated[
        str, StringConstraints(min_length=1, max_length=rules.MAX_SHORT_DESCRIPTION), NotBlank
    ]
    language: Annotated[str, AfterValidator(_language)]
    level: Level
    tags: Annotated[tuple[Tag, ...], Field(max_length=rules.MAX_TAGS)] = ()
    instructors: Annotated[tuple[Instructor, ...], Field(max_length=rules.MAX_INSTRUCTORS)] = ()
    outline: Annotated[tuple[SectionBody, ...], Field(max_length=rules.MAX_SECTIONS)] = ()

    def content(self) -> CourseContent:
        """The same to the domain."""
        return CourseContent(
            slug=self.slug,
            title=self.title,
            description=self.description,
            short_description=self.short_description,
            language=self.language,
            level=self.level,
            tags=self.tags,
            instructors=self.instructors,
            outline=tuple(
                Section(section.id, section.title, tuple(map(_outline_item, section.items)))
                for section in self.outline
            ),
        )


def course_content(body: object) -> CourseContent:
    """A whole content as it was sent. Raises InvalidCourseError with everything that is wrong."""
    beyond_one_field = [*_beyond_one_field(body)]
    if isinstance(body, dict) and _number_of_items(body) > rules.MAX_ITEMS:
        # In an outline beyond all bounds every part may be wrong: that one error says enough.
        body = body | {"outline": []}
        beyond_one_field = [Violation("/outline", rules.ITEMS_RULE)]
    try:
        parsed = validate_body(body, CourseBody)
    except Problem as problem:
        wrong = [Violation(error.pointer, error.message) for error in problem.errors]
        raise InvalidCourseError((*wrong, *beyond_one_field)) from None
    if beyond_one_field:
        raise InvalidCourseError(tuple(beyond_one_field))
    content = parsed.content()
    require_valid(content)
    return content


def patched_content(content: CourseContent, patch: object) -> CourseContent:
    """`content` with a merge patch applied (RFC 7396). Raises InvalidCourseError."""
    document = render_content(content)
    merged = merge_patch(document, patch)
    if isinstance(patch, dict) and isinstance(merged, dict):
        # To remove what there never was changes nothing, and would hide a misspelt name.
        merged |= dict.fromkeys(patch.keys() - document.keys())
    return course_content(merged)


def _outline_item(item: OutlineItemBody) -> OutlineItem:
    return OutlineItem(
        item.content_id,
        item.title,
        item.type,
        item.duration_seconds,
        item.required,
        # As it comes back from the table, so that an answer to a change looks as a later one does.
        int(item.weight) if item.weight.is_integer() else item.weight,
    )


def _beyond_one_field(body: object) -> Iterator[Violation]:
    """What stands twice where it must not, in a body of any form."""
    if not isinstance(body, dict):
        return
    for name in ("tags", "instructors"):
        yield from repeated(_texts(f"/{name}", enumerate(_list(body.get(name)))))
    sections = [(n, s) for n, s in enumerate(_list(body.get("outline"))) if isinstance(s, dict)]
    yield from repeated(
        (f"/outline/{number}/id", section["id"])
        for number, section in sections
        if isinstance(section.get("id"), str)
    )
    yield from repeated(
        (f"/outline/{number}/items/{place}/contentId", item["contentId"])
        for number, section in sections
        for place, item in enumerate(_list(section.get("items")))
        if isinstance(item, dict) and isinstance(item.get("contentId"), str)
    )


def _number_of_items(body: dict[str, object]) -> int:
    return sum(
        len(_list(section.get("items")))
        for section in _list(body.get("outline"))
        if isinstance(section, dict)
    )


def _texts(where: str, values: Iterable[tuple[int, object]]) -> Iterator[tuple[str, str]]:
    return ((f"{where}/{step}", value) for step, value in values if isinstance(value, str))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
