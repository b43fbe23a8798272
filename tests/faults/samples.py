"""Courses and content for the fault tests: small, and enough that some were never read before.

Written in the format of `deploy/local/samples`, and loaded as those are.
"""

from __future__ import annotations

import json
from pathlib import Path

# The first is read by everybody; each test takes others that nobody has read.
COURSES = tuple(f"course-{number:02}" for number in range(40))
CONTENTS_PER_COURSE = 3
CONTENTS = tuple(
    f"{course}-{position}" for course in COURSES for position in range(CONTENTS_PER_COURSE)
)


def write_samples(directory: Path) -> None:
    """Write all of `COURSES` and `CONTENTS` below an empty or missing folder."""
    for folder in ("courses", "content"):
        (directory / folder).mkdir(parents=True)
    for course in COURSES:
        contents = [f"{course}-{position}" for position in range(CONTENTS_PER_COURSE)]
        _write(
            directory / "courses" / f"{course}.yaml",
            {
                "id": course,
                "slug": course,
                "title": f"About {course}",
                "shortDescription": "One sentence.",
                "description": "A paragraph.",
                "language": "en",
                "level": "beginner",
                "tags": ["fault"],
                "instructors": ["Observatory"],
                "createdAt": "2026-01-05T09:00:00Z",
                "publishedAt": "2026-01-12T09:00:00Z",
                "outline": [
                    {
                        "id": f"{course}-section",
                        "title": "All of it",
                        "items": [
                            {"contentId": content, "title": content, "type": "reading"}
                            for content in contents
                        ],
                    }
                ],
            },
        )
        _write(
            directory / "content" / f"{course}.yaml",
            {
                "courseId": course,
                "items": [
                    {"id": content, "contentType": "text/plain; charset=utf-8", "text": content}
                    for content in contents
                ],
            },
        )


def _write(path: Path, document: object) -> None:
    path.write_text(_yaml(document), encoding="utf-8")


def _yaml(document: object) -> str:
    """JSON is YAML, but for its instants, which YAML knows only without quotes."""
    text = json.dumps(document)
    for moment in ("2026-01-05T09:00:00Z", "2026-01-12T09:00:00Z"):
        text = text.replace(f'"{moment}"', moment)
    return text
