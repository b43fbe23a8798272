"""The way out of a real process: readiness first, then the requests in flight, then exit 0."""

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

ROOT = Path(__file__).parents[3]
TOKEN = {"Authorization": "Bearer any"}


class Service:
    """A running process with what it has logged so far."""

    def __init__(self, process: Process, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.session = session
        self.events: list[dict[str, object]] = []

    async def logged(self, event: str, **values: object) -> dict[str, object]:
        """The next line of this event, read as it comes."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while line := await self.process.stdout.readline():
                found: dict[str, object] = json.loads(line)
                self.events.append(found)
                if found["event"] == event and values.items() <= found.items():
                    return found
        raise AssertionError(f"{event} was not logged; {self.events}")

    async def url(self) -> str:
        return f"http://127.0.0.1:{(await self.logged('listening'))['port']}"

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"release\n")

    async def ended(self) -> int:
        """The exit code, once everything it has logged has been read."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            async for line in self.process.stdout:
                self.events.append(json.loads(line))
            return await self.process.wait()

    def access_line(self, route: str) -> dict[str, object]:
        """The one access log line of a route."""
        (line,) = (
            event
            for event in self.events
            if event["event"] == "request" and event["route"] == route
        )
        return line

    def names(self) -> list[object]:
        return [event["event"] for event in self.events]


@asynccontextmanager
async def service(
    *words: str, port: int = 0, drain_seconds: float = 60, notice_seconds: float = 0
) -> AsyncIterator[Service]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.unit.http.drained_app",
        *(str(port), str(drain_seconds), str(notice_seconds), *words),
        stdin=PIPE,
        stdout=PIPE,
        cwd=ROOT,
    )
    async with aiohttp.ClientSession(headers=TOKEN) as session:
        try:
            yield Service(process, session)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def hold(found: Service, url: str) -> int:
    async with found.session.get(f"{url}/hold") as response:
        assert await response.json() == {"held": True}
        return response.status


@pytest.mark.parametrize(("words", "loop"), [((), "uvloop"), (("stdlib",), "asyncio")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_request_in_flight_completes(
    words: tuple[str, ...], loop: str, number: signal.Signals
) -> None:
    async with service(*words, notice_seconds=3) as found:
        listening = await found.logged("listening")
        assert listening["loop"] == loop
        url = f"http://127.0.0.1:{listening['port']}"
        async with found.session.get(f"{url}/readyz") as ready:
            assert ready.status == 200
        held = asyncio.ensure_future(hold(found, url))
        await found.logged("held")

        found.process.send_signal(number)
        draining = await found.logged("draining")
        assert draining["inFlight"] == 1
        # Readiness is the first to say so, on new connections, which are still taken.
        async with found.session.get(f"{url}/readyz") as ready:
            assert ready.status == 503
            assert (await ready.json(content_type=None))["code"] == "draining"
            assert ready.headers["Connection"] == "close"
        # Then the listener closes; the request in flight is still there.
        async with asyncio.timeout(30):
            while await _accepts(int(str(listening["port"]))):
                await asyncio.sleep(0.01)
        assert not held.done()

        found.release()
        assert await held == 200
        assert await found.ended() == 0
    names = found.names()
    assert names[-2:] == ["client_closed", "stopped"]
    assert found.events[-1]["drained"] is True
    answered = found.access_line("/hold")
    assert answered["status"] == 200


async def test_a_request_that_outlives_the_bound_is_cancelled() -> None:
    async with service(drain_seconds=0.2) as found:
        url = await found.url()
        held = asyncio.ensure_future(hold(found, url))
        await found.logged("held")
        found.process.terminate()
        with pytest.raises(aiohttp.ClientError):
            await held
        assert await found.ended() == 0
    names = found.names()
    assert names.count("drain_bound_exceeded") == 1
    assert names[-2:] == ["client_closed", "stopped"]
    assert found.events[-1]["drained"] is False
    cancelled = found.access_line("/hold")
    assert cancelled["status"] == 499


@dataclass
class Balancer:
    """Sends requests until it sees that the process is not ready, and for a while longer.

    Each of its clients keeps its connection as long as it may, and opens another when it must.
    Nothing is sent again.
    """

    port: int
    answered: int = 0
    after_the_signal: int = 0
    failed: list[str] = field(default_factory=list)
    signalled: bool = False
    has_noticed: bool = False

    async def send_until_noticed(self, *, clients: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                # Every second one behaves as if it had never heard of keep-alive.
                group.create_task(self._client(keep_alive=number % 2 == 0))

    async def check_health(self, *, until_unready: int) -> None:
        """Notices after so many answers in a row that are not 200."""
        unready = 0
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}") as session:
            while unready < until_unready:
                async with session.get("/readyz") as response:
                    unready = 0 if response.status == 200 else unready + 1
                await asyncio.sleep(0.01)
        self.has_noticed = True

    async def _client(self, *, keep_alive: bool) -> None:
        kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self.has_noticed:
            try:
                reader, writer = kept or await asyncio.open_connection("127.0.0.1", self.port)
                kept = None
                connection = b"" if keep_alive else b"Connection: close\r\n"
                writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n" + connection + b"\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failed.append(repr(error))
                continue
            if not head.startswith(b"HTTP/1.1 200 "):
                self.failed.append(head.decode())
            self.answered += 1
            self.after_the_signal += self.signalled
            if b"connection: close" in head.lower():
                writer.close()
            else:
                kept = reader, writer
        if kept:
            kept[1].close()


@pytest.mark.parametrize("words", [(), ("stdlib",)])
async def test_a_balancer_that_notices_late_is_refused_nothing(words: tuple[str, ...]) -> None:
    """It checks readiness, as one does that nobody has told of the stop."""
    async with service(*words, drain_seconds=600, notice_seconds=600) as found:
        balancer = Balancer(int(str((await found.logged("listening"))["port"])))
        sending = asyncio.ensure_future(balancer.send_until_noticed(clients=6))
        async with asyncio.timeout(60):
            while balancer.answered < 50:
                await asyncio.sleep(0.001)
            found.process.terminate()
            balancer.signalled = True
            await balancer.check_health(until_unready=10)
            await sending
        assert balancer.failed == []
        assert balancer.after_the_signal > 0
        # The notice would last for ten minutes: nobody is there any more to be told.
        await found.logged("draining")
        found.process.terminate()
        assert await found.ended() == 0


async def test_a_second_signal_ends_the_drain() -> None:
    async with service(drain_seconds=600) as found:
        url = await found.url()
        held = asyncio.ensure_future(hold(found, url))
        await found.logged("held")
        found.process.terminate()
        await found.logged("draining")
        found.process.terminate()
        assert await found.ended() == 0
        with pytest.raises(aiohttp.ClientError):
            await held
    assert found.names()[-2:] == ["client_closed", "stopped"]


async def test_an_idle_process_ends_at_once() -> None:
    async with service(drain_seconds=600) as found:
        url = await found.url()
        async with found.session.get(f"{url}/healthz") as response:
            assert response.status == 200
        found.process.terminate()
        assert await found.ended() == 0


async def test_a_signal_during_the_start_ends_it() -> None:
    async with service("stuck") as found:
        await found.logged("starting")
        found.process.terminate()
        assert await found.ended() == 0
    assert found.events[-1]["started"] is False


async def test_a_failed_start_is_one_line_and_exit_1() -> None:
    async with service("broken") as found:
        assert await found.ended() == 1
    (line,) = found.events
    assert (line["event"], line["level"]) == ("start_failed", "error")


async def test_a_taken_port_is_one_line_and_exit_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with service(port=port) as found:
            assert await found.ended() == 1
    assert found.names() == ["client_closed", "start_failed"]
    assert found.events[-1]["port"] == port
    assert "exception" not in found.events[-1]


async def test_the_last_requests_are_in_the_metrics() -> None:
    async with service("metrics") as found:
        url = await found.url()
        held = asyncio.ensure_future(hold(found, url))
        await found.logged("held")
        found.process.terminate()
        await found.logged("draining")
        found.release()
        assert await held == 200
        assert await found.ended() == 0
    assert found.names()[-3:] == ["client_closed", "metrics", "stopped"]
    written = found.events[-2]
    assert (written["Route"], written["RequestCount"], written["AbandonedCount"]) == ("/hold", 1, 0)


@pytest.mark.parametrize("signals", [1, 2])
async def test_requests_that_are_given_up_are_in_the_metrics(signals: int) -> None:
    """When the bound of the drain is exceeded, and when a second signal ends it."""
    async with service("metrics", drain_seconds=0.2 if signals == 1 else 600) as found:
        url = await found.url()
        held = asyncio.ensure_future(hold(found, url))
        await found.logged("held")
        found.process.terminate()
        if signals == 2:
            await found.logged("draining")
            found.process.terminate()
        with pytest.raises(aiohttp.ClientError):
            await held
        assert await found.ended() == 0
    assert found.names()[-3:] == ["client_closed", "metrics", "stopped"]
    written = found.events[-2]
    assert (written["Route"], written["RequestCount"], written["AbandonedCount"]) == ("/hold", 1, 1)


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
