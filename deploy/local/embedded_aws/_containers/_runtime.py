"""Starts and stops what runs containers, on a thread and an event loop of its own.

The embedded AWS's own loop works off every call of every service, some for a good part of a second;
what must be in time (health checks, stops, drains) does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .._load_balancer._control import Counts, Listener, Target
from .._state import platform_id
from ._addresses import Addresses
from ._cluster import Cluster, Names, Registry
from ._data_plane import DataPlane, DataPlaneError
from ._ecs_api import EcsApi
from ._engine import Engine, EngineError
from ._targets import TargetGroups, TargetGroupSettings, TargetHealth, http_checks
from ._task_logs import TaskLogs

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0

Result = TypeVar("Result")

_log = logging.getLogger("lyceum.containers")


class ContainersError(Exception):
    """Containers can not be run; one line says why."""


@dataclass(frozen=True)
class ListenerSettings:
    """A listener, as its owner set it up; `balancer` is the ARN of its load balancer."""

    arn: str
    balancer: str
    group: str
    port: int
    idle_seconds: float


@dataclass(frozen=True)
class Settings:
    """Where and with what containers run.

    Args:
        engine: the engine's address.
        port: where the embedded AWS listens.
        state: its folder, whose path is the id of the platform.
        logs: where the tasks' log files go.
    """

    engine: str
    port: int
    region: str
    account: str
    state: Path
    logs: Path


class Containers:
    """ECS's services and tasks, and the load balancers.

    Args:
        counted: takes what listeners counted, by their ARN; called on the containers' own thread.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        counted: Callable[[Mapping[str, Counts]], None],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._counted = counted
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="containers")
        self._stack = AsyncExitStack()
        self._listeners: tuple[ListenerSettings, ...] = ()
        self._balancers: dict[str, str] = {}
        self._routing = asyncio.Lock()

    def start(self) -> None:
        """Connects to the engine and removes what a run that was killed left there.

        Raises:
            ContainersError: there is no engine, or the load balancer does not start.
        """
        self._thread.start()
        try:
            self._submit(self._start()).result(_START_SECONDS)
        except (EngineError, OSError) as error:
            self._end_thread()
            raise ContainersError(str(error)) from error

    async def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Has something done on the containers' loop, and gives its result."""
        return await asyncio.wrap_future(self._submit(work))

    async def stop(self) -> None:
        """Stops all tasks, in parallel and within a bound, and the load balancers."""
        await self.call(self._stack.aclose())
        await asyncio.to_thread(self._end_thread)

    # On the containers' loop.

    async def configure(
        self,
        groups: Iterable[TargetGroupSettings],
        listeners: tuple[ListenerSettings, ...],
    ) -> Mapping[str, str]:
        """What target groups and listeners there are; gives, by ARN, which listeners can not listen."""
        self._listeners = listeners
        await self.groups.configure(groups)
        return await self._route()

    async def target_health(self, group: str) -> Sequence[TargetHealth]:
        """The health of a target group's targets."""
        return self.groups.health(group)

    async def address_of(self, balancer: str) -> str:
        """The address of a load balancer, its own as long as it exists."""
        return self._address_of(balancer)

    async def forget_balancer(self, balancer: str) -> None:
        """The load balancer is gone."""
        if address := self._balancers.pop(balancer, None):
            self._addresses.give_back(address)

    async def _start(self) -> None:
        settings = self._settings
        engine = Engine(settings.engine, platform_id(settings.state))
        await engine.connect()
        self._stack.push_async_callback(engine.close)
        logs = TaskLogs(settings.logs)
        logs.begin()
        self._addresses = Addresses(settings.port)
        self.cluster = Cluster(
            engine=engine,
            addresses=self._addresses,
            registry=self._registry,
            logs=logs,
            names=Names(settings.region, settings.account),
            now=time.time,
            clock=time.monotonic,
            new_id=lambda: secrets.token_hex(16),
        )
        await self.cluster.remove_leftovers()
        self._data_plane = DataPlane(self._counted)
        await self._data_plane.start()
        self._stack.push_async_callback(self._data_plane.close)
        check = await self._stack.enter_async_context(http_checks())
        self.groups = TargetGroups(
            check=check, route=self._brought_up_to_date, changed=self.cluster.target_changed
        )
        self._stack.push_async_callback(self.groups.close)
        self.cluster.start(self.groups)
        self.api = EcsApi(self.cluster)
        self._stack.push_async_callback(self.cluster.close, _STOP_SECONDS)

    def _address_of(self, balancer: str) -> str:
        if balancer not in self._balancers:
            self._balancers[balancer] = self._addresses.take()
        return self._balancers[balancer]

    async def _brought_up_to_date(self) -> None:
        try:
            await self._route()
        except DataPlaneError as error:  # it is started again, and then told
            _log.error("%s", error)

    async def _route(self) -> Mapping[str, str]:
        async with self._routing:
            routed = self.groups.routed()
            listeners = tuple(
                Listener(
                    name=one.arn,
                    group=one.group,
                    address=self._address_of(one.balancer),
                    port=one.port,
                    targets=tuple(
                        Target(endpoint.address, endpoint.port)
                        for endpoint in routed.get(one.group, ())
                    ),
                    idle_seconds=one.idle_seconds,
                )
                for one in self._listeners
            )
            return await self._data_plane.route(listeners)

    def _submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
