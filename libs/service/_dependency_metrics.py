"""What is counted of the calls to dependencies, and told to the request that made them."""

from __future__ import annotations

from libs.aws import CallOutcome, DependencyCall
from libs.http import note_dependency_call
from libs.metrics import Dimension, Metrics

# Names of our own code and settings, far fewer than these; the bounds are for their product.
_MAX_DEPENDENCIES = 8
_MAX_OPERATIONS = 40
_MAX_TABLES = 8
_MAX_INDEXES = 16

TABLE_ITSELF = "(table)"
"""The value of the dimension `Index` for what the table itself consumed."""


class DependencyMetrics:
    """A `libs.aws.CallObserver` that counts and times every call."""

    def __init__(self, metrics: Metrics) -> None:
        called = [
            Dimension("Dependency", maximum=_MAX_DEPENDENCIES),
            Dimension("Operation", maximum=_MAX_OPERATIONS),
        ]
        stored = [Dimension("Table", maximum=_MAX_TABLES), Dimension("Index", maximum=_MAX_INDEXES)]
        by_dependency, by_table = [["Dependency"]], [["Table"]]
        self._latency = metrics.distribution(
            "DependencyLatency", dimensions=called, rollups=by_dependency
        )
        self._errors = metrics.counter("DependencyErrors", dimensions=called, rollups=by_dependency)
        self._units = {
            "read": metrics.counter(
                "ConsumedReadCapacityUnits", dimensions=stored, rollups=by_table
            ),
            "write": metrics.counter(
                "ConsumedWriteCapacityUnits", dimensions=stored, rollups=by_table
            ),
        }

    def __call__(self, call: DependencyCall) -> None:
        """Count one call, and note it for the slow-request line of the current request."""
        note_dependency_call(
            dependency=call.dependency,
            operation=call.operation,
            seconds=call.seconds,
            outcome=call.outcome.value,
        )
        if call.outcome not in (CallOutcome.NOT_ATTEMPTED, CallOutcome.CANCELLED):
            self._errors.add(int(call.outcome.is_error), call.dependency, call.operation)
            self._latency.record(call.seconds * 1000, call.dependency, call.operation)
        for consumed in call.consumed:
            self._units[consumed.kind].add(
                consumed.units, consumed.table, consumed.index or TABLE_ITSELF
            )
