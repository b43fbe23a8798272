"""What the demo's authors and learners do all the time: create, change, delete, and begin again.

Owns the order of their requests. Each item has one writer, and whoever got no answer leaves the item
alone from then on. Deletions are frequent, of what is new and of what is old: a migration that is wrong
resurrects these first.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from deploy.load.answer import Answer
from deploy.migration._demo._device import Device
from deploy.migration._demo._items import (
    CATALOG,
    CONTENT,
    TEXT,
    Item,
    content,
    course,
    progress,
    progress_of_content,
)

Writer = Callable[[Device], Awaitable[None]]
"""Asks without end; StoppedError ends it."""

Written = Callable[[Item], None]
"""Hears of each item that is new: others read it from then on."""

_PATCH: Final = {"Content-Type": "application/merge-patch+json"}
_CHANGES: Final = 3
_UPDATES_PER_ATTEMPT: Final = 5
_ATTEMPTS_PER_COURSE: Final = 3
_COURSES_OF_A_LEARNER: Final = 20
"""Then the first ones are begun again. The embedded DynamoDB looks at each row of a learner for each
Query, so that without end an hour of the demo would be slower than its first minute."""


class Names:
    """Names that were never there before."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._numbers = itertools.count(1)

    def new(self, what: str) -> str:
        """Another one each time."""
        return f"{what}-{self._run}-{self.number()}"

    def number(self) -> int:
        """Another one each time."""
        return next(self._numbers)


class Drafts:
    """An author who writes courses, thinks better of them, and uses their slugs again.

    That a slug belongs to somebody is an item of its own in the monolith and a row of its own in the
    catalog's table, and really is deleted: one that were resurrected could not be taken again, one
    that were lost could be taken twice.
    """

    def __init__(self, names: Names, written: Written) -> None:
        self._names = names
        self._written = written
        self._owner = ""

    async def __call__(self, device: Device) -> None:
        while True:
            slug = self._names.new("demo")
            while await self._life_of_a_course(device, slug):
                pass

    async def _life_of_a_course(self, device: Device, slug: str) -> bool:
        """Whether all of it was answered, so that the slug is free again."""
        history, holder = device.history, f"slug {slug}"
        made = await self._create(device, slug, expected=(201, 409))
        if made.status == 409:
            now = time.monotonic()
            history.read(holder, {"owner": self._owner}, began=now, ended=now)
        if made.status != 201:
            return False
        item = self._owned(device, made, holder)
        tag: str | None = made.headers["ETag"]
        for _ in range(_CHANGES):
            tag = await _patch(device, item, self._names.new("text"), tag)
            if tag is None:
                return False
            await device.read(item)
        taken = await self._create(device, slug, expected=(409,))
        if taken.status == 201:
            now = time.monotonic()
            history.read(holder, {}, began=now, ended=now)
        if not await _delete(device, item, tag):
            return False
        now = time.monotonic()
        history.deleting(holder, began=now).acknowledged(now)
        await device.read(item)
        return taken.status == 409

    def _owned(self, device: Device, made: Answer, holder: str) -> Item:
        now = time.monotonic()
        began = now - made.seconds
        item = course(made.json["id"])
        self._owner = made.json["id"]
        device.history.writing(holder, {"owner": self._owner}, began=began).acknowledged(now)
        facts = item.facts_of(made.json)
        device.history.writing(str(item), facts, began=began).acknowledged(now)
        self._written(item)
        return item

    async def _create(self, device: Device, slug: str, *, expected: Iterable[int]) -> Answer:
        body = {
            "slug": slug,
            "title": "A course that is being written",
            "description": "While it is moved.",
            "shortDescription": self._names.new("text"),
            "language": "en",
            "level": "beginner",
        }
        return await device.ask(CATALOG, "POST", "/courses", body=body, expected=tuple(expected))


def old_courses(names: Names, items: Iterable[Item]) -> Writer:
    """An author who changes courses that were there before, and deletes the drafts among them."""

    async def write(device: Device) -> None:
        for item in _while_known(device, items):
            answer, facts = await device.read(item)
            if not facts:
                continue
            tag: str | None = answer.headers["ETag"]
            for _ in range(_CHANGES):
                tag = await _patch(device, item, names.new("text"), tag)
                if tag is None:
                    break
            if tag is not None and answer.json["status"] == "draft":
                await _delete(device, item, tag)
            await device.read(item)

    return write


def uploads(names: Names, written: Written) -> Writer:
    """An author who announces content, changes what is said of it, and deletes it."""

    async def write(device: Device) -> None:
        while True:
            title = names.new("text")
            body = {
                "courseId": "demo",
                "title": title,
                "contentType": "video/mp4",
                "sizeBytes": 1000,
                "position": 1,
            }
            made = await device.ask(CONTENT, "POST", "/content", body=body, expected=(201,))
            if made.status != 201:
                continue
            now = time.monotonic()
            item = content(made.json["id"])
            began = now - made.seconds
            device.history.writing(str(item), {TEXT: title}, began=began).acknowledged(now)
            # The rest of what is said of it is known when it has been read once.
            answer = await device.ask(CONTENT, "GET", item.path)
            if answer.status != 200:
                continue
            rest = {"rest": item.facts_of(answer.json)["rest"]}
            device.history.writing(str(item), rest, began=began).acknowledged(time.monotonic())
            written(item)
            tag: str | None = answer.headers["ETag"]
            for _ in range(_CHANGES):
                tag = await _put_metadata(device, item, names.new("text"), answer.json, tag)
                if tag is None:
                    break
                await device.read(item)
            if tag is not None:
                await _delete(device, item, tag)
                await device.read(item)

    return write


def old_content(names: Names, items: Iterable[Item]) -> Writer:
    """An author who changes content that was there before, deletes it, and restores some of it."""

    async def write(device: Device) -> None:
        restores = itertools.cycle((True, False))
        for item in _while_known(device, items):
            answer, facts = await device.read(item)
            if not facts:
                continue
            tag: str | None = answer.headers["ETag"]
            title = facts[TEXT]
            for _ in range(_CHANGES):
                title = names.new("text")
                tag = await _put_metadata(device, item, title, answer.json, tag)
                if tag is None:
                    break
            if tag is None or answer.json["status"] != "ready":
                continue
            if await _delete(device, item, tag):
                await device.read(item)
                if next(restores):
                    again = {TEXT: title, "rest": facts["rest"]}
                    path = item.path.removesuffix("/metadata") + "/restore"
                    await device.change(item, again, "POST", path)
            await device.read(item)

    return write


def heartbeats(names: Names, user: str, subject: str, written: Written) -> Writer:
    """A learner who plays courses and begins them again."""
    begun: deque[tuple[Item, int]] = deque()

    async def write(device: Device) -> None:
        while True:
            if len(begun) < _COURSES_OF_A_LEARNER:
                item, first = progress(subject, names.new("demo")), 1
                written(item)
            else:
                item, first = begun.popleft()
            for attempt in range(first, first + _ATTEMPTS_PER_COURSE):
                if not await _attempt(device, names, item, attempt, user):
                    break
                await device.read(item)
            else:
                begun.append((item, first + _ATTEMPTS_PER_COURSE))

    return write


def old_progress(names: Names, items: Iterable[Item]) -> Writer:
    """Goes on with what learners had begun before, and begins it again."""

    async def write(device: Device) -> None:
        for item in _while_known(device, items):
            _, facts = await device.read(item)
            if facts:
                await _attempt(device, names, item, int(facts["attempt"]), "staff")
                await device.read(item)

    return write


async def _attempt(device: Device, names: Names, item: Item, attempt: int, user: str) -> bool:
    """Record some updates in an attempt and begin the next one; whether all was answered."""
    for number in range(1, _UPDATES_PER_ATTEMPT + 1):
        content_id = f"demo-{number}"
        # No two updates stop at the same place, so that one is told from another.
        position = names.number()
        # A device sends no two updates of one moment.
        moment = datetime.now(UTC) + timedelta(milliseconds=number)
        body = {
            "occurredAt": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "deviceId": "demo",
            "attempt": attempt,
            "resume": {"contentId": content_id, "positionSeconds": position},
            "items": {content_id: {"completed": True, "fraction": 1}},
        }
        changes = {
            "attempt": str(attempt),
            "resume": f"{content_id} {float(position)}",
            **progress_of_content(content_id, completed=True, fraction=1, position=None),
        }
        if await device.change(item, changes, "PUT", item.path, user=user, body=body) is None:
            return False
        if number % 2:
            await device.read(item)
    path = f"{item.path}?attempt={attempt}"
    begun = {"attempt": str(attempt + 1)}
    answer = await device.change(item, begun, "DELETE", path, user=user, deletes=True)
    return answer is not None


def _while_known(device: Device, items: Iterable[Item]) -> Iterable[Item]:
    """One after the other, again and again, those whose last write was answered; the device's own
    pace holds it up, but where none is left there is nothing to do."""
    left = list(items)
    while left:
        left = [item for item in left if device.history.may_be_written(str(item))]
        yield from left


async def _patch(device: Device, item: Item, text: str, tag: str | None) -> str | None:
    """Its next tag; None where the change is not known to be done."""
    headers = {**_PATCH, "If-Match": str(tag)}
    body = {"shortDescription": text}
    answer = await device.change(item, {TEXT: text}, "PATCH", item.path, body=body, headers=headers)
    return None if answer is None else answer.headers["ETag"]


async def _put_metadata(
    device: Device, item: Item, title: str, before: Any, tag: str | None
) -> str | None:
    body = {
        "title": title,
        "position": before["position"],
        "durationSeconds": before["durationSeconds"],
    }
    headers = {"If-Match": str(tag)}
    answer = await device.change(item, {TEXT: title}, "PUT", item.path, body=body, headers=headers)
    return None if answer is None else answer.headers["ETag"]


async def _delete(device: Device, item: Item, tag: str | None) -> bool:
    path = item.path.removesuffix("/metadata")
    headers = {"If-Match": str(tag)}
    answer = await device.change(item, {}, "DELETE", path, headers=headers, deletes=True)
    return answer is not None
