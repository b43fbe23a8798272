"""Starts processes, watches them, starts again what dies, and stops all of it in order.

Knows nothing of what it runs. Every process

* writes to a log file of its own, so that nobody has to read a pipe for it to go on;
* stays in the caller's process group, yet is deaf to the terminal's Ctrl-C and hang-up: the
  terminal sends those to the whole group at once, but the order in which things stop matters;
* ends with its parent (prctl(2), PR_SET_PDEATHSIG), however that ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_PR_SET_PDEATHSIG = 1
# Made before any fork: a forked child must not load a library.
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)

_LAST_LINES = 15
_LAST_LINE_CHARACTERS = 500
_POLL_SECONDS = 0.05
_OUTPUT_BYTES = 256 * 1024

Ready = Callable[[str], Awaitable[bool]]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Program:
    """What is run.

    Args:
        name: as people call it; also names the log file.
        command: the executable's path and its arguments.
        environment: the whole of it; nothing is inherited.
        ready: asked again and again after a start, with what was written since; true ends that.
        inherited: file descriptors that are passed on.
        ready_seconds: how long it may take to become ready.
        stop_seconds: how long it may take to stop after SIGTERM, before SIGKILL.
        death_signal: what it gets when its parent dies.
        restarted: awaited when it is ready again after it had died, before that is reported.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Ready
    directory: Path | None = None
    inherited: Sequence[int] = ()
    ready_seconds: float = 30.0
    stop_seconds: float = 15.0
    death_signal: signal.Signals = signal.SIGKILL
    restarted: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True)
class BackOff:
    """How long to wait before a start again: doubling, and from the beginning after a good while."""

    first_seconds: float = 0.25
    maximum_seconds: float = 30.0
    forgotten_after_seconds: float = 30.0

    def delay(self, deaths: int) -> float:
        """Seconds to wait after so many deaths in a row (1 or more)."""
        return float(min(self.first_seconds * 2.0 ** min(deaths - 1, 30), self.maximum_seconds))


class Listener(Protocol):
    """Is told what happens to the processes."""

    def died(self, name: str, how: str, last_lines: Sequence[str], again_in: float) -> None:
        """A process ended by itself and is started again in so many seconds."""

    def back(self, name: str) -> None:
        """A process that had died is ready again."""

    def stopped_badly(self, name: str, how: str, last_lines: Sequence[str]) -> None:
        """A process that was told to stop ended otherwise than with exit code 0."""

    def killed(self, name: str, seconds: float) -> None:
        """A process did not stop within ``seconds`` and was killed."""


class StartError(Exception):
    """A process ended, or was not ready in time, when it was first started."""

    def __init__(self, name: str, how: str, last_lines: Sequence[str]) -> None:
        super().__init__(f"{name} {how}")
        self.name = name
        self.how = how
        self.last_lines = tuple(last_lines)


@dataclass
class _Running:
    program: Program
    process: asyncio.subprocess.Process
    log_from: int
    death_told: bool = False


class Supervisor:
    """Runs programs.

    Args:
        logs: the folder of the log files, ``<name>.log``; the last run's become ``<name>.log.1``.
        listener: is told what happens.
        clock: monotonic seconds.
        sleep: waits so many seconds; between deaths and starts, and between looks at readiness.
    """

    def __init__(
        self,
        logs: Path,
        listener: Listener,
        *,
        back_off: BackOff | None = None,
        clock: Callable[[], float],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._logs = logs
        self._listener = listener
        self._back_off = back_off or BackOff()
        self._clock = clock
        self._sleep = sleep
        self._running: dict[str, _Running] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}

    @property
    def process_ids(self) -> dict[str, int]:
        """The processes that run now."""
        return {
            name: running.process.pid
            for name, running in self._running.items()
            if running.process.returncode is None
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The programs that were started and not stopped, whether or not they run now."""
        return tuple(self._running)

    def log_file(self, name: str) -> Path:
        """Where the program of that name writes."""
        return self._logs / f"{name}.log"

    async def start(self, program: Program) -> None:
        """Starts ``program``, waits until it is ready and watches it from then on.

        Raises:
            StartError: it ended first, or was not ready within ``ready_seconds``; it does not run.
        """
        log = self.log_file(program.name)
        if log.exists():
            log.replace(log.with_name(log.name + ".1"))
        running = await self._spawn(program)
        try:
            await self._until_ready(running)
        except BaseException:
            self._running.pop(program.name, None)
            await self._end(running)
            raise
        self._watches[program.name] = asyncio.create_task(
            self._watch(program), name=f"watch {program.name}"
        )

    async def stop_restarting(self) -> None:
        """From here on what dies stays dead; starts again that are under way are broken off."""
        while self._watches:
            watches = [self._watches.pop(name) for name in list(self._watches)]
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def stop(self, *names: str) -> bool:
        """Stops these programs at once and waits for them; false where one did not end well."""
        watches = [self._watches.pop(name) for name in names if name in self._watches]
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        running = [self._running.pop(name) for name in names if name in self._running]
        return all(await asyncio.gather(*map(self._end, running)))

    def kill(self) -> None:
        """Kills everything without waiting."""
        for watch in self._watches.values():
            watch.cancel()
        for running in self._running.values():
            _signal(running.process, signal.SIGKILL)

    async def _spawn(self, program: Program) -> _Running:
        log = self.log_file(program.name)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            log_from = os.fstat(descriptor).st_size
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env=dict(program.environment),
                cwd=program.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                pass_fds=tuple(program.inherited),
                preexec_fn=tied_to_parent(os.getpid(), program.death_signal),
            )
        finally:
            os.close(descriptor)
        running = self._running[program.name] = _Running(program, process, log_from)
        return running

    async def _until_ready(self, running: _Running) -> None:
        program = running.program
        deadline = self._clock() + program.ready_seconds
        while True:
            if running.process.returncode is not None:
                raise StartError(program.name, self._how(running), self._last_lines(running))
            if await program.ready(self._output(running)):
                return
            if self._clock() >= deadline:
                how = f"was not ready within {program.ready_seconds:g} s"
                raise StartError(program.name, how, self._last_lines(running))
            await self._sleep(_POLL_SECONDS)

    async def _watch(self, program: Program) -> None:
        deaths = 0
        running, how = self._running[program.name], None
        while True:
            began = self._clock()
            await running.process.wait()
            lived = self._clock() - began
            deaths = 1 if lived >= self._back_off.forgotten_after_seconds else deaths + 1
            delay = self._back_off.delay(deaths)
            lines = self._last_lines(running)
            running.death_told = True
            self._listener.died(program.name, how or self._how(running), lines, delay)
            await self._sleep(delay)
            how = None
            try:
                running = await self._spawn(program)
                await self._until_ready(running)
                if program.restarted is not None:
                    await program.restarted()
            except Exception as error:
                watch = asyncio.current_task()
                if watch is not None and watch.cancelling():
                    # It may come of being broken off itself, and must not keep this from ending.
                    raise asyncio.CancelledError from error
                # Whatever it is that keeps it from its work: the next try may fare better.
                how = error.how if isinstance(error, StartError) else f"is of no use: {error}"
                _signal(running.process, signal.SIGKILL)
            else:
                self._listener.back(program.name)

    async def _end(self, running: _Running) -> bool:
        process, program = running.process, running.program
        if running.death_told:
            return True
        _signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(program.stop_seconds):
                await process.wait()
        except TimeoutError:
            _signal(process, signal.SIGKILL)
            await process.wait()
            self._listener.killed(program.name, program.stop_seconds)
            return False
        if process.returncode not in (0, -signal.SIGTERM):
            self._listener.stopped_badly(
                program.name, self._how(running), self._last_lines(running)
            )
            return False
        return True

    def _how(self, running: _Running) -> str:
        code = running.process.returncode
        assert code is not None
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name}"

    def _output(self, running: _Running) -> str:
        with self.log_file(running.program.name).open("rb") as log:
            log.seek(running.log_from)
            return log.read(_OUTPUT_BYTES).decode(errors="replace")

    def _last_lines(self, running: _Running) -> list[str]:
        return last_lines(self.log_file(running.program.name), after=running.log_from)


def last_lines(log: Path, *, after: int = 0) -> list[str]:
    """What stands last in a log file, of what was written behind so many bytes; for a report."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(after, end - _OUTPUT_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
    except OSError as error:  # removed by somebody: no reason to stop watching
        return [f"(the log can not be read: {error})"]
    return [line[:_LAST_LINE_CHARACTERS] for line in lines]


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        try:
            # Not process.send_signal: it polls first, and may take the exit code of a process
            # that has just died away from asyncio's child watcher, which then reports 255.
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def tied_to_parent(
    parent: int, death_signal: signal.Signals = signal.SIGKILL
) -> Callable[[], None]:
    """What a child does between fork and exec, so that it hears of its end from ``parent`` alone.

    The kernel ties it to the thread that starts it, not to the whole process.
    """

    def prepare() -> None:
        # Blocked signals stay blocked over exec, whatever handlers the program installs.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
        if _PRCTL is not None:
            _PRCTL(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before it could be tied to it
            os._exit(1)

    return prepare
