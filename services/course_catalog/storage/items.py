"""Courses as items of the CourseCatalog table: the only code that knows keys and attributes.

Owns the mapping both ways, the shards of the indexes and the size of an item. Sends nothing.
The keys are laid out in the service's README; table.json defines them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from libs.aws import marshal, unmarshal
from libs.timestamps import format_timestamp, parse_timestamp
from services.course_catalog.domain.course import (
    TRACKED,
    Change,
    Course,
    ItemType,
    Level,
    OutlineItem,
    Section,
    Status,
    Summary,
    Tombstone,
)
from services.course_catalog.domain.errors import CourseTooLargeError

Item = dict[str, dict[str, Any]]

BY_STATUS = "byStatus"
BY_CHANGE = "byChange"
SHARDS = 8
DELETED = "deleted"

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html: item size
MAX_ITEM_BYTES = 400 * 1024
# CourseRepository promises seven days; the eighth is for clocks and for the slowness of TTL.
TOMBSTONE_LIFE = timedelta(days=8)
# Of an item, what `is_course_in` looks at. `status` is one of DynamoDB's reserved words.
IN_WHICH_VERSION: Final[Mapping[str, Any]] = {
    "ProjectionExpression": "version, #status",
    "ExpressionAttributeNames": {"#status": "status"},
}
# Where a course's field is called otherwise in the item, and in the API, than in the domain.
_NAMES = {"short_description": "shortDescription"}
# What an author can make shorter when an item is too large.
_AUTHORED = tuple(_NAMES.get(name, name) for name in TRACKED if name != "status")


def course_key(course_id: str) -> Item:
    """The primary key of a course."""
    return {"courseId": {"S": course_id}}


def slug_key(slug: str) -> Item:
    """The primary key of the row that holds a slug; no course id has a `#`."""
    return {"courseId": {"S": f"slug#{slug}"}}


def slug_item(course: Course) -> Item:
    """The row that makes the course's slug unique."""
    return slug_key(course.slug) | {"ownerId": {"S": course.id}}


def outline_item(course: Course, *, trace_header: str | None) -> Item:
    """The row whose change in the table's stream is the event that the outline changed.

    `events.yaml` promises it to others, so its fields are only ever added to. It is apart from the
    course because a stream record holds both images whole, and a topic takes 256 KB: this row is
    small however long titles and texts are. `trace_header`: of who made the change, if traced.
    """
    item: dict[str, object] = {
        "courseId": f"outline#{course.id}",
        "outlineVersion": course.outline_version,
        "updatedAt": format_timestamp(course.updated_at),
        "items": [
            {"contentId": item.content_id, "required": item.required, "weight": item.weight}
            for item in course.items()
        ],
    }
    if trace_header is not None:
        item["traceHeader"] = trace_header
    return marshal(item)


def status_shard(status: Status, shard: int) -> str:
    """Partition key of one shard of `byStatus`."""
    return f"{status}#{shard}"


def change_shard(shard: int) -> str:
    """Partition key of one shard of `byChange`."""
    return f"change#{shard}"


def course_item(course: Course) -> Item:
    """The course as it is kept. Raises CourseTooLargeError when the table would refuse it."""
    shard = _shard(course.id)
    listed_at = format_timestamp(course.published_at or course.created_at)
    updated_at = format_timestamp(course.updated_at)
    item = {
        "courseId": course.id,
        "slug": course.slug,
        "title": course.title,
        "description": course.description,
        "shortDescription": course.short_description,
        "language": course.language,
        "level": str(course.level),
        "tags": course.tags,
        "instructors": course.instructors,
        "status": str(course.status),
        "outline": [_section(section) for section in course.outline],
        "outlineVersion": course.outline_version,
        "version": course.version,
        "createdAt": format_timestamp(course.created_at),
        "updatedAt": updated_at,
        "statusShard": status_shard(course.status, shard),
        "listedAtId": f"{listed_at}#{course.id}",
        "changeShard": change_shard(shard),
        "changedAtId": f"{updated_at}#{course.id}",
        # No word has a space in it.
        "descriptionWords": " ".join(course.description_words()),
        "changedIn": {
            _NAMES.get(name, name): version for name, version in course.changed_in.items()
        },
    }
    if course.published_at is not None:
        item["publishedAt"] = format_timestamp(course.published_at)
    marshalled = marshal(item)
    size = item_size(marshalled)
    if size > MAX_ITEM_BYTES:
        raise CourseTooLargeError(course.id, size, MAX_ITEM_BYTES, _largest_part(marshalled))
    return marshalled


def tombstone_item(tombstone: Tombstone) -> Item:
    """What takes a deleted course's place: in no listing, among the changes, gone after a while."""
    deleted_at = format_timestamp(tombstone.deleted_at)
    return marshal(
        {
            "courseId": tombstone.id,
            "status": DELETED,
            "version": tombstone.version,
            "updatedAt": deleted_at,
            "changeShard": change_shard(_shard(tombstone.id)),
            "changedAtId": f"{deleted_at}#{tombstone.id}",
            "expiresAt": int((tombstone.deleted_at + TOMBSTONE_LIFE).timestamp()),
        }
    )


def course_of(item: Mapping[str, Mapping[str, Any]]) -> Course | None:
    """The course in an item, None for a tombstone. Raises ValueError for anything else."""
    try:
        values = unmarshal(item)
        if values["status"] == DELETED:
            return None
        return Course(
            **_summary_values(values),
            changed_in=_changed_in(values),
            description=values["description"],
            outline=tuple(
                Section(
                    section["id"],
                    section["title"],
                    tuple(_outline_item(entry) for entry in section["items"]),
                )
                for section in values["outline"]
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a course: {error!r}") from error


def is_course_in(item: Mapping[str, Mapping[str, Any]], version: int) -> bool:
    """Whether the item is a course, no tombstone, in this version. Looks at nothing else of it."""
    return item.get("version") == {"N": str(version)} and item.get("status") != {"S": DELETED}


def change_of(item: Mapping[str, Mapping[str, Any]]) -> Change:
    """The summary or tombstone in an index's item. Raises ValueError for anything else."""
    try:
        values = unmarshal(item)
        if values["status"] == DELETED:
            return Tombstone(
                values["courseId"], values["version"], parse_timestamp(values["updatedAt"])
            )
        # Entries from before descriptions were searched have none.
        found_by = tuple(values.get("descriptionWords", "").split())
        return Summary(**_summary_values(values), description_words=found_by)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a course's summary: {error!r}") from error


def changed_since_key(since: datetime) -> str:
    """The smallest sort key of `byChange` that a change at or after `since` can have."""
    return format_timestamp(since)


def item_size(item: Mapping[str, Mapping[str, Any]]) -> int:
    """The bytes that DynamoDB counts for an item, by its published rules; numbers rounded up.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(content) // 2 + 2
        case "L":
            return 3 + sum(1 + _value_size(member) for member in content)
        case "M":
            return 3 + len(content) + item_size(content)
    return 1  # BOOL and NULL; a course has no other types


def _largest_part(item: Mapping[str, Mapping[str, Any]]) -> str:
    """The pointer to the part that takes most of an item, as deep as one part takes half of it."""
    name = max(_AUTHORED, key=lambda name: _value_size(item[name]))
    pointer, value = f"/{name}", item[name]
    while True:
        ((kind, content),) = value.items()
        if kind not in ("L", "M") or not content:
            return pointer
        steps = content.items() if kind == "M" else enumerate(content)
        step, part = max(steps, key=lambda entry: _value_size(entry[1]))
        if 2 * _value_size(part) < _value_size(value):
            return pointer
        pointer, value = f"{pointer}/{step}", part


def _changed_in(values: Mapping[str, Any]) -> dict[str, int]:
    kept = values.get("changedIn")
    if kept is None:
        # Written before changes were tracked: every field may have been changed until then.
        return dict.fromkeys(TRACKED, values["version"])
    return {
        name: kept[attribute] for name in TRACKED if (attribute := _NAMES.get(name, name)) in kept
    }


def _shard(course_id: str) -> int:
    # Stable across processes and releases, unlike hash().
    return zlib.crc32(course_id.encode()) % SHARDS


def _section(section: Section) -> dict[str, object]:
    return {
        "id": section.id,
        "title": section.title,
        "items": [
            {
                "contentId": item.content_id,
                "title": item.title,
                "type": str(item.type),
                "durationSeconds": item.duration_seconds,
                "required": item.required,
                "weight": item.weight,
            }
            for item in section.items
        ],
    }


def _outline_item(entry: Mapping[str, Any]) -> OutlineItem:
    return OutlineItem(
        content_id=entry["contentId"],
        title=entry["title"],
        type=ItemType(entry["type"]),
        duration_seconds=entry["durationSeconds"],
        required=entry["required"],
        weight=entry["weight"],
    )


def _summary_values(values: Mapping[str, Any]) -> dict[str, Any]:
    published_at = values.get("publishedAt")
    return {
        "id": values["courseId"],
        "slug": values["slug"],
        "title": values["title"],
        "short_description": values["shortDescription"],
        "language": values["language"],
        "level": Level(values["level"]),
        "tags": tuple(values["tags"]),
        "instructors": tuple(values["instructors"]),
        "status": Status(values["status"]),
        "outline_version": values["outlineVersion"],
        "version": values["version"],
        "created_at": parse_timestamp(values["createdAt"]),
        "updated_at": parse_timestamp(values["updatedAt"]),
        "published_at": None if published_at is None else parse_timestamp(published_at),
    }
