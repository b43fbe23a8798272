"""The platform that the demo plays on, and the commands by which an operator moves it.

Owns command lines and what their answers mean; each is a program of its own (`_processes.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.migration._demo._load import People
from deploy.migration._demo._processes import Document, Program, ProgramError, Programs
from deploy.migration._demo._report import Report

LEARNERS: Final = ("learner-a", "learner-b")
_USERS: Final = (*LEARNERS, "staff")
_MAPPING: Final = "deploy.migration.mappings.lyceum"
_NEW_TOKENS_EVERY_SECONDS: Final = 1200.0
"""A token lives for an hour."""


@dataclass
class Platform:
    """One that runs. `document` is what it said when it was ready."""

    programs: Programs
    report: Report
    state: Path
    document: Mapping[str, Any]
    _tokens: dict[str, str] = field(default_factory=dict)

    @property
    def gateway(self) -> str:
        """Where everybody asks."""
        return str(self.document["gateway"])

    def service(self, module: str) -> str:
        """Where a module's service answers by itself."""
        return str(self.document["services"][module])

    @property
    def people(self) -> People:
        """The demo users."""
        users = self.document["users"]
        return People(
            token=lambda user: self._tokens.get(user) or str(users[user]["accessToken"]),
            learners={user: str(users[user]["sub"]) for user in LEARNERS},
        )

    async def migrate(self, command: str, *arguments: str) -> list[Document]:
        """A command of the migration; what it said. Raises ProgramError."""
        said = " ".join([command, *arguments])
        self.report.command(f"./pantsw run deploy/migration/migrate.py -- {said} …")
        return await self._run(
            f"migrate {said}",
            "deploy.migration.migrate",
            *(command, *arguments, "--mapping", _MAPPING, "--local", str(self.state), "--json"),
        )

    async def release(self, command: str, module: str, *arguments: str) -> list[Document]:
        """A command of a service's release; what it said. Raises ProgramError."""
        said = " ".join([command, module, *arguments])
        self.report.command(f"./pantsw run deploy/release/release.py -- {said} …")
        return await self._run(
            f"release {said}",
            "deploy.release.release",
            *(command, module, *arguments, "--local", str(self.state), "--json"),
        )

    async def replay_outlines(self) -> None:
        """Tell progress what courses consist of. Raises ProgramError."""
        self.report.command(
            "./pantsw run deploy/replay/outlines.py -- --token-from platform:staff …"
        )
        await self._run(
            "replay outlines",
            "deploy.replay.outlines",
            *("--token-from", "platform:staff", "--state", str(self.state), "--json"),
        )

    @asynccontextmanager
    async def workers(self, count: int) -> AsyncIterator[None]:
        """Workers of the migration, until the block ends."""
        async with AsyncExitStack() as stack:
            for number in range(1, count + 1):
                program = await stack.enter_async_context(
                    self._migrating("worker", "--name", f"worker-{number}")
                )
                stack.push_async_callback(_ended, asyncio.create_task(_drain(program.documents())))
            yield

    @asynccontextmanager
    async def watched(self, lags: list[float]) -> AsyncIterator[None]:
        """Look at the migration each second, until the block ends."""
        async with self._migrating("status", "--watch") as program:

            async def listen() -> None:
                async for document in program.documents():
                    found = document.get("lagSeconds")
                    if found:
                        lags.append(max(found.values()))

            listening = asyncio.create_task(listen())
            try:
                yield
            finally:
                await _ended(listening)

    @asynccontextmanager
    async def fresh_tokens(self) -> AsyncIterator[None]:
        """Nobody's token runs out, until the block ends."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(_NEW_TOKENS_EVERY_SECONDS)
                for user in _USERS:
                    self._tokens[user] = await self._fresh_token(user)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            await _ended(renewing)

    async def _fresh_token(self, user: str) -> str:
        state = ("--state", str(self.state))
        async with self.programs.running("token", "deploy.local.up", "token", user, *state) as up:
            assert up.process.stdout is not None
            token = (await up.process.stdout.read()).decode().strip()
            if await up.process.wait() != 0:
                raise up.failure()
            return token

    def _migrating(self, command: str, *arguments: str) -> Any:
        return self.programs.running(
            f"migrate {command}",
            "deploy.migration.migrate",
            *(command, *arguments, "--mapping", _MAPPING, "--local", str(self.state), "--json"),
        )

    async def _run(self, name: str, module: str, *arguments: str) -> list[Document]:
        documents: list[Document] = []

        def hear(document: Document) -> None:
            documents.append(document)
            if document.get("event") == "goesOn":
                self.report.goes_on(document["what"], document["done"], document["total"] or 0)

        try:
            await self.programs.run(name, module, *arguments, hear=hear)
        finally:
            self.report.done()
        return documents

    def gateway_log(self) -> GatewayLog:
        """What the gateway passes on from now on."""
        return GatewayLog(self.state / "logs" / "gateway.log")

    def requests_of_the_monolith(self) -> int:
        """How many requests its log has, other than those that only ask whether it is well."""
        count = 0
        with (self.state / "logs" / "monolith.log").open(encoding="utf-8", errors="replace") as log:
            for line in log:
                if '"event":"request"' in line and '"route":"/readyz"' not in line:
                    count += 1
        return count


class GatewayLog:
    """The gateway's log, from where it ended when this was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = path.stat().st_size

    def shares(self) -> tuple[int, int]:
        """How many requests went to the canary's target, and how many there were."""
        with self._path.open("rb") as log:
            log.seek(self._start)
            text = log.read()
        to_canary, to_stable = text.count(b'"target":"canary"'), text.count(b'"target":"stable"')
        return to_canary, to_canary + to_stable


@asynccontextmanager
async def started(
    programs: Programs, report: Report, state: Path, items: int
) -> AsyncIterator[Platform]:
    """The platform in the state before a migration, until the block ends. Raises ProgramError."""
    report.command(f"./pantsw run deploy/local/up.py -- --monolith --items {items}")
    arguments = ("--monolith", "--items", str(items), "--state", str(state), "--port", "0")
    async with programs.running("platform", "deploy.local.up", *arguments, "--json") as up:
        report.goes_on("the platform starts, and the monolith's table is filled", 0, 0)
        documents = up.documents()
        try:
            document = await anext(documents)
        except (StopAsyncIteration, json.JSONDecodeError):
            await up.process.wait()
            raise up.failure() from None
        report.done()
        # Commands wait for AWS for as long as it takes: without it they would wait for ever.
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_must_run(up))
            yield Platform(programs, report, state, document)
            watching.cancel()


async def _must_run(up: Program) -> None:
    await up.process.wait()
    raise up.failure()


async def _drain(documents: AsyncIterator[Document]) -> None:
    async for _ in documents:
        pass


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def said(documents: Sequence[Document], event: str) -> Document:
    """The last document of an event. Raises ProgramError where there is none."""
    found = [document for document in documents if document.get("event") == event]
    if not found:
        raise ProgramError(f"nothing was said of {event!r}", [])
    return found[-1]
