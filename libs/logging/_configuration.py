"""Sets the process's logging up: once, at start, before anything is served."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

from libs.logging._logger import hand_over
from libs.logging._pipeline import PIPELINE, Settings, StreamSink
from libs.logging._stdlib import route_standard_logging
from libs.timestamps import Clock, utc_now

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def configure(
    *,
    service: str,
    version: str,
    level: str = "INFO",
    stream: TextIO | None = None,
    pretty: bool | None = None,
    clock: Clock = utc_now,
) -> None:
    """Write events of ``level`` and above to ``stream``, standard output when it is None.

    One JSON object a line; ``pretty`` gives text for a person instead, and None chooses that on a
    terminal, where metrics are not shown. The standard library's logging and loggers of structlog
    itself go the same way.

    Raises ValueError for a level that is not DEBUG, INFO, WARNING, ERROR or CRITICAL.
    """
    if level not in _LEVELS:
        raise ValueError(f"a log level is one of {', '.join(_LEVELS)}")
    output = sys.stdout if stream is None else stream
    number: int = getattr(logging, level)
    for_a_person = output.isatty() if pretty is None else pretty
    sink = StreamSink(output, pretty=for_a_person)
    PIPELINE.settings = Settings(
        service=service,
        version=version,
        level=number,
        clock=clock,
        sink=sink,
        # One sink for both, so one lock: no line is ever written into another.
        metrics=None if for_a_person else sink,
    )
    route_standard_logging(number)
    structlog.configure(
        processors=[hand_over],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        context_class=dict,
        cache_logger_on_first_use=False,
    )
