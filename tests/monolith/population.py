"""What stands in the table of a monolith that has lived for years: so many items, the same each time.

Owns the mix: courses with their content, progress of many learners, and other modules' items. One in
five is from before timestamps, versions and moments of completion were written. Sends nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from itertools import count as count_from
from typing import Any, Final

from libs.aws import marshal
from libs.timestamps import format_timestamp
from tests.monolith.table import Item

CONTENTS_PER_COURSE: Final = 12
COURSES_PER_LEARNER: Final = 6

_BEGAN: Final = datetime(2021, 3, 1, 6, tzinfo=UTC)
_OLD: Final = 0.2
_WORDS: Final = (
    "tides winds currents sediments mangroves reefs estuaries plankton salinity navigation charts "
    "instruments sampling modelling statistics ecology chemistry physics history policy"
).split()
_LEVELS: Final = ("beginner", "intermediate", "advanced")
_LANGUAGES: Final = ("en", "de", "pt-BR", "ja")
_TYPES: Final = ("video", "reading", "quiz", "assignment")
_DEVICES: Final = ("phone", "laptop", "tablet")


@dataclass(frozen=True)
class StoredObject:
    """An object that content may be: where it lies, and what the store says of it."""

    key: str
    content_type: str
    size_bytes: int
    etag: str


@dataclass(frozen=True)
class _Course:
    id: str
    contents: tuple[str, ...]


def population(
    count: int,
    objects: Sequence[StoredObject],
    *,
    learners: Sequence[str] = (),
    seed: int = 7,
) -> Iterator[Item]:
    """`count` items, from 100 on. `objects` is what content points at, at least one; the `learners`
    have progress too, where there are enough items."""
    if count < 100:
        raise ValueError("a population has at least 100 items")
    chance = random.Random(seed)  # - the same each time
    # A course is an item, its slug another, and each of its contents one.
    courses = [_course(number) for number in range(max(5, count // 250))]
    made = 0
    for course in courses:
        for item in _course_items(course, objects, chance):
            yield item
            made += 1
    for number in range(count // 20):
        yield _payment(number, chance)
        made += 1
    for item in islice(_learners(learners, courses, chance), count - made):
        yield item


def _course(number: int) -> _Course:
    return _Course(
        f"crs-{number:05}",
        tuple(f"cnt-{number:05}-{place:02}" for place in range(CONTENTS_PER_COURSE)),
    )


def _course_items(
    course: _Course, objects: Sequence[StoredObject], chance: random.Random
) -> Iterator[Item]:
    created = _BEGAN + timedelta(minutes=chance.randrange(1_500_000))
    state = chance.choices(("live", "draft", "archived", "deleted"), (80, 8, 8, 4))[0]
    old = chance.random() < _OLD
    if state == "deleted":
        yield _item(
            f"COURSE#{course.id}", "META",
            state="deleted", rev=3, updatedAt=format_timestamp(created),
            # Far away: nobody's table is to change by itself while it is looked at.
            expiresAt=int((created + timedelta(days=36_500)).timestamp()),
        )  # fmt: skip
        return
    slug = f"{chance.choice(_WORDS)}-{course.id.removeprefix('crs-')}"
    topic = slug.partition("-")[0]
    values: dict[str, Any] = {
        "name": f"{topic.capitalize()} in practice",
        "slug": slug,
        "about": " ".join(chance.choices(_WORDS, k=60)).capitalize() + ".",
        "summary": f"All about {topic}, and some {chance.choice(_WORDS)}.",
        "lang": chance.choice(_LANGUAGES),
        "level": chance.choice(_LEVELS),
        "state": state,
        "sections": _sections(course, chance),
    }
    if not old:
        changed = created + timedelta(minutes=chance.randrange(100_000))
        values |= {
            "tags": [topic, "ocean"],
            "teachers": ["Coastal Observatory"],
            "rev": chance.randrange(1, 9),
            "outlineRev": 1,
            "createdAt": format_timestamp(created),
            "updatedAt": format_timestamp(changed),
        }
        if state != "draft":
            values["publishedAt"] = format_timestamp(created + timedelta(minutes=1))
    yield _item(f"COURSE#{course.id}", "META", **values)
    yield _item(f"SLUG#{slug}", "META", courseId=course.id)
    for place, content_id in enumerate(course.contents):
        yield _content(content_id, course, place, created, objects, chance)


def _sections(course: _Course, chance: random.Random) -> list[dict[str, Any]]:
    half = len(course.contents) // 2
    return [
        {
            "id": f"part-{number}",
            "title": f"Part {number}",
            "items": [
                {
                    "contentId": content_id,
                    "title": f"{chance.choice(_WORDS).capitalize()}, step {place}",
                    "type": chance.choice(_TYPES),
                    "durationSeconds": chance.randrange(30, 3600),
                    "required": chance.random() < 0.9,
                    "weight": chance.choice((0.5, 1, 2)),
                }
                for place, content_id in enumerate(contents, start=1)
            ],
        }
        for number, contents in enumerate((course.contents[:half], course.contents[half:]), start=1)
    ]


def _content(
    content_id: str,
    course: _Course,
    place: int,
    created: datetime,
    objects: Sequence[StoredObject],
    chance: random.Random,
) -> Item:
    state = chance.choices(("ready", "pending", "failed", "deleted"), (92, 4, 2, 2))[0]
    stored = chance.choice(objects)
    moment = format_timestamp(created)
    values: dict[str, Any] = {
        "course": course.id,
        "title": f"{chance.choice(_WORDS).capitalize()}, step {place + 1}",
        "state": state,
        "s3Key": stored.key,
        "mime": stored.content_type,
        "bytes": stored.size_bytes,
        "renditions": [],
        "captions": [],
    }
    if state in ("ready", "deleted"):
        values["etag"] = stored.etag
    if stored.content_type.startswith("video/"):
        values["seconds"] = chance.randrange(30, 3600)
    if state == "failed":
        values["failureReason"] = "The file is not what was announced."
    if state == "deleted":
        values |= {"deletedAt": moment, "expiresAt": 4_102_444_800}
    if chance.random() >= _OLD:
        values |= {
            "order": place,
            "rev": chance.randrange(1, 4),
            "createdAt": moment,
            "updatedAt": moment,
        }
    return _item(f"CONTENT#{content_id}", "META", **values)


def _learners(
    named: Sequence[str], courses: Sequence[_Course], chance: random.Random
) -> Iterator[Item]:
    """The profile and the progress of the named ones, and then of others without end."""
    for user in chain(named, (f"learner-{number:07}" for number in count_from(1))):
        yield _item(
            f"USER#{user}", "PROFILE",
            name=f"Learner {user[-7:]}", plan=chance.choice(("free", "monthly", "yearly")),
        )  # fmt: skip
        for course in chance.sample(courses, min(COURSES_PER_LEARNER, len(courses))):
            yield _progress(user, course, chance)


def _progress(user: str, course: _Course, chance: random.Random) -> Item:
    started = _BEGAN + timedelta(minutes=chance.randrange(2_500_000))
    done = chance.sample(course.contents, chance.randrange(len(course.contents)))
    place = chance.choice(course.contents)
    last = started + timedelta(hours=len(done) + 1)
    values: dict[str, Any] = {
        "resume": {
            "contentId": place,
            "positionSeconds": chance.randrange(36_000) / 10,
            "deviceId": chance.choice(_DEVICES),
            "occurredAt": format_timestamp(last),
        },
        "places": {
            content_id: {"fraction": 1} if content_id in done else {"fraction": 0.5}
            for content_id in {place, *done[:3]}
        },
    }
    if chance.random() < _OLD:
        # From before it was written when what was completed, and when anything was changed.
        if chance.random() < 0.5:
            values["startedAt"] = started.strftime("%Y-%m-%dT%H:%M:%SZ")
        if done:
            values["completed"] = frozenset(done)
    else:
        values |= {
            "attempt": 1,
            "rev": len(done) + 1,
            "startedAt": format_timestamp(started),
            "updatedAt": format_timestamp(last),
        }
        if done:
            values["completed"] = {
                content_id: format_timestamp(started + timedelta(hours=hour))
                for hour, content_id in enumerate(done)
            }
    return _item(f"USER#{user}", f"PROGRESS#{course.id}", **values)


def _payment(number: int, chance: random.Random) -> Item:
    paid = _BEGAN + timedelta(minutes=chance.randrange(2_500_000))
    return _item(
        f"PAYMENT#{number:08}", f"{paid:%Y-%m}#{chance.choice(('card', 'transfer'))}",
        cents=chance.randrange(500, 20_000), currency="EUR", paidAt=format_timestamp(paid),
    )  # fmt: skip


def _item(partition: str, sort: str, **values: Any) -> Item:
    found: Mapping[str, Any] = {"pk": partition, "sk": sort, **values}
    return marshal(found)
