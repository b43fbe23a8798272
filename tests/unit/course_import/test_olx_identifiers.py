"""Ids, slugs and tags made of what Open edX calls things."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from deploy.course_import._identifiers import CourseKey, identifier

KEY = CourseKey("Org", "C1", "run")
NAMES = st.text(max_size=80) | st.text("abcdef0123456789-_", max_size=70)


@given(name=NAMES, org=st.text(min_size=1, max_size=40))
def test_ids_and_slugs_are_what_the_api_takes(name: str, org: str) -> None:
    key = CourseKey(org, name, "run")
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", identifier(key, "section", name))
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key.slug)
    assert len(key.slug) <= 100
    assert re.fullmatch(r"olx-[0-9a-f]{10}", key.tag)


@given(one=NAMES, other=NAMES)
def test_two_names_never_share_an_id(one: str, other: str) -> None:
    assert (identifier(KEY, "section", one) == identifier(KEY, "section", other)) == (one == other)


@given(name=NAMES)
def test_a_name_cannot_take_the_id_of_one_that_was_hashed(name: str) -> None:
    own = identifier(KEY, "section", name)
    taken = own.removeprefix(f"{KEY.digest}-section-")
    assert taken == name or identifier(KEY, "section", taken) != own


def test_names_of_studio_stay_readable() -> None:
    name = "30b3fbb840024953b2d4b2e700a53002"
    assert identifier(KEY, "section", name) == f"{KEY.digest}-section-{name}"


def test_ids_are_the_same_for_ever() -> None:
    assert identifier(KEY, "section", "week one") == "253d8c8777-section-week_one-edaf14a5dc9adf12"
    assert CourseKey("OpenedX", "DemoX", "DemoCourse").slug == "openedx-demox-democourse"


def test_parts_of_a_key_do_not_run_together() -> None:
    assert CourseKey("a", "bc", "d").digest != CourseKey("ab", "c", "d").digest


def test_a_slug_that_left_something_out_says_so() -> None:
    assert CourseKey("Universität", "C1", "r").slug == (
        f"universitat-c1-r-{CourseKey('Universität', 'C1', 'r').digest}"
    )
    assert CourseKey("大学", "数学", "春").slug == CourseKey("大学", "数学", "春").digest
