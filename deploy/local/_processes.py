"""The services as processes of this machine, by the entry points of their images."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import aiohttp

from deploy.local._errors import PlatformError
from deploy.local._ports import local_url, port_of
from deploy.local._provision import EmbeddedAws, Resources
from deploy.local._report import ClusterAddress, Console
from deploy.local._services import (
    CONSUMER,
    SERVICES,
    ServiceSettings,
    consumer_program,
    service_program,
)
from deploy.local._supervisor import StartError, Supervisor


class Processes:
    """A `Runner`: a process a service, each on its reserved port of 127.0.0.1."""

    def __init__(
        self,
        ports: Mapping[str, socket.socket],
        supervisor: Supervisor,
        session: aiohttp.ClientSession,
        console: Console,
    ) -> None:
        self._ports = ports
        self._supervisor = supervisor
        self._session = session
        self._console = console

    async def urls(self) -> Mapping[str, str]:
        """See `Runner.urls`."""
        return {service: local_url(self._ports[service]) for service in SERVICES}

    @property
    def address(self) -> ClusterAddress | None:
        """See `Runner.address`: what runs is the code that lies here."""
        return None

    async def prepare(self) -> None:
        """See `Runner.prepare`: the code is there."""

    async def begin(
        self, aws: EmbeddedAws, resources: Resources, operator: Mapping[str, str]
    ) -> None:
        """See `Runner.begin`: processes need nothing more."""

    async def start(
        self, name: str, settings: ServiceSettings, provisioned: Mapping[str, str]
    ) -> None:
        """See `Runner.start`."""
        program = (
            consumer_program(settings, provisioned)
            if name == CONSUMER
            else service_program(
                name, settings, provisioned, self._session, port=port_of(self._ports[name])
            )
        )
        with self._console.step(name):
            try:
                await self._supervisor.start(program)
            except StartError as error:
                raise PlatformError(str(error), error.last_lines) from error

    async def stop(self) -> bool:
        """See `Runner.stop`."""
        running = [name for name in (*SERVICES, CONSUMER) if name in self._supervisor.names]
        if not running:
            return True
        with self._console.step(f"stopping {', '.join(running)}"):
            return await self._supervisor.stop(*running)

    async def kill(self) -> None:
        """See `Runner.kill`: the supervisor kills them with everything else."""
