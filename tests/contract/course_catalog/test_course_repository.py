"""What every CourseRepository promises, on the in-memory twin, MiniStack and moto alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from services.course_catalog.domain.course import (
    Course,
    ItemType,
    Level,
    OutlineItem,
    Section,
    Status,
    Summary,
    Tombstone,
)
from services.course_catalog.domain.errors import (
    CourseExistsError,
    CourseTooLargeError,
    SlugTakenError,
    VersionConflictError,
)
from services.course_catalog.domain.repository import UNCHANGED, CourseRepository
from tests.unit.course_catalog.courses import content, draft, instant, published


async def listed(repository: CourseRepository, status: Status) -> dict[str, Summary]:
    batches = [batch async for batch in repository.listing(status)]
    found = [summary for batch in batches for summary in batch]
    assert len({summary.id for summary in found}) == len(found)
    return {summary.id: summary for summary in found}


async def changed(repository: CourseRepository, since: float) -> dict[str, Summary | Tombstone]:
    batches = [batch async for batch in repository.changes(instant(since))]
    return {change.id: change for batch in batches for change in batch}


async def test_what_was_never_written_is_not_there(repository: CourseRepository) -> None:
    assert await repository.get("crs-1") is None
    assert await listed(repository, Status.PUBLISHED) == {}
    assert await changed(repository, 0) == {}


async def test_a_course_comes_back_exactly_as_it_was_written(repository: CourseRepository) -> None:
    course = draft(
        1,
        title="Ökologie für alle — 入門 🌍",
        description="a" * 50_000,
        language="de-CH",
        level=Level.ADVANCED,
        tags=(),
        instructors=(),
        outline=(
            Section(
                "s",
                "S",
                tuple(
                    OutlineItem(f"i{n}", "T", kind, n or None, n % 2 == 0, n + 0.25)
                    for n, kind in enumerate(ItemType)
                ),
            ),
            Section("t", "T", (OutlineItem("last", "L", ItemType.QUIZ, 0, True, 1),)),
        ),
    )
    await repository.create(course)
    assert await repository.get(course.id) == course
    archived = course.published(now=instant(10.001)).archived(now=instant(20.999))
    await repository.replace(archived, previous=course)
    assert await repository.get(course.id) == archived
    edited = archived.edited(content(1, short_description="New", tags=()), now=instant(30))
    await repository.replace(edited, previous=archived)
    assert await repository.get(course.id) == edited
    assert edited.changed_in["short_description"] == 4


async def test_a_course_that_is_known_is_read_when_it_has_changed(
    repository: CourseRepository,
) -> None:
    first = published(1)
    await repository.create(first)
    assert await repository.get_newer(first.id, first.version) is UNCHANGED
    assert await repository.get_newer(first.id, 0) == first
    second = first.edited(content(1, title="Another"), now=instant(9))
    await repository.replace(second, previous=first)
    assert await repository.get_newer(first.id, first.version) == second
    assert await repository.get_newer(first.id, second.version) is UNCHANGED
    assert await repository.get_newer("crs-none", 1) is None


async def test_an_id_is_created_once(repository: CourseRepository) -> None:
    await repository.create(draft(1))
    with pytest.raises(CourseExistsError):
        await repository.create(draft(1, slug="another"))
    await repository.create(draft(2, slug="another"))


async def test_a_slug_belongs_to_one_course(repository: CourseRepository) -> None:
    await repository.create(draft(1, slug="taken"))
    with pytest.raises(SlugTakenError):
        await repository.create(draft(2, slug="taken"))
    assert await repository.get("crs-2") is None


async def test_a_changed_slug_takes_the_new_and_frees_the_old(
    repository: CourseRepository,
) -> None:
    first, second = draft(1, slug="one"), draft(2, slug="two")
    await repository.create(first)
    await repository.create(second)
    with pytest.raises(SlugTakenError):
        await repository.replace(
            first.edited(content(1, slug="two"), now=instant(1)), previous=first
        )
    assert await repository.get("crs-1") == first
    moved = first.edited(content(1, slug="three"), now=instant(2))
    await repository.replace(moved, previous=first)
    assert await repository.get("crs-1") == moved
    await repository.create(draft(3, slug="one"))


async def test_a_change_is_refused_when_its_base_is_no_longer_there(
    repository: CourseRepository,
) -> None:
    first = draft(1)
    second = first.edited(content(1, title="Second"), now=instant(1))
    await repository.create(first)
    await repository.replace(second, previous=first)
    late = first.edited(content(1, title="Late"), now=instant(2))
    late_with_slug = first.edited(content(1, slug="late"), now=instant(2))
    for refused in (late, late_with_slug):
        with pytest.raises(VersionConflictError):
            await repository.replace(refused, previous=first)
    with pytest.raises(VersionConflictError):
        await repository.delete(first.deleted(now=instant(2)), previous=first)
    assert await repository.get("crs-1") == second
    await repository.create(draft(2, slug="late"))


async def test_a_course_that_is_not_there_cannot_be_changed(repository: CourseRepository) -> None:
    ghost = draft(1)
    with pytest.raises(VersionConflictError):
        await repository.replace(ghost.published(now=instant(1)), previous=ghost)
    with pytest.raises(VersionConflictError):
        await repository.delete(ghost.deleted(now=instant(1)), previous=ghost)
    assert await repository.get("crs-1") is None


@pytest.mark.parametrize("slug", ["course-1", "moved"])
async def test_the_same_change_sent_twice_is_made_once(
    repository: CourseRepository, slug: str
) -> None:
    """As an SDK does that lost the first answer."""
    first = draft(1)
    second = first.edited(content(1, slug=slug, title="Second"), now=instant(1))
    await repository.create(first)
    await repository.replace(second, previous=first)
    await repository.replace(second, previous=first)
    assert await repository.get("crs-1") == second


async def test_of_concurrent_writers_exactly_one_succeeds(repository: CourseRepository) -> None:
    first = draft(1)
    await repository.create(first)
    changes = [first.edited(content(1, title=f"T{n}"), now=instant(1 + n)) for n in range(6)]
    results = await asyncio.gather(
        *(repository.replace(change, previous=first) for change in changes), return_exceptions=True
    )
    assert [type(result) for result in results if result is not None] == [VersionConflictError] * 5
    winner = changes[[result is None for result in results].index(True)]
    assert await repository.get("crs-1") == winner


async def test_of_concurrent_claims_to_a_slug_exactly_one_succeeds(
    repository: CourseRepository,
) -> None:
    results = await asyncio.gather(
        *(repository.create(draft(n, slug="wanted")) for n in range(6)), return_exceptions=True
    )
    assert [type(result) for result in results if result is not None] == [SlugTakenError] * 5


async def test_a_deleted_draft_is_gone_frees_its_slug_and_can_be_learnt_of(
    repository: CourseRepository,
) -> None:
    course = draft(1, slug="free")
    await repository.create(course)
    tombstone = course.deleted(now=instant(5))
    await repository.delete(tombstone, previous=course)
    assert await repository.get("crs-1") is None
    assert await repository.get_newer("crs-1", tombstone.version) is None
    assert await listed(repository, Status.DRAFT) == {}
    assert await changed(repository, 5) == {"crs-1": tombstone}
    await repository.create(draft(2, slug="free"))
    with pytest.raises(VersionConflictError):
        await repository.delete(tombstone, previous=course)
    with pytest.raises(VersionConflictError):
        await repository.replace(course.published(now=instant(6)), previous=course)


async def test_the_id_of_a_deleted_course_is_not_given_again(repository: CourseRepository) -> None:
    course = draft(1)
    await repository.create(course)
    await repository.delete(course.deleted(now=instant(1)), previous=course)
    with pytest.raises(CourseExistsError):
        await repository.create(draft(1, slug="again"))


async def test_listings_are_by_status_and_show_the_last_version(
    repository: CourseRepository,
) -> None:
    courses = {n: draft(n) for n in range(30)}
    for course in courses.values():
        await repository.create(course)
    for n in range(20):
        courses[n] = await _put(repository, courses[n].published(now=instant(n)), courses[n])
    for n in range(10):
        courses[n] = await _put(repository, courses[n].archived(now=instant(n)), courses[n])
    expected = {
        Status.ARCHIVED: range(10),
        Status.PUBLISHED: range(10, 20),
        Status.DRAFT: range(20, 30),
    }
    for status, numbers in expected.items():
        found = await listed(repository, status)
        assert found == {courses[n].id: courses[n].summary() for n in numbers}


async def test_changes_are_what_was_last_written_since(repository: CourseRepository) -> None:
    early, late = draft(1, at=0), draft(2, at=100)
    await repository.create(early)
    await repository.create(late)
    assert set(await changed(repository, 0)) == {"crs-1", "crs-2"}
    assert await changed(repository, 100) == {"crs-2": late.summary()}
    assert await changed(repository, 100.001) == {}
    again = await _put(repository, early.published(now=instant(200)), early)
    assert await changed(repository, 100.001) == {"crs-1": again.summary()}
    gone = await _put(repository, again.archived(now=instant(300)), again)
    assert await changed(repository, 250) == {"crs-1": gone.summary()}


async def test_a_course_beyond_the_items_size_is_refused_and_nothing_is_written(
    repository: CourseRepository,
) -> None:
    def with_items(count: int) -> tuple[Section, ...]:
        items = (OutlineItem(f"i{n}", "é" * 200, ItemType.READING) for n in range(count))
        return (Section("s", "S", tuple(items)),)

    long = "🌍" * 50_000
    large = draft(1, outline=with_items(500), description=long)
    with pytest.raises(CourseTooLargeError, match="at most 409600") as refused:
        await repository.create(large)
    assert refused.value.pointer == "/outline/0/items"
    assert await repository.get("crs-1") is None
    small = draft(1)
    await repository.create(small)
    with pytest.raises(CourseTooLargeError):
        await repository.replace(replace(large, version=2, updated_at=instant(1)), previous=small)
    assert await repository.get("crs-1") == small
    most = draft(2, outline=with_items(420), description=long)
    await repository.create(most)
    assert await repository.get("crs-2") == most


async def test_a_published_course_keeps_its_first_publication(
    repository: CourseRepository,
) -> None:
    course = published(1, at=5)
    await repository.create(course)
    archived = await _put(repository, course.archived(now=instant(10)), course)
    await _put(repository, archived.published(now=instant(20)), archived)
    found = await repository.get("crs-1")
    assert found is not None
    assert (found.published_at, found.version) == (course.published_at, 4)


async def _put(repository: CourseRepository, course: Course, previous: Course) -> Course:
    await repository.replace(course, previous=previous)
    return course
