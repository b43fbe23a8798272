"""Ten minutes at 70 % of a core: do memory, file descriptors and p99 stay as they are?

Each service in turn, by its own entry point, over a fake DynamoDB that answers canned rows. In turn and
not together, because 70 % is then of a whole core: three that share one would be at a quarter of their
capacity each, and each one's p99 would be made by the two others.

First the capacity is measured: requests that follow each other as fast as they are answered. Then the
rate is looked for that takes 70 % of the core: fewer requests at once cost more each, so that 70 % of
the capacity would take up to 92 %. That rate is offered at even intervals, whether or not answers come;
a latency begins when a request is due. Each 15 seconds memory, descriptors and p99 are sampled. Flat is
what rises, with the upper end of the slope's 95 % interval and after the first fifth of the run, by no
more than 1 % (memory), one (file descriptors), a quarter (the p99 of a second, the least of the 15).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from libs.console import Terminal
from tests.bench.comparison import contestants, stored
from tests.bench.comparison.canned import fake_dynamodb
from tests.bench.comparison.contestants import Running, World, lyceum_service
from tests.bench.comparison.ending import exit_code, run
from tests.bench.comparison.load import UnexpectedAnswerError, ask, offer
from tests.bench.comparison.stored import COURSE, Asked
from tests.bench.growing import soaked, terminal
from tests.bench.growing.fit import Stays
from tests.bench.growing.report import machine_line
from tests.bench.growing.soaked import Sample, Soak, drifts, window_seconds
from tests.bench.request_costs import machine, mebibytes

COMMAND = "./pantsw run tests/bench/soak.py"
BY = "soak"
SHARE = 0.7
CONNECTIONS = 32
SATURATING = 8
CAPACITY_SECONDS = 5.0
"""At most; a shorter run takes a shorter look."""
LOOKS = 2
"""So many times the rate is tried and put right."""
START_SECONDS = 3.0
LEAST_MINUTES, MOST_MINUTES = 0.05, 1_440.0

_EXAMPLES = f"""examples:
  {COMMAND} -- --into docs/performance-growth.md
        every service in turn, ten minutes each, into the document with the plots beside it
  {COMMAND} -- --only progress_tracking --minutes 60
        one service for an hour
  {COMMAND} -- --minutes 0.2 --json
        a look, for programs; far too short for a verdict

exit codes: 0 all flat; 1 something is not, or a service failed; 2 called wrongly; 130 interrupted
"""

MIXES: Mapping[str, Sequence[Asked]] = {
    "course_catalog": (
        Asked("GET", f"/courses?limit={stored.PAGE}"),
        Asked("GET", f"/courses/{COURSE}"),
    ),
    "content_delivery": (Asked("GET", f"/content/{stored.CONTENT}"),),
    "progress_tracking": (
        stored.heartbeat(),
        Asked("GET", f"/progress/me/{COURSE}"),
        stored.heartbeat(),
        Asked("GET", "/progress/me"),
    ),
}
"""What each is asked, in turns."""


def seconds_of(minutes: float) -> float:
    """About how long a service takes, for the estimate of the end."""
    return START_SECONDS + (1 + LOOKS) * _capacity_seconds(minutes) + minutes * 60


def _capacity_seconds(minutes: float) -> float:
    return min(CAPACITY_SECONDS, minutes * 60 / 4)


async def soak(
    service: str,
    minutes: float,
    *,
    folder: Path,
    advance: Callable[[float], None],
    doing: Callable[[str], None],
) -> Soak:
    """One service's run. Raises RuntimeError."""
    available = sorted(os.sched_getaffinity(0))
    theirs, ours = {available[0]}, {available[-1]}
    requests = [
        asked.wire(token) for token in stored.tokens() for asked in MIXES[service]
    ]  # fmt: skip
    async with AsyncExitStack() as stack:
        os.sched_setaffinity(0, ours)
        stack.callback(os.sched_setaffinity, 0, set(available))
        doing(f"{service}: starting")
        port, daemon = stack.enter_context(
            fake_dynamodb(stored.answers(stored.FEW_COURSES), jwks=stored.jwks(), cores=ours)
        )
        process = await stack.enter_async_context(
            contestants.started(
                lyceum_service(service, service, "Lyceum", {}),
                World(port, port, daemon, page_bytes=0),
                cores=theirs,
                folder=folder,
            )
        )
        advance(START_SECONDS)
        try:
            doing(f"{service}: its capacity")
            found = await _capacity(service, process, requests, _capacity_seconds(minutes))
            advance(_capacity_seconds(minutes))
            doing(f"{service}: the rate that takes {SHARE:.0%} of its core")
            for _ in range(LOOKS):
                await _put_right(process, requests, found, _capacity_seconds(minutes))
                advance(_capacity_seconds(minutes))
            doing(f"{service}: {found.rate:,.0f} requests a second")
            await _offered(process, requests, found, minutes, advance)
        except (UnexpectedAnswerError, TimeoutError, OSError) as error:
            lines = process.log.read_text(encoding="utf-8", errors="replace")[-2_000:]
            raise RuntimeError(f"{service}: {error}\n{lines}") from error
    return found


async def _capacity(
    service: str, process: Running, requests: Sequence[bytes], seconds: float
) -> Soak:
    """Where nothing waits for it. What comes first warms up, and opens what connections the run may
    have: later, one more is one that was forgotten."""
    for is_kept in (False, True):
        began, before = time.perf_counter(), process.cpu_seconds
        served = await ask(
            process.port,
            requests,
            status=200,
            connections=SATURATING if is_kept else CONNECTIONS,
            seconds=seconds * (0.8 if is_kept else 0.2),
        )
        took, spent = time.perf_counter() - began, process.cpu_seconds - before
    rate = len(served.seconds) / took
    return Soak(service, capacity=rate, capacity_share=spent / took, rate=SHARE * rate)


async def _put_right(
    process: Running, requests: Sequence[bytes], found: Soak, seconds: float
) -> None:
    began, before = time.perf_counter(), process.cpu_seconds
    await _offer(process, requests, found.rate, seconds, told=lambda _: None)
    share = (process.cpu_seconds - before) / (time.perf_counter() - began)
    found.rate = min(found.rate * SHARE / share, SHARE * found.capacity)


async def _offer(
    process: Running,
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    *,
    told: Callable[[float], None],
) -> None:
    await offer(
        process.port,
        requests,
        status=200,
        rate=rate,
        connections=CONNECTIONS,
        seconds=seconds,
        told=told,
    )


async def _offered(
    process: Running,
    requests: Sequence[bytes],
    found: Soak,
    minutes: float,
    advance: Callable[[float], None],
) -> None:
    window = window_seconds(minutes)
    answered = Latencies()
    began = time.perf_counter()

    async def sample() -> None:
        since, spent, before = began, process.cpu_seconds, processors()
        own = time.process_time()
        while True:
            await asyncio.sleep(max(0.0, since + window - time.perf_counter()))
            window_p99, second_p99, requests_answered = answered.taken()
            if not requests_answered:
                raise TimeoutError(f"no answer in {window:g} s")
            now, cpu, after = time.perf_counter(), process.cpu_seconds, processors()
            found.samples.append(
                Sample(
                    at=now - began,
                    resident_mebibytes=mebibytes(process.process_id)["now"],
                    unique_mebibytes=unique_mebibytes(process.process_id),
                    descriptors=len(os.listdir(f"/proc/{process.process_id}/fd")),
                    p99_milliseconds=window_p99 * 1e3,
                    second_p99_milliseconds=second_p99 * 1e3,
                    requests=requests_answered,
                    cpu_share=(cpu - spent) / (now - since),
                    stolen_share=after.stolen_since(before),
                    load_microseconds=(time.process_time() - own) / requests_answered * 1e6,
                )
            )
            # One line a request: of ten minutes they would fill the folder.
            os.truncate(process.log, 0)
            advance(now - since)
            since, spent, before, own = now, cpu, after, time.process_time()

    sampling = asyncio.create_task(sample())
    # A little longer, so that the last window is whole.
    offering = asyncio.create_task(
        _offer(process, requests, found.rate, minutes * 60 + window / 4, told=answered.tell)
    )
    try:
        done, _ = await asyncio.wait({sampling, offering}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (sampling, offering):
            task.cancel()
        await asyncio.gather(sampling, offering, return_exceptions=True)


class Latencies:
    """Seconds that answers took, of a window and of each second of it by itself."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[int, list[float]] = {}

    def tell(self, seconds: float) -> None:
        """One more."""
        self._seconds.setdefault(int(self._clock()), []).append(seconds)

    def taken(self) -> tuple[float, float, int]:
        """The p99 of all since the last time, the least p99 of a second that was there as a whole, and
        how many they are; all 0 where there are none."""
        seconds, self._seconds = list(self._seconds.values()), {}
        everything = [latency for of_a_second in seconds for latency in of_a_second]
        if not everything:
            return 0.0, 0.0, 0
        most = max(map(len, seconds))
        # A window begins and ends within a second.
        whole = [of_a_second for of_a_second in seconds if 2 * len(of_a_second) >= most]
        return p99(everything), min(map(p99, whole)), len(everything)


@dataclass(frozen=True)
class Processors:
    """Ticks of all processors since the start: all that there were, and those that the host of a
    virtual machine gave to others."""

    total: int
    stolen: int

    def stolen_since(self, before: Processors) -> float:
        """The share that was stolen meanwhile."""
        return (self.stolen - before.stolen) / max(self.total - before.total, 1)


def processors(stat: Path = Path("/proc/stat")) -> Processors:
    """The ticks until now (proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; what
    guests took is in the first two)."""
    ticks = [int(word) for word in stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return Processors(sum(ticks), ticks[7])


def p99(latencies: Sequence[float]) -> float:
    """What all but a hundredth took at most."""
    return sorted(latencies)[int(len(latencies) * 0.99)]


def unique_mebibytes(process_id: int) -> float:
    """The memory that would be free if the process ended (USS; proc(5), smaps_rollup)."""
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines()
    kibibytes = sum(
        int(line.split()[1])
        for line in lines
        if line.startswith(("Private_Clean:", "Private_Dirty:"))
    )
    return round(kibibytes / 1024, 2)


async def soaked_all(services: Sequence[str], minutes: float, told: Terminal) -> dict[str, Soak]:
    """Each service's run, in turn. Raises RuntimeError."""
    seconds = seconds_of(minutes) * len(services)
    found = {}
    with tempfile.TemporaryDirectory(prefix="lyceum-soak-") as folder:
        async with terminal.ticking(terminal.progress(told, seconds)) as shown:
            for service in services:
                found[service] = await soak(
                    service,
                    minutes,
                    folder=Path(folder),
                    advance=shown.advance,
                    doing=shown.doing,
                )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    told = Terminal(sys.stderr)
    return exit_code(
        "soak", told.line, lambda: _carry_out(options, told), wrongly=(terminal.DocumentError,)
    )


def _carry_out(options: argparse.Namespace, told: Terminal) -> int:
    services = [service for service in MIXES if not options.only or service in options.only]
    document: Path | None = options.into
    if document is not None:
        terminal.require_places(document, services, by=BY)
    found = run(soaked_all(services, options.minutes, told))
    names = {
        service: None if document is None else _picture(document, service).name
        for service in services
    }
    texts = {
        service: "\n\n".join(
            (soaked.section(found[service], picture=names[service]), machine_line(machine()))
        )
        for service in services
    }
    if document is not None:
        pictures = {f"soak-{service}": soaked.plot(found[service]) for service in services}
        for path in terminal.write(document, texts, pictures, by=BY):
            told.line(f"wrote {path}")
    if options.json:
        report = {
            "version": 1,
            "by": "tests/bench/soak.py",
            "machine": machine(),
            "minutes": options.minutes,
            "services": {service: soaked.as_json(found[service]) for service in services},
        }
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    elif document is None:
        for service, text in texts.items():
            sys.stdout.write(f"\n{service}\n\n{text}\n")
    moved = [
        f"{service}, {name}: {one.verdict}"
        for service in services
        for name, one in drifts(found[service]).items()
        if one.verdict is not Stays.FLAT
    ]
    for line in moved:
        told.line(f"soak: {line}")
    return 1 if moved else 0


def _picture(document: Path, service: str) -> Path:
    return terminal.picture_of(document, f"soak-{service}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = terminal.Parser(
        prog="soak",
        usage=f"{COMMAND} -- [options]",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minutes", metavar="N", type=_minutes, default=10.0, help="of each service (10)"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument(
        "--only",
        metavar="SERVICE",
        action="append",
        choices=list(MIXES),
        default=[],
        help=f"only this service; may be repeated. One of {', '.join(MIXES)}",
    )
    parser.add_argument(
        "--into", metavar="FILE", type=Path, help="renew these services' parts of a document"
    )
    options = parser.parse_args(arguments)
    if options.into is not None and options.minutes < 10:
        parser.error("less than ten minutes are too little to be kept: --into takes full runs")
    return options


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = float("nan")
    if not LEAST_MINUTES <= minutes <= MOST_MINUTES:
        raise argparse.ArgumentTypeError(
            f"must be a number from {LEAST_MINUTES:g} to {MOST_MINUTES:g}"
        )
    return minutes


if __name__ == "__main__":
    sys.exit(main())
