"""Courses for tests: made by the domain's own rules, told apart by number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.course_catalog.domain.course import (
    Course,
    CourseContent,
    ItemType,
    Level,
    OutlineItem,
    Section,
    new_course,
)

CONTENT_BODY: dict[str, Any] = {
    "slug": "a-new-course",
    "title": "A new course",
    "description": "What it is about.",
    "shortDescription": "What it is about.",
    "language": "en",
    "level": "beginner",
    "tags": ["ocean"],
    "instructors": ["Coastal Observatory"],
    "outline": [
        {
            "id": "one",
            "title": "Section one",
            "items": [
                {
                    "contentId": "n-1",
                    "title": "Watch",
                    "type": "video",
                    "durationSeconds": 62,
                    "required": True,
                    "weight": 1,
                },
                {"contentId": "n-2", "title": "Read", "type": "reading", "weight": 0.5},
            ],
        }
    ],
}
"""What an author sends to create a course."""

START = datetime(2026, 1, 1, tzinfo=UTC)


def instant(seconds: float) -> datetime:
    """So many seconds after the beginning of all tests."""
    return START + timedelta(seconds=seconds)


def content(number: int = 1, **changes: object) -> CourseContent:
    """A valid content with two items."""
    made = CourseContent(
        slug=f"course-{number}",
        title=f"Course {number}",
        description="What this course is about,\nin two lines.",
        short_description="What this course is about.",
        language="en",
        level=Level.BEGINNER,
        tags=("ocean", "physics"),
        instructors=("Coastal Observatory",),
        outline=(
            Section(
                "one",
                "Section one",
                (
                    OutlineItem(f"c{number}-1", "Watch", ItemType.VIDEO, 62, True, 1),
                    OutlineItem(f"c{number}-2", "Read", ItemType.READING, None, False, 0.5),
                ),
            ),
        ),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # the members by their names


def draft(number: int = 1, *, at: float = 0, **changes: object) -> Course:
    """A draft `crs-<number>`, created `at` seconds after START."""
    return new_course(f"crs-{number}", content(number, **changes), now=instant(at))


def published(number: int = 1, *, at: float = 0, **changes: object) -> Course:
    """A published course in version 2, created and published `at` seconds after START."""
    return draft(number, at=at, **changes).published(now=instant(at))
