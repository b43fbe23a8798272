"""The command line on simulated tables, in virtual time: what it said, and its exit code."""

from __future__ import annotations

import asyncio
import io
import json
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.migration import _session, migrate
from deploy.migration._command import parse
from deploy.migration._context import Context
from deploy.migration._items import Item
from deploy.migration._report import Report
from deploy.migration._where import Aws
from tests.unit.migration.simulator.clients import SimulatedDatabase, World
from tests.unit.migration.simulator.library import BOOKS, CONTROL, MAPPING, MONOLITH, SHELVES
from tests.unit.migration.simulator.virtual_time import VirtualTimeLoop

MAPPING_TEXT = (
    "from tests.unit.migration.simulator.library import MAPPING\ndef mapping(): return MAPPING\n"
)


class Screen(io.StringIO):
    """A stream that somebody looks at, or nobody."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@dataclass
class Told:
    """What one run of a command said."""

    code: int
    output: list[str]
    errors: list[str]
    screen: str = field(repr=False, default="")

    @property
    def problems(self) -> list[str]:
        """Lines of what can not be done."""
        mark = "migrate.py: "
        return [line.removeprefix(mark) for line in self.errors if line.startswith(mark)]

    @property
    def documents(self) -> list[Mapping[str, Any]]:
        """What `--json` printed."""
        return [json.loads(line) for line in self.output]


class Terminal:
    """Where commands are given: tables without traps, and as many processes as one likes."""

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, *, view: str = "NEW_AND_OLD_IMAGES"
    ) -> None:
        self.world = World(1)
        self.monolith = self.world.create(MONOLITH, view=view)
        self.books = self.world.create(BOOKS.table)
        self.shelves = self.world.create(SHELVES.table)
        self.control = self.world.create(CONTROL, stream=False)
        self.mapping = folder / "mine.py"
        self.mapping.write_text(MAPPING_TEXT, encoding="utf-8")
        self.place = ["--mapping", str(self.mapping), "--table", "control=Control"]
        self.tables = {
            name: table for name, table in self.world.tables.items() if name != "Control"
        }
        self.tasks: list[asyncio.Task[Any]] = []
        self.databases: list[SimulatedDatabase] = []
        self._names = 0
        world = self.world

        @asynccontextmanager
        async def database(
            _: Aws, trouble: Callable[[str], None]
        ) -> AsyncIterator[SimulatedDatabase]:
            self.databases.append(SimulatedDatabase(world, reliable=True))
            yield self.databases[-1]

        def now() -> float:
            return asyncio.get_running_loop().time()

        patch.setattr(Aws, "database", database)
        patch.setattr(_session, "time", SimpleNamespace(monotonic=now, time=now))
        patch.setattr(_session, "process_name", self._name)

    def _name(self) -> str:
        self._names += 1
        return f"operator{self._names}"

    def state(self) -> dict[str, dict[Any, Item]]:
        """Everything that stands in any table."""
        return {name: dict(table.items) for name, table in self.world.tables.items()}

    async def told(self, command: str, *more: str, is_terminal: bool = False) -> Told:
        """Give a command, and wait for its end."""
        options = parse([*command.split(), *self.place, *more])
        output, errors = Screen(), Screen(is_terminal=is_terminal)
        loop = asyncio.get_running_loop()
        report = Report(output, errors, as_json=options.json, clock=loop.time)
        code = await migrate._until_stopped(options, report)
        return Told(
            code,
            output.getvalue().splitlines(),
            errors.getvalue().splitlines(),
            errors.getvalue(),
        )

    def begin(self, command: str, *more: str) -> asyncio.Task[Told]:
        """Give a command in another terminal."""
        task = asyncio.create_task(self.told(command, *more))
        self.tasks.append(task)
        return task

    def stop(self) -> None:
        """Ctrl-C in the terminal of the command that was begun last."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.send_signal(signal.SIGINT)

    def kill_last(self) -> None:
        """Kill the process that was begun last, as kill -9 does: nothing is given back."""
        self.databases[-1].die()

    def context(self) -> Context:
        """Of somebody who looks on."""
        loop = asyncio.get_running_loop()
        return Context(
            "looker", MAPPING, SimulatedDatabase(self.world, reliable=True), CONTROL, loop.time,
            loop.time, asyncio.sleep, random.Random(7),
        )  # fmt: skip

    def now(self) -> float:
        """Seconds of virtual time."""
        return asyncio.get_running_loop().time()

    def line(self, command: str) -> str:
        """A command as it is written in a next step."""
        return (
            f"./pantsw run deploy/migration/migrate.py -- {command} --mapping {self.mapping}"
            " --table control=Control"
        )


def book(name: str, title: str = "t", **more: str) -> Item:
    """An item of the rule `book`."""
    values = {"pk": f"BOOK#{name}", "sk": "META", "kind": "book", "name": title, **more}
    return {attribute: {"S": value} for attribute, value in values.items()}
