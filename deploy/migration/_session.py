"""One run of the command line: whom it speaks to, as whom, with which settings, and who hears of it.

Owns the first contact, which alone is not patient, the name that others see, and what runs beside a
command: the row that says what it does, and a worker where one was asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import random
import secrets
import shlex
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from deploy.migration._context import Context, Settings
from deploy.migration._control import Control
from deploy.migration._ports import (
    Database,
    DeniedError,
    Throttled,
    Unanswered,
)
from deploy.migration._presence import Doing, Presence
from deploy.migration._report import COMMAND, Report
from deploy.migration._settings import kept, parse
from deploy.migration._status import Look, look, next_steps
from deploy.migration._where import LOCAL_STATE, Aws, find_aws, find_mapping
from deploy.migration.commands import BadInputError, Migration
from deploy.migration.mapping import SplitMapping, Table
from deploy.migration.worker import Worker

Result = TypeVar("Result")

_CONTACTS: Final = 3
_MAKE_PLANS: Final = frozenset({"plan", "start", "rehearse"})
_TROUBLE_EVERY_SECONDS: Final = 10.0
_WORKER_STOPS_WITHIN_SECONDS: Final = 20.0


@dataclass
class Session:
    """What a command has. `settings`: those that were given, or those of the migration."""

    options: argparse.Namespace
    report: Report
    aws: Aws
    context: Context
    migration: Migration
    doing: Doing | None = None

    @property
    def mapping(self) -> SplitMapping:
        return self.context.mapping

    def command(self, text: str) -> str:
        """A whole line of a command for the same migration."""
        return f"{COMMAND} {text} {same_place(self.options)}"

    def context_of(self, name: str) -> Context:
        """The same for somebody else in this process."""
        return replace(self.context, name=name, chance=random.Random(secrets.randbits(64)))  # noqa: S311

    async def look(self) -> Look:
        """How far it is."""
        return await look(self.context, self.migration)

    async def say_next(self) -> None:
        """What is to be done now."""
        self.report.next_step(*next_steps(await self.look(), self.command))

    async def use_kept_settings(self) -> None:
        """Those with which the migration was started, once it was."""
        settings = await kept(self.migration.control)
        if settings is not None:
            self.use_settings(settings)

    def use_settings(self, settings: Settings) -> None:
        """For everything that follows."""
        self.context = replace(self.context, settings=settings)
        self.migration = Migration(
            self.context, tell=self.tell, wait=getattr(self.options, "wait", False)
        )

    def tell(self, what: str, done: float, total: float) -> None:
        """As `Tell`; others see it in `status`."""
        module = getattr(self.options, "module", None)
        command = " ".join(filter(None, [self.options.command, module]))
        self.doing = Doing(command=command, what=what, done=done, total=total)
        self.report.tell(what, done, total)

    async def doing_it(self, act: Awaitable[Result]) -> Result:
        """Do it, tell others what is being done, and work beside it where `--work` was given."""
        async with AsyncExitStack() as stack:
            presence = Presence(self.context, self.migration.control)
            stack.push_async_callback(_only_told, presence.command_ended())
            telling = asyncio.create_task(presence.command(lambda: self.doing))
            stack.push_async_callback(_ended, telling)
            if not getattr(self.options, "work", False):
                return await act
            worker = await stack.enter_async_context(self.working())
            acting = asyncio.ensure_future(act)
            try:
                await asyncio.wait({acting, worker}, return_when=asyncio.FIRST_COMPLETED)
                if worker.done():
                    await worker  # raises what ended it; one that has heard of a `cancel` ends well
                return await acting
            finally:
                if not acting.done():
                    acting.cancel()
                    await asyncio.wait({acting})

    @asynccontextmanager
    async def working(self) -> AsyncIterator[asyncio.Task[None]]:
        """A worker, until the block ends; its work is then given back."""
        context = self.context_of(f"{self.context.name}.worker")
        worker = Worker(context)
        running = asyncio.create_task(worker.run())
        try:
            async with shown(context, self.migration.control):
                yield running
        finally:
            worker.stop()
            await stopped(running)


@asynccontextmanager
async def shown(context: Context, control: Control) -> AsyncIterator[None]:
    """`status` shows this worker until the block ends."""
    presence = Presence(context, control)
    showing = asyncio.create_task(presence.worker())
    try:
        yield
    finally:
        await _ended(showing)
        await _only_told(presence.worker_left())


async def stopped(running: asyncio.Task[None]) -> None:
    """A worker that was told to stop has ended; one that does not is made to."""
    await asyncio.wait({running}, timeout=_WORKER_STOPS_WITHIN_SECONDS)
    running.cancel()
    await asyncio.wait({running})


async def _only_told(telling: Awaitable[None]) -> None:
    """What is only told fails in silence: it must not take the place of what really happened."""
    with suppress(Exception):
        await telling


async def _ended(task: asyncio.Task[None]) -> None:
    """What is only told ends here, and what became of it is no one's trouble."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def same_place(options: argparse.Namespace) -> str:
    """The options that say which migration is meant, as they were given."""
    said = ["--mapping", options.mapping]
    for table in options.table:
        said += ["--table", table]
    if options.local is not None:
        said += ["--local"] if options.local == LOCAL_STATE else ["--local", str(options.local)]
    return shlex.join(said)


@asynccontextmanager
async def session(options: argparse.Namespace, report: Report) -> AsyncIterator[Session]:
    """Raises BadInputError with all that is wrong before anything is asked, and where AWS is not
    reached."""
    problems: list[str] = []
    aws, found = Aws(), None
    try:
        aws = find_aws(options.local)
    except BadInputError as error:
        problems += error.reasons
    try:
        found = find_mapping(options.mapping, options.table, aws)
    except BadInputError as error:
        problems += error.reasons
    settings, wrong = parse(getattr(options, "set", ()), is_local=options.local is not None)
    problems += wrong
    if problems or found is None:
        raise BadInputError(*problems)
    mapping, control = found
    _check_module(options, mapping)
    trouble = _Trouble(report, time.monotonic)
    async with aws.database(trouble.tell) as database:
        if not await _reach(database, control, aws) and options.command not in _MAKE_PLANS:
            raise BadInputError(
                f"{control.name}: there is no such table; the control table is made before `start`,"
                " with the text keys pk and sk (`plan` tells all that is missing)"
            )
        context = Context(
            name=process_name(),
            mapping=mapping,
            database=database,
            control=control,
            clock=time.monotonic,
            wall=time.time,
            sleep=asyncio.sleep,
            chance=random.Random(secrets.randbits(64)),  # noqa: S311 - jitter and unique tokens
            settings=settings,
        )
        migration = Migration(context)
        found_session = Session(options, report, aws, context, migration)
        found_session.use_settings(settings)
        yield found_session


def _check_module(options: argparse.Namespace, mapping: SplitMapping) -> None:
    module = getattr(options, "module", None)
    known = [target.module for target in mapping.targets]
    if module is not None and module not in known:
        raise BadInputError(f"there is no module {module!r}; there are {', '.join(known)}")


async def _reach(database: Database, control: Table, aws: Aws) -> bool:
    """The engine waits for AWS for as long as it takes; a wrong address shows here. Gives whether
    there is a control table."""
    for attempt in range(_CONTACTS):
        try:
            return await database.describe(control) is not None
        except (Throttled, DeniedError):
            break  # it answers; what is denied is told with all else
        except Unanswered as error:
            if attempt == _CONTACTS - 1:
                raise BadInputError(f"{aws.name} does not answer: {error}") from error
            await asyncio.sleep(1)
    return True


def process_name() -> str:
    """Who this is, as others see it; no two are the same."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}/{os.getpid()}-{secrets.token_hex(2)}"


class _Trouble:
    """Calls are repeated in silence; a person who waits is told why now and then."""

    def __init__(self, report: Report, clock: Callable[[], float]) -> None:
        self._report = report
        self._clock = clock
        self._told_at = clock()
        self._times = 0

    def tell(self, what: str) -> None:
        """A call was throttled or not answered."""
        self._times += 1
        if self._clock() - self._told_at >= _TROUBLE_EVERY_SECONDS:
            self._told_at = self._clock()
            self._report.warn(
                "awsTrouble",
                f"AWS gave no answer, or refused for want of capacity, {self._times} times; it is"
                f" asked again: {what}",
                {"times": self._times, "last": what},
            )
            self._times = 0
