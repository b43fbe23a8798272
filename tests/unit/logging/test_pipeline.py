"""An event becomes exactly one line, complete and well-formed, and logging never raises."""

from __future__ import annotations

import io
import json
import logging
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.logging import BoundLogger, configure, get_logger, request_context
from libs.logging._pipeline import PIPELINE
from libs.logging.testing import captured_logs

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)


class Output(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.getvalue().split("\n")[:-1]]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    settings, handlers, level = PIPELINE.settings, root.handlers[:], root.level
    yield
    PIPELINE.settings = settings
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def configured(
    level: str = "INFO", *, terminal: bool = False, pretty: bool | None = None
) -> tuple[Output, BoundLogger]:
    output = Output(terminal=terminal)
    configure(
        service="course_catalog",
        version="1.2.3",
        level=level,
        stream=output,
        pretty=pretty,
        clock=lambda: NOW,
    )
    return output, get_logger("services.course_catalog")


def test_an_event_is_one_json_line_with_the_common_fields() -> None:
    output, log = configured()
    with request_context(requestId="r-1", traceId="1-5f-ab", sub="learner"):
        log.info("http_request", route="/courses/{courseId}", method="GET", status=200)
    assert output.events() == [
        {
            "timestamp": "2026-01-02T03:04:05.678Z",
            "level": "info",
            "event": "http_request",
            "service": "course_catalog",
            "version": "1.2.3",
            "logger": "services.course_catalog",
            "requestId": "r-1",
            "traceId": "1-5f-ab",
            "sub": "learner",
            "route": "/courses/{courseId}",
            "method": "GET",
            "status": 200,
        }
    ]


def test_each_method_writes_its_level() -> None:
    output, log = configured("DEBUG")
    methods: tuple[Callable[[str], None], ...] = (
        log.debug,
        log.info,
        log.warning,
        log.error,
        log.critical,
        log.exception,
    )
    for write in methods:
        write("event")
    assert [event["level"] for event in output.events()] == [
        "debug",
        "info",
        "warning",
        "error",
        "critical",
        "error",
    ]


def test_events_below_the_level_are_not_written() -> None:
    output, log = configured("WARNING")
    log.info("quiet")
    logging.getLogger("aiohttp").info("quiet")
    structlog.get_logger().info("quiet")
    log.warning("loud")
    assert [event["event"] for event in output.events()] == ["loud"]


@pytest.mark.parametrize("level", ["info", "TRACE", "", "10"])
def test_an_unknown_level_is_refused(level: str) -> None:
    with pytest.raises(ValueError, match="DEBUG, INFO"):
        configure(service="s", version="v", level=level, stream=io.StringIO())


def test_a_loggers_own_values_are_on_its_events_only() -> None:
    output, log = configured()
    log.bind(table="Progress").info("one")
    log.bind(table="Progress").unbind("table").info("two")
    log.info("three")
    assert [event.get("table") for event in output.events()] == ["Progress", None, None]


def test_values_cannot_take_the_place_of_the_pipelines_fields() -> None:
    output, log = configured()
    forged = dict.fromkeys(
        ("timestamp", "level", "event", "service", "version", "logger", "exception"), "forged"
    )
    with request_context(**forged):
        log.info("real", **forged)
    (event,) = output.events()
    assert event["event"] == "real"
    assert event["level"] == "info"
    assert event["service"] == "course_catalog"
    assert event["timestamp"] == "2026-01-02T03:04:05.678Z"
    assert event["level_"] == "forged"


def test_standard_logging_goes_the_same_way() -> None:
    output, _ = configured()
    with request_context(requestId="r-1"):
        logging.getLogger("aiohttp.server").warning("closed %s", "Bearer abcdef")
        logging.getLogger("botocore.credentials").info("below what is of interest")
        logging.getLogger("botocore.retryhandler").warning("gave up")
    assert [(e["logger"], e["level"], e["event"], e["requestId"]) for e in output.events()] == [
        ("aiohttp.server", "warning", "closed Bearer [redacted]", "r-1"),
        ("botocore.retryhandler", "warning", "gave up", "r-1"),
    ]


def test_standard_logging_whose_arguments_do_not_fit_is_still_written() -> None:
    output, _ = configured()
    logging.getLogger("third.party").warning("%s and %s", "only one")
    (event,) = output.events()
    assert event["event"] == "%s and %s (the arguments do not fit)"


def test_warnings_and_foreign_structlog_loggers_go_the_same_way() -> None:
    output, _ = configured()
    warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    structlog.get_logger().error("foreign", password="hunter2")
    first, second = output.events()
    assert first["logger"] == "py.warnings"
    assert (second["event"], second["password"]) == ("foreign", "[redacted]")


def test_configuring_again_replaces_and_does_not_double() -> None:
    first, _ = configured()
    second, log = configured()
    log.info("ours")
    logging.getLogger("theirs").warning("theirs")
    assert first.events() == []
    assert [event["event"] for event in second.events()] == ["ours", "theirs"]


def test_an_exception_is_structured_with_its_causes() -> None:
    output, log = configured()
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        error.add_note("while testing")
        log.exception("failed")
    (event,) = output.events()
    exception = event["exception"]
    assert isinstance(exception, dict)
    assert exception["type"] == "RuntimeError"
    assert exception["message"] == "outer"
    assert exception["notes"] == ["while testing"]
    assert exception["frames"][-1].endswith("in test_an_exception_is_structured_with_its_causes")
    assert exception["cause"]["type"] == "KeyError"
    assert "exc_info" not in event


def test_an_exception_group_is_bounded() -> None:
    output, log = configured()
    nested: Exception = ExceptionGroup(
        "inner", [ValueError(str(number)) for number in range(1_000)]
    )
    for _ in range(200):
        nested = ExceptionGroup("outer", [nested, nested])
    log.error("failed", exc_info=nested)
    assert len(output.getvalue()) < 100_000
    (event,) = output.events()
    exception = event["exception"]
    assert isinstance(exception, dict)
    assert exception["exceptions"][0]["message"].startswith("outer")


def test_a_cycle_of_causes_ends() -> None:
    output, log = configured()
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    log.error("failed", exc_info=one)
    assert len(output.events()) == 1


def test_standard_loggings_exceptions_are_structured_too() -> None:
    output, _ = configured()
    try:
        raise ValueError("password=hunter2")
    except ValueError:
        logging.getLogger("asyncio").exception("never retrieved")
    (event,) = output.events()
    exception = event["exception"]
    assert isinstance(exception, dict)
    assert exception["message"] == "password=[redacted]"
    assert "hunter2" not in output.getvalue()


def test_exception_without_an_exception_is_just_an_event() -> None:
    output, log = configured()
    log.exception("nothing is being handled")
    assert "exception" not in output.events()[0]


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: int
    secret: str


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no text for you")


class HostileText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


CYCLE: list[object] = []
CYCLE.append(CYCLE)
DEEP: list[object] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (NOW, "2026-01-02T03:04:05.678Z"),
        (NOW.astimezone(timezone(timedelta(hours=5))), "2026-01-02T03:04:05.678Z"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(seconds=5), "0:00:05"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        (PurePosixPath("a/b"), "a/b"),
        (Colour.RED, "red"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (True, True),
        (None, None),
        (2**63, 2**63),
        (10**5000, "<integer of 16610 bits>"),
        (b"\x00secret", "<7 bytes>"),
        ((1, 2), [1, 2]),
        (frozenset({1}), [1]),
        ({1: {"a": [b""]}}, {"1": {"a": ["<0 bytes>"]}}),
        (Point(1, "hunter2"), "Point(x=1, secret=[redacted])"),
        (ValueError("token=abc"), {"type": "ValueError", "message": "token=[redacted]"}),
        (Hostile(), "<Hostile: RuntimeError>"),
        (HostileText("text"), "text"),
        ({Hostile(): 1}, {"<Hostile: RuntimeError>": 1}),
        (
            HostileError(),
            {
                "type": f"{__name__}.HostileError",
                "message": "<message failed: RuntimeError>",
            },
        ),
        ("\ud800", "\ud800"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_become_json(value: object, shown: object) -> None:
    output, log = configured()
    log.info("event", value=value)
    assert output.events()[0]["value"] == shown


@pytest.mark.parametrize("value", [CYCLE, DEEP, {"a": CYCLE}], ids=["cycle", "deep", "nested"])
def test_depth_is_bounded(value: object) -> None:
    output, log = configured()
    log.info("event", value=value)
    assert "too deep" in output.getvalue()


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000_000, ["x" * 8_000] * 1_000, {str(n): n for n in range(100_000)}, "\x00" * 10**6],
    ids=["text", "texts", "mapping", "controls"],
)
def test_size_is_bounded(value: object) -> None:
    output, log = configured()
    with request_context(requestId="r-1"):
        log.info("event", value=value)
    assert len(output.getvalue()) < 250_000  # CloudWatch Logs takes 256 KiB an event
    assert output.events()[0]["requestId"] == "r-1"


@settings(deadline=None)  # a busy machine is not a failure
@given(
    st.text(),
    st.dictionaries(
        st.text(max_size=20),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
            lambda inner: st.lists(inner, max_size=4)
            | st.dictionaries(st.text(max_size=20), inner, max_size=4),
            max_leaves=8,
        ),
        max_size=5,
    ),
)
def test_whatever_is_logged_is_one_line_of_json(text: str, values: dict[str, object]) -> None:
    output, log = configured()
    log.info(text, **values)
    written = output.getvalue()
    assert written.isascii()
    assert written.count("\n") == 1
    assert written.endswith("\n")
    assert json.loads(written)["level"] == "info"


FORGERIES = [
    'x\n{"level":"info","event":"forged"}',
    "x\r\nforged",
    "x\u2028forged",
    "x\u2029forged",
    "x\x85forged",
    "x\x0bforged\x0c",
    "\x1b[2K\x1b[1Aforged",
    "\x9b2Kforged",
    "x\u202eforged",
    "\x00\x07\x08",
]


@pytest.mark.parametrize("text", FORGERIES)
@pytest.mark.parametrize("pretty", [False, True])
def test_nothing_logged_can_forge_a_line_or_drive_a_terminal(text: str, pretty: bool) -> None:
    output, log = configured(pretty=pretty)
    with request_context(bound=text):
        log.info(text, value=text, nested=[{text: text}], **{text: 1})
        logging.getLogger(text).warning("%s", text)
    written = output.getvalue()
    assert written.count("\n") == 2
    controls = {c for c in written if not c.isprintable()} - {"\n"}
    assert controls <= ({"\x1b"} if pretty else set())
    assert "\x1b[2K" not in written
    assert "\x1b[1A" not in written


@pytest.mark.parametrize("text", FORGERIES)
def test_an_exception_on_a_terminal_cannot_forge_a_line(text: str) -> None:
    output, log = configured(pretty=True)
    log.error("failed", exc_info=ValueError(text))
    assert "forged" not in output.getvalue().split("\n")[2:]
    assert not any(line.startswith(("forged", "{")) for line in output.getvalue().splitlines())


def test_a_terminal_gets_text_and_a_pipe_gets_json() -> None:
    terminal, log = configured(terminal=True)
    log.info("started", port=8081, token="abc")
    assert "started" in terminal.getvalue()
    assert "[redacted]" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    pipe, log = configured(terminal=False)
    log.info("started")
    assert pipe.getvalue().startswith("{")
    forced, log = configured(terminal=True, pretty=False)
    log.info("started")
    assert forced.getvalue().startswith("{")


def test_a_terminal_shows_the_chain_of_an_exception() -> None:
    output, log = configured(pretty=True)
    error = ExceptionGroup("group", [ValueError("member")])
    error.__cause__ = KeyError("cause")
    log.error("failed", exc_info=error)
    for shown in ("ExceptionGroup: group", "ValueError: member", "caused by:", "KeyError: 'cause'"):
        assert shown in output.getvalue()


def test_a_terminal_that_cannot_show_a_script_still_gets_the_line() -> None:
    raw = io.BytesIO()
    configure(
        service="s",
        version="v",
        stream=io.TextIOWrapper(raw, encoding="ascii"),
        pretty=True,
    )
    get_logger("x").info("урок")
    assert b"\\u0443" in raw.getvalue()


class BrokenStream(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("pretty", [False, True])
def test_a_broken_stream_does_not_reach_business_code(pretty: bool) -> None:
    configure(service="s", version="v", stream=BrokenStream(), pretty=pretty)
    get_logger("x").info("event")
    logging.getLogger("y").warning("event")


def test_a_closed_stream_does_not_reach_business_code() -> None:
    output, log = configured()
    output.close()
    log.info("event")


def test_a_failing_clock_is_reported_and_does_not_reach_business_code() -> None:
    def broken() -> datetime:
        raise OSError("no time")

    output = Output()
    configure(service="s", version="v", stream=output, pretty=False, clock=broken)
    get_logger("x").info("event")
    (event,) = output.events()
    assert (event["event"], event["errorType"]) == ("log_event_failed", "OSError")


def test_a_value_that_logs_while_it_is_written_does_not_lock_up() -> None:
    output, log = configured()

    class Chatty:
        def __repr__(self) -> str:
            log.info("inner")
            return "chatty"

    log.info("outer", value=Chatty())
    assert [event["event"] for event in output.events()] == ["inner", "outer"]


def test_before_it_is_configured_logging_redacts_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    get_logger("early").warning("event", password="hunter2")
    written = capsys.readouterr().out
    assert json.loads(written)["password"] == "[redacted]"


def test_captured_logs_sees_both_kinds_and_puts_everything_back() -> None:
    output, log = configured("WARNING")
    with captured_logs() as events:
        log.debug("ours", token="abc")
        logging.getLogger("theirs").info("theirs")
    assert [event["event"] for event in events] == ["ours", "theirs"]
    assert events[0]["token"] == "[redacted]"
    log.info("below the level again")
    log.warning("written again")
    assert [event["event"] for event in output.events()] == ["written again"]
