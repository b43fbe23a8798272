"""The process around an application: the listener, the signals and the way out.

Owns the event loop, the socket and the drain: readiness turns 503 first, then the listener closes,
what was on its way to it is answered and requests in flight finish within a bound, then keep-alive
connections and clients close, and the process exits with 0. Knows nothing of what the application
does.
"""

import asyncio
import contextlib
import ctypes
import gc
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web

from libs.http._access_log_policy import UNMATCHED_ROUTE
from libs.http._errors import http_exception_problem
from libs.http._keys import DRAIN, REQUEST_METRICS, Drain
from libs.http._outside import outside_response
from libs.http._problem import Problem
from libs.http._request_metrics import RequestMetrics
from libs.logging import get_logger
from libs.metrics import OTHER

# Longer than a load balancer's idle time-out (60 s on AWS), so that it is never the target that
# closes a connection which the load balancer is about to use.
KEEPALIVE_SECONDS = 75.0
# For what a load balancer has decided about and not sent yet; docs/adr/0100 has the reasons.
DEFAULT_READINESS_NOTICE_SECONDS = 0.25
# A token may have 8 KiB (libs.auth decides about that), its header line a little more.
MAX_HEADER_FIELD_BYTES = 16_384
# What is left for the last bytes of answers that were cut by the bound of the drain.
_FLUSH_SECONDS = 1.0
# How long somebody who has connected, or sent the first bytes of a request, may take for the rest
# when the listener closes: a round trip, or a packet sent again (200 ms at least, RFC 6298 and
# Linux).
_REQUEST_ARRIVES_SECONDS = 0.5

_log = get_logger(__name__)


class Listener:
    """An application that is being served; `port` is the bound one, also when 0 was asked for."""

    def __init__(
        self,
        runner: web.AppRunner,
        server: asyncio.Server,
        drain: Drain,
        accepted: "Callable[[], ProblemRequestHandler]",
    ) -> None:
        """`accepted` makes the protocol of a new connection."""
        self._runner = runner
        self._server = server
        self._drain = drain
        self._accepted = accepted
        self.port: int = server.sockets[0].getsockname()[1]

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        return len(self._drain.requests)

    async def drain(
        self,
        *,
        drain_seconds: float,
        readiness_notice_seconds: float = 0.0,
        hurry: asyncio.Event | None = None,
    ) -> bool:
        """Stop taking requests and let those in flight finish; True when all of them did.

        For `readiness_notice_seconds` /readyz says 503 while requests are still taken, on new
        connections as on open ones, so that whoever routes to this process looks elsewhere; each
        answer says `Connection: close`. Then the listener closes. Whoever had connected by then
        and whatever had begun to arrive is answered too. All of it lasts `drain_seconds` at most,
        and ends when `hurry` is set. What is then still running is cancelled.
        """
        self._drain.draining = True
        hurry = hurry or asyncio.Event()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + drain_seconds
        await _wait(hurry, min(readiness_notice_seconds, drain_seconds))
        await self._close_listener()
        await self._let_requests_arrive(hurry, deadline)
        await self._close_idle_connections()
        while self._open() and not hurry.is_set() and loop.time() < deadline:
            self._drain.changed.clear()
            await _wait_either(self._drain.changed, hurry, deadline - loop.time())
            # Whose answer was begun before the drain, and so did not say `Connection: close`.
            await self._close_idle_connections()
        left = list(self._drain.requests)
        finished = not self._open()
        for task in left:
            task.cancel()
        if not finished:
            _log.warning("drain_bound_exceeded", cancelled=len(left))
        if left:
            await asyncio.wait(left, timeout=_FLUSH_SECONDS)
        return finished

    async def close(self) -> None:
        """Close the listener, every connection and, through the lifespans, every client."""
        self._server.close()
        await self._runner.cleanup()

    async def _close_listener(self) -> None:
        # A connection that waits in the kernel's queue would be reset with the listener, though
        # its client holds it for open and has perhaps sent its request: those are taken first.
        loop = asyncio.get_running_loop()
        listening = [sock.dup() for sock in self._server.sockets]
        self._server.close()
        waiting: list[socket.socket] = []
        for sock in listening:
            with sock:
                waiting += _queued(sock)
        for connection in waiting:
            await loop.connect_accepted_socket(self._accepted, connection)

    async def _let_requests_arrive(self, hurry: asyncio.Event, deadline: float) -> None:
        await self._let_requests_begin()
        now = asyncio.get_running_loop().time()
        arriving = [found.request_arrives_until for found in self._connections()]
        await _wait(hurry, min(max(arriving, default=now), deadline) - now)

    async def _close_idle_connections(self) -> None:
        # Not aiohttp's own pre_shutdown: it also stops reading the bodies of requests in flight.
        await self._let_requests_begin()
        for connection in self._connections():
            if connection.is_idle:
                connection.force_close()

    def _open(self) -> bool:
        """Whether an answer is still to be given or written: a connection is there until its last
        bytes are with the kernel."""
        return bool(self._drain.requests or self._connections())

    def _connections(self) -> list["ProblemRequestHandler"]:
        assert self._runner.server is not None
        return cast(list[ProblemRequestHandler], self._runner.server.connections)

    @staticmethod
    async def _let_requests_begin() -> None:
        # Accepting, reading, waking the connection's task and starting the request's: one turn of
        # the loop each.
        for _ in range(4):
            await asyncio.sleep(0)


@asynccontextmanager
async def serve(
    app: web.Application, *, host: str, port: int, keepalive_seconds: float = KEEPALIVE_SECONDS
) -> AsyncIterator[Listener]:
    """Serve `app` on `host` and `port` (0: any free one), started before the listener opens.

    Raises what a lifespan raises, and OSError when the address is taken.
    """
    # handler_cancellation: work for a client that has hung up is stopped.
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=_FLUSH_SECONDS
    )
    try:
        await runner.setup()
        manager = runner.server
        assert manager is not None
        loop = asyncio.get_running_loop()

        def accepted() -> ProblemRequestHandler:
            return ProblemRequestHandler(
                manager,
                metrics=app[REQUEST_METRICS],
                drain=app[DRAIN],
                loop=loop,
                access_log=None,
                keepalive_timeout=keepalive_seconds,
                max_field_size=MAX_HEADER_FIELD_BYTES,
                auto_decompress=False,
            )

        server = await loop.create_server(accepted, host, port, backlog=1024)
    except BaseException:
        await runner.cleanup()
        raise
    listener = Listener(runner, server, app[DRAIN], accepted)
    try:
        yield listener
    finally:
        await listener.close()


def run(
    create: Callable[[], Awaitable[web.Application] | web.Application],
    *,
    host: str,
    port: int,
    drain_seconds: float,
    readiness_notice_seconds: float = DEFAULT_READINESS_NOTICE_SECONDS,
) -> int:
    """Run a service until SIGTERM or SIGINT; the process's exit code.

    0 after a drain, also one whose bound was exceeded; 1 when it could not start, with one log
    line that says why. A second signal ends the drain at once. `drain_seconds` must be smaller
    than what the platform waits before it kills (ECS `stopTimeout`).
    """
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        return runner.run(
            _main(
                create,
                host=host,
                port=port,
                drain_seconds=drain_seconds,
                readiness_notice_seconds=readiness_notice_seconds,
            )
        )


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's loop where uvloop is installed, the standard one elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _main(
    create: Callable[[], Awaitable[web.Application] | web.Application],
    *,
    host: str,
    port: int,
    drain_seconds: float,
    readiness_notice_seconds: float,
) -> int:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    serving = asyncio.ensure_future(
        _serve_until(
            create,
            host=host,
            port=port,
            stop=stop,
            hurry=hurry,
            drain_seconds=drain_seconds,
            readiness_notice_seconds=readiness_notice_seconds,
        )
    )
    return await serving


async def _serve_until(
    create: Callable[[], Awaitable[web.Application] | web.Application],
    *,
    host: str,
    port: int,
    stop: asyncio.Event,
    hurry: asyncio.Event,
    drain_seconds: float,
    readiness_notice_seconds: float,
) -> int:
    async with contextlib.AsyncExitStack() as stack:
        starting = asyncio.ensure_future(_start(stack, create, host=host, port=port))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            _log.info("stopped", started=False)
            return 0
        try:
            listener = starting.result()
        except OSError as error:
            _log.error("start_failed", host=host, port=port, error=str(error))
            return 1
        except Exception as error:
            _log.exception("start_failed", exc_info=error)
            return 1
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        _give_back_memory()
        _log.info("listening", host=host, port=listener.port, loop=_loop_name())
        await stop.wait()
        _log.info("draining", inFlight=listener.in_flight)
        finished = await listener.drain(
            drain_seconds=drain_seconds,
            readiness_notice_seconds=readiness_notice_seconds,
            hurry=hurry,
        )
    _log.info("stopped", drained=finished)
    return 0


async def _start(
    stack: contextlib.AsyncExitStack,
    create: Callable[[], Awaitable[web.Application] | web.Application],
    *,
    host: str,
    port: int,
) -> Listener:
    made = create()
    app = made if isinstance(made, web.Application) else await made
    return await stack.enter_async_context(serve(app, host=host, port=port))


class ProblemRequestHandler(web.RequestHandler):
    """aiohttp's protocol, with problems in place of its own text for what never becomes a request
    and for what fails before the first middleware. Those are counted here, since no layer sees
    them."""

    __slots__ = ("_drain", "_metrics", "_request_arrives_until")

    def __init__(
        self, manager: web.Server, *, metrics: RequestMetrics | None, drain: Drain, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._metrics = metrics
        self._drain = drain
        self._request_arrives_until = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nothing has been read that is not answered yet."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def request_arrives_until(self) -> float:
        """Until when the rest of a request may be waited for, by the loop's clock; 0 where none
        has begun. Who has just connected is about to send one."""
        return self._request_arrives_until

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As aiohttp's."""
        super().connection_made(transport)
        self._request_arrives_until = self._loop.time() + _REQUEST_ARRIVES_SECONDS

    def connection_lost(self, exc: BaseException | None) -> None:
        """As aiohttp's."""
        super().connection_lost(exc)
        self._drain.changed.set()

    def data_received(self, data: bytes) -> None:
        """As aiohttp's, noting whether a request is now half here."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._request_arrives_until = 0.0
        elif not self._request_in_progress:
            self._request_arrives_until = self._loop.time() + _REQUEST_ARRIVES_SECONDS

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to bytes that are not an HTTP request, and to a failure outside the layers.

        Logged as one line: whoever sends noise must not fill the log with tracebacks.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has already begun")
        if status < 500:
            problem = Problem(status, "malformed_request", "This is not a valid HTTP request.")
            _log.warning("request", status=status, route=UNMATCHED_ROUTE, reason=type(exc).__name__)
        else:
            problem = Problem(
                500, "internal_error", "Something is wrong on our side; the requestId finds it."
            )
            _log.error("unhandled_error", status=500, route=UNMATCHED_ROUTE, exc_info=exc)
        self._count(problem.status)
        response = outside_response(problem, request)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """As aiohttp's, once an error that was raised before the first middleware is a problem."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            _log.warning("request", status=resp.status, route=UNMATCHED_ROUTE)
            self._count(resp.status)
            resp = outside_response(http_exception_problem(resp), request)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._drain.changed.set()

    def _count(self, status: int) -> None:
        if self._metrics is not None:
            self._metrics.record(UNMATCHED_ROUTE, OTHER, status, None)


def _give_back_memory() -> None:
    """What a start has freed goes back to the system, where the C library is one that can be asked
    (glibc; malloc_trim(3)). It would otherwise be kept for as long as the process runs."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _queued(listening: socket.socket) -> Iterator[socket.socket]:
    """Accepts the connections in a listener's queue, until there is none."""
    listening.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listening.accept()
            connection.setblocking(False)
            yield connection


def _loop_name() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


async def _wait(event: asyncio.Event, seconds: float) -> None:
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()


async def _wait_either(first: asyncio.Event, second: asyncio.Event, seconds: float) -> None:
    waits = {asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())}
    try:
        await asyncio.wait(waits, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
