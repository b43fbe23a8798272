"""What a typical learner and author ask of the three services, on an embedded AWS with typical rows.

Owns the shape of what is stored and of each request, for the two programs that measure what requests
cost: `request_costs.py` (CPU, memory, bytes) and `consumed_capacity.py` (units of DynamoDB). Measures
nothing itself.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from libs.auth.testing import TokenIssuer
from libs.aws import Clients, marshal, open_clients
from libs.resilience import PipelineRegistry
from libs.timestamps import format_timestamp
from libs.tracing.testing import recording_tracer
from services.content_delivery.storage.rows import encode
from services.course_catalog.domain.course import Course, ItemType, OutlineItem, Section
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from services.progress_tracking.domain import outline as learnt
from services.progress_tracking.domain.progress import ItemUpdate, ProgressUpdate
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.backends import Backend, create_table, running_ministack
from tests.unit.content_delivery.samples import ready
from tests.unit.course_catalog.courses import CONTENT_BODY, published

COURSES = 200
ITEMS_PER_COURSE = 60
DESCRIPTION_BYTES = 3_000
CONTENTS = 2_000
CACHED_CONTENTS = 20
LEARNERS = 20
COURSES_PER_LEARNER = 10
COMPLETED_PER_COURSE = 20
COURSES_PER_BATCH = 25

SHAPE: Mapping[str, int] = {
    "courses": COURSES,
    "itemsPerCourse": ITEMS_PER_COURSE,
    "descriptionBytes": DESCRIPTION_BYTES,
    "coursesPerLearner": COURSES_PER_LEARNER,
    "completedPerCourse": COMPLETED_PER_COURSE,
    "coursesPerBatch": COURSES_PER_BATCH,
}
"""What the measured numbers are of."""

PREFIXES = {
    "course_catalog": "CATALOG_",
    "content_delivery": "CONTENT_",
    "progress_tracking": "PROGRESS_",
}
TABLES = {
    "course_catalog": "CourseCatalog",
    "content_delivery": "Content",
    "progress_tracking": "Progress",
}
BUCKET = "rightsizing-content"

_ISSUER = TokenIssuer()
_BEGAN = datetime.now(UTC) - timedelta(hours=12)


@dataclass(frozen=True)
class Call:
    """One request. `status` is the answer that it must get, or what is measured is another thing."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes | None = None


@dataclass(frozen=True)
class Operation:
    """A kind of request, under the name that load profiles use. `most`: how many calls there are
    before what they need is used up; None: any number. `concurrency`: how many may be under way at
    once, where that is fewer than usual."""

    service: str
    name: str
    calls: Callable[[], Iterator[Call]]
    most: int | None = None
    concurrency: int | None = None


class World:
    """The embedded AWS with typical rows, and where the issuer's keys are."""

    def __init__(self, backend: Backend, clients: Clients, jwks_url: str) -> None:
        self.backend = backend
        self.clients = clients
        self._jwks_url = jwks_url

    def variables(self, service: str, **settings: str) -> dict[str, str]:
        """The environment of a service's process; `settings` without its prefix."""
        prefix = PREFIXES[service]
        values = {
            "PORT": "0",
            "TABLE": TABLES[service],
            "AUTH_ISSUER": _ISSUER.settings.issuer,
            "AUTH_JWKS_URL": self._jwks_url,
            "AUTH_CLIENT_IDS": _ISSUER.client_id,
            "CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
            # The emulator shares the machine with what is measured: its slowness is no failure.
            "BREAKER_CALL_TIMEOUT_SECONDS": "20",
            "REQUEST_TIMEOUT_SECONDS": "28",
            **({"BUCKET": BUCKET} if service == "content_delivery" else {}),
            **settings,
        }
        return self.backend.variables | {f"{prefix}{name}": it for name, it in values.items()}


@asynccontextmanager
async def typical_world() -> AsyncIterator[World]:
    """Start the embedded AWS, create the tables and fill them."""

    async def keys(_: web.Request) -> web.Response:
        return web.json_response(_ISSUER.jwks())

    issuer = web.Application()
    issuer.router.add_get("/jwks.json", keys)
    with running_ministack() as backend:
        # The SDK's own variables: the programs that measure are led to it by these alone.
        os.environ.update(backend.variables)
        for service, table in TABLES.items():
            await create_table(backend, Path(f"services/{service}/table.json"), table)
        async with backend.client("s3") as s3:
            await s3.create_bucket(Bucket=BUCKET)
        async with (
            TestServer(issuer, host="127.0.0.1") as server,
            open_clients(
                backend.settings(),
                registry=PipelineRegistry(),
                tracer=recording_tracer()[0],
                services=("dynamodb", "s3"),
            ) as clients,
        ):
            world = World(backend, clients, str(server.make_url("/jwks.json")))
            await _fill(clients)
            yield world


async def _fill(clients: Clients) -> None:
    catalog = DynamoDBCourseRepository(clients.dynamodb, TABLES["course_catalog"])
    progress = DynamoDBProgressRepository(clients.dynamodb, table=TABLES["progress_tracking"])
    for number in range(COURSES):
        course = typical_course(number)
        await catalog.create(course)
        await progress.learn_outline(outline_of(course))
    for number in range(CONTENTS):
        content = replace(ready(f"content-{number}"), object_key=f"content/content-{number}/master")
        await clients.dynamodb.put_item(
            TableName=TABLES["content_delivery"], Item=marshal(encode(content))
        )
    for learner in range(LEARNERS):
        for number in range(COURSES_PER_LEARNER):
            await progress.record(
                f"learner-{learner}",
                f"crs-{number}",
                _started(number),
                outline=outline_of(typical_course(number)),
                at=_BEGAN,
            )


def typical_course(number: int, *, items: int = ITEMS_PER_COURSE) -> Course:
    """A published course of so many items."""
    lessons = tuple(
        OutlineItem(
            f"crs-{number}-item-{position:02}",
            f"A lesson with a title of its own, {position}",
            ItemType.VIDEO,
            600,
        )
        for position in range(items)
    )
    sections = tuple(
        Section(f"section-{first // 12}", "A section", lessons[first : first + 12])
        for first in range(0, items, 12)
    )
    text = " ".join(f"word{number % 7}{position}" for position in range(DESCRIPTION_BYTES // 8))
    return published(
        number, at=number, outline=sections, description=text[:DESCRIPTION_BYTES].strip()
    )


def outline_of(course: Course, *, version: int | None = None) -> learnt.Outline:
    """The course's outline as progress learns it."""
    return learnt.Outline(
        course.id,
        course.outline_version if version is None else version,
        tuple(
            learnt.OutlineItem(item.content_id, required=item.required, weight=item.weight)
            for section in course.outline
            for item in section.items
        ),
    )


def _started(number: int) -> ProgressUpdate:
    items = tuple(
        ItemUpdate(
            f"crs-{number}-item-{position:02}",
            _BEGAN,
            completed=True,
            fraction=1.0,
            position_seconds=600.0,
        )
        for position in range(COMPLETED_PER_COURSE)
    )
    return ProgressUpdate(
        _BEGAN,
        "phone-of-the-learner",
        resume_content_id=f"crs-{number}-item-00",
        resume_position_seconds=600.0,
        items=items,
    )


def operations() -> tuple[Operation, ...]:
    """All that is measured, each service's in an order in which none disturbs a later one."""
    return (
        Operation("course_catalog", "listCourses", lambda: _reads("/courses?limit=50")),
        Operation(
            "course_catalog",
            "getCourse",
            lambda: (_read(n, f"/courses/crs-{n % COURSES}") for n in itertools.count()),
        ),
        Operation(
            "course_catalog",
            "getCourse.revalidated",
            lambda: (
                _read(n, f"/courses/crs-{n % COURSES}", 304, {"If-None-Match": '"v2"'})
                for n in itertools.count()
            ),
        ),
        Operation("course_catalog", "refused.catalog", lambda: _reads("/courses?limit=0", 400)),
        Operation("course_catalog", "createCourse", _created_courses, most=400),
        Operation("course_catalog", "patchCourse", _changed_titles, most=COURSES // 2),
        Operation("course_catalog", "patchCourse.outline", _changed_outlines, most=COURSES // 2),
        Operation(
            "content_delivery",
            "getContent",
            lambda: (_read(n, f"/content/content-{n}") for n in range(CONTENTS)),
            most=CONTENTS,
        ),
        Operation(
            "content_delivery",
            "getContent.cached",
            lambda: (
                _read(n, f"/content/content-{n % CACHED_CONTENTS}") for n in itertools.count()
            ),
        ),
        Operation("content_delivery", "refused.content", lambda: _reads("/content/no!id", 400)),
        Operation("content_delivery", "announceContent", _announced, most=400),
        Operation("progress_tracking", "listProgress", lambda: _reads("/progress/me")),
        Operation(
            "progress_tracking",
            "getCourseProgress",
            lambda: (
                _read(n, f"/progress/me/crs-{n % COURSES_PER_LEARNER}") for n in itertools.count()
            ),
        ),
        Operation("progress_tracking", "recordProgress", _heartbeats),
        Operation("progress_tracking", "recordProgress.completion", _completions, most=1_000),
        Operation("progress_tracking", "recordProgress.first", _first_updates, most=1_000),
        # Fifty queries each: more of them at once would fill a process's bulkhead, since the
        # emulator takes a second and more for one.
        Operation("progress_tracking", "recordProgressBatch", _batches, most=64, concurrency=1),
        Operation(
            "progress_tracking", "refused.progress", lambda: _reads("/progress/me?limit=0", 400)
        ),
    )


_TOKENS = [f"Bearer {_ISSUER.token(sub=f'learner-{number}')}" for number in range(LEARNERS)]
_AUTHOR = f"Bearer {_ISSUER.token(sub='author', groups=['authors'])}"


def _read(
    number: int, path: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Call:
    own = {"Authorization": _TOKENS[number % LEARNERS], **(headers or {})}
    return Call("GET", path, status, own)


def _reads(path: str, status: int = 200) -> Iterator[Call]:
    return (_read(number, path, status) for number in itertools.count())


def _write(
    method: str,
    path: str,
    status: int,
    body: object,
    *,
    token: str,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Call:
    own = {"Authorization": token, "Content-Type": media_type, **(headers or {})}
    return Call(method, path, status, own, json.dumps(body).encode())


def _created_courses() -> Iterator[Call]:
    course = typical_course(0)
    for number in itertools.count():
        body = {
            **CONTENT_BODY,
            "slug": f"created-{number}",
            "description": course.description,
            "outline": _outline_body(course, ITEMS_PER_COURSE),
        }
        headers = {"Idempotency-Key": f"create-course-{number}"}
        yield _write("POST", "/courses", 201, body, token=_AUTHOR, headers=headers)


def _changed_titles() -> Iterator[Call]:
    for number in range(COURSES // 2):
        yield _patch(number, {"title": f"Another title for course {number}"})


def _changed_outlines() -> Iterator[Call]:
    for number in range(COURSES // 2, COURSES):
        course = typical_course(number)
        yield _patch(number, {"outline": _outline_body(course, ITEMS_PER_COURSE - 1)})


def _patch(number: int, change: object) -> Call:
    """Each course is changed once: it is in the version in which it was published."""
    return _write(
        "PATCH",
        f"/courses/crs-{number}",
        200,
        change,
        token=_AUTHOR,
        headers={"If-Match": '"v2"'},
        media_type="application/merge-patch+json",
    )


def _outline_body(course: Course, items: int) -> list[dict[str, object]]:
    kept = itertools.islice((item for section in course.outline for item in section.items), items)
    return [
        {
            "id": "all",
            "title": "All of it",
            "items": [
                {"contentId": item.content_id, "title": item.title, "type": "video"}
                for item in kept
            ],
        }
    ]


def _announced() -> Iterator[Call]:
    for number in itertools.count():
        body = {
            "courseId": f"crs-{number % COURSES}",
            "title": "A lesson with a title of its own",
            "contentType": "video/mp4",
            "sizeBytes": 50_000_000,
        }
        headers = {"Idempotency-Key": f"announce-{number}"}
        yield _write("POST", "/content", 201, body, token=_AUTHOR, headers=headers)


def _heartbeats() -> Iterator[Call]:
    for number in itertools.count():
        course = f"crs-{number // LEARNERS % COURSES_PER_LEARNER}"
        yield _write(
            "PUT",
            f"/progress/me/{course}",
            200,
            _heartbeat(course, 1, number),
            token=_TOKENS[number % LEARNERS],
        )


def _completions() -> Iterator[Call]:
    """Each a content that this learner has not completed, with its last position."""
    left = ITEMS_PER_COURSE - COMPLETED_PER_COURSE
    for number in itertools.count():
        turn = number // LEARNERS
        course = f"crs-{turn // left % COURSES_PER_LEARNER}"
        item = f"{course}-item-{COMPLETED_PER_COURSE + turn % left:02}"
        body = {
            **_heartbeat(course, 2, number),
            "items": {item: {"completed": True, "fraction": 1, "positionSeconds": 600}},
        }
        yield _write("PUT", f"/progress/me/{course}", 200, body, token=_TOKENS[number % LEARNERS])


def _first_updates() -> Iterator[Call]:
    for number in itertools.count():
        course = f"crs-{COURSES_PER_LEARNER + number // LEARNERS}"
        yield _write(
            "PUT",
            f"/progress/me/{course}",
            201,
            _heartbeat(course, 3, number),
            token=_TOKENS[number % LEARNERS],
        )


def _batches() -> Iterator[Call]:
    """What a device kept of more courses than were begun: the first time some begin."""
    for number in itertools.count():
        entries = [
            {"courseId": f"crs-{course}", **_heartbeat(f"crs-{course}", 4, number)}
            for course in range(COURSES_PER_BATCH)
        ]
        token = _TOKENS[number % LEARNERS]
        yield _write("POST", "/progress/me/batch", 200, {"entries": entries}, token=token)


def _heartbeat(course: str, hour: int, number: int) -> dict[str, object]:
    """The resume point `number` moments after the beginning of an hour: always later than those of
    an earlier hour, and of a smaller number."""
    at = _BEGAN + timedelta(hours=hour, milliseconds=100 * number)
    return {
        "occurredAt": format_timestamp(at),
        "deviceId": "phone-of-the-learner",
        "resume": {"contentId": f"{course}-item-30", "positionSeconds": float(number % 600)},
    }


def event_courses() -> Iterator[Course]:
    """Courses whose outlines progress learns anew."""
    return (typical_course(number) for number in range(COURSES))
