"""Two kinds of lines with rules of their own: documents of metrics, and audit lines."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog
from jsonschema import Draft202012Validator

from libs.logging import (
    AuditAction,
    AuditOutcome,
    audit,
    configure,
    get_logger,
    request_context,
    write_metrics,
)
from libs.logging._pipeline import PIPELINE
from libs.logging.testing import captured_logs, captured_metrics

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)

AUDIT_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "timestamp",
        "level",
        "service",
        "version",
        "event",
        "action",
        "resource",
        "resourceId",
        "versionBefore",
        "versionAfter",
        "outcome",
        "sub",
        "requestId",
        "traceId",
    ],
    "properties": {
        "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"},
        "level": {"const": "info"},
        "service": {"type": "string"},
        "version": {"type": "string"},
        "event": {"const": "audit"},
        "action": {
            "enum": [
                "create",
                "update",
                "publish",
                "archive",
                "delete",
                "restore",
                "start_upload",
                "complete_upload",
                "abort_upload",
            ]
        },
        "resource": {"type": "string"},
        "resourceId": {"type": "string"},
        "versionBefore": {"type": ["integer", "null"]},
        "versionAfter": {"type": ["integer", "null"]},
        "outcome": {"enum": ["succeeded", "refused", "unknown"]},
        "sub": {"type": ["string", "null"]},
        "requestId": {"type": ["string", "null"]},
        "traceId": {"type": ["string", "null"]},
    },
}


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


def configured(level: str = "INFO", *, pretty: bool = False) -> io.StringIO:
    output = io.StringIO()
    configure(
        service="course_catalog",
        version="1.2.3",
        level=level,
        stream=output,
        pretty=pretty,
        clock=lambda: NOW,
    )
    return output


def lines(output: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_document_of_metrics_is_a_line_with_the_common_fields() -> None:
    output = configured("CRITICAL")  # no level keeps it back
    with request_context(requestId="r-1"):
        assert write_metrics({"_aws": {"Timestamp": 1}, "Service": "s", "TokenErrors": 3})
    assert lines(output) == [
        {
            "timestamp": "2026-01-02T03:04:05.678Z",
            "level": "info",
            "service": "course_catalog",
            "version": "1.2.3",
            "event": "metrics",
            "_aws": {"Timestamp": 1},
            "Service": "s",
            "TokenErrors": 3,  # not taken for a secret
        }
    ]


def test_a_member_cannot_take_the_place_of_a_common_field() -> None:
    output = configured()
    write_metrics({"service": 1, "event": 2})
    (line,) = lines(output)
    assert (line["service"], line["event"], line["event_"]) == ("course_catalog", "metrics", 2)


def test_on_a_terminal_and_before_configuration_metrics_are_not_shown() -> None:
    unconfigured = PIPELINE.settings
    assert unconfigured.metrics is None
    assert not write_metrics({"Count": 1})
    output = configured(pretty=True)
    assert not write_metrics({"Count": 1})
    get_logger("l").info("shown")
    assert "shown" in output.getvalue()
    assert "Count" not in output.getvalue()


def test_what_cannot_be_written_reaches_nobody() -> None:
    output = configured()
    assert not write_metrics({"Count": float("nan")})
    assert not write_metrics({"Count": object()})
    assert output.getvalue() == ""
    output.close()
    assert not write_metrics({"Count": 1})


def test_metrics_are_captured_by_themselves() -> None:
    with captured_metrics() as documents:
        assert write_metrics({"Count": 1})
        with captured_logs() as events:
            assert not write_metrics({"Count": 2})
            get_logger("l").info("event")
    assert [document["Count"] for document in documents] == [1]
    assert [event["event"] for event in events] == ["event"]


class _Torn(io.StringIO):
    """A stream that lets another thread in between any two pieces of a write."""

    def write(self, text: str) -> int:
        for begin in range(0, len(text), 16):
            super().write(text[begin : begin + 16])
            threading.Event().wait(0)
        return len(text)


def test_no_line_is_written_into_another() -> None:
    output = _Torn()
    configure(service="s", version="v", stream=output, pretty=False, clock=lambda: NOW)
    log = get_logger("l")

    def metrics() -> None:
        for number in range(100):
            write_metrics({"Values": list(range(number))})

    def events() -> None:
        for number in range(100):
            log.info("event", values=list(range(number)))

    threads = [threading.Thread(target=work) for work in (metrics, events, metrics, events)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(output)) == 400


def changed() -> None:
    audit(
        AuditAction.UPDATE,
        resource="course",
        resource_id="crs-1",
        version_before=3,
        version_after=4,
    )


def test_an_audit_line_says_who_changed_what_from_which_version_to_which() -> None:
    output = configured()
    with request_context(requestId="r-1", traceId="1-5f-ab", sub="author-a", route="/x", code="y"):
        changed()
    (line,) = lines(output)
    Draft202012Validator(AUDIT_SCHEMA).validate(line)
    assert line == {
        "timestamp": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "service": "course_catalog",
        "version": "1.2.3",
        "event": "audit",
        "action": "update",
        "resource": "course",
        "resourceId": "crs-1",
        "versionBefore": 3,
        "versionAfter": 4,
        "outcome": "succeeded",
        "sub": "author-a",
        "requestId": "r-1",
        "traceId": "1-5f-ab",
    }


@pytest.mark.parametrize("action", AuditAction)
@pytest.mark.parametrize("outcome", AuditOutcome)
def test_every_audit_line_has_the_one_schema(action: AuditAction, outcome: AuditOutcome) -> None:
    output = configured()
    with request_context(sub="author-a"):
        audit(
            action,
            resource="content",
            resource_id="\x00 token=abc\n" * 3,
            version_before=None,
            version_after=None,
            outcome=outcome,
        )
    (line,) = lines(output)
    Draft202012Validator(AUDIT_SCHEMA).validate(line)
    assert "abc" not in str(line)  # redacted as every line is


@pytest.mark.parametrize("level", ["DEBUG", "ERROR", "CRITICAL"])
def test_no_level_keeps_an_audit_line_back(level: str) -> None:
    output = configured(level)
    with request_context(sub="author-a"):
        changed()
    assert [line["event"] for line in lines(output)] == ["audit"]


def test_a_write_of_nobody_is_written_and_is_loud() -> None:
    output = configured()
    with request_context(requestId="r-1"):
        changed()
    written, alarm = lines(output)
    Draft202012Validator(AUDIT_SCHEMA).validate(written)
    assert written["sub"] is None
    assert (alarm["level"], alarm["event"]) == ("error", "audit_without_principal")
    assert (alarm["action"], alarm["resourceId"], alarm["requestId"]) == ("update", "crs-1", "r-1")


def test_an_audit_line_that_fails_is_reported_and_raises_nothing() -> None:
    def broken() -> datetime:
        raise OSError("no clock")

    output = io.StringIO()
    configure(service="s", version="v", stream=output, pretty=False, clock=broken)
    with request_context(sub="author-a"):
        changed()
    (line,) = lines(output)
    assert (line["event"], line["lost"], line["level"]) == ("log_event_failed", "audit", "error")


def test_an_audit_line_has_its_place_on_a_terminal() -> None:
    output = configured(pretty=True)
    with request_context(sub="author-a"):
        changed()
    assert "author-a" in output.getvalue()
