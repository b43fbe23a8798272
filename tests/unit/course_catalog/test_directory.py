"""The directory: filters, orders, words and paging, against a plain model of the same rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.course_catalog.domain.course import Course, Level, Status, Summary
from services.course_catalog.domain.directory import Directory, Query, Sort, SortKey
from services.course_catalog.domain.search import fold, query_words, words
from tests.unit.course_catalog.courses import draft, instant, published


def render(summary: Summary) -> bytes:
    return summary.id.encode()


def directory_of(courses: Sequence[Course]) -> Directory:
    directory = Directory(render)
    for course in courses:
        directory.apply(course.summary())
    return directory


def found(directory: Directory, query: Query, limit: int = 100) -> list[str]:
    """The ids of every page, one after the other."""
    ids: list[str] = []
    after: SortKey | None = None
    while True:
        page = directory.page(query, limit=limit, after=after)
        assert len(page.items) <= limit
        ids += [item.decode() for item in page.items]
        after = page.resume_after
        if after is None:
            return ids
        assert len(page.items) == limit


OCEAN = published(1, at=1, title="Éléments of the Ocean", tags=("Water", "physics"), language="fr")
SOIL = published(2, at=2, title="soil", tags=("earth",), language="en-GB", level=Level.ADVANCED)
CODE = published(
    3, at=3, title="C++ 入門", tags=("coding",), short_description="Éducation.", language="ja"
)
DRAFT = draft(4, at=4, title="Unready", tags=("water",))
OLD = published(5, at=0, title="Bygone").archived(now=instant(9))
SAMPLES = [OCEAN, SOIL, CODE, DRAFT, OLD]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), ["crs-3", "crs-2", "crs-1"]),
        (Query(sort=Sort.OLDEST), ["crs-1", "crs-2", "crs-3"]),
        (Query(sort=Sort.TITLE), ["crs-3", "crs-1", "crs-2"]),
        (Query(sort=Sort.TITLE_DESCENDING), ["crs-2", "crs-1", "crs-3"]),
        (Query(sort=Sort.LEAST_RECENTLY_UPDATED), ["crs-1", "crs-2", "crs-3"]),
        (Query(status=Status.DRAFT), ["crs-4"]),
        (Query(status=Status.ARCHIVED), ["crs-5"]),
        (Query(level=Level.ADVANCED), ["crs-2"]),
        (Query(language="en"), ["crs-2"]),
        (Query(language="en-gb"), ["crs-2"]),
        (Query(language="en-US"), []),
        (Query(language="e"), []),
        (Query(tag="WATER"), ["crs-1"]),
        (Query(tag="wat"), []),
        (Query(tag="water", status=Status.DRAFT), ["crs-4"]),
        (Query(tag="water", level=Level.ADVANCED), []),
        (Query(q="elements"), ["crs-1"]),
        (Query(q="ELÉM ocean"), ["crs-1"]),
        (Query(q="ocean soil"), []),
        (Query(q="phys"), ["crs-1"]),
        (Query(q="ph"), []),
        (Query(q="c++"), ["crs-3"]),
        (Query(q="c"), []),
        (Query(q="入門"), ["crs-3"]),
        (Query(q="門"), ["crs-3"]),
        (Query(q="門入"), []),
        (Query(q="education"), ["crs-3"]),
        (Query(q="?!"), []),
        (Query(q="course"), ["crs-3", "crs-2", "crs-1"]),
        (Query(q="lines soil"), ["crs-2"]),  # its description, and what is shown of it
        (Query(ids=frozenset({"crs-1", "crs-4", "nobody"})), ["crs-1"]),
        (Query(ids=frozenset({"crs-1", "crs-2"}), q="soil"), ["crs-2"]),
        (Query(ids=frozenset()), []),
        (Query(updated_since=instant(2.001)), ["crs-3", "crs-2"]),
        (Query(updated_since=instant(2.001001)), ["crs-3"]),
        (Query(updated_since=instant(-1e9)), ["crs-3", "crs-2", "crs-1"]),
        (Query(updated_since=instant(1e9)), []),
    ],
)
def test_what_is_found_in_which_order(query: Query, expected: list[str]) -> None:
    assert found(directory_of(SAMPLES), query) == expected
    assert found(directory_of(SAMPLES), query, limit=1) == expected


def test_the_last_full_page_says_that_nothing_follows() -> None:
    page = directory_of(SAMPLES).page(Query(), limit=3)
    assert (len(page.items), page.resume_after) == (3, None)


def test_changes_come_in_any_order_and_number() -> None:
    first = draft(1)
    second = first.published(now=instant(1))
    third = second.archived(now=instant(2))
    directory = Directory(render)
    assert directory.apply(second.summary())
    assert not directory.apply(first.summary())
    assert not directory.apply(second.summary())
    assert found(directory, Query()) == ["crs-1"]
    assert directory.apply(third.summary())
    assert not directory.apply(second.summary())
    assert found(directory, Query()) == []
    assert directory.status("crs-1") is Status.ARCHIVED


def test_a_tombstone_removes_and_an_unknown_one_is_no_news() -> None:
    course = draft(1)
    directory = directory_of([course])
    tombstone = course.deleted(now=instant(1))
    assert directory.apply(tombstone)
    assert not directory.apply(tombstone)
    assert (len(directory), directory.status("crs-1")) == (0, None)
    assert found(directory, Query(status=Status.DRAFT)) == []


def test_every_change_of_what_could_be_shown_is_another_revision() -> None:
    courses = [draft(n) for n in range(3)]
    directory = directory_of(courses)
    tombstone = courses[0].deleted(now=instant(9))
    loaded = directory.revision
    directory.apply(tombstone)
    deleted = directory.revision
    directory.retain({"crs-1"})
    retained = directory.revision
    assert len({loaded, deleted, retained}) == 3
    directory.apply(tombstone)
    directory.retain({"crs-1"})
    for _ in directory.settle():
        pass
    assert directory.revision == retained


def test_only_what_is_listed_is_retained() -> None:
    directory = directory_of(SAMPLES)
    assert directory.retain({"crs-2", "crs-5"}) == 3
    assert found(directory, Query()) == ["crs-2"]
    assert directory.retain({"crs-2", "crs-5"}) == 0


def test_a_place_survives_the_course_that_marked_it() -> None:
    courses = [published(n, at=n) for n in range(6)]
    directory = directory_of(courses)
    page = directory.page(Query(sort=Sort.OLDEST), limit=3)
    assert [item.decode() for item in page.items] == ["crs-0", "crs-1", "crs-2"]
    directory.apply(courses[2].archived(now=instant(100)).summary())
    page = directory.page(Query(sort=Sort.OLDEST), limit=3, after=page.resume_after)
    assert [item.decode() for item in page.items] == ["crs-3", "crs-4", "crs-5"]


def test_long_titles_share_a_key_and_are_told_apart_by_id() -> None:
    courses = [published(n, at=n, title="x" * 200) for n in range(5)]
    assert found(directory_of(courses), Query(sort=Sort.TITLE), limit=2) == [
        f"crs-{n}" for n in range(5)
    ]


# --- against a model --------------------------------------------------------------------------

TITLES = ["Ocean", "ocean", "Öcean life", "Soil", "soil life", "入門", "C++", ""]
TAGS = ["water", "Wäter", "earth", "coding"]


@st.composite
def summaries(draw: st.DrawFn) -> Summary:
    number = draw(st.integers(0, 40))
    status = draw(st.sampled_from(Status))
    created = instant(draw(st.integers(0, 5)))
    updated = created + timedelta(milliseconds=draw(st.integers(0, 5000)))
    return replace(
        draft(number).summary(),
        title=draw(st.sampled_from(TITLES)),
        short_description=draw(st.sampled_from(["life in water", "nothing"])),
        tags=tuple(draw(st.lists(st.sampled_from(TAGS), max_size=2, unique=True))),
        language=draw(st.sampled_from(["en", "en-GB", "fr"])),
        level=draw(st.sampled_from(Level)),
        status=status,
        version=draw(st.integers(1, 5)),
        created_at=created,
        updated_at=updated,
        published_at=None if status is Status.DRAFT else created,
    )


queries = st.builds(
    Query,
    status=st.sampled_from(Status),
    q=st.none() | st.sampled_from(["ocean", "OCE", "life water", "入", "c++", "so", "!"]),
    tag=st.none() | st.sampled_from(TAGS),
    level=st.none() | st.sampled_from(Level),
    language=st.none() | st.sampled_from(["en", "EN-gb", "fr"]),
    updated_since=st.none() | st.integers(0, 8).map(instant),
    ids=st.none() | st.frozensets(st.integers(0, 40).map(lambda n: f"crs-{n}"), max_size=20),
    sort=st.sampled_from(Sort),
)


def model(known: dict[str, Summary], query: Query) -> list[str]:
    """The same question answered by going through everything."""

    def has_word(text: frozenset[str], word: str) -> bool:
        longer = len(word) >= 3 and any(other.startswith(word) for other in text)
        return word in text or longer

    def matches(summary: Summary) -> bool:
        text = words(" ".join([summary.title, summary.short_description, *summary.tags]))
        wanted = None if query.q is None else query_words(query.q)
        language = summary.language.lower()
        asked = None if query.language is None else query.language.lower()
        return (
            summary.status is query.status
            and (wanted is None or (bool(wanted) and all(has_word(text, w) for w in wanted)))
            and (query.tag is None or fold(query.tag) in map(fold, summary.tags))
            and (query.level is None or summary.level is query.level)
            and (asked is None or language == asked or language.startswith(asked + "-"))
            and (query.updated_since is None or summary.updated_at >= query.updated_since)
            and (query.ids is None or summary.id in query.ids)
        )

    def key(summary: Summary) -> tuple[object, str]:
        keys: dict[str, object] = {
            "publishedAt": summary.published_at or summary.created_at,
            "updatedAt": summary.updated_at,
            "title": fold(summary.title)[:64],
        }
        return keys[query.sort.field], summary.id

    chosen = [summary for summary in known.values() if matches(summary)]
    chosen.sort(key=key, reverse=query.sort.descending)
    return [summary.id for summary in chosen]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(summaries() | st.none(), max_size=60),
    st.lists(queries, min_size=1, max_size=6),
    st.sampled_from([1, 3, 1500]),
    st.sampled_from([1, 4, 4096]),
)
def test_the_directory_answers_like_the_model(
    changes: list[Summary | None], asked: list[Query], few: int, common: int
) -> None:
    """None among the changes asks a question there, so that orders are settled in between; low
    thresholds lead through every way in which a page can be found."""
    directory = Directory(render, few=few, common=common)
    known: dict[str, Summary] = {}
    for change in changes:
        if change is None:
            for _ in directory.settle():
                pass
            assert found(directory, asked[0], limit=7) == model(known, asked[0])
            continue
        news = change.id not in known or change.version > known[change.id].version
        before = directory.revision
        assert directory.apply(change) == news
        assert (directory.revision != before) == news
        if news:
            known[change.id] = change
    for query in asked:
        assert found(directory, query, limit=3) == model(known, query)
    assert len(directory) == len(known)


# --- paging while courses change --------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_paging_while_courses_change_repeats_none_and_skips_none(data: st.DataObject) -> None:
    """By publication, with every kind of change between two pages."""
    courses = {n: published(n, at=data.draw(st.integers(0, 5))) for n in range(20)}
    directory = directory_of(list(courses.values()))
    query = Query(sort=data.draw(st.sampled_from([Sort.OLDEST, Sort.NEWEST])))
    throughout = {course.id for course in courses.values()}
    seen: list[str] = []
    after: SortKey | None = None
    clock = 100
    while True:
        page = directory.page(query, limit=data.draw(st.integers(1, 5)), after=after)
        seen += [item.decode() for item in page.items]
        after = page.resume_after
        if after is None:
            break
        for _ in range(data.draw(st.integers(0, 4))):
            clock += 1
            number = data.draw(st.integers(0, 25))
            course = courses.get(number)
            if course is None:
                changed = published(number, at=data.draw(st.integers(0, 200)))
            elif course.status is Status.PUBLISHED and data.draw(st.booleans()):
                changed = course.archived(now=instant(clock))
                throughout.discard(course.id)
            elif course.status is Status.PUBLISHED:
                changed = course.edited(replace(course, title=f"T{clock}"), now=instant(clock))
            else:
                changed = course.published(now=instant(clock))
            courses[number] = changed
            directory.apply(changed.summary())
    assert len(seen) == len(set(seen))
    assert throughout <= set(seen)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_synchronising_by_update_never_misses_a_change(data: st.DataObject) -> None:
    """By updatedAt a course that changes comes again, in its last version."""
    courses = {n: published(n, at=n) for n in range(12)}
    directory = Directory(lambda summary: f"{summary.id} {summary.version}".encode())
    for course in courses.values():
        directory.apply(course.summary())
    query = Query(sort=Sort.LEAST_RECENTLY_UPDATED)
    copied: dict[str, str] = {}
    after: SortKey | None = None
    changes_left, clock = 10, 100
    while True:
        page = directory.page(query, limit=3, after=after)
        for item in page.items:
            course_id, version = item.decode().split()
            copied[course_id] = version
        after = page.resume_after
        if after is None:
            break
        for _ in range(min(changes_left, data.draw(st.integers(0, 3)))):
            changes_left, clock = changes_left - 1, clock + 1
            number = data.draw(st.integers(0, 11))
            courses[number] = courses[number].edited(courses[number], now=instant(clock))
            directory.apply(courses[number].summary())
    assert copied == {course.id: str(course.version) for course in courses.values()}
