"""What requests of each kind cost a service: CPU time, memory, bytes, lines of log.

    ./pantsw run tests/bench/request_costs.py -- --write deploy/rightsizing/measurements.json

Each service runs as its own process, by its own entry point and on production's defaults (access log,
tracing of 5 %, breakers), on the embedded AWS with the rows of `typical_traffic.py`. CPU is the time
that the process was on a core, over the requests that it completed, and the least of several rounds:
whoever else uses the machine only adds to it. The latencies are those of the embedded AWS on the same
machine and say nothing about AWS.

`--write FILE` keeps the report for `deploy/rightsizing`, which describes its form; without it the
report is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from libs.tracing.testing import UdpCollector
from tests.bench import directory_at_scale
from tests.bench.typical_traffic import PREFIXES, SHAPE, Call, Operation, operations, typical_world
from tests.integration.service_process import ServiceProcess, python_path, service_process

REQUESTS = 2_000
ROUNDS = 4
MOST_ROUNDS = 8
WARM_UP = 100
CONCURRENCY = 4
SECONDS_PER_ROUND = 10.0
IDLE_SECONDS = 5.0
BREAKER_SECONDS = 6.0  # after which a circuit that the emulator's lateness opened tries again


@dataclass
class Sent:
    """What was sent and came back. `spoilt`: answers that say only that the emulator was late."""

    requests: int = 0
    spoilt: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, other: Sent) -> None:
        """What was sent in another round as well."""
        self.requests += other.requests
        self.request_bytes += other.request_bytes
        self.response_bytes += other.response_bytes
        self.seconds += other.seconds


def cpu_seconds(process_id: int) -> float:
    """The time that a process's threads were on a core, to the nanosecond (Linux: schedstat)."""
    threads = Path(f"/proc/{process_id}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9


def mebibytes(process_id: int) -> dict[str, float]:
    """Resident memory now, and the most there ever was (proc(5))."""
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="ascii").splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    return {
        name: round(int(found[key].split()[0]) / 1024, 1)
        for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))
    }


async def send(
    session: aiohttp.ClientSession,
    base: str,
    calls: Iterator[Call],
    most: int,
    sent: Sent,
    concurrency: int,
) -> None:
    """Send up to `most` calls, so many at a time, and no longer than there is time for.

    Raises AssertionError where an answer is not the one that is to be measured.
    """
    end = time.monotonic() + SECONDS_PER_ROUND

    async def worker() -> None:
        while sent.requests < most and time.monotonic() < end:
            call = next(calls, None)
            if call is None:
                return
            sent.requests += 1
            began = time.perf_counter()
            async with session.request(
                call.method, base + call.path, data=call.body, headers=call.headers
            ) as response:
                body = await response.read()
            sent.seconds.append(time.perf_counter() - began)
            if response.status == 503:
                sent.spoilt += 1
                continue
            assert response.status == call.status, (call, response.status, body)
            sent.request_bytes += len(call.body or b"") + _head_bytes(call.headers)
            sent.response_bytes += len(body) + _head_bytes(response.headers)

    await asyncio.gather(*(worker() for _ in range(concurrency)))


def _head_bytes(headers: Any) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items()) + 40


async def measure(
    running: ServiceProcess, session: aiohttp.ClientSession, operation: Operation
) -> dict[str, object]:
    """One operation's figures."""
    most = operation.most or REQUESTS + WARM_UP
    warm_up = min(WARM_UP, most // 10)
    calls, concurrency = operation.calls(), operation.concurrency or CONCURRENCY
    await send(session, running.base_url, calls, warm_up, Sent(), concurrency)
    sent, least = Sent(), float("inf")
    rounds = written = 0
    a_round = (most - warm_up) // (ROUNDS if operation.most is None else MOST_ROUNDS)
    for _ in range(MOST_ROUNDS):
        now, lines = Sent(), len(running.lines)
        before = cpu_seconds(running.process_id)
        await send(session, running.base_url, calls, a_round, now, concurrency)
        spent = cpu_seconds(running.process_id) - before
        if now.spoilt or not now.requests:
            await asyncio.sleep(BREAKER_SECONDS)
            continue
        sent.add(now)
        least = min(least, spent / now.requests)
        written += sum(len(line.encode()) for line in running.lines[lines:])
        rounds += 1
        if rounds == ROUNDS:
            break
    assert rounds, f"{operation.name}: the emulator is too late on this machine"
    ordered = sorted(sent.seconds)
    return {
        "requests": sent.requests,
        "cpuMilliseconds": round(least * 1000, 3),
        "requestBytes": round(sent.request_bytes / sent.requests),
        "responseBytes": round(sent.response_bytes / sent.requests),
        "logBytes": round(written / sent.requests),
        "latencyMilliseconds": {
            f"p{percent}": round(ordered[int(len(ordered) * percent / 100)] * 1000, 1)
            for percent in (50, 99)
        },
    }


async def run() -> dict[str, object]:
    """Measure everything."""
    services: dict[str, dict[str, Any]] = {}
    async with (
        typical_world() as world,
        UdpCollector() as daemon,
        aiohttp.ClientSession() as session,
    ):
        for service in PREFIXES:
            variables = world.variables(service, TRACING_DAEMON=daemon.address)
            async with service_process(service, variables) as running:
                await running.ready(session)
                ready = mebibytes(running.process_id)["now"]
                before = cpu_seconds(running.process_id)
                await asyncio.sleep(IDLE_SECONDS)
                idle = (cpu_seconds(running.process_id) - before) / IDLE_SECONDS
                measured = {}
                for operation in operations():
                    if operation.service == service:
                        measured[operation.name] = await measure(running, session, operation)
                        sys.stderr.write(
                            f"{operation.name}: {json.dumps(measured[operation.name])}\n"
                        )
                memory = mebibytes(running.process_id)
                services[service] = {
                    "residentMebibytes": {
                        "ready": ready,
                        "afterLoad": memory["now"],
                        "peak": memory["peak"],
                    },
                    "idleCpuShare": round(idle, 4),
                    "operations": measured,
                }
    services["course_catalog"]["bytesPerCourse"] = bytes_per_course()
    return {
        "version": 1,
        "measuredOn": datetime.now(UTC).date().isoformat(),
        "by": "tests/bench/request_costs.py",
        "machine": machine(),
        "concurrency": CONCURRENCY,
        "shape": dict(SHAPE),
        "services": services,
    }


def bytes_per_course() -> int:
    """The memory that the directory takes for a course, of a process of its own with many."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.bench.directory_at_scale"],
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=True,
    )
    megabytes = float(json.loads(result.stdout)["megabytes"])
    return round(megabytes * 1e6 / directory_at_scale.COURSES)


def machine() -> dict[str, object]:
    """Where it was measured."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return {
        "processor": ", ".join(sorted(names)),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", metavar="FILE", type=Path, help="keep the report in a file")
    options = parser.parse_args()
    text = json.dumps(asyncio.run(run()), indent=2) + "\n"
    if options.write is None:
        sys.stdout.write(text)
    else:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
