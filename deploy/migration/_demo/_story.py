"""The steps of the seed, 0 to 8, played one after the other; and half of them, and back.

Owns the order and what is said of it. What each step does is done by the commands that an operator has;
clients ask all the time, and everything that they read is judged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Final

from deploy.load.connection import Connection
from deploy.migration._demo._device import PATIENCE_SECONDS, Device
from deploy.migration._demo._facts import Facts, Pause, is_whole
from deploy.migration._demo._items import (
    CATALOG,
    MODULES,
    Item,
    content,
    course,
    progress,
)
from deploy.migration._demo._keeping_up import KeepingUp
from deploy.migration._demo._load import Load
from deploy.migration._demo._platform import Platform, said, started
from deploy.migration._demo._processes import Document, ProgramError, Programs
from deploy.migration._demo._report import Report
from deploy.migration._where import find_aws, find_mapping
from deploy.migration.mapping import Cell
from libs.console import Style

WORKERS: Final = 2
STEPS: Final = (1, 10, 50, 100)

_TRIES: Final = 5
# A laptop that is busy with all of this is no worker that has died.
_LEASE_SECONDS: Final = 20
_COMPARED: Final = 30
_PAGE: Final = 1000
_DIRECTORY_WITHIN_SECONDS: Final = 180.0
# What leads to a service may be on its way for so long after a canary was taken back: the gateway
# looks once a second, and a request takes five at most.
_LAST_REQUESTS_SECONDS: Final = 7.0


@dataclass(frozen=True)
class Size:
    """How much of everything.

    Args:
        items: in the monolith's table.
        sample: items that clients read and change, of those that are there before.
        per_second: requests, at most.
        canary_requests: of each module before the next step of its canary.
        watch_for: seconds that `release canary` watches each step but the first; None: it does not.
    """

    items: int
    sample: int
    per_second: float
    canary_requests: int
    watch_for: int | None


FULL: Final = Size(20_000, 600, 30.0, 100, 15)
FAST: Final = Size(600, 120, 15.0, 20, None)


class Demo:
    """One run."""

    def __init__(
        self, size: Size, report: Report, state: Path, logs: Path, *, seed: int, reverse: bool
    ) -> None:
        self.facts = Facts()
        self.load: Load
        self._size = size
        self._report = report
        self._state = state
        self._programs = Programs(logs)
        self._chance = Random(seed)  # noqa: S311 - a load that can be played again
        self._reverse = reverse
        self._platform: Platform
        self._keeping_up: KeepingUp

    async def run(self) -> bool:
        """Whether nobody noticed anything. Raises ProgramError."""
        began = time.monotonic()
        report, size = self._report, self._size
        report.step(
            "", "A monolith, three modules on one table, and everybody uses it",
            "The platform of this machine: an embedded AWS, a gateway, the monolith, the services.",
        )  # fmt: skip
        async with started(self._programs, report, self._state, size.items) as self._platform:
            platform = self._platform
            self.load = Load(
                platform.gateway, platform.people, per_second=size.per_second, chance=self._chance
            )
            self._keeping_up = KeepingUp(self.load, self.facts.lags, report)
            async with platform.fresh_tokens():
                await self._look()
                async with self.load.running():
                    await self._play()
                report.step("", "The load has ended: every item is read once more")
                await self.load.read_all(lambda done, total: report.goes_on("reading", done, total))
                report.done()
        self.facts.seconds = time.monotonic() - began
        return self._tell_facts()

    def _tell_facts(self) -> bool:
        report, counts, history = self._report, self.load.counts, self.load.history
        whole = is_whole(counts, history)
        for line in [*counts.failures[:10], *map(str, history.problems[:20])]:
            report.happened("problem", line, {"what": line}, style=Style.RED)
        report.step("", "The facts")
        report.came_out(
            "facts",
            self.facts.table(counts, history),
            {**self.facts.document(counts, history), "reversed": self._reverse, "isWhole": whole},
        )
        return whole

    # --- the steps ------------------------------------------------------------------------------

    async def _play(self) -> None:
        await self._monolith()
        async with AsyncExitStack() as stack:
            await self._separate_the_data(stack)
            await self._deploy_the_services()
            if self._reverse:
                await self._half_way()
                await self._back()
            else:
                await self._canary(STEPS)
                await self._retire()

    async def _look(self) -> None:
        items = await self._sample()
        self._report.goes_on("reading what is there", 0, len(items))
        await self.load.look_at(
            items, lambda done: self._report.goes_on("reading what is there", done, len(items))
        )
        self._report.happened(
            "loadBegins",
            f"{len(items)} items are known to the clients, who change half of them from now on:"
            f" up to {self._size.per_second:g} requests a second, none is sent twice",
            {"items": len(items), "perSecond": self._size.per_second},
        )

    async def _sample(self) -> list[Item]:
        """As many of each module, by the mapping's own rules, spread over the table."""
        aws = find_aws(self._state)
        mapping, _ = find_mapping("deploy.migration.mappings.lyceum", [], aws)
        found: dict[str, list[Item]] = {module: [] for module in MODULES}
        async with aws.database(lambda _: None) as database:
            start = None
            while True:
                page = await database.scan(
                    mapping.source, segment=0, segments=1, start=start, limit=_PAGE
                )
                for row in page.items:
                    placed = mapping.place(row)
                    item = _item(placed.name, mapping.source.cell(row))
                    if item is not None:
                        found[item.module].append(item)
                start = page.next
                if start is None:
                    break
        each = self._size.sample // len(MODULES)
        return [
            item
            for items in found.values()
            for item in self._chance.sample(items, min(each, len(items)))
        ]

    async def _monolith(self) -> None:
        report, platform = self._report, self._platform
        report.step(
            "0", "Make the monolith modular",
            "It is: each module asks the gate which store owns it, and knows no other's tables.",
        )  # fmt: skip
        report.step("1", "Identify the microservices", "The mapping says what belongs to whom.")
        plan = said(await platform.migrate("plan"), "planned")
        report.happened(
            "planned",
            f"{plan['items']:,} items: "
            + ", ".join(f"{count:,} {rule}" for rule, count in plan["byRule"].items()),
            {"items": plan["items"], "byRule": plan["byRule"]},
        )
        report.step("2", "Define their APIs", "The contracts are the monolith's too.")
        for module in MODULES:
            document = await self._ask_service(module, "/openapi.json")
            count = sum(len(operations) for operations in document["paths"].values())
            report.happened(
                "contract", f"{module}: {count} operations", {"module": module, "operations": count}
            )
        report.step(
            "3", "API Gateway in front, everything to the monolith for now",
            "A stage for each API; its variable says where it leads.",
        )  # fmt: skip
        await self._each(self._leads(module) for module in MODULES)
        report.step("4", "Separate projects", "A folder, a version, an image for each.")
        for module in MODULES:
            version = await self._ask_service(module, "/version")
            report.happened(
                "version",
                f"{version['service']} {version['version']}",
                {"module": module, "version": version["version"]},
            )
        report.step(
            "5", "Separate the code",
            "services/*: the same rules as the modules', each with its own storage. Nobody asks them"
            " yet, and their tables are empty.",
        )  # fmt: skip

    async def _leads(self, module: str) -> None:
        looked = await self._platform.release("canary", module, "--percent", "1", "--dry-run")
        now = said(looked, "wouldLead")["now"]
        self._report.happened("leads", f"{module}: {now}", {"module": module, "now": now})

    async def _separate_the_data(self, stack: AsyncExitStack) -> None:
        report, platform, facts = self._report, self._platform, self.facts
        report.step(
            "6", "Separate the data, live",
            "Streams are read first, then everything is copied; then one module after the other:"
            " verify, and switch.",
        )  # fmt: skip
        await stack.enter_async_context(platform.watched(facts.lags))
        await stack.enter_async_context(platform.workers(WORKERS))
        report.command("./pantsw run deploy/migration/migrate.py -- worker …   (two of them)")
        await platform.migrate("start", "--set", f"lease={_LEASE_SECONDS}")
        began = time.monotonic()
        async with self._keeping_up.watched():
            copied = said(await platform.migrate("copy"), "copied")
        facts.items, facts.copy_seconds = int(copied["items"]), time.monotonic() - began
        facts.copied_at = len(facts.lags)
        report.happened(
            "copied",
            f"{facts.items:,} items in {facts.copy_seconds:.1f} s,"
            f" {facts.items_per_second:,.0f} a second",
            {"items": facts.items, "seconds": round(facts.copy_seconds, 2)},
            style=Style.GREEN,
        )
        for module in MODULES:
            facts.pauses[module] = await self._changed_hands("switch", "switched", module)

    async def _changed_hands(self, command: str, event: str, module: str) -> Pause:
        report = self._report
        async with self._keeping_up.watched():
            done, began = await self._verify_and(command, event, module)
        longest = self.load.counts.seconds(module, since=began, writes=True)
        pause = Pause(float(done["pauseSeconds"]), longest[-1] if longest else 0.0)
        report.happened(
            event,
            f"{module} changed hands: requests waited {pause.told:.2f} s at most, the longest write"
            f" of a client took {pause.longest_write:.2f} s",
            {
                "module": module,
                "pauseSeconds": pause.told,
                "longestWriteSeconds": round(pause.longest_write, 3),
            },
            style=Style.GREEN,
        )
        return pause

    async def _verify_and(self, command: str, event: str, module: str) -> tuple[Document, float]:
        """Verify a module and change its owner; what was said of that, and the moment at which it was
        first tried. What is refused or given up changed nothing, and is tried again: lag comes and
        goes with the load."""
        platform, report = self._platform, self._report
        began = inf
        left = _TRIES
        while True:
            left -= 1
            try:
                verified = said(await platform.migrate("verify", module), "verified")
                report.happened(
                    "verified",
                    f"{module}: {verified['items']:,} items against {verified['rows']:,} rows,"
                    f" nothing differs; {verified['moving']} moved and are compared at the switch",
                    {"module": module, "items": verified["items"], "rows": verified["rows"]},
                )
                await self._keeping_up.caught_up()
                began = min(began, time.monotonic())
                with self._keeping_up.changing_hands():
                    return said(await platform.migrate(command, module), event), began
            except ProgramError as error:
                if not left:
                    raise
                why = error.last_lines[-1] if error.last_lines else str(error)
                report.happened(
                    "triedAgain", f"given up, nothing was changed: {why}", {"why": why},
                    style=Style.YELLOW,
                )  # fmt: skip

    async def _deploy_the_services(self) -> None:
        report, platform = self._report, self._platform
        report.step(
            "7", "Deploy the services",
            "The monolith's modules write the services' tables now, so both may answer at once."
            " Before any user is led to a service, it must say what the monolith says.",
        )  # fmt: skip
        await platform.replay_outlines()
        await self._directory_is_known()
        for module in MODULES:
            compared = await self._same_answers(module)
            report.happened(
                "sameAnswers",
                f"{module}: the service says of {compared} items what the monolith said",
                {"module": module, "items": compared},
                style=Style.GREEN,
            )

    async def _directory_is_known(self) -> None:
        """The catalog's service lists from memory: it has to have read what was moved."""
        path = "/courses?limit=100"
        until = time.monotonic() + _DIRECTORY_WITHIN_SECONDS
        while True:
            theirs = await self._ask_service(CATALOG, path)
            ours = await self._ask(self._platform.gateway, path)
            listed = [{one["id"] for one in page["items"]} for page in (theirs, ours)]
            if listed[0] == listed[1]:
                break
            if time.monotonic() > until:
                raise ProgramError("the service does not list the courses that were moved", [])
            self._report.goes_on(
                f"the service lists {len(listed[0])} of {len(listed[1])} courses", 0, 0
            )
            await asyncio.sleep(1)
        self._report.done()

    async def _same_answers(self, module: str) -> int:
        """Of how many items. Raises ProgramError where the service says otherwise."""
        load = self.load
        items = load.some(module, _COMPARED)
        before = len(load.history.problems)
        async with Device(
            self._platform.service(module), self._platform.people.token, load.history, load.counts
        ) as device:
            for item in items:
                await device.read(item)
        wrong = [str(problem) for problem in load.history.problems[before:]]
        if wrong:
            raise ProgramError(f"the service of {module} says something else", wrong)
        return len(items)

    async def _canary(self, steps: Iterable[int]) -> None:
        self._report.step(
            "8", "Lead requests to the services by canary",
            "All methods: both sides write one table. Each step is watched before the next.",
        )  # fmt: skip
        for percent in steps:
            log = self._platform.gateway_log()
            await self._each(self._canary_step(module, percent) for module in MODULES)
            failed = sum(self.load.counts.failed.values())
            to_services, requests = log.shares()
            self._report.happened(
                "canary",
                f"{percent} % are to go to the services: {to_services:,} of {requests:,} went;"
                f" failures so far: {failed}",
                {
                    "percent": percent,
                    "toServices": to_services,
                    "requests": requests,
                    "failures": failed,
                },
                style=Style.GREEN if not failed else Style.RED,
            )

    async def _canary_step(self, module: str, percent: int) -> None:
        watch = self._size.watch_for
        # One of a hundred is too few to judge in seconds: on AWS it has ten minutes.
        judged = (
            ("--no-watch",)
            if watch is None or percent < 10
            else ("--watch-for", str(watch), "--min-requests", "5", "--slowdown", "5")
        )
        for left in reversed(range(_TRIES)):
            try:
                await self._platform.release("canary", module, "--percent", str(percent), *judged)
                break
            except ProgramError as error:
                if not left:
                    raise
                why = error.last_lines[-1] if error.last_lines else str(error)
                self._report.happened(
                    "takenBack", f"{module}: taken back, and tried again: {why}", {"why": why},
                    style=Style.YELLOW,
                )  # fmt: skip
        await self.load.more_requests(module, self._size.canary_requests)

    async def _retire(self) -> None:
        report, platform = self._report, self._platform
        await self._each(platform.release("promote", module) for module in MODULES)
        report.happened(
            "promoted", "the stages lead to the services", {"modules": MODULES}, style=Style.GREEN
        )
        report.step(
            "", "The monolith's modules are retired",
            "The one step without a way back, module by module. What belongs to others stays.",
        )  # fmt: skip
        await asyncio.sleep(_LAST_REQUESTS_SECONDS)
        before = platform.requests_of_the_monolith()
        for module in MODULES:
            await platform.migrate("complete", module)
        self.facts.ended_at = len(self.facts.lags)
        await self._each(
            self.load.more_requests(module, self._size.canary_requests) for module in MODULES
        )
        asked = platform.requests_of_the_monolith() - before
        if asked:
            raise ProgramError(f"the monolith is still asked: {asked} times", [])
        report.happened(
            "retired",
            "since then nobody has asked the monolith",
            {"requestsOfTheMonolith": asked},
            style=Style.GREEN,
        )

    # --- the way back ---------------------------------------------------------------------------

    async def _half_way(self) -> None:
        await self._canary(percent for percent in STEPS if percent <= 50)

    async def _back(self) -> None:
        report, platform = self._report, self._platform
        report.step(
            "", "Half-way, and back",
            "First the canaries: only the monolith knows the gate, so no service may be asked while"
            " a module changes hands.",
        )  # fmt: skip
        await self._each(platform.release("abort", module) for module in MODULES)
        await asyncio.sleep(_LAST_REQUESTS_SECONDS)
        report.step(
            "", "Then the data, module by module",
            "What was written in the services' tables was replicated back all the time.",
        )  # fmt: skip
        for module in reversed(MODULES):
            self.facts.way_back[module] = await self._changed_hands("reverse", "reversed", module)
        report.step(
            "", "At last the migration is cancelled",
            "What was moved is removed from the services' tables, and it could begin anew.",
        )  # fmt: skip
        self.facts.ended_at = len(self.facts.lags)
        await platform.migrate("cancel")
        plan = said(await platform.migrate("plan"), "planned")
        report.happened(
            "planned",
            f"{plan['items']:,} items are in the monolith's table, and nothing stands in the way",
            {"items": plan["items"], "byRule": plan["byRule"]},
            style=Style.GREEN,
        )
        await self._each(
            self.load.more_requests(module, self._size.canary_requests) for module in MODULES
        )

    # --- parts ----------------------------------------------------------------------------------

    async def _each(self, acts: Iterable[Coroutine[Any, Any, object]]) -> None:
        async with asyncio.TaskGroup() as group:
            for act in acts:
                group.create_task(act)

    async def _ask_service(self, module: str, path: str) -> Document:
        return await self._ask(self._platform.service(module), path)

    async def _ask(self, base: str, path: str) -> Document:
        connection = Connection(base, patience_seconds=PATIENCE_SECONDS)
        token = self._platform.people.token("staff")
        try:
            answer = await connection.ask("GET", path, headers={"Authorization": f"Bearer {token}"})
        finally:
            connection.close()
        if answer.status != 200:
            raise ProgramError(f"{base}{path} answers {answer.status or 'nothing'}", [])
        document: Document = answer.json
        return document


def _item(rule: str, cell: Cell) -> Item | None:
    """What an item of the monolith's table is to a client; None where it is nothing by itself."""
    partition, sort = (str(text).partition("#")[2] for text in (cell.partition, cell.sort))
    return {
        "course": lambda: course(partition),
        "content": lambda: content(partition),
        "progress": lambda: progress(partition, sort),
    }.get(rule, lambda: None)()
