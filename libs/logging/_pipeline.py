"""The one way from an event to a line: every logger, ours or the standard library's, ends here."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TextIO

from structlog.dev import ConsoleRenderer
from structlog.typing import EventDict, WrappedLogger

from libs.logging._context import bound
from libs.logging._exceptions import active_exception, structured
from libs.logging._usual_line import usual_line
from libs.logging._values import redact_event
from libs.timestamps import Clock, format_timestamp, utc_now

Sink = Callable[[Mapping[str, object]], None]
"""Takes a finished event: plain JSON values, redacted."""

_LEVEL_NAMES = {
    level: logging.getLevelName(level).lower()
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
}
_OWN_FIELDS = frozenset(
    ("timestamp", "level", "event", "service", "version", "logger", "exception")
)
# C0 and C1 controls, line and paragraph separators, and what turns the direction of writing: a
# terminal obeys them, so a value could forge lines or hide what follows it.
_TERMINAL_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `configure` decided; replaced as a whole.

    ``metrics`` takes the documents of `write_metrics`; None where nobody reads them: before
    `configure`, and on a terminal.
    """

    service: str
    version: str
    level: int
    clock: Clock
    sink: Sink
    metrics: Sink | None = None


class StreamSink:
    """Writes each event as one line: JSON, or aligned and coloured text for a person."""

    def __init__(self, stream: TextIO, *, pretty: bool) -> None:
        self._stream = stream
        self.writes_json = not pretty
        self._render: Callable[[Mapping[str, object]], str] = (
            _PrettyRenderer() if pretty else _render_json
        )
        # Re-entrant: a signal handler may log while its own thread is writing.
        self._lock = threading.RLock()

    def __call__(self, event: Mapping[str, object]) -> None:
        self.write_line(self._render(event))

    def write_line(self, line: str) -> None:
        """Write a line that is rendered already."""
        line += "\n"
        with self._lock:
            try:
                self._stream.write(line)
            except UnicodeEncodeError:
                self._stream.write(line.encode("ascii", "backslashreplace").decode("ascii"))
            self._stream.flush()


class Pipeline:
    """Holds the settings in force and takes every event to their sink.

    Logging is one per process, as standard output is; this object is that one place.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def emit(
        self, level: int, event: object, values: Mapping[str, object], *, logger: str | None
    ) -> None:
        """Complete, redact and write one event. Never raises: a log line is not worth a request."""
        settings = self.settings
        if level < settings.level:
            return
        sink = settings.sink
        line: str | None = None
        try:
            try:
                if isinstance(sink, StreamSink) and sink.writes_json:
                    line = _usual(settings, level, event, values, logger)
                finished = _finished(settings, level, event, values, logger) if line is None else {}
            except Exception as failure:
                finished = _failure_event(settings, logger, failure)
            if line is not None and isinstance(sink, StreamSink):
                sink.write_line(line)
            else:
                sink(finished)
        except Exception:  # noqa: S110 - the stream is gone, so there is nowhere left to say it
            pass

    def emit_audit(self, event: str, values: EventDict) -> None:
        """Write an event with these values and nothing that is bound, whatever the level."""
        settings = self.settings
        try:
            try:
                plain = redact_event(None, "", {"event": event, **values})
                finished: Mapping[str, object] = {**_head(settings, "info"), **plain}
            except Exception as failure:
                finished = _failure_event(settings, None, failure) | {"lost": event}
            settings.sink(finished)
        except Exception:  # noqa: S110 - as in `emit`
            pass

    def emit_metrics(self, members: Mapping[str, object]) -> bool:
        """Write a document of metrics as one line, whatever the level; whether that was done.

        Not redacted: a metric's name may well contain "Token". Its members are plain JSON values
        of a closed vocabulary, which `libs.metrics` answers for.
        """
        settings = self.settings
        if settings.metrics is None:
            return False
        try:
            own = {_free(name): value for name, value in members.items()}
            settings.metrics({**_head(settings, "info"), "event": "metrics", **own})
        except Exception:
            return False
        return True


def _head(settings: Settings, level: str) -> dict[str, object]:
    return {
        "timestamp": format_timestamp(settings.clock()),
        "level": level,
        "service": settings.service,
        "version": settings.version,
    }


def _finished(
    settings: Settings, level: int, event: object, values: Mapping[str, object], logger: str | None
) -> Mapping[str, object]:
    error = active_exception(values.get("exc_info"))
    # In the order of what to keep when an event is too large and its end is cut.
    entry: EventDict = {"event": event}
    if logger is not None:
        entry["logger"] = logger
    for name, value in bound().items():
        entry[name if name not in _OWN_FIELDS else _free(name)] = value
    if error is not None:
        entry["exception"] = structured(error)
    for name, value in values.items():
        if name != "exc_info":
            entry[name if name not in _OWN_FIELDS else _free(name)] = value
    name = _LEVEL_NAMES.get(level) or logging.getLevelName(level).lower()
    return {**_head(settings, name), **redact_event(None, "", entry)}


def _usual(
    settings: Settings, level: int, event: object, values: Mapping[str, object], logger: str | None
) -> str | None:
    """What `_finished` gives, rendered; None for what is not usual."""
    around, name = bound(), _LEVEL_NAMES.get(level)
    if (
        name is None
        or "exc_info" in values
        or not _OWN_FIELDS.isdisjoint(around)
        or not _OWN_FIELDS.isdisjoint(values)
        or not values.keys().isdisjoint(around)
    ):
        return None
    named = () if logger is None else (("logger", logger),)
    line = usual_line((("event", event), *named, *around.items(), *values.items()))
    if line is None:
        return None
    own = _spelt_own(name, settings.service, settings.version)
    return f'{{"timestamp":"{format_timestamp(settings.clock())}",{own}{line}}}'


@lru_cache(maxsize=64)
def _spelt_own(level: str, service: str, version: str) -> str:
    spelt = _render_json({"level": level, "service": service, "version": version})
    return spelt[1:-1]


def _free(name: str) -> str:
    """A value cannot take the place of a field that the pipeline itself vouches for."""
    return f"{name}_" if name in _OWN_FIELDS else name


def _failure_event(settings: Settings, logger: str | None, failure: Exception) -> dict[str, object]:
    return {
        "timestamp": format_timestamp(utc_now()),
        "level": "error",
        "event": "log_event_failed",
        "service": settings.service,
        "version": settings.version,
        "logger": logger,
        "errorType": type(failure).__name__,
    }


def _render_json(event: Mapping[str, object]) -> str:
    # ASCII only: every control character and line separator, in whatever script, is escaped, and
    # no stream encoding can fail.
    return _ENCODER.encode(event)


_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


class _PrettyRenderer:
    def __init__(self) -> None:
        self._console = ConsoleRenderer(sort_keys=False, pad_event_to=32)

    def __call__(self, event: Mapping[str, object]) -> str:
        safe = _printable(event)
        assert isinstance(safe, dict)
        error = safe.pop("exception", None)
        if isinstance(error, dict):
            safe["exception"] = "\n".join(_exception_lines(error, "  "))
        for redundant in ("service", "version"):
            safe.pop(redundant, None)
        return str(self._console(_UNUSED_LOGGER, "", safe))


_UNUSED_LOGGER: WrappedLogger = None


def _printable(value: object) -> object:
    if isinstance(value, str):
        return _TERMINAL_CONTROL.sub(lambda match: repr(match[0])[1:-1], value)
    if isinstance(value, Mapping):
        return {_printable(name): _printable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value


def _exception_lines(error: Mapping[str, object], indent: str) -> list[str]:
    lines = [f"{indent}{error.get('type')}: {error.get('message')}"]
    for part in ("notes", "frames"):
        listed = error.get(part)
        lines += [f"{indent}  {item}" for item in listed] if isinstance(listed, list) else []
    members = error.get("exceptions")
    for member in members if isinstance(members, list) else []:
        if isinstance(member, Mapping):
            lines += [f"{indent}  one of the group:", *_exception_lines(member, indent + "    ")]
    for link, words in (("cause", "caused by"), ("context", "while handling")):
        linked = error.get(link)
        if isinstance(linked, Mapping):
            lines += [f"{indent}{words}:", *_exception_lines(linked, indent)]
    return lines


class _Stdout:
    """Standard output as it is at the time of writing, which tests and supervisors replace."""

    def __call__(self, event: Mapping[str, object]) -> None:
        StreamSink(sys.stdout, pretty=sys.stdout.isatty())(event)


PIPELINE = Pipeline(
    # Until `configure` is called, events are redacted all the same.
    Settings(
        service="unconfigured",
        version="unknown",
        level=logging.INFO,
        clock=utc_now,
        sink=_Stdout(),
    )
)
