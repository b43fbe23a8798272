"""The way for documents of metrics into the stream of the log lines."""

from __future__ import annotations

from collections.abc import Mapping

from libs.logging._pipeline import PIPELINE


def write_metrics(members: Mapping[str, object]) -> bool:
    """Write one document (CloudWatch's Embedded Metric Format) as a line of the log; whether it was.

    It goes through the stream and the lock of the log lines, begins with their common fields and
    has ``event`` "metrics". Whatever the level, it is written; on a terminal, and before
    `configure`, it is not. ``members`` are plain JSON values and are not redacted: nothing that a
    client sends may be among them. Never raises.
    """
    return PIPELINE.emit_metrics(members)
