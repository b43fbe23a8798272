"""What a start costs: CPU and time until a process is ready, its memory then, and what it imported.

    ./pantsw run tests/bench/start.py                        each process, some starts in turns
    ./pantsw run tests/bench/start.py -- --only consumer --rounds 9
    ./pantsw run tests/bench/start.py -- --imports           the modules that take the most as well
    ./pantsw run tests/bench/start.py -- --json              the numbers, for programs

Each process is started by its own entry point, beside a fake DynamoDB of canned bytes that serves the
token issuer's keys too. Ready is 200 of /readyz; of the consumer it is the line that says that it
consumes. CPU is the time that its threads were on a core until then. RSS counts shared libraries, USS
only what is the process's alone. The least of the rounds is what others on the machine disturbed
least.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.comparison import stored
from tests.bench.comparison.canned import fake_dynamodb
from tests.bench.comparison.contestants import CONTESTANTS, World
from tests.bench.comparison.environments import ROOT
from tests.bench.request_costs import cpu_seconds, mebibytes
from tests.integration.service_process import python_path

SERVICES = ("course_catalog", "content_delivery", "progress_tracking")
CONSUMER = "consumer"
ROUNDS = 7
_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.002
_INTERPRETER = ("PYTHON", "PEX_")


@dataclass(frozen=True)
class Started:
    """One start, from the first instruction until it was ready."""

    cpu_seconds: float
    wall_seconds: float
    rss_mebibytes: float
    uss_mebibytes: float


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="start", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = (*SERVICES, CONSUMER)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    parser.add_argument("--only", action="append", choices=names, default=[], metavar="NAME")
    parser.add_argument("--imports", action="store_true", help="what the imports cost, too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    chosen = [name for name in names if not options.only or name in options.only]
    found: dict[str, list[Started]] = {name: [] for name in chosen}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lyceum-start-")))
        port, daemon = stack.enter_context(
            fake_dynamodb(
                stored.answers(stored.FEW_COURSES),
                jwks=stored.jwks(),
                cores=os.sched_getaffinity(0),
            )
        )
        world = World(port, port, daemon, page_bytes=0)
        for number in range(options.rounds + 1):
            for name in chosen:
                started = _start(name, world, folder)
                if number:  # the first one reads its files from the disk
                    found[name].append(started)
        imports = {name: _imports(name) for name in chosen} if options.imports else {}
    if options.json:
        sys.stdout.write(json.dumps(_document(found, imports), indent=2) + "\n")
        return 0
    _print(found)
    for name, costs in imports.items():
        _print_imports(name, costs)
    return 0


def _start(name: str, world: World, folder: Path) -> Started:
    """Start it, wait until it is ready, look at it, and end it. Raises RuntimeError with what it wrote
    if it does not become ready."""
    log = folder / f"{name}.log"
    with log.open("wb") as lines:
        began = time.perf_counter()
        process = subprocess.Popen(
            (sys.executable, "-m", _module(name)),
            cwd=ROOT,
            env=_environment(name, world),
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        is_ready = _consumes(log) if name == CONSUMER else _answers(log)
        while not is_ready():
            if process.poll() is not None or time.perf_counter() - began > _START_SECONDS:
                raise RuntimeError(f"{name} is not ready:\n{log.read_text(encoding='utf-8')}")
            time.sleep(_POLL_SECONDS)
        wall = time.perf_counter() - began
        cpu = cpu_seconds(process.pid)
        return Started(cpu, wall, mebibytes(process.pid)["now"], _unique_mebibytes(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _module(name: str) -> str:
    return f"services.progress_tracking.{name}" if name == CONSUMER else f"services.{name}"


def _environment(name: str, world: World) -> Mapping[str, str]:
    service = "progress_tracking" if name == CONSUMER else name
    contestant = next(found for found in CONTESTANTS if found.name == service)
    variables = dict(contestant.variables(world))
    prefix = next(key.removesuffix("TABLE") for key in variables if key.endswith("_TABLE"))
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith((prefix, "AWS_", *_INTERPRETER))
    }
    own = {f"{prefix}PORT": "0", f"{prefix}DRAIN_SECONDS": "1"}
    if name == CONSUMER:
        own[f"{prefix}OUTLINE_QUEUE_URL"] = (
            f"http://127.0.0.1:{world.dynamodb}/000000000000/outlines"
        )
    return {**inherited, **variables, **own}


def _answers(log: Path) -> Callable[[], bool]:
    """Whether /readyz says 200, at the port that its log names."""
    port: int | None = None

    def ready() -> bool:
        nonlocal port
        if port is None:
            port = next(
                (line["port"] for line in _events(log) if line["event"] == "listening"), None
            )
        if port is None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
        try:
            connection.request("GET", "/readyz", headers={"Connection": "close"})
            return connection.getresponse().status == 200
        finally:
            connection.close()

    return ready


def _consumes(log: Path) -> Callable[[], bool]:
    return lambda: any(line["event"] == "consuming" for line in _events(log))


def _events(log: Path) -> list[dict[str, Any]]:
    # The last line may be half there.
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]


def _unique_mebibytes(process_id: int) -> float:
    """What only this process has in memory (proc(5), smaps_rollup)."""
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines()
    kibibytes = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return round(kibibytes / 1024, 1)


@dataclass(frozen=True)
class Import:
    """What one module took to import, in milliseconds: by itself, and with all that it imported first."""

    module: str
    own: float
    whole: float


def _imports(name: str) -> list[Import]:
    """Each module of a start, as the interpreter tells it (`-X importtime`)."""
    program = f"{_module(name)}.__main__"
    done = subprocess.run(
        (sys.executable, "-X", "importtime", "-c", f"import gc; gc.disable(); import {program}"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=True,
    )
    found = []
    for line in done.stderr.splitlines():
        own, separator, rest = line.removeprefix("import time:").partition("|")
        if separator and own.strip().isdigit():
            whole, _, module = rest.partition("|")
            found.append(Import(module.strip(), int(own) / 1000, int(whole) / 1000))
    return found


def _document(
    found: Mapping[str, Sequence[Started]], imports: Mapping[str, Sequence[Import]]
) -> dict[str, object]:
    return {
        name: {
            **{
                column: {"median": statistics.median(values), "least": min(values)}
                for column, values in _columns(starts).items()
            },
            **({"modules": len(imports[name])} if name in imports else {}),
        }
        for name, starts in found.items()
    }


def _columns(starts: Sequence[Started]) -> Mapping[str, Sequence[float]]:
    return {
        "cpuSeconds": [start.cpu_seconds for start in starts],
        "wallSeconds": [start.wall_seconds for start in starts],
        "rssMebibytes": [start.rss_mebibytes for start in starts],
        "ussMebibytes": [start.uss_mebibytes for start in starts],
    }


def _print(found: Mapping[str, Sequence[Started]]) -> None:
    row = "{:20}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n"
    sys.stdout.write(
        row.format("median (least)", "CPU, s", "", "wall, s", "", "RSS, MiB", "USS, MiB")
    )
    for name, starts in found.items():
        cpu, wall, rss, uss = _columns(starts).values()
        cells = [f"{statistics.median(cpu):.3f}", f"({min(cpu):.3f})"]
        cells += [f"{statistics.median(wall):.3f}", f"({min(wall):.3f})"]
        cells += [f"{statistics.median(rss):.1f}", f"{statistics.median(uss):.1f}"]
        sys.stdout.write(row.format(name, *cells))


def _print_imports(name: str, costs: Sequence[Import]) -> None:
    packages: dict[str, float] = {}
    for cost in costs:
        package = cost.module.partition(".")[0]
        packages[package] = packages.get(package, 0.0) + cost.own
    total = sum(packages.values())
    sys.stdout.write(f"\n{name}: {len(costs)} modules, {total:.0f} ms\n")
    for package, milliseconds in sorted(packages.items(), key=lambda item: -item[1])[:15]:
        sys.stdout.write(f"  {milliseconds:8.1f} ms  {package}\n")
    sys.stdout.write("  with what they import first:\n")
    for cost in sorted(costs, key=lambda cost: -cost.whole)[:30]:
        sys.stdout.write(f"  {cost.whole:8.1f} ms  {cost.module}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
