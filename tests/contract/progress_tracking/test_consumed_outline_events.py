"""Progress' side of the catalog's events.yaml: it reads all that the contract allows, and needs
nothing that the contract does not promise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.replay._events import outline_event
from libs.aws import marshal
from services.course_catalog.api.schemas import render_course
from services.course_catalog.storage.items import outline_item
from services.progress_tracking.consumer.events import UnreadableEventError, read_event
from services.progress_tracking.domain.outline import Outline, OutlineItem
from tests.contract.event_contracts import examples, violations, without_each_member
from tests.unit.course_catalog.courses import content, instant, published

TIDES = Outline(
    "tides", 3, (OutlineItem("tides-video", True, 1.0), OutlineItem("tides-quiz", False, 2.5))
)

identifiers = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
outlines = st.builds(
    Outline,
    identifiers,
    st.integers(1, 10**15 - 1),
    st.lists(
        st.builds(
            OutlineItem, identifiers, st.booleans(), st.floats(0.001, 1000).map(lambda n: n + 0.0)
        ),
        max_size=8,
    ).map(tuple),
)


def record(outline: Outline, **more: object) -> dict[str, Any]:
    key = {"courseId": f"outline#{outline.course_id}"}
    image = {
        **key,
        "outlineVersion": outline.version,
        "updatedAt": "2026-03-01T10:00:00.000Z",
        "items": [
            {"contentId": item.content_id, "required": item.required, "weight": item.weight}
            for item in outline.items
        ],
        **more,
    }
    return {
        "eventName": "MODIFY",
        "eventSource": "aws:dynamodb",
        "dynamodb": {"Keys": marshal(key), "NewImage": marshal(image)},
    }


@pytest.mark.parametrize("name", examples())
def test_the_examples_of_the_contract_are_understood(name: str) -> None:
    event = read_event(json.dumps(examples()[name]))
    assert event is not None
    assert event.outline == TIDES
    traced = "traceHeader" in examples()[name]["dynamodb"]["NewImage"]
    assert (event.trace_header is not None) is traced


@pytest.mark.parametrize("name", examples())
def test_whatever_the_consumer_needs_the_contract_promises(name: str) -> None:
    """Without a member that the contract requires an event is refused on both sides or needed by
    nobody here; without any other it is understood as before."""
    needed = 0
    for path, payload in without_each_member(examples()[name]):
        try:
            event = read_event(json.dumps(payload))
        except UnreadableEventError:
            needed += 1
            assert violations(payload), f"{path} is needed, and not promised"
        else:
            assert event is not None, path
            assert event.outline.course_id == TIDES.course_id
    assert needed >= 10


@given(outlines, st.dictionaries(st.sampled_from(["added", "later"]), st.text(), max_size=2))
@settings(deadline=None)
def test_every_event_of_the_contract_is_understood(
    outline: Outline, unknown: Mapping[str, str]
) -> None:
    """Also with fields that were added after this consumer was built."""
    message = record(outline, **unknown)
    assert violations(message) == []
    event = read_event(json.dumps(message))
    assert event is not None
    assert event.outline == outline


def test_what_the_catalog_writes_is_what_progress_reads() -> None:
    course = published(7).edited(content(7, title="New"), now=instant(1))
    image = outline_item(course, trace_header=None)
    message = {
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": {"Keys": {"courseId": image["courseId"]}, "NewImage": image},
    }
    event = read_event(json.dumps(message))
    assert event is not None
    assert event.outline == Outline(
        course.id,
        course.outline_version,
        tuple(OutlineItem(one.content_id, one.required, one.weight) for one in course.items()),
    )


def test_the_replay_of_a_course_is_the_same_event() -> None:
    """From the public API's document, which is all that the replay sees."""
    course = published(8)
    replayed = outline_event(json.loads(render_course(course)))
    assert violations(json.loads(replayed)) == []
    event = read_event(replayed)
    image = outline_item(course, trace_header=None)
    assert event is not None
    assert json.loads(replayed)["dynamodb"]["NewImage"] == json.loads(json.dumps(image))
