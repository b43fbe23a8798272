"""Clients that record progress while things fail, each noting what became of every update.

Owns what a device sends and what it concludes from the answer; whether that is right is `history`'s
business, and what fails is the caller's. Devices of one user write to the same course at the same
time, so their updates meet.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.load.answer import Answer, Asks
from libs.timestamps import format_timestamp
from services.progress_tracking.domain.progress import ItemUpdate, ProgressUpdate
from tests.load.history import Entry, History, Outcome, progress_of

# Far above what reading back takes once all is well again.
PATIENCE_SECONDS = 60.0

# As a player reports; and bounded, so that no outage makes a course grow without end.
PACE_SECONDS = 0.1
UPDATES_PER_DEVICE = 150
DEVICES = 3
# Contents that all devices write to; besides those, each update has one of its own.
_SHARED_CONTENTS = 5

# Long ago, so that a clock that jumps never puts an update into the future.
_START = timedelta(hours=12)


class Learner:
    """One user's devices in one course, and the history of what they sent."""

    def __init__(self, platform: Asks, course_id: str, *, user: str = "learner-a") -> None:
        """`platform` is asked where a device brings no connections of its own."""
        self.history = History(course_id)
        self.path = f"/progress/me/{course_id}"
        self._platform = platform
        self._user = user
        self._numbers: Iterator[int] = itertools.count(1)
        self._start = (datetime.now(UTC) - _START).replace(microsecond=0)

    async def write(
        self,
        device_id: str | None = None,
        *,
        service: str | None = None,
        through: Asks | None = None,
    ) -> Answer:
        """Send the next update from a device, which sends one at a time; None: from one of its own.

        Past the gateway to `service`, or through the device's own connections.
        """
        entry = self._sending(device_id)
        answer = await (through or self._platform).ask(
            "PUT", self.path, user=self._user, body=_document(entry.update), service=service
        )
        if answer.status in (200, 201):
            _acknowledge(entry, answer.json)
        elif 400 <= answer.status < 500:
            entry.outcome = Outcome.REFUSED
        return answer

    async def write_batch(self, device_id: str, *, updates: int, through: Asks) -> Answer:
        """Send the next updates from a device at once, as one does that was offline."""
        entries = [self._sending(device_id) for _ in range(updates)]
        course_id = self.history.course_id
        body = [{"courseId": course_id, **_document(entry.update)} for entry in entries]
        answer = await through.ask(
            "POST", "/progress/me/batch", user=self._user, body={"entries": body}
        )
        if answer.status == 200:
            for entry, result in zip(entries, answer.json["results"], strict=True):
                if result["status"] in (200, 201):
                    _acknowledge(entry, result.get("progress"))
                elif result["status"] < 500:
                    entry.outcome = Outcome.REFUSED
        elif 400 <= answer.status < 500:
            for entry in entries:
                entry.outcome = Outcome.REFUSED
        return answer

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Every device writes one update after the other until the block ends, or its bound."""
        stop = asyncio.Event()

        async def keep_writing(device_id: str) -> None:
            for _ in range(UPDATES_PER_DEVICE):
                if stop.is_set():
                    return
                await self.write(device_id)
                await asyncio.sleep(PACE_SECONDS)

        async with asyncio.TaskGroup() as group:
            for number in range(DEVICES):
                group.create_task(keep_writing(f"device-{number}"))
            try:
                yield
            finally:
                stop.set()

    async def problems(self) -> list[str]:
        """What is wrong with what is read back now; waits until it can be read."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await self._platform.ask("GET", self.path, user=self._user)
                if answer.status == 200:
                    return self.history.problems(progress_of(answer.json))
                if answer.status == 404:
                    return self.history.problems(None)
                await asyncio.sleep(PACE_SECONDS)

    def _sending(self, device_id: str | None) -> Entry:
        number = next(self._numbers)
        return self.history.sending(self._update(number, device_id or f"once-{number}"))

    def _update(self, number: int, device_id: str) -> ProgressUpdate:
        # A millisecond each: that is the precision that is kept, and every moment is another.
        moment = self._start + timedelta(milliseconds=2 * number)
        shared = f"shared-{number % _SHARED_CONTENTS}"
        return ProgressUpdate(
            occurred_at=moment,
            device_id=device_id,
            resume_content_id=shared,
            resume_position_seconds=float(number),
            items=(
                ItemUpdate(
                    shared,
                    moment,
                    completed=number % 7 == 0,
                    fraction=number * 37 % 100 / 100,
                    position_seconds=float(number),
                ),
                # Nothing else says this: if it is lost, no other update hides it.
                ItemUpdate(f"only-{number}", moment + timedelta(milliseconds=1), completed=True),
            ),
        )


def _acknowledge(entry: Entry, document: Mapping[str, Any] | None) -> None:
    entry.outcome = Outcome.ACKNOWLEDGED
    entry.answer = None if document is None else progress_of(document)


def _document(update: ProgressUpdate) -> dict[str, object]:
    items: dict[str, dict[str, object]] = {}
    for item in update.items:
        document: dict[str, object] = {"occurredAt": format_timestamp(item.occurred_at)}
        if item.completed:
            document["completed"] = True
        if item.fraction is not None:
            document["fraction"] = item.fraction
        if item.position_seconds is not None:
            document["positionSeconds"] = item.position_seconds
        items[item.content_id] = document
    return {
        "occurredAt": format_timestamp(update.occurred_at),
        "deviceId": update.device_id,
        "resume": {
            "contentId": update.resume_content_id,
            "positionSeconds": update.resume_position_seconds,
        },
        "items": items,
    }
