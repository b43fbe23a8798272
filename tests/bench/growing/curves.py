"""What grows, in which sizes, what is asked of whom then, and why a cost may grow faster than that.

Owns the curves: rows, requests and settings of each size. It measures nothing.

`reasons` is where whatever grows faster than its size is explained, by the name of the series; the
report prints it beside the verdict, and says so where a reason is missing.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from libs.timestamps import format_timestamp
from services.progress_tracking.storage import rows as progress
from tests.bench.comparison import stored
from tests.bench.comparison.canned import Canned
from tests.bench.comparison.stored import COURSE, Asked
from tests.bench.typical_traffic import outline_of, typical_course
from tests.unit.course_catalog.courses import CONTENT_BODY

CONNECTIONS = 8
MEMORY, START = "memory", "start"
"""The series beside the cases: of every curve, and of those whose start takes the longer the more
there is."""
_PAGE_OF_COURSES = 100
_NUMBER = 7  # of the course that is asked for
# So long that 500 items, which a course may have, are half of the largest body.
_LESSON = "A lesson with a title of its own, of two parts and an end"


@dataclass(frozen=True)
class Case:
    """A kind of request. `asked`: what is sent at a size; None for the catalog's last page, which is
    only known once the service runs. `weighed`: whether what it reads and writes can be told from the
    canned rows."""

    label: str
    asked: Callable[[int], Asked | None]
    weighed: bool = True


@dataclass(frozen=True)
class Curve:
    """`rows`: what DynamoDB answers at a size. `connections`: how many ask at once. `start_seconds`:
    about how long a start takes for each of the size, for the estimate of the end."""

    name: str
    title: str
    grows: str
    service: str
    sizes: Sequence[int]
    quick: Sequence[int]
    rows: Callable[[int], Sequence[Canned]]
    cases: Mapping[str, Case]
    note: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    connections: Callable[[int], int] = lambda size: CONNECTIONS
    settings: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 0.0
    may_refuse: bool = False
    group: str | None = None
    """Whose tokens are sent: a learner's, or an author's."""


def _page(_: int) -> Asked:
    return Asked("GET", f"/courses?limit={stored.PAGE}")


def _course(_: int) -> Asked:
    return Asked("GET", f"/courses/{COURSE}")


def _course_rows(items: int) -> Sequence[Canned]:
    course = typical_course(_NUMBER, items=items)
    return [
        *stored.course_answers(course),
        Canned("Query", b"", stored.items_answer([])),
    ]


def _course_progress_rows(items: int) -> Sequence[Canned]:
    """A learner who has been in every item and has completed all but one: a complete course would be
    written as such."""
    outline = progress.outline_item(outline_of(typical_course(_NUMBER, items=items)))
    heads = stored.head_rows(COURSE, completed_contents=items - 1)
    resumed = stored.head_rows(COURSE, stored.HEARTBEAT_AT)[1]
    return [
        Canned("Query", b'"P#', stored.items_answer(stored.content_rows(COURSE, items))),
        Canned("Query", b'"H#', stored.items_answer(heads)),
        Canned("BatchGetItem", b"outline", stored.answer(Responses={"Progress": [outline]})),
        Canned("UpdateItem", b"", stored.answer(Attributes=resumed)),
    ]


def _learner_rows(courses: int) -> Sequence[Canned]:
    """The first page of so many courses: two rows each, and one row more, as it is asked for."""
    ids = sorted(f"crs-{number}" for number in range(courses))
    heads = [row for course in ids[: _PAGE_OF_COURSES + 1] for row in stored.head_rows(course)]
    asked = 2 * _PAGE_OF_COURSES + 1
    more = {}
    if len(heads) > asked:
        last = heads[asked - 1]
        more = {"LastEvaluatedKey": {name: last[name] for name in ("userId", "sk")}}
    outlines = [
        progress.outline_item(outline_of(typical_course(int(course.removeprefix("crs-")))))
        for course in ids[:_PAGE_OF_COURSES]
    ]
    return [
        Canned("Query", b'"H#~"', stored.items_answer(heads[:asked], **more)),
        Canned("BatchGetItem", b"outline", stored.answer(Responses={"Progress": outlines})),
    ]


def _few_courses(_: int) -> Sequence[Canned]:
    return stored.answers(stored.FEW_COURSES)


def _written_course_rows(_: int) -> Sequence[Canned]:
    return [
        Canned("PutItem", b"", stored.answer()),
        Canned("TransactWriteItems", b"", b"{}"),
        Canned("Query", b"", stored.items_answer([])),
    ]


def _new_course(size: int) -> Asked:
    """A course whose body is of about so many bytes: half of them its description, half its items."""
    item = {"contentId": "content-000", "title": _LESSON, "type": "video"}
    items = max(1, size // 2 // len(json.dumps(item)))
    body = {
        **CONTENT_BODY,
        "outline": [
            {
                "id": "all",
                "title": "All of it",
                "items": [{**item, "contentId": f"content-{n:03}"} for n in range(items)],
            }
        ],
    }
    left = size - len(json.dumps(body))
    words = itertools.chain.from_iterable(f"word{number:04} " for number in itertools.count())
    text = "".join(itertools.islice(words, max(left, 1))).strip()
    body["description"] = text or "What it is about."
    headers = {"Idempotency-Key": "create-a-course"}
    return Asked("POST", "/courses", 201, headers=headers, body=json.dumps(body).encode())


def _batch_rows(entries: int) -> Sequence[Canned]:
    found: list[Canned] = []
    outlines = []
    for number in range(entries):
        course = f"crs-{number}"
        resumed = stored.head_rows(course, stored.HEARTBEAT_AT)[1]
        found += [
            Canned("Query", f'"P#{course}#"'.encode(), stored.items_answer(stored.content_rows(course))),
            Canned("Query", f'"H#{course}#c"'.encode(), stored.items_answer(stored.head_rows(course))),
            Canned("UpdateItem", f'"H#{course}#r"'.encode(), stored.answer(Attributes=resumed)),
        ]  # fmt: skip
        outlines.append(progress.outline_item(outline_of(typical_course(number))))
    answered = stored.answer(Responses={"Progress": outlines})
    return [*found, Canned("BatchGetItem", b"outline", answered)]


def _batch(entries: int) -> Asked:
    body = {
        "entries": [
            {
                "courseId": f"crs-{number}",
                "occurredAt": format_timestamp(stored.HEARTBEAT_AT),
                "deviceId": "phone-of-the-learner",
                "resume": {"contentId": f"crs-{number}-item-30", "positionSeconds": 217.5},
            }
            for number in range(entries)
        ]
    }
    return Asked("POST", "/progress/me/batch", body=json.dumps(body).encode())


CURVES: Sequence[Curve] = (
    Curve(
        "courses",
        "The catalog grows",
        "courses in the catalog",
        "course_catalog",
        sizes=(10, 100, 1_000, 10_000, 100_000),
        quick=(10, 100, 1_000),
        rows=stored.answers,
        cases={
            "page": Case("GET /courses, the first page of 50", _page),
            "page.deep": Case("GET /courses, the last page of 50", lambda size: None),
            "course": Case("GET /courses/{id}", _course),
        },
        note="A page has as many courses as there are up to 50, so that it is five times as long from"
        " 100 courses on. The start reads every course.",
        reasons={
            START: "the index of words closes a part every 2,048 courses, and makes one of eight of them:"
            " from 16,384 courses on each course is written into the index twice. It is no more than"
            " that however many there are, so that from there on a course takes as long as any other",
        },
        start_seconds=0.0008,
    ),
    Curve(
        "items",
        "A course grows",
        "items of a course",
        "course_catalog",
        sizes=(10, 25, 50, 100, 250, 500),
        quick=(10, 50, 250),
        rows=_course_rows,
        cases={"course": Case("GET /courses/{id}", _course)},
        note="The whole course is one item. The first request reads all of it; the others ask for its"
        " version, and answer what was rendered.",
    ),
    Curve(
        "items-progress",
        "A course grows in which a learner is",
        "items of a course",
        "progress_tracking",
        sizes=(10, 25, 50, 100, 250, 500),
        quick=(10, 50, 250),
        rows=_course_progress_rows,
        cases={
            "read": Case(
                "GET /progress/{userId}/{courseId}",
                lambda size: Asked("GET", f"/progress/me/{COURSE}"),
            ),
            "heartbeat": Case("PUT /progress/{userId}/{courseId}", lambda size: stored.heartbeat()),
        },
        note="The learner has begun every item and completed all but one: a row for each, and a member"
        " of a set for each completion. Both requests answer the state of every item.",
    ),  # fmt: skip
    Curve(
        "learner",
        "A learner's courses grow",
        "courses of a learner",
        "progress_tracking",
        sizes=(1, 10, 50, 200, 1_000, 2_000),
        quick=(1, 20, 200),
        rows=_learner_rows,
        cases={
            "list": Case(
                "GET /progress/{userId}?limit=100",
                lambda size: Asked("GET", f"/progress/me?limit={_PAGE_OF_COURSES}"),
            )
        },
        note="A page has 100 courses at most: from there on it stays as it is.",
    ),
    Curve(
        "concurrency",
        "More ask at once",
        "connections",
        "course_catalog",
        sizes=(1, 4, 16, 64, 256, 512),
        quick=(1, 8, 64),
        rows=_few_courses,
        cases={
            "page": Case("GET /courses", _page),
            "course": Case("GET /courses/{id}", _course),
        },
        connections=lambda size: size,
        settings={"BULKHEAD_MAX_CONCURRENT_CALLS": "512"},
        may_refuse=True,
        note="Each connection asks again as soon as it is answered. The bulkhead is set to 512 calls: its"
        " default of 50 would refuse most of the largest numbers, which costs less than to serve them."
        " What is refused all the same had waited for longer than a call may take.",
    ),
    Curve(
        "body",
        "A body grows",
        "bytes of the body",
        "course_catalog",
        sizes=(1_000, 4_000, 16_000, 64_000, 96_000),
        quick=(1_000, 8_000, 64_000),
        rows=_written_course_rows,
        cases={"create": Case("POST /courses", _new_course, weighed=False)},
        group="authors",
        note="Half of a body is the description, half are items. Two writes beside the course's own keep"
        " the idempotency key with the answer. The memory has every course that was created meanwhile.",
    ),
    Curve(
        "batch",
        "A batch grows",
        "entries of a batch",
        "progress_tracking",
        sizes=(1, 2, 5, 10, 25),
        quick=(1, 5, 25),
        rows=_batch_rows,
        cases={"batch": Case("POST /progress/{userId}/batch", _batch)},
        note="A heartbeat of 170 bytes for each entry: two Queries and one UpdateItem each.",
    ),
)
