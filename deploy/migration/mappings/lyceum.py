"""The monolith's one table, and what becomes of each item in the three services' tables.

A user of another monolith copies this module. It states the monolith's layout (below) and the
services' (their READMEs, "Table"); a test holds both against the services' own code.

The monolith's table has the keys `pk` and `sk`:

| pk, sk | attributes |
|---|---|
| `COURSE#<id>`, `META` | `name`, `slug`, `about`, `summary`, `lang`, `level`, `tags`, `teachers`, `state` (draft, live, archived, deleted), `sections`, `outlineRev`, `rev`, `createdAt`, `updatedAt`, `publishedAt` |
| `SLUG#<slug>`, `META` | `courseId`: the course that has the slug |
| `CONTENT#<id>`, `META` | `course`, `order`, `title`, `state`, `s3Key`, `mime`, `bytes`, `etag`, `sha256`, `seconds`, `renditions`, `captions`, `rev`, `createdAt`, `updatedAt` |
| `USER#<id>`, `PROGRESS#<courseId>` | `attempt`, `startedAt`, `completedAt`, `updatedAt`, `completed` (content id to moment; in old items a set of ids), `resume`, `places` (content id to fraction and position) |
| `IDEMPOTENCY#CATALOG#<key>`, the same; `IDEMPOTENCY#CONTENT#<key>`, the same | the answer to repeat for an idempotency key, as the services keep it |
| `USER#<id>`, `PROFILE`; `PAYMENT#…`, any | other modules' |

What expires has `expiresAt`, in seconds since 1970; the content service's table calls that `purgeAt`.

Old items have no timestamps and no `rev`. Attributes that are not named here go as they are.

The words by which the catalog finds a course's description (`descriptionWords`), and what was
changed when (`changedIn`), go along where the monolith kept them; an old course has them from its next
change on. Outlines are learnt by `deploy/replay`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from deploy.migration._items import AttributeValue, Item
from deploy.migration._patterns import KeyPattern
from deploy.migration.mapping import (
    Fields,
    Nobody,
    Part,
    Row,
    Rule,
    Source,
    SplitMapping,
    Stays,
    Table,
    Target,
)
from deploy.migration.renaming import Attribute, Derived, Renamed
from libs.timestamps import format_timestamp, parse_timestamp

LEGACY: Final = Table("Lyceum", "pk", "sk")
CATALOG: Final = Target("course_catalog", Table("CourseCatalog", "courseId"))
CONTENT: Final = Target("content_delivery", Table("Content", "contentId"))
PROGRESS: Final = Target("progress_tracking", Table("Progress", "userId", "sk"))

UNKNOWN_TIME: Final = "2000-01-01T00:00:00.000Z"
"""The moment of what has none: before everything that has one."""

_SHARDS: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_STATUS: Final = {
    "draft": "draft",
    "live": "published",
    "archived": "archived",
    "deleted": "deleted",
}
_STATE: Final = {status: state for state, status in _STATUS.items()}
_DELETED: Final = {"S": "deleted"}
_META: Final = KeyPattern("META")


# --- courses -----------------------------------------------------------------------------------


def _exists(source: Source) -> bool:
    """A deleted course keeps little."""
    return source.attributes.get("state") != _DELETED


def _created(source: Source) -> AttributeValue | None:
    return {"S": UNKNOWN_TIME} if _exists(source) else None


def _updated(source: Source) -> AttributeValue:
    created = source.attributes.get("createdAt")
    return {"S": UNKNOWN_TIME} if created is None else _moment(created)


def _first_version(source: Source) -> AttributeValue | None:
    return {"N": "1"} if _exists(source) else None


def _moment(value: AttributeValue) -> AttributeValue:
    """The one form in which the services write moments: comparing two as text orders them."""
    return {"S": format_timestamp(parse_timestamp(value["S"]))}


def _status(value: AttributeValue) -> AttributeValue:
    return {"S": _STATUS[value["S"]]}


def _state(value: AttributeValue) -> AttributeValue:
    return {"S": _STATE[value["S"]]}


def _status_shard(row: Row) -> AttributeValue | None:
    status = row.attributes["status"]
    if status == _DELETED:
        return None
    return {"S": f"{status['S']}#{_shard(row.fields['course'])}"}


def _listed_at_id(row: Row) -> AttributeValue | None:
    if row.attributes["status"] == _DELETED:
        return None
    listed_at = row.attributes.get("publishedAt", row.attributes["createdAt"])
    return {"S": f"{listed_at['S']}#{row.fields['course']}"}


def _change_shard(row: Row) -> AttributeValue:
    return {"S": f"change#{_shard(row.fields['course'])}"}


def _changed_at_id(row: Row) -> AttributeValue:
    return {"S": f"{row.attributes['updatedAt']['S']}#{row.fields['course']}"}


def _shard(course_id: str) -> int:
    return zlib.crc32(course_id.encode()) % _SHARDS


_COURSE = Renamed(
    (
        Attribute("name", "title", required=_exists),
        Attribute("slug", "slug", required=_exists),
        Attribute("about", "description", required=_exists),
        Attribute("summary", "shortDescription", required=_exists),
        Attribute("lang", "language", required=_exists),
        Attribute("level", "level", required=_exists),
        Attribute("tags", "tags", default=lambda s: {"L": []} if _exists(s) else None),
        Attribute("teachers", "instructors", default=lambda s: {"L": []} if _exists(s) else None),
        Attribute("state", "status", _status, _state, required=lambda _: True),
        Attribute("sections", "outline", default=lambda s: {"L": []} if _exists(s) else None),
        Attribute("outlineRev", "outlineVersion", default=_first_version),
        Attribute("rev", "version", default=lambda _: {"N": "1"}),
        Attribute("createdAt", "createdAt", _moment, default=_created),
        Attribute("updatedAt", "updatedAt", _moment, default=_updated),
        Attribute("publishedAt", "publishedAt", _moment),
    ),
    (
        Derived("statusShard", _status_shard),
        Derived("listedAtId", _listed_at_id),
        Derived("changeShard", _change_shard),
        Derived("changedAtId", _changed_at_id),
    ),
)
_SLUG = Renamed((Attribute("courseId", "ownerId", required=lambda _: True),))


# --- content -----------------------------------------------------------------------------------

_CONTENT = Renamed(
    (
        Attribute("course", "courseId", required=lambda _: True),
        Attribute("order", "position", default=lambda _: {"N": "0"}),
        Attribute("title", "title", required=lambda _: True),
        Attribute("state", "status", required=lambda _: True),
        Attribute("s3Key", "objectKey", required=lambda _: True),
        Attribute("mime", "contentType", required=lambda _: True),
        Attribute("bytes", "sizeBytes", required=lambda _: True),
        Attribute("sha256", "checksumSha256"),
        Attribute("seconds", "durationSeconds"),
        Attribute("rev", "version", default=lambda _: {"N": "1"}),
        Attribute("createdAt", "createdAt", _moment, default=lambda _: {"S": UNKNOWN_TIME}),
        Attribute("updatedAt", "updatedAt", _moment, default=_updated),
        Attribute("expiresAt", "purgeAt"),
    )
)
_CONTENT_KEY = Renamed((Attribute("expiresAt", "purgeAt"),))


# --- progress ----------------------------------------------------------------------------------

_COMPLETED, _RESUME, _PLACES = "completed", "resume", "places"


def _course_row(source: Source) -> Iterator[Row]:
    attributes = {
        name: value
        for name, value in source.attributes.items()
        if name not in (_COMPLETED, _RESUME, _PLACES)
    }
    members = sorted(_members(source))
    if members:
        attributes[_COMPLETED] = {"SS": members}
    yield Row({}, {**attributes, **_attempt_and_time(source)})


def _recent_row(source: Source) -> Iterator[Row]:
    if _RESUME in source.attributes:
        yield Row({}, {**_attempt_and_time(source), **source.attributes[_RESUME]["M"]})


def _content_rows(source: Source) -> Iterator[Row]:
    for content_id, place in source.attributes.get(_PLACES, {"M": {}})["M"].items():
        yield Row({"content": content_id}, {**_attempt_and_time(source), **place["M"]})


def _attempt_and_time(source: Source) -> dict[str, AttributeValue]:
    moment = source.attributes.get(
        "updatedAt", source.attributes.get("startedAt", {"S": UNKNOWN_TIME})
    )
    return {"attempt": source.attributes.get("attempt", {"N": "1"}), "updatedAt": moment}


def _members(source: Source) -> Iterator[str]:
    """`<contentId>#<milliseconds since 1970>` for each completion."""
    completed = source.attributes.get(_COMPLETED, {"M": {}})
    if "SS" in completed:
        moment = _attempt_and_time(source)["updatedAt"]["S"]
        for content_id in completed["SS"]:
            yield f"{content_id}#{_milliseconds(moment)}"
        return
    for content_id, moments in completed["M"].items():
        for moment in moments["SS"] if "SS" in moments else (moments["S"],):
            yield f"{content_id}#{_milliseconds(moment)}"


def _milliseconds(moment: str) -> int:
    return (parse_timestamp(moment) - _EPOCH) // _MILLISECOND


def _compose_progress(_: Fields, rows: Mapping[str, Sequence[Row]]) -> Item | None:
    item: dict[str, AttributeValue] = {}
    for row in rows["course"]:
        item.update(row.attributes)
        if _COMPLETED in item:
            item[_COMPLETED] = {"M": _moments(item[_COMPLETED]["SS"])}
    for row in rows["recent"]:
        item[_RESUME] = {"M": dict(row.attributes)}
    if rows["content"]:
        item[_PLACES] = {
            "M": {row.fields["content"]: {"M": dict(row.attributes)} for row in rows["content"]}
        }
    return item or None


def _moments(members: Sequence[str]) -> dict[str, AttributeValue]:
    found: dict[str, list[str]] = {}
    for member in sorted(members):
        content_id, _, milliseconds = member.partition("#")
        moment = format_timestamp(_EPOCH + int(milliseconds) * _MILLISECOND)
        found.setdefault(content_id, []).append(moment)
    return {
        content_id: {"S": moments[0]} if len(moments) == 1 else {"SS": moments}
        for content_id, moments in found.items()
    }


# --- the mapping -------------------------------------------------------------------------------


def _rule(name: str, target: Target, source: str, key: str, renamed: Renamed) -> Rule:
    """One row for an item whose sort key is META."""
    part = Part(name, KeyPattern(key), None, renamed.rows)
    return Rule(name, target, KeyPattern(source), _META, (part,), renamed.compose)


def _keys(name: str, target: Target, source: str, renamed: Renamed) -> Rule:
    """Idempotency keys: who repeats a request after the switch gets the answer from before it."""
    pattern = KeyPattern(f"{source}{{key:rest}}")
    part = Part(name, KeyPattern("idempotency#{key:rest}"), None, renamed.rows)
    return Rule(name, target, pattern, pattern, (part,), renamed.compose)


def mapping(
    *,
    source: str = LEGACY.name,
    course_catalog: str = CATALOG.table.name,
    content_delivery: str = CONTENT.table.name,
    progress_tracking: str = PROGRESS.table.name,
) -> SplitMapping:
    """Lyceum's mapping, for tables of these names."""
    catalog = Target(CATALOG.module, Table(course_catalog, "courseId"))
    content = Target(CONTENT.module, Table(content_delivery, "contentId"))
    progress = Target(PROGRESS.module, Table(progress_tracking, "userId", "sk"))
    return SplitMapping(
        Table(source, LEGACY.partition, LEGACY.sort),
        (
            _rule("course", catalog, "COURSE#{course}", "{course}", _COURSE),
            _rule("slug", catalog, "SLUG#{slug}", "slug#{slug}", _SLUG),
            _rule("content", content, "CONTENT#{content}", "{content}", _CONTENT),
            _keys("course key", catalog, "IDEMPOTENCY#CATALOG#", Renamed()),
            _keys("content key", content, "IDEMPOTENCY#CONTENT#", _CONTENT_KEY),
            Rule(
                "progress",
                progress,
                KeyPattern("USER#{user}"),
                KeyPattern("PROGRESS#{course}"),
                (
                    _progress("course", "H#{course}#c", _course_row),
                    _progress("recent", "H#{course}#r", _recent_row),
                    _progress("content", "P#{course}#{content}", _content_rows),
                ),
                _compose_progress,
            ),
        ),
        nobody=(
            Nobody("profile", KeyPattern("USER#{user}"), KeyPattern("PROFILE"), "users stay"),
            Nobody(
                "payment", KeyPattern("PAYMENT#{payment:text}"), KeyPattern("{any:rest}"),
                "payments stay",
            ),
        ),
        stays=(
            Stays(catalog, KeyPattern("outline#{course}"), None, "events of outlines"),
            Stays(
                progress, KeyPattern("~outline#{course}"), KeyPattern("OUTLINE"), "learnt outlines"
            ),
        ),
    )  # fmt: skip


def _progress(name: str, sort: str, rows: Any) -> Part:
    return Part(name, KeyPattern("{user}"), KeyPattern(sort), rows)
