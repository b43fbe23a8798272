"""Which requests get a line in the log, and which are slow; the words that requests are named by."""

import logging
import zlib
from dataclasses import dataclass, field

# nginx's number for a client that closed the connection first; it is never sent.
CLIENT_CLOSED_REQUEST = 499
QUIET_ROUTES = frozenset({"/healthz", "/readyz"})
UNMATCHED_ROUTE = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods are the client's words: unknown ones would make operations and dimensions without end."""

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class AccessLogPolicy:
    """What is logged of requests. Raises ValueError that names every field that cannot be.

    level: lines below it are not written: INFO is every request, WARNING those from 400 on, ERROR
    those from 500 on. The log's own level counts as well.
    sample_rate: share of the requests below 400 that are logged. Which, the trace id decides: a
    trace is logged in every service that has the same rate, or in none.
    slow_seconds: a request that takes longer is logged whatever level and rate say, with a second
    line that tells where its time went; 0: no request is slow.
    """

    level: str = "INFO"
    sample_rate: float = 1.0
    slow_seconds: float = 1.0
    number: int = field(init=False, repr=False, compare=False, default=logging.INFO)

    def __post_init__(self) -> None:
        problems = []
        if self.level not in _LEVELS:
            problems.append(f"level must be one of {', '.join(_LEVELS)}")
        if not 0 <= self.sample_rate <= 1:
            problems.append("sample_rate must be from 0 to 1")
        if not 0 <= self.slow_seconds < float("inf"):
            problems.append("slow_seconds must be 0 or above")
        if problems:
            raise ValueError("; ".join(problems))
        object.__setattr__(self, "number", getattr(logging, self.level))

    def is_slow(self, seconds: float) -> bool:
        """Whether a request that took so long is slow."""
        return 0 < self.slow_seconds < seconds

    def takes(self, *, status: int, trace_id: str) -> bool:
        """Whether a request that is not slow is logged. Errors always are, if the level takes them.

        A hash and no random number, so that services agree without a word. A client that brings a
        trace id of its own choosing can keep its unremarkable requests out; what it does wrong is
        logged, as are audit lines.
        """
        if level_of(status) < self.number:
            return False
        if self.sample_rate >= 1 or (status >= 400 and status != CLIENT_CLOSED_REQUEST):
            return True
        return zlib.crc32(trace_id.encode()) < self.sample_rate * 2**32


def level_of(status: int) -> int:
    """The level at which a request of this status is logged."""
    if status >= 500:
        return logging.ERROR
    if status >= 400 and status != CLIENT_CLOSED_REQUEST:
        return logging.WARNING
    return logging.INFO
