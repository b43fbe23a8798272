"""What a message may be, and what it is then; nothing that anybody sends breaks the reading."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.progress_tracking.consumer.events import (
    OutlineChanged,
    UnreadableEventError,
    read_event,
)
from tests.unit.progress_tracking.simulated_queue import course_row, event, outline

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def changed(**image: object) -> str:
    """The event with other attribute values in its image; None takes one away."""
    record = json.loads(event("tides", 2))
    for name, value in image.items():
        record["dynamodb"]["NewImage"][name] = value
        if value is None:
            del record["dynamodb"]["NewImage"][name]
    return json.dumps(record)


def item(**members: object) -> dict[str, Any]:
    values = {"contentId": {"S": "a"}, "required": {"BOOL": True}, "weight": {"N": "1"}}
    return {"L": [{"M": {**values, **members}}]}


def test_an_event() -> None:
    assert read_event(event("tides", 2)) == OutlineChanged(outline("tides", 2), None)
    traced = read_event(event("tides", 2, trace_header=TRACE))
    assert traced is not None
    assert traced.trace_header == TRACE


@pytest.mark.parametrize("key", ["tides", "slug#tides", "outlines", "Outline#tides"])
def test_other_rows_say_nothing(key: str) -> None:
    assert read_event(course_row(key)) is None


def test_the_removal_of_a_row_takes_nothing_back() -> None:
    record = json.loads(event("tides", 2))
    record["eventName"] = "REMOVE"
    del record["dynamodb"]["NewImage"]
    assert read_event(json.dumps(record)) is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        '{"dynamodb": []}',
        '{"dynamodb": {"Keys": {}}}',
        '{"dynamodb": {"Keys": {"courseId": {"N": "1"}}}}',
        '{"dynamodb": {"Keys": {"courseId": {"S": "outline#tides"}}}}',
        '{"dynamodb": {"Keys": {"courseId": {"S": "outline#a b"}}, "NewImage": {}}}',
        '{"x": NaN}',
        "[" * 100_000,
        # What a subscription without raw delivery would bring.
        json.dumps({"Type": "Notification", "Message": event("tides", 2)}),
        changed(outlineVersion=None),
        changed(outlineVersion={"S": "2"}),
        changed(outlineVersion={"N": "0"}),
        changed(outlineVersion={"N": "1.5"}),
        changed(outlineVersion={"N": "NaN"}),
        changed(outlineVersion={"N": "9" * 38}),
        changed(outlineVersion={"BOOL": True}),
        changed(outlineVersion={}),
        changed(outlineVersion=2),
        changed(items=None),
        changed(items={"S": "a"}),
        changed(items={"L": [{"S": "a"}]}),
        changed(items=item(contentId={"S": "a b"})),
        changed(items=item(contentId={"S": "a" * 65})),
        changed(items=item(required={"S": "true"})),
        changed(items=item(weight={"N": "-1"})),
        changed(items=item(weight={"N": "Infinity"})),
        changed(items=item(weight={"N": "heavy"})),
        changed(items=item(weight={"BOOL": True})),
        changed(items={"L": item()["L"] * 2_001}),
    ],
)
def test_what_is_no_event_is_refused_by_the_rule_it_breaks(body: str) -> None:
    with pytest.raises(UnreadableEventError) as refused:
        read_event(body)
    assert refused.value.rule
    assert "tides" not in refused.value.rule


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(st.text(), json_values, json_values, json_values)
@settings(deadline=None)
def test_rubbish_is_refused_and_nothing_worse(
    text: str, version: object, items: object, image: object
) -> None:
    record = json.loads(event("tides", 2))
    record["dynamodb"]["NewImage"] = image
    for body in (text, changed(outlineVersion=version, items=items), json.dumps(record)):
        try:
            found = read_event(body)
        except UnreadableEventError:
            continue
        assert found is None or found.outline.course_id == "tides"
