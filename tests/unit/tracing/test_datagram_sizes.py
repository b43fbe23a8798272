"""Whatever a request does, its trace fits into UDP datagrams, and into few of them."""

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from libs.tracing import Tracer
from libs.tracing._datagrams import HEADER, LARGEST_DATAGRAM, datagrams
from libs.tracing.testing import Document, UdpCollector, recording_tracer, walk


def decoded(document: Document) -> list[Document]:
    """What a daemon reads of the document's datagrams, each within the limit."""
    result = []
    for datagram in datagrams(document):
        assert len(datagram) <= LARGEST_DATAGRAM
        header, _, body = datagram.partition(b"\n")
        assert header + b"\n" == HEADER
        result.append(json.loads(body))
    return result


def parents(documents: list[Document]) -> dict[str, str | None]:
    """Every entity's parent, by nesting or by its own word; no entity twice."""
    found: dict[str, str | None] = {}
    for document in documents:
        for entity in walk(document):
            assert entity["id"] not in found
            found[entity["id"]] = entity.get("parent_id")
    return found


async def test_120_subsegments_take_few_datagrams_and_form_one_tree(
    tracer: Tracer, collector: UdpCollector
) -> None:
    """The SDK's recorder made 94 datagrams of these."""
    with tracer.segment("GET /progress") as segment:
        for number in range(120):
            with tracer.span("DynamoDB", kind="aws") as span:
                span.set_attribute("aws.operation", "Query")
                span.set_attribute("note", f"{number:0200}")
    with tracer.segment("the last"):
        pass
    documents = await collector.wait_for(2)
    while not any(d.get("annotations", {}).get("operation") == "the last" for d in documents):
        documents = await collector.wait_for(len(documents) + 1)
    ours = [d for d in documents if d["trace_id"] == segment.trace_id]
    assert len(ours) < 10
    assert max(collector.datagram_sizes) <= LARGEST_DATAGRAM
    found = parents(ours)
    assert len(found) == 121
    (root,) = (entity for entity, parent in found.items() if parent is None)
    assert set(found.values()) == {None, root}


async def test_a_span_with_huge_attributes_fits_into_one_datagram(
    tracer: Tracer, collector: UdpCollector
) -> None:
    with tracer.segment("GET /courses") as segment:
        for number in range(200):
            segment.set_attribute(f"huge{number}", "\N{PILE OF POO}" * 1_000_000)
        segment.set_attribute("http.request.method", "GET")
    (document,) = await collector.wait_for(1)
    assert collector.datagram_sizes[0] <= LARGEST_DATAGRAM
    assert document["name"] == "catalog"
    assert document["trace_id"] == segment.trace_id


def test_a_million_spans_in_one_segment_are_not_held_in_memory() -> None:
    """They are sent one by one once the segment holds enough of them."""
    tracer, emitter = recording_tracer()
    with tracer.segment("import"):
        for _ in range(1000):
            with tracer.span("item"):
                pass
        sent_before_the_end = len(emitter.spans)
    assert sent_before_the_end == 800
    assert len(emitter.spans) == 1001
    root = emitter.named("import")
    assert {span.parent_id for span in emitter.spans if span is not root} == {root.span_id}


def test_deep_nesting_is_continued_in_further_documents() -> None:
    tracer, emitter = recording_tracer()

    def nested(depth: int) -> None:
        if depth:
            with tracer.span(f"level {depth}"):
                nested(depth - 1)

    with tracer.segment("deep"):
        nested(180)
    documents = emitter.documents()
    assert len(documents) == 4
    found = parents([d for document in documents for d in decoded(document)])
    assert len(found) == 181
    child_of = {parent: entity for entity, parent in found.items()}
    entity, length = child_of[None], 1
    while entity in child_of:
        entity, length = child_of[entity], length + 1
    assert length == 181, "one chain"


def test_attributes_beyond_64_are_left_out_but_those_there_can_change() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("GET /courses") as segment:
        for number in range(100):
            segment.set_attribute(f"key {number}", number)
        segment.set_attribute("key 7", "changed")
    (span,) = emitter.spans
    assert len(span.attributes) == 64
    assert span.attributes["key 7"] == "changed"


def leaf(name: str, size: int) -> Document:
    return {"id": name, "name": "n", "parent_id": "root", "metadata": {"d": "x" * size}}


def test_the_first_datagram_is_filled_to_the_limit() -> None:
    document: Document = {"id": "root", "subsegments": [leaf(f"{n}", 900) for n in range(100)]}
    sizes = [len(datagram) for datagram in datagrams(document)]
    assert LARGEST_DATAGRAM - 1000 < sizes[0] <= LARGEST_DATAGRAM
    assert max(sizes[1:]) < 1100
    decoded(document)


def test_the_largest_subtree_goes_by_itself_so_that_fewest_must_go() -> None:
    small = [leaf(f"{n}", 2_000) for n in range(12)]
    document: Document = {"id": "root", "subsegments": [leaf("large", 50_000), *small]}
    first, second = decoded(document)
    assert len(first["subsegments"]) == 12
    assert second["id"] == "large"


entities = st.recursive(
    st.fixed_dictionaries({"size": st.integers(0, 90_000), "subsegments": st.just([])}),
    lambda children: st.fixed_dictionaries(
        {"size": st.integers(0, 90_000), "subsegments": st.lists(children, max_size=6)}
    ),
    max_leaves=30,
)


def numbered(shape: dict[str, Any], ids: list[int], parent: str | None = None) -> Document:
    ids.append(len(ids))
    own = f"{len(ids):016x}"
    document: Document = {
        "id": own,
        "name": "n",
        "metadata": {"default": {"text": "é" * shape["size"]}},
    }
    if parent:
        document["parent_id"] = parent
    if shape["subsegments"]:
        document["subsegments"] = [numbered(c, ids, own) for c in shape["subsegments"]]
    return document


@settings(deadline=None, derandomize=True, database=None)
@given(shape=entities)
def test_no_entity_is_lost_doubled_or_moved_by_the_cutting(shape: dict[str, Any]) -> None:
    document = numbered(shape, [])
    expected = parents([document])
    assert parents(decoded(document)) == expected


def test_what_fits_is_sent_as_it_is() -> None:
    document: Document = {"id": "a", "name": "é\ud83d", "subsegments": [{"id": "b"}]}
    (datagram,) = datagrams(document)
    assert datagram == HEADER + '{"id":"a","name":"é?","subsegments":[{"id":"b"}]}'.encode()


@pytest.mark.parametrize("field", ["metadata", "cause", "annotations", "http", "aws", "user"])
def test_an_entity_that_is_too_large_by_itself_loses_only_what_it_must(field: str) -> None:
    document: Document = {"id": "a", "name": "n", "http": {"request": {"method": "GET"}}}
    document[field] = {"text": "x" * 70_000}
    (sent,) = decoded(document)
    assert sent == {k: v for k, v in sent.items() if k != field}
    assert sent["id"] == "a"
