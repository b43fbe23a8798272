"""What is stored and what is asked in the comparison: the same rows and requests for everybody.

Owns the rows, as DynamoDB would answer them, and the requests with their tokens. Measures nothing and
knows no contestant.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from libs.auth.testing import TokenIssuer
from libs.aws import marshal
from libs.timestamps import format_timestamp
from services.content_delivery.storage.rows import encode
from services.course_catalog.domain.course import Course, Summary
from services.course_catalog.storage.items import SHARDS, course_item, status_shard
from services.progress_tracking.storage import rows as progress
from tests.bench.comparison.canned import Canned
from tests.bench.directory_at_scale import made_up
from tests.bench.typical_traffic import outline_of, typical_course
from tests.unit.content_delivery.samples import ready

LEARNERS = 20
LEARNERS_COURSES = 25
"""Two rows each: one Query of 50."""
COMPLETED = 10
CONTENT_ROWS = 10
COURSE, CONTENT, BUCKET = "crs-7", "content-1", "bench-content"
FEW_COURSES, MANY_COURSES = 12, 100_000
PAGE = 50

BEGAN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HEARTBEAT_AT = BEGAN + timedelta(hours=1)
# A Query ends at 1 MB.
_COURSES_PER_QUERY = 700

ISSUER = TokenIssuer()


@dataclass(frozen=True)
class Asked:
    """A request as it stands on the wire but for its host. `status`: the answer that it must get."""

    method: str
    path: str
    status: int = 200
    headers: Mapping[str, str] | None = None
    body: bytes = b""

    def wire(self, token: str) -> bytes:
        """Its bytes, with this token."""
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Accept: application/json",
            "User-Agent: learner-app/4.2",
            f"Authorization: Bearer {token}",
            *(f"{name}: {value}" for name, value in (self.headers or {}).items()),
        ]
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def tokens() -> list[str]:
    """One access token for each learner, signed by `ISSUER`."""
    return [ISSUER.token(sub=f"learner-{number}") for number in range(LEARNERS)]


def jwks() -> bytes:
    """The keys that verify them."""
    return json.dumps(ISSUER.jwks()).encode()


def heartbeat() -> Asked:
    """A player's "I am here"."""
    body = {
        "occurredAt": format_timestamp(HEARTBEAT_AT),
        "deviceId": "phone-of-the-learner",
        "resume": {"contentId": f"{COURSE}-item-30", "positionSeconds": 217.5},
    }
    return Asked("PUT", f"/progress/me/{COURSE}", body=json.dumps(body).encode())


def answers(courses: int) -> list[Canned]:
    """What the fake DynamoDB says, of a catalog of so many courses."""
    outlines = [
        progress.outline_item(outline_of(typical_course(n))) for n in range(LEARNERS_COURSES)
    ]
    content = replace(ready(CONTENT), object_key=f"content/{CONTENT}/master")
    return [
        *course_answers(typical_course(7)),
        Canned("GetItem", b'"Content"', answer(Item=marshal(encode(content)))),
        Canned("Query", b'"change#', items_answer([])),
        Canned("Query", b'"P#', items_answer(content_rows())),
        Canned("Query", f'"H#{COURSE}#c"'.encode(), items_answer(head_rows(COURSE))),
        Canned(
            "Query",
            b'"H#~"',
            items_answer(
                [
                    row
                    for course in sorted(f"crs-{n}" for n in range(LEARNERS_COURSES))
                    for row in head_rows(course)
                ]
            ),
        ),
        Canned("BatchGetItem", b"outline", answer(Responses={"Progress": outlines})),
        # All that is wanted of the row has come about.
        Canned("UpdateItem", b"", answer(Attributes=head_rows(COURSE, HEARTBEAT_AT)[1])),
        *listing(courses),
        Canned("Query", b"", items_answer([])),
    ]


def course_answers(course: Course) -> list[Canned]:
    """Of a course by its id: in which version it is, and all of it."""
    item = course_item(course)
    whole = answer(Item=item)
    version = answer(Item={name: item[name] for name in ("version", "status")})
    return [
        Canned("GetItem", b"ProjectionExpression", version, read=whole),
        Canned("GetItem", b'"CourseCatalog"', whole),
    ]


def answer(**members: object) -> bytes:
    """The body of an answer."""
    capacity = {"CapacityUnits": 1.0, "Table": {"CapacityUnits": 1.0}, "TableName": "Bench"}
    consumed: object = [capacity] if "Responses" in members else capacity
    return json.dumps({**members, "ConsumedCapacity": consumed}, separators=(",", ":")).encode()


def items_answer(items: Sequence[object], **members: object) -> bytes:
    """The body of a Query's answer."""
    return answer(Items=items, Count=len(items), ScannedCount=len(items), **members)


def head_rows(
    course: str, resumed_at: datetime = BEGAN, *, completed_contents: int = COMPLETED
) -> list[Any]:
    """A learner's two rows of a course: what was completed, and where he is."""
    items = f"{course}-item-"
    completed = frozenset(
        progress.completion_member(f"{items}{n:02}", BEGAN + timedelta(minutes=n))
        for n in range(completed_contents)
    )
    common = {"userId": "learner", "attempt": 1}
    return [
        marshal(
            {
                **common,
                "sk": f"H#{course}#c",
                "startedAt": format_timestamp(BEGAN),
                "completed": completed,
                "updatedAt": format_timestamp(BEGAN),
            }
        ),
        marshal(
            {
                **common,
                "sk": f"H#{course}#r",
                "occurredAt": format_timestamp(resumed_at),
                "deviceId": "phone-of-the-learner",
                "contentId": f"{items}30",
                "positionSeconds": 217.5,
                "updatedAt": format_timestamp(resumed_at),
            }
        ),
    ]


def content_rows(course: str = COURSE, count: int = CONTENT_ROWS) -> list[Any]:
    """A learner's rows of a course's contents, none of them newer than the heartbeat."""
    return [
        marshal(
            {
                "userId": "learner",
                "sk": f"P#{course}#{course}-item-{n:02}",
                "attempt": 1,
                "fraction": 1.0,
                "occurredAt": format_timestamp(BEGAN + timedelta(minutes=n % 50)),
                "deviceId": "phone-of-the-learner",
                "positionSeconds": 600.0,
                "updatedAt": format_timestamp(BEGAN + timedelta(minutes=n % 50)),
            }
        )
        for n in range(count)
    ]


def listing(courses: int) -> Iterator[Canned]:
    """The published courses as the index `byStatus` gives them, page after page."""
    source = random.Random(7)
    vocabulary = [f"{source.choice('bcdfghklmnprst')}word{n:x}" for n in range(20_000)]
    shards: list[list[Any]] = [[] for _ in range(SHARDS)]
    for number in range(courses):
        summary = made_up(number, source, vocabulary)
        shards[number % SHARDS].append(_summary_item(summary))
    for shard, items in enumerate(shards):
        pages = [
            items[first : first + _COURSES_PER_QUERY]
            for first in range(0, len(items), _COURSES_PER_QUERY)
        ] or [[]]
        # The last first: an earlier needle is part of a later page's request too.
        for place in range(len(pages) - 1, -1, -1):
            more = {} if place == len(pages) - 1 else {"LastEvaluatedKey": _mark(shard, place + 1)}
            needle = (
                f'"{_mark_text(shard, place)}"' if place else f'"{status_shard(_PUBLISHED, shard)}"'
            )
            yield Canned("Query", needle.encode(), items_answer(pages[place], **more))


_PUBLISHED = typical_course(0).status


def _mark_text(shard: int, place: int) -> str:
    return f"mark-{shard}-{place}"


def _mark(shard: int, place: int) -> dict[str, Any]:
    return {"courseId": {"S": _mark_text(shard, place)}}


def _summary_item(summary: Summary) -> Any:
    assert summary.published_at is not None
    return marshal(
        {
            "courseId": summary.id,
            "slug": summary.slug,
            "title": summary.title,
            "shortDescription": summary.short_description,
            "language": summary.language,
            "level": str(summary.level),
            "tags": summary.tags,
            "instructors": summary.instructors,
            "status": str(summary.status),
            "outlineVersion": summary.outline_version,
            "version": summary.version,
            "createdAt": format_timestamp(summary.created_at),
            "updatedAt": format_timestamp(summary.updated_at),
            "publishedAt": format_timestamp(summary.published_at),
            "descriptionWords": " ".join(summary.description_words),
        }
    )
