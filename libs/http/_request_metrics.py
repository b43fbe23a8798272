"""What is counted of every request, by route template and method, and in the service's total.

Neither a path nor an unknown method ever becomes a dimension: both are the client's words. Health
checks are left out: they would drown a quiet service's figures, and a process that is draining
answers 503 to them as it should.
"""

from libs.http._access_log_policy import CLIENT_CLOSED_REQUEST, METHODS, QUIET_ROUTES
from libs.metrics import Dimension, Metrics

# An application's own templates; there are a dozen, and `unmatched`.
_MAX_ROUTES = 100


class RequestMetrics:
    """`RequestCount`, `ErrorCount` (4xx), `FaultCount` (5xx), `AbandonedCount` and `Latency`."""

    def __init__(self, metrics: Metrics) -> None:
        dimensions = (Dimension("Route", maximum=_MAX_ROUTES), Dimension("Method", values=METHODS))

        self._requests = metrics.counter("RequestCount", dimensions=dimensions, rollups=[()])
        self._errors = metrics.counter("ErrorCount", dimensions=dimensions, rollups=[()])
        self._faults = metrics.counter("FaultCount", dimensions=dimensions, rollups=[()])
        self._abandoned = metrics.counter("AbandonedCount", dimensions=dimensions, rollups=[()])
        self._latency = metrics.distribution("Latency", dimensions=dimensions, rollups=[()])

    def record(self, route: str, method: str, status: int, seconds: float | None) -> None:
        """Count one request; `seconds` None: nobody knows when it began.

        Who hung up was neither answered wrongly nor in any time.
        """
        if route in QUIET_ROUTES:
            return
        abandoned = status == CLIENT_CLOSED_REQUEST
        self._requests.add(1, route, method)
        # Zeros too: an alarm must be able to tell "no fault" from "no request".
        self._errors.add(1 if 400 <= status < 500 and not abandoned else 0, route, method)
        self._faults.add(1 if status >= 500 else 0, route, method)
        self._abandoned.add(1 if abandoned else 0, route, method)
        if seconds is not None and not abandoned:
            self._latency.record(seconds * 1000, route, method)
