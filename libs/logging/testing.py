"""Events as a test sees them: after the whole pipeline, as plain JSON values."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from libs.logging._pipeline import PIPELINE
from libs.logging._stdlib import PipelineHandler

__all__ = ["captured_logs", "captured_metrics"]


@contextmanager
def captured_logs(level: str = "DEBUG") -> Iterator[list[dict[str, object]]]:
    """Collect every event of the process instead of writing it, redacted and JSON-clean.

    Records of the standard library's logging are collected too; metrics are not. Logging is one per
    process, so two of these at once, in threads, would see each other's events.
    """
    events: list[dict[str, object]] = []

    def sink(event: Mapping[str, object]) -> None:
        events.append(json.loads(json.dumps(event, allow_nan=False)))

    number: int = getattr(logging, level)
    root = logging.getLogger()
    settings, handlers, root_level = PIPELINE.settings, root.handlers[:], root.level
    PIPELINE.settings = replace(settings, level=number, sink=sink, metrics=None)
    if not any(isinstance(handler, PipelineHandler) for handler in handlers):
        root.addHandler(PipelineHandler())
    root.setLevel(number)
    try:
        yield events
    finally:
        PIPELINE.settings = settings
        root.handlers[:] = handlers
        root.setLevel(root_level)


@contextmanager
def captured_metrics() -> Iterator[list[dict[str, object]]]:
    """Collect the documents of `write_metrics` instead of writing them, as whole lines."""
    documents: list[dict[str, object]] = []

    def sink(event: Mapping[str, object]) -> None:
        documents.append(json.loads(json.dumps(event, allow_nan=False)))

    settings = PIPELINE.settings
    PIPELINE.settings = replace(settings, metrics=sink)
    try:
        yield documents
    finally:
        PIPELINE.settings = settings
