"""Whatever goes wrong in tracing, the code that is traced doesn't notice."""

import asyncio
import contextvars
import gc
import logging
import math
import random
import socket
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from libs.tracing import FinishedSpan, SamplingRules, Span, Tracer, create_tracer
from libs.tracing.testing import InMemoryEmitter, UdpCollector, recording_tracer


class BrokenEmitter:
    """A back end whose client is full of bugs."""

    def emit(self, spans: Sequence[FinishedSpan]) -> None:
        raise ConnectionError("broken")

    def close(self) -> None:
        raise ConnectionError("broken too")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def broken_clock() -> float:
    raise OSError("no clock")


class BrokenRandom(random.Random):
    def random(self) -> float:
        raise OSError("no randomness")

    def getrandbits(self, k: int, /) -> int:
        raise OSError("no randomness")


def tracer_with(**parts: Any) -> Tracer:
    return create_tracer(
        service="catalog",
        version="1",
        rules=SamplingRules(default_rate=1),
        **{"daemon_address": None, "emitter": InMemoryEmitter(), **parts},
    )


def traced_work(tracer: Tracer) -> str:
    with tracer.segment("GET /courses") as segment:
        segment.set_attribute("http.response.status_code", 200)
        with tracer.span("DynamoDB", kind="aws", attributes={"aws.operation": "GetItem"}) as span:
            span.record_error(ValueError("x"), fault=False)
            answer = "answer"
    return answer


@pytest.mark.parametrize(
    "parts",
    [
        {"emitter": BrokenEmitter()},
        {"clock": broken_clock},
        {"monotonic": broken_clock},
        {"random": BrokenRandom()},
    ],
    ids=lambda parts: next(iter(parts)),
)
def test_broken_parts_are_reported_once_and_go_unnoticed(
    parts: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    tracer = tracer_with(**parts)
    assert [traced_work(tracer) for _ in range(10)] == ["answer"] * 10
    tracer.close()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "tracing is broken, spans are lost")
    ]


async def test_a_span_that_ends_after_its_segment_is_sent_by_itself(
    tracer: Tracer, collector: UdpCollector
) -> None:
    with tracer.segment("GET /courses") as segment:
        late = tracer.span("late")
        late.__enter__()
        with tracer.span("below"):
            pass
    late.__exit__(None, None, None)
    documents = await collector.wait_for(3)
    by_name = {document["name"]: document for document in documents}
    assert by_name["late"]["type"] == "subsegment"
    assert by_name["late"]["parent_id"] == by_name["catalog"]["id"]
    assert by_name["below"]["parent_id"] == by_name["late"]["id"]
    assert {document["trace_id"] for document in documents} == {segment.trace_id}


async def test_a_background_task_may_outlive_its_segment(
    tracer: Tracer, collector: UdpCollector
) -> None:
    """With the SDK's recorder the DynamoDB call itself raised AlreadyEndedException."""
    answered = asyncio.Event()

    async def background() -> str:
        with tracer.span("begun before"):
            await answered.wait()
        with tracer.span("DynamoDB", kind="aws") as span:
            span.set_attribute("aws.operation", "PutItem")
            span.record_error(RuntimeError("too late"), fault=True)
            return "stored"

    with tracer.segment("PUT /progress") as segment:
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
    answered.set()
    assert await task == "stored"
    documents = await collector.wait_for(3)
    assert [document["name"] for document in documents] == ["catalog", "begun before", "DynamoDB"]
    assert {document["trace_id"] for document in documents} == {segment.trace_id}
    assert {document["parent_id"] for document in documents[1:]} == {documents[0]["id"]}


def test_an_ended_span_takes_no_more() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("GET /courses") as segment:
        with tracer.span("merge") as span:
            pass
        span.set_attribute("late", "value")
        span.record_error(RuntimeError(), fault=True)
        span.end()
        with span:
            pass
    segment.end()
    assert len(emitter.spans) == 2
    merge = emitter.named("merge")
    assert merge.attributes == {}
    assert not merge.fault


def test_spans_may_end_in_the_wrong_order() -> None:
    tracer, emitter = recording_tracer()

    def work() -> None:
        segment = tracer.segment("GET /courses").__enter__()
        first = tracer.span("first").__enter__()
        second = tracer.span("second").__enter__()
        segment.end()
        first.end()
        second.end()

    contextvars.Context().run(work)
    assert {span.name for span in emitter.spans} == {"GET /courses", "first", "second"}


async def test_a_span_may_end_in_another_context_than_it_began_in(
    tracer: Tracer, collector: UdpCollector
) -> None:
    async def numbers() -> AsyncIterator[int]:
        with tracer.span("generator"):
            yield 1
            yield 2

    async def close(generator: Any) -> None:
        await generator.aclose()

    with tracer.segment("GET /courses"):
        generator = numbers()
        assert await anext(generator) == 1
        await asyncio.create_task(close(generator), context=contextvars.Context())
    await collector.wait_for(1)
    assert [entity["name"] for entity in collector.entities()] == ["catalog", "generator"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        object(),
        Unprintable(),
        b"\xff",
        {"nested": {"set": {1}}},
        [Unprintable(), 1, None],
        float("nan"),
        math.inf,
        10**5000,
        "half a pair: \ud83d",
        "\0",
        lambda: None,
        ValueError,
        [[[]]] * 1000,
    ],
    ids=lambda value: type(value).__name__,
)
async def test_values_that_are_not_serialisable(
    tracer: Tracer, collector: UdpCollector, value: Any
) -> None:
    with tracer.segment("GET /courses", attributes={"in segment": value}) as segment:
        with tracer.span("DynamoDB", kind="aws") as span:
            for key in ("aws.operation", "aws.dynamodb.table_names", "lyceum.note", "note"):
                span.set_attribute(key, value)
        for key in (
            "http.response.status_code",
            "http.request.method",
            "http.route",
            "url.full",
            "server.port",
            "enduser.pseudo.id",
        ):
            segment.set_attribute(key, value)
        segment.set_attribute(value, "as key")
    (document,) = await collector.wait_for(1)
    assert document["trace_id"] == segment.trace_id
    assert len(document["subsegments"]) == 1


def test_exceptions_without_text_and_with_too_much_of_it() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("GET /courses") as segment:
        segment.record_error(UnprintableError(), fault=True)
        for _ in range(100):
            segment.record_error(ValueError("x" * 1_000_000), fault=True)
    (span,) = emitter.spans
    assert [len(exception.message) for exception in span.exceptions] == [
        len("<UnprintableError>"),
        1000,
        1000,
        1000,
        1000,
    ]


@pytest.mark.parametrize("arguments", [{"header": "Root=1"}, {"attributes": None}])
def test_wrong_arguments(arguments: Any) -> None:
    tracer, _ = recording_tracer()
    with tracer.segment("GET /courses", **arguments) as segment, tracer.span("merge"):
        segment.set_attribute("key", "value")


def test_no_daemon_listening() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tracer = tracer_with(daemon_address=f"127.0.0.1:{port}", emitter=None)
    assert [traced_work(tracer) for _ in range(100)] == ["answer"] * 100
    tracer.close()


def test_a_network_that_takes_no_datagram(caplog: pytest.LogCaptureFixture) -> None:
    """The kernel refuses to send to the broadcast address without being asked for it."""
    tracer = tracer_with(daemon_address="255.255.255.255:2000", emitter=None)
    assert [traced_work(tracer) for _ in range(10)] == ["answer"] * 10
    assert caplog.records == []


def test_a_daemon_whose_name_is_unknown_is_reported_and_done_without(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_such_name(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # A real look-up would ask the network, and wait for it.
    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    tracer = tracer_with(daemon_address="collector.example:2000", emitter=None)
    assert traced_work(tracer) == "answer"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_closed_tracer_drops_spans() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("GET /courses"):
        tracer.close()
        tracer.close()
    assert traced_work(tracer) == "answer"
    assert emitter.spans == []
    assert emitter.closed


@pytest.mark.parametrize(
    "use",
    [
        lambda span: span.set_attribute("key", "value"),
        lambda span: span.record_error(ValueError(), fault=True),
        lambda span: span.end(),
    ],
)
def test_spans_outside_of_any_segment(
    use: Callable[[Span], None], caplog: pytest.LogCaptureFixture
) -> None:
    tracer, emitter = recording_tracer()
    with tracer.span("DynamoDB", kind="aws") as span:
        use(span)
        assert span.trace_id is None
        assert not span.sampled
        assert tracer.current() is None
    assert emitter.spans == []
    assert caplog.records == []


def test_a_finished_segment_keeps_no_exception_alive() -> None:
    class CarrierError(Exception):
        pass

    tracer, _ = recording_tracer()

    def request() -> "tuple[Span, weakref.ref[CarrierError]]":
        error = CarrierError()
        segment = tracer.segment("GET /courses")
        with pytest.raises(CarrierError), segment, tracer.span("merge"):
            raise error
        return segment, weakref.ref(error)

    # A background task would hold the segment by its context.
    segment, reference = request()
    gc.collect()
    assert reference() is None
    assert segment.sampled


async def test_a_request_makes_no_log_line_of_the_sdk(
    tracer: Tracer, collector: UdpCollector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert traced_work(tracer) == "answer"
    with tracer.span("outside of any segment"):
        pass
    with tracer.segment("odd {name}?", attributes={"lyceum.odd key!": "x", "ünïcode": ("a",)}):
        pass
    await collector.wait_for(2)
    assert [record for record in caplog.records if record.name != "asyncio"] == []


def in_a_fresh_interpreter(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_nothing_happens_at_import_and_no_thread_ever_starts() -> None:
    program = """
import sys, threading
import libs.tracing
from libs.tracing import SamplingRules, create_tracer
assert not [name for name in sys.modules if name.startswith(("aws_xray_sdk", "botocore"))]
off = create_tracer(service="s", version="1", daemon_address=None, rules=SamplingRules(1.0))
with off.segment("request"), off.span("work"):
    pass
assert "aws_xray_sdk" not in sys.modules
on = create_tracer(service="s", version="1", daemon_address="127.0.0.1:9", rules=SamplingRules(1.0))
for _ in range(10):
    with on.segment("request"), on.span("work"):
        pass
assert "aws_xray_sdk" in sys.modules
assert threading.enumerate() == [threading.main_thread()]
print("quiet")
"""
    assert in_a_fresh_interpreter(program) == "quiet\n"


def test_the_sdks_own_variables_change_nothing() -> None:
    """Its recorder reads them when it is made, and would refuse one of these."""
    program = """
from libs.tracing import SamplingRules, create_tracer
create_tracer(service="s", version="1", daemon_address="127.0.0.1:9", rules=SamplingRules(1.0))
print("made")
"""
    for name, value in (
        ("AWS_XRAY_CONTEXT_MISSING", "RUNTIME_ERROR"),
        ("AWS_XRAY_DAEMON_ADDRESS", "nonsense"),
    ):
        assert in_a_fresh_interpreter(program, **{name: value}) == "made\n"


def test_the_sdks_recorder_is_not_made_and_whoever_wants_it_still_gets_it() -> None:
    """It makes two of botocore's clients, which take longer than the rest of the SDK by far."""
    program = """
import sys
from libs.tracing import SamplingRules, create_tracer
create_tracer(service="s", version="1", daemon_address="127.0.0.1:9", rules=SamplingRules(1.0))
assert "aws_xray_sdk.core" not in sys.modules
assert not [name for name in sys.modules if name.startswith("botocore")]
import aws_xray_sdk.core
recorder = aws_xray_sdk.core.xray_recorder
recorder.configure(sampling=False)
segment = recorder.begin_segment("s")
assert isinstance(segment, aws_xray_sdk.core.models.segment.Segment)
print("whole")
"""
    assert in_a_fresh_interpreter(program) == "whole\n"


@pytest.mark.parametrize(
    "address",
    ["", "localhost", ":2000", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "a:²", "a..b:2000"],
)
def test_a_malformed_daemon_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="daemon address"):
        tracer_with(daemon_address=address, emitter=None)
