"""The whole life of a course on the running platform: brought from Open edX by its author, learnt by
two learners whose devices come and go, changed by its author meanwhile.

Whatever is read, at whatever moment, is held against a plain model: the outline as the catalog
answered it to the author, what the learners' devices recorded, and the rules of the contract. While
an edit is on its way an answer may be of the outline before it, but of that one it is right.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.system.exchange import Answer, ask
from tests.system.learner_app import LearnerApp
from tests.system.platform_process import DEADLINE_SECONDS, ROOT, RunningPlatform, until

pytestmark = pytest.mark.timeout(500)

SAMPLE = ROOT / "deploy" / "course_import" / "samples" / "night-sky"
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
SHOWN = ("status", "percent", "completedCount", "totalCount", "completedAt",
         "newItemsSinceCompletion", "outlineVersion", "attempt")  # fmt: skip

Outline = list[dict[str, Any]]
"""Sections, as the catalog writes them."""


def at(minute: int) -> str:
    """So many minutes after the course began, as the API writes it."""
    moment = START + timedelta(minutes=minute)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def items_of(outline: Outline) -> dict[str, dict[str, Any]]:
    return {item["contentId"]: item for section in outline for item in section["items"]}


@dataclass
class Ledger:
    """What a learner is to be shown; knows no rows, no merge and nothing of the service's code."""

    completed: dict[str, int] = field(default_factory=dict)
    completed_at: int | None = None

    def record(self, content_id: str, minute: int) -> None:
        self.completed[content_id] = min(minute, self.completed.get(content_id, minute))

    def shown(self, outline: Outline, version: int) -> dict[str, Any]:
        """What an answer of this outline says; looking is what settles a completion."""
        items = items_of(outline)
        counted = {name for name, item in items.items() if item["required"]} or items.keys()
        done = counted & self.completed.keys()
        if done == counted:
            moment = max(self.completed[name] for name in counted)
            known = [] if self.completed_at is None else [self.completed_at]
            self.completed_at = min([moment, *known])
        whole = sum(Fraction(str(items[name]["weight"])) for name in counted)
        part = sum(Fraction(str(items[name]["weight"])) for name in done)
        new = None
        if self.completed_at is not None:
            old = {n for n, minute in self.completed.items() if minute <= self.completed_at}
            new = len(counted - old)
        return {
            "status": "in_progress" if self.completed_at is None else "completed",
            "percent": 100 if done == counted else min(99, int(100 * part / whole)),
            "completedCount": len(done),
            "totalCount": len(counted),
            "completedAt": None if self.completed_at is None else at(self.completed_at),
            "newItemsSinceCompletion": new,
            "outlineVersion": version,
            "attempt": 1,
        }


class Author:
    """Edits a published course by the catalog's API, as it was when she last saw it."""

    def __init__(self, platform: RunningPlatform, course_id: str) -> None:
        self._url = f"{platform.gateway}/courses/{course_id}"
        self._token = platform.document["users"]["author"]["accessToken"]
        self.etag = ""
        self.version = 0
        self.outlines: dict[int, Outline] = {}
        self._saw(ask(self._url, token=self._token))

    @property
    def outline(self) -> Outline:
        """The newest one; a copy, to be edited."""
        copy: Outline = json.loads(json.dumps(self.outlines[self.version]))
        return copy

    def patch(self, outline: Outline, *, etag: str | None = None) -> Answer:
        headers = {
            "If-Match": etag or self.etag,
            "Content-Type": "application/merge-patch+json",
        }
        return ask(
            self._url,
            method="PATCH",
            token=self._token,
            json_body={"outline": outline},
            headers=headers,
        )

    def edit(self, change: Callable[[Outline], None]) -> None:
        outline, before = self.outline, self.version
        change(outline)
        self._saw(self.patch(outline))
        assert self.version == before + 1

    def _saw(self, answer: Answer) -> None:
        assert answer.status == 200, answer.body
        assert answer.json["status"] == "published"
        self.etag = str(answer.headers["ETag"])
        self.version = answer.json["outlineVersion"]
        self.outlines[self.version] = answer.json["outline"]


class Learner:
    """A learner with any number of devices; everything that comes back is held against the ledger."""

    def __init__(self, platform: RunningPlatform, name: str, author: Author, course: str) -> None:
        token = platform.document["users"][name]["accessToken"]
        self._app = LearnerApp(platform.gateway, token)
        self._name = name
        self._author = author
        self._course = course
        self._seen_version = 0
        self.ledger = Ledger()

    def completes(self, minute: int, device: str, *content_ids: str) -> dict[str, Any]:
        """An update as a device keeps it while it is offline, and what it will come to."""
        for content_id in content_ids:
            self.ledger.record(content_id, minute)
        return {
            "occurredAt": at(minute),
            "deviceId": device,
            "resume": {"contentId": content_ids[-1], "positionSeconds": minute},
            "items": {content_id: {"completed": True} for content_id in content_ids},
        }

    def put(self, update: Mapping[str, Any]) -> dict[str, Any]:
        return self._app.record(self._course, update)

    def sync(self, *updates: Mapping[str, Any]) -> None:
        """One batch; its entries need not be in any order."""
        results = self._app.sync([{**update, "courseId": self._course} for update in updates])
        assert {result["status"] for result in results} <= {200, 201}
        assert len(results) == len(updates)

    def look(self) -> dict[str, Any]:
        """The course as a device is shown it now: right by the outline that the answer names."""
        found = self._app.progress(self._course)
        assert found is not None
        if (version := found["outlineVersion"]) is not None:
            assert version >= self._seen_version, "an older outline came back"
            self._seen_version = version
            self._is_right(found)
        return found

    def sees(self, version: int) -> dict[str, Any]:
        """What is shown once this outline has arrived; until then it is right by the one before."""
        until(
            lambda: self.look()["outlineVersion"] == version, f"outline {version} at {self._name}"
        )
        found = self.look()
        (listed,) = (one for one in self._app.my_courses() if one["courseId"] == self._course)
        self._is_right(listed)
        assert {name for name, item in found["items"].items() if item["completed"]} == set(
            self.ledger.completed
        )
        return found

    def _is_right(self, found: Mapping[str, Any]) -> None:
        version = found["outlineVersion"]
        expected = self.ledger.shown(self._author.outlines[version], version)
        assert {name: found[name] for name in SHOWN} == expected


def imported(platform: RunningPlatform, folder: Path) -> str:
    """The sample, as a course of this test's own, brought by the command. Gives its id."""
    export = folder / "night-sky"
    shutil.copytree(SAMPLE, export)
    pointer = export / "course.xml"
    pointer.write_text(pointer.read_text().replace("SKY101", "SKY301"))
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "deploy" / "course_import" / "olx.py"), str(export)),
            *("--token-from", "platform:author", "--state", str(platform.state), "--json"),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == "published"
    return str(report["courseId"])


def adding(content_id: str, weight: float) -> Callable[[Outline], None]:
    def add(outline: Outline) -> None:
        item = {"contentId": content_id, "title": "More", "type": "reading", "weight": weight}
        outline[-1]["items"].append(item)

    return add


def removing(*content_ids: str) -> Callable[[Outline], None]:
    def remove(outline: Outline) -> None:
        for section in outline:
            section["items"] = [i for i in section["items"] if i["contentId"] not in content_ids]

    return remove


def setting(content_id: str, **members: object) -> Callable[[Outline], None]:
    def edit(outline: Outline) -> None:
        items_of(outline)[content_id].update(members)

    return edit


def requiring_nothing(outline: Outline) -> None:
    for item in items_of(outline).values():
        item["required"] = False


def test_percentages_are_right_at_every_moment_of_a_course_s_life(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    course = imported(platform, tmp_path)
    author = Author(platform, course)
    ann = Learner(platform, "learner-a", author, course)
    ben = Learner(platform, "learner-b", author, course)
    random = Random(4)
    required = [name for name, item in items_of(author.outline).items() if item["required"]]
    optional = [name for name, item in items_of(author.outline).items() if not item["required"]]
    assert (len(required), len(optional)) == (14, 2)

    def both_see() -> tuple[dict[str, Any], dict[str, Any]]:
        return ann.sees(author.version), ben.sees(author.version)

    def edited(change: Callable[[Outline], None]) -> tuple[dict[str, Any], dict[str, Any]]:
        author.edit(change)
        return both_see()

    # Ann learns online on her phone, one after another; Ben's tablet comes back after a journey,
    # the newest first, and what is optional counts for neither.
    for minute, name in enumerate(required[:3], start=1):
        ann.put(ann.completes(minute, "phone", name))
        ann.look()
    ann.put(ann.completes(4, "phone", optional[0]))
    kept = [ben.completes(minute, "tablet", required[minute]) for minute in range(6)]
    ben.sync(*reversed(kept))
    first, other = both_see()
    assert (first["completedCount"], other["completedCount"]) == (3, 6)
    assert 0 < first["percent"] < other["percent"] < 100

    # Sent again, since the answer was lost: nothing changes, not even when it was last changed.
    random.shuffle(kept)
    ben.sync(*kept, kept[0])
    ben.put(kept[-1])
    assert ben.sees(author.version)["updatedAt"] == other["updatedAt"]

    # The author adds an item. Who has edited an older version is refused, and nobody sees it.
    before = author.etag
    edited(adding("more-1", 3))
    assert author.patch([], etag=before).status == 412
    both_see()

    # Late: Ann's laptop was offline before all that, and knows of earlier moments.
    laptop = [ann.completes(0, "laptop", required[2]), ann.completes(2, "laptop", *required[3:6])]
    ann.put(ann.completes(20, "phone", required[3]))
    ann.sync(*laptop)
    assert ann.look()["items"][required[3]]["completedAt"] == at(2)
    both_see()

    # Other weights, also of what was completed: some, next to none, and a great one.
    edited(setting(required[0], weight=0.3))
    edited(setting(required[1], weight=0.001))
    edited(setting(required[-1], weight=12.5))

    # Ben's two devices come back at once with all the rest, in any order, twice.
    rest = [name for name in (*required, "more-1") if name not in ben.ledger.completed]
    phone = [ben.completes(minute, "phone", name) for minute, name in enumerate(rest[::2], 30)]
    tablet = [ben.completes(minute, "tablet", name) for minute, name in enumerate(rest[1:], 33)]
    for queue in (phone, tablet):
        queue += queue[:3]
        random.shuffle(queue)
    with ThreadPoolExecutor(2) as network:
        list(network.map(lambda queue: ben.sync(*queue), (phone, tablet)))
    _, done = both_see()
    assert (done["percent"], done["status"], done["newItemsSinceCompletion"]) == (
        100,
        "completed",
        0,
    )
    completed_at = done["completedAt"]

    # It stays completed, whatever is added; of that there is something left to do.
    first, done = edited(adding("more-2", 2))
    assert (first["status"], done["status"]) == ("in_progress", "completed")
    assert done["percent"] < 100
    assert (done["completedAt"], done["newItemsSinceCompletion"]) == (completed_at, 1)

    # Ann is done but for two; the author takes one of them out and makes the other optional.
    left = (required[7], required[9])
    most = [n for n in (*required, "more-1", "more-2") if n not in (*left, *ann.ledger.completed)]
    ann.sync(ann.completes(60, "phone", *most[:4]), ann.completes(50, "laptop", *most[3:]))
    assert ann.sees(author.version)["status"] == "in_progress"
    first, _ = edited(setting(left[1], required=False))
    assert first["status"] == "in_progress"
    first, done = edited(removing(left[0]))
    assert (first["percent"], first["completedAt"]) == (100, at(60))
    assert done["completedAt"] == completed_at
    # Required again: it is left to do, and the completion is not undone.
    first, _ = edited(setting(left[1], required=True))
    assert (first["status"], first["newItemsSinceCompletion"]) == ("completed", 1)
    assert first["percent"] < 100

    # Something of next to no weight is all that is missing: not complete.
    edited(adding("feather", 0.001))
    ann.put(ann.completes(70, "phone", left[1]))
    first, _ = both_see()
    assert (first["percent"], first["completedCount"]) == (99, first["totalCount"] - 1)

    # Ben does what is new, on one device, and the other brings the same with an earlier moment.
    ben.put(ben.completes(80, "tablet", "more-2", "feather"))
    ben.sync(ben.completes(75, "phone", "more-2"), ben.completes(81, "phone", "feather"))
    _, done = both_see()
    assert (done["percent"], done["completedAt"]) == (100, completed_at)
    assert done["newItemsSinceCompletion"] == 2

    # What both had completed is taken out: no percent above 100, no completion undone.
    edited(removing(*required[:3], "more-1"))
    # Nothing is required any more: the course is all that it offers.
    first, done = edited(requiring_nothing)
    assert first["totalCount"] == len(items_of(author.outline))
    assert (first["status"], done["status"]) == ("completed", "completed")
