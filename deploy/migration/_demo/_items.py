"""What the demo's clients ask of each module, and what an answer says of an item.

Owns paths, bodies and facts. Knows the public contracts alone (`services/*/openapi.yaml`): where an item
is kept, and who answers, makes no difference here. What was deleted has no facts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from deploy.load.answer import Answer
from deploy.migration._demo._history import Facts

CATALOG: Final = "course_catalog"
CONTENT: Final = "content_delivery"
PROGRESS: Final = "progress_tracking"
MODULES: Final = (CATALOG, CONTENT, PROGRESS)
"""As the mapping names them, in the order in which they are split."""

TEXT: Final = "text"
"""The fact that an author's write of a course or of content changes."""

_OF_A_COURSE: Final = (
    "slug", "title", "description", "language", "level", "tags", "instructors", "status", "outline",
    "createdAt", "publishedAt",
)  # fmt: skip
_OF_CONTENT: Final = (
    "courseId", "status", "contentType", "sizeBytes", "checksumSha256", "durationSeconds",
    "renditions", "captions", "failureReason", "createdAt",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """Something that clients read and write: its module, and where it is read."""

    module: str
    path: str
    key: str

    def __str__(self) -> str:
        return f"{self.module} {self.key}"

    def facts(self, answer: Answer) -> Facts | None:
        """What a read says of it; None where it says nothing: that is a failure."""
        if answer.status == 404:
            return {}
        return self.facts_of(answer.json) if answer.status == 200 else None

    def facts_of(self, document: Mapping[str, Any]) -> Facts:
        """What a document of it says."""
        return _FACTS[self.module](document)


def course(course_id: str) -> Item:
    """A course, as its author opens it."""
    return Item(CATALOG, f"/courses/{quote(course_id)}", course_id)


def content(content_id: str) -> Item:
    """The metadata of content: its document is kept for some seconds, this is not."""
    return Item(CONTENT, f"/content/{quote(content_id)}/metadata", content_id)


def progress(user: str, course_id: str) -> Item:
    """A user's progress in a course."""
    path = f"/progress/{quote(user)}/{quote(course_id)}"
    return Item(PROGRESS, path, f"{user} in {course_id}")


def _course_facts(document: Mapping[str, Any]) -> Facts:
    return {TEXT: document["shortDescription"], "rest": _digest(document, _OF_A_COURSE)}


def _content_facts(document: Mapping[str, Any]) -> Facts:
    if document["status"] == "deleted":
        return {}
    return {TEXT: document["title"], "rest": _digest(document, _OF_CONTENT)}


def _progress_facts(document: Mapping[str, Any]) -> Facts:
    """Percentages are worked out from outlines, and are no facts of what was recorded."""
    resume = document["resume"]
    facts = {"attempt": str(document["attempt"])}
    if resume is not None:
        facts["resume"] = f"{resume['contentId']} {float(resume['positionSeconds'])}"
    for content_id, state in document["items"].items():
        facts |= progress_of_content(
            content_id, state["completed"], state["fraction"], state["positionSeconds"]
        )
    return facts


def progress_of_content(
    content_id: str, completed: bool, fraction: float | None, position: float | None
) -> Facts:
    """The facts of a content in somebody's progress: whoever reads while an update is written may see
    that it is completed before how far it was played, which is another row."""
    facts = {"completed": "yes"} if completed else {}
    numbers = {"fraction": fraction, "position": position}
    facts |= {name: str(float(value)) for name, value in numbers.items() if value is not None}
    return {f"content {content_id} {name}": value for name, value in facts.items()}


def _digest(document: Mapping[str, Any], names: tuple[str, ...]) -> str:
    text = json.dumps({name: document[name] for name in names}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_FACTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Facts]]] = {
    CATALOG: _course_facts,
    CONTENT: _content_facts,
    PROGRESS: _progress_facts,
}
