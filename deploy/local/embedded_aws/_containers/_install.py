"""Puts all of it together in the process of the embedded AWS."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .._load_balancer._control import Counts
from ._handlers import EcrHandler, EcsHandler, ElbHandler, Metrics
from ._ministack import MiniStack, MiniStackChangedError
from ._registry import USER, RegistryLogin
from ._runtime import Containers, ContainersError, Settings

_log = logging.getLogger("lyceum.containers")


@dataclass(frozen=True)
class Installed:
    """Containers that can run."""

    login: RegistryLogin
    containers: Containers

    async def stop(self) -> None:
        """Stops all containers, in parallel and within a bound."""
        await self.containers.stop()


class _Registry:
    """The registry, as those who run tasks see it."""

    def __init__(self, prefix: str, login: RegistryLogin, handler: EcrHandler) -> None:
        self.prefix = prefix
        self._login = login
        self._handler = handler
        self.loop: asyncio.AbstractEventLoop | None = None

    async def digest(self, repository: str, tag: str) -> str | None:
        assert self.loop is not None
        asked = asyncio.run_coroutine_threadsafe(self._handler.digest(repository, tag), self.loop)
        return await asyncio.wrap_future(asked)

    def credentials(self) -> tuple[str, str]:
        return USER, self._login.own_password


def install(*, engine: str, port: int, state: Path, logs: Path) -> Installed:
    """Has MiniStack, which must be imported already, answer for ECS, ECR and ELBv2 by containers.

    To be called on the thread, with the loop, that serves. Raises ContainersError.
    """
    ministack = MiniStack()
    try:
        ministack.check()
    except MiniStackChangedError as error:
        raise ContainersError(str(error)) from None
    login = RegistryLogin(
        lambda key, action, repository: (
            ministack.denial(
                key,
                action,
                f"arn:aws:ecr:{ministack.region}:{ministack.account}:repository/{repository}",
            )
            is None
        ),
        now=time.time,
    )
    prefix = f"127.0.0.1:{port}/"
    ecr = EcrHandler(ministack, login, f"http://127.0.0.1:{port}")
    registry = _Registry(prefix, login, ecr)
    registry.loop = asyncio.get_running_loop()
    metrics = Metrics(ministack)

    def counted(counts: Mapping[str, Counts]) -> None:
        assert registry.loop is not None
        asyncio.run_coroutine_threadsafe(metrics.publish(counts), registry.loop)

    settings = Settings(
        engine=engine,
        port=port,
        region=ministack.region,
        account=ministack.account,
        state=state,
        logs=logs,
    )
    containers = Containers(settings, registry, counted)
    containers.start()
    ministack.forget_at_stop()
    ministack.name_repositories(prefix)
    ministack.check_ecs_as_aws_does()
    ministack.replace_handler("ecs", EcsHandler(ministack, containers))
    ministack.replace_handler("ecr", ecr)
    ministack.replace_handler("elasticloadbalancing", ElbHandler(ministack, containers))
    return Installed(login, containers)
