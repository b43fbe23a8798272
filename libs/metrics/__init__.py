"""Metrics: counted in memory, written now and then as CloudWatch's Embedded Metric Format.

Owns the instruments, the bounds of their dimensions, the distributions and the format. It must
not know HTTP, AWS's clients or any service: those record, and say under which names. The documents
go into the stream of the log lines, through `libs.logging`.
"""

from __future__ import annotations

from libs.metrics._dimensions import OTHER, Dimension
from libs.metrics._distribution import RELATIVE_ERROR
from libs.metrics._instruments import Counter, Distribution, Reading, Unit
from libs.metrics._queue import QueueMetrics
from libs.metrics._registry import Metrics
from libs.metrics._reporting import reported
from libs.metrics._runtime import ProcessFigures, event_loop_watched, process_figures

__all__ = [
    "OTHER",
    "RELATIVE_ERROR",
    "Counter",
    "Dimension",
    "Distribution",
    "Metrics",
    "ProcessFigures",
    "QueueMetrics",
    "Reading",
    "Unit",
    "event_loop_watched",
    "process_figures",
    "reported",
]
