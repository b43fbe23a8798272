"""Typed keys under which the layers of one request and one application find each other's state.

Owns only the keys. No layer reaches into another by a string.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from libs.auth import Principal
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http._request_metrics import RequestMetrics
from libs.resilience import PipelineRegistry
from libs.tracing import Span

REQUEST_ID = web.RequestKey("request_id", str)
PRINCIPAL = web.RequestKey("principal", Principal)
SPAN = web.RequestKey("span", Span)
FINISH: web.RequestKey[Callable[[int], None]] = web.RequestKey("finish")
"""Counts and logs the request once, by the status of its answer."""
BODY_CUT = web.RequestKey("body_cut", bool)
"""The handler was cancelled while it read the body."""
ABANDONED = web.RequestKey("abandoned", bool)
"""The client was answered at the deadline, without the handler, which would not end."""


@dataclass(frozen=True)
class ServiceInfo:
    """What `/version` says: the service's name and version, git revision and image hash."""

    name: str
    version: str
    revision: str
    image_hash: str


@dataclass
class Drain:
    """Whether the process is on its way out, and which requests are still being answered."""

    draining: bool = False
    requests: "dict[asyncio.Task[object], web.BaseRequest]" = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever a request, the writing of an answer or a connection has ended."""

    def enter(self, task: "asyncio.Task[object]", request: web.BaseRequest) -> None:
        """`task`, which is aiohttp's own for each request, begins to answer `request`."""
        self.requests[task] = request

    def leave(self, task: "asyncio.Task[object]") -> None:
        """The answer of `task` is decided."""
        self.requests.pop(task, None)
        self.changed.set()


SERVICE = web.AppKey("service", ServiceInfo)
DRAIN = web.AppKey("drain", Drain)
BREAKERS = web.AppKey("breakers", CircuitBreakerRegistry)
REQUEST_METRICS: web.AppKey[RequestMetrics | None] = web.AppKey("request_metrics")
PIPELINES = web.AppKey("pipelines", PipelineRegistry)
MAX_BODY_BYTES = web.AppKey("max_body_bytes", int)
