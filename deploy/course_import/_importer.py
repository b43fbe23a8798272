"""Brings a plan about: compares it with what the platform has, then sends what differs.

Owns the order, in which nothing is ever half-announced: a new course is a draft, which readers do not
see; its content is sent next; the outline follows when all of it is ready; then it is published. What
is there is found by what the services themselves know, so that no file of ours can be lost or wrong:
the course by a tag, its content by checksum. So a second run changes nothing, and a run that was
killed is gone on with by the next, from whatever machine.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from deploy.course_import._client import Client, Content, Course, to_base64
from deploy.course_import._http import ImportStoppedError, RefusedError
from deploy.course_import._plan import MAX_ITEMS, MAX_SECTIONS, Item, Plan

# What a request costs beside its bytes, so that a course of small pages has an ETA too.
REQUEST_BYTES = 64 << 10
AT_ONCE = 4

_MAX_CONFLICTS = 5
_MAX_TAGS = 20

_Result = TypeVar("_Result")


class Watcher(Protocol):
    """Who hears of the progress."""

    def doing(self, what: str) -> None:
        """Names what is being done."""

    def advance(self, count: int) -> None:
        """Counts bytes."""


@dataclass(frozen=True)
class Wishes:
    """What the person who imports decides."""

    publish: bool = True
    prune: bool = False
    course_id: str | None = None
    slug: str | None = None
    level: str | None = None


@dataclass
class ItemChange:
    """What there is of an item, and what has to be done."""

    item: Item
    position: int
    content: Content | None = None
    send: bool = True
    metadata: bool = False
    captions: dict[str, bytes] = field(default_factory=dict)
    drop_captions: tuple[str, ...] = ()

    @property
    def is_change(self) -> bool:
        """Whether anything has to be sent."""
        return self.send or self.metadata or bool(self.captions) or bool(self.drop_captions)

    @property
    def size(self) -> int:
        """What it counts in the progress."""
        if not self.is_change:
            return 0
        return REQUEST_BYTES + (self.item.body.size if self.send else 0)


@dataclass(frozen=True)
class Comparison:
    """A plan beside what the platform has."""

    course: Course | None
    changes: tuple[ItemChange, ...]
    fields: tuple[str, ...]
    publishes: bool
    unused: tuple[str, ...]

    @property
    def size(self) -> int:
        """The bytes that are to be sent, for the progress."""
        return sum(change.size for change in self.changes) + 2 * REQUEST_BYTES

    @property
    def nothing(self) -> bool:
        """Whether the platform has all of it already."""
        return (
            self.course is not None
            and not self.fields
            and not self.publishes
            and not any(change.is_change for change in self.changes)
        )

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "courseId": self.course.id if self.course else None,
            "createsCourse": self.course is None,
            "fields": list(self.fields),
            "sends": [change.item.key for change in self.changes if change.send],
            "resumes": [
                change.item.key for change in self.changes if change.send and change.content
            ],
            "updates": [
                change.item.key for change in self.changes if change.is_change and not change.send
            ],
            "unchanged": sum(not change.is_change for change in self.changes),
            "publishes": self.publishes,
            "unusedContent": list(self.unused),
        }


@dataclass(frozen=True)
class Outcome:
    """What was done."""

    course: Course
    comparison: Comparison
    pruned: tuple[str, ...] = ()

    def document(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "courseId": self.course.id,
            "slug": self.course.document["slug"],
            "status": self.course.status,
            "version": self.course.document["version"],
            "changed": not self.comparison.nothing or bool(self.pruned),
            "changes": self.comparison.document(),
            "pruned": list(self.pruned),
        }


def problems_of(plan: Plan) -> list[str]:
    """Why a plan can not be a course at all; empty where it can."""
    items = sum(1 for _ in plan.items())
    found = []
    if not items:
        found.append("nothing in it can be imported: see the report (--dry-run)")
    if items > MAX_ITEMS:
        found.append(f"it has {items} items; a course has at most {MAX_ITEMS}")
    if len(plan.sections) > MAX_SECTIONS:
        found.append(f"it has {len(plan.sections)} sections; a course has at most {MAX_SECTIONS}")
    return found


class Importer:
    """Compares and applies. Every method raises ImportStoppedError."""

    def __init__(self, client: Client, wishes: Wishes) -> None:
        self._client = client
        self._wishes = wishes
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def compare(self, plan: Plan) -> Comparison:
        """What differs. Reads only."""
        course = await self._find_course(plan)
        changes = [
            ItemChange(
                item, position, captions={track.language: track.body for track in item.captions}
            )
            for position, item in enumerate(plan.items())
        ]
        unused: tuple[str, ...] = ()
        fields = ["outline"]
        if course is not None:
            unused = await self._match(course, changes)
            known = [change.content for change in changes]
            fields = list(self._patch(plan, course, known))
        publishes = self._wishes.publish and (course is None or course.status == "draft")
        return Comparison(course, tuple(changes), tuple(fields), publishes, unused)

    async def apply(self, plan: Plan, comparison: Comparison, watcher: Watcher) -> Outcome:
        """Sends what differs."""
        course = comparison.course
        if course is None:
            watcher.doing("creating the course")
            course = await self._create(plan)
        watcher.advance(REQUEST_BYTES)
        contents = await self._all(
            [partial(self._bring, course.id, change, watcher) for change in comparison.changes]
        )
        watcher.doing("writing the outline")
        course = await self._edit(plan, course, contents)
        if self._wishes.publish and course.status == "draft":
            watcher.doing("publishing")
            course = await self._client.publish_course(course)
        watcher.advance(REQUEST_BYTES)
        pruned: tuple[str, ...] = ()
        if self._wishes.prune:
            watcher.doing("deleting what is no longer used")
            for content_id in comparison.unused:
                await self._client.delete(content_id)
            pruned = comparison.unused
        return Outcome(course, comparison, pruned)

    # The course

    async def _find_course(self, plan: Plan) -> Course | None:
        wanted = self._wishes.course_id
        if wanted is not None:
            course = await self._client.course(wanted)
            if course is None:
                raise ImportStoppedError(f"there is no course {wanted}")
            return course
        found = await self._client.courses_with_tag(plan.key.tag)
        if len(found) > 1:
            raise ImportStoppedError(
                f"{len(found)} courses carry the tag {plan.key.tag}: {', '.join(sorted(found))};"
                " --course names the one to update"
            )
        # The listing may lag behind: what it names may be gone.
        return await self._client.course(found[0]) if found else None

    async def _create(self, plan: Plan) -> Course:
        content = {
            "slug": self._wishes.slug or plan.slug,
            "title": plan.title,
            "description": plan.description,
            "shortDescription": plan.short_description,
            "language": plan.language,
            "level": plan.level,
            "tags": self._tags(plan, ()),
            "instructors": list(plan.instructors),
        }
        try:
            return await self._client.create_course(content)
        except RefusedError as error:
            if error.code == "slug_taken":
                if await self._client.courses_with_tag(plan.key.tag):
                    raise ImportStoppedError(
                        "the course was made by another run of this just now; run it again"
                    ) from error
                raise ImportStoppedError(
                    f"another course has the slug {content['slug']}: --slug gives this one another,"
                    " --course ID updates that one"
                ) from error
            raise

    async def _edit(self, plan: Plan, course: Course, contents: Sequence[Content]) -> Course:
        """Writes what differs of the course, on the version that was read.

        When another author was there first and changed something else, it is tried again on what
        they made; when they changed the same, it stops, because only a person knows who is right.
        """
        for _ in range(_MAX_CONFLICTS):
            patch = self._patch(plan, course, contents)
            if not patch:
                return course
            try:
                return await self._client.patch_course(course, patch)
            except RefusedError as error:
                if error.code != "precondition_failed":
                    raise
                theirs = {str(one.get("pointer", "")).split("/")[1:2][0] for one in error.errors}
                both = sorted(theirs & set(patch))
                if both:
                    raise ImportStoppedError(
                        f"another author changed {', '.join(both)} of the course while this ran;"
                        " look at it, then run this again to replace that by the export's"
                    ) from error
            read = await self._client.course(course.id)
            if read is None:
                raise ImportStoppedError("the course was deleted while this ran")
            course = read
        raise ImportStoppedError("the course is being changed again and again; run this later")

    def _patch(
        self, plan: Plan, course: Course, contents: Sequence[Content | None]
    ) -> dict[str, object]:
        """The members that differ from what they are to be.

        What the export says nothing about is the author's here and is left alone.
        """
        wanted: dict[str, object] = {
            "title": plan.title,
            "description": plan.description,
            "shortDescription": plan.short_description,
            "language": plan.language,
            "instructors": list(plan.instructors),
            "outline": _outline(plan, contents),
            "tags": self._tags(plan, course.document["tags"]),
        }
        if self._wishes.level is not None:
            wanted["level"] = self._wishes.level
        if self._wishes.slug is not None:
            wanted["slug"] = self._wishes.slug
        return {name: value for name, value in wanted.items() if course.document.get(name) != value}

    def _tags(self, plan: Plan, present: Iterable[str]) -> list[str]:
        """What is there, what was asked for, and the tag by which the course is found again."""
        tags = list(dict.fromkeys([*present, *plan.tags, plan.key.tag]))
        return [*tags[: _MAX_TAGS - 1], plan.key.tag] if len(tags) > _MAX_TAGS else tags

    # Its content

    async def _match(self, course: Course, changes: Sequence[ItemChange]) -> tuple[str, ...]:
        """Finds what is there of each item, by its checksum; gives the ids of what is left over."""
        summaries = await self._client.content_of(course.id)
        shapes = {(one.item.body.content_type, one.item.body.size) for one in changes}
        likely = [
            str(summary["id"])
            for summary in summaries
            if (summary["contentType"], summary["sizeBytes"]) in shapes
            and summary["status"] in ("ready", "pending")
        ]
        read = await self._all([partial(self._client.content, content_id) for content_id in likely])
        by_bytes: dict[tuple[str, str | None], list[Content]] = defaultdict(list)
        for content in read:
            # The listing may lag behind what the content itself says.
            if content is not None and content.status in ("ready", "pending"):
                kind = str(content.document["contentType"])
                by_bytes[kind, content.sha256].append(content)
        for same in by_bytes.values():
            # Ready before pending, then as they stand in the course.
            same.sort(key=lambda one: (one.status != "ready", one.document["position"], one.id))
        taken: set[str] = set()
        # Two items of the same bytes are told apart by their titles where these differ.
        for by_title in (True, False):
            for change in changes:
                if change.content is None:
                    body = change.item.body
                    for content in by_bytes[body.content_type, body.sha256]:
                        if content.id in taken:
                            continue
                        if not by_title or content.document["title"] == change.item.title:
                            taken.add(content.id)
                            change.content = content
                            break
        await self._all(
            [partial(self._look, change) for change in changes if change.content is not None]
        )
        # What still waits for its bytes may be another author's, at this moment.
        ready = {str(one["id"]) for one in summaries if one["status"] == "ready"}
        return tuple(sorted(ready - taken))

    async def _look(self, change: ItemChange) -> None:
        content, item = change.content, change.item
        assert content is not None
        change.send = content.status != "ready"
        change.metadata = any(
            content.document[name] != value
            for name, value in _metadata(item, change.position).items()
        )
        if change.send or not (item.captions or content.languages):
            return
        kept = await self._client.captions(content.id)
        change.captions = {
            track.language: track.body
            for track in item.captions
            if kept.get(track.language) != track.body
        }
        wanted = {track.language for track in item.captions}
        change.drop_captions = tuple(sorted(content.languages - wanted))

    async def _bring(self, course_id: str, change: ItemChange, watcher: Watcher) -> Content:
        item, content = change.item, change.content
        if content is not None and not change.is_change:
            return content
        watcher.doing(item.title)
        if content is None:
            new = {
                "courseId": course_id,
                "contentType": item.body.content_type,
                "sizeBytes": item.body.size,
                "checksumSha256": to_base64(item.body.sha256),
                **_metadata(item, change.position),
            }
            content_id, ticket = await self._client.announce(new)
        else:
            content_id, ticket = content.id, None
        if change.send:
            counter = _Counter(watcher.advance, item.body.size)
            await self._client.upload(content_id, item.body, counter.count, ticket=ticket)
            counter.finish()
        for language, track in change.captions.items():
            await self._client.put_caption(content_id, language, track)
        for language in change.drop_captions:
            await self._client.delete_caption(content_id, language)
        read = await self._client.content(content_id)
        if read is None:
            raise ImportStoppedError(f"content {content_id} was deleted while this ran")
        metadata = _metadata(item, change.position)
        if any(read.document[name] != value for name, value in metadata.items()):
            await self._client.replace_metadata(read, metadata)
        watcher.advance(REQUEST_BYTES)
        return read

    async def _all(self, work: Sequence[Callable[[], Awaitable[_Result]]]) -> list[_Result]:
        """The results, in order; a few at once. The first failure stops the others."""

        async def in_turn(one: Callable[[], Awaitable[_Result]]) -> _Result:
            async with self._turns:
                return await one()

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(in_turn(one)) for one in work]
        except* ImportStoppedError as stopped:
            raise _first(stopped) from None
        return [task.result() for task in tasks]


class _Counter:
    """Counts an upload exactly once, whatever an earlier run has sent or was sent twice."""

    def __init__(self, advance: Callable[[int], None], size: int) -> None:
        self._advance = advance
        self._left = size

    def count(self, count: int) -> None:
        """Some bytes were sent, or have to be sent again (negative)."""
        count = min(count, self._left)
        self._left -= count
        self._advance(count)

    def finish(self) -> None:
        """All of it is there."""
        self._advance(self._left)
        self._left = 0


def _metadata(item: Item, position: int) -> dict[str, object]:
    return {
        "title": item.title,
        "position": position,
        "durationSeconds": item.duration_seconds,
    }


def _outline(plan: Plan, contents: Sequence[Content | None]) -> list[dict[str, object]]:
    ids = iter([content.id if content else "" for content in contents])
    return [
        {
            "id": section.id,
            "title": section.title,
            "items": [
                {
                    "contentId": next(ids),
                    "title": item.title,
                    "type": item.type,
                    "durationSeconds": item.duration_seconds,
                    "required": item.required,
                    "weight": item.weight,
                }
                for item in section.items
            ],
        }
        for section in plan.sections
    ]


def _first(group: BaseExceptionGroup[ImportStoppedError]) -> ImportStoppedError:
    for one in group.exceptions:
        return _first(one) if isinstance(one, BaseExceptionGroup) else one
    raise AssertionError("a group is never empty")
