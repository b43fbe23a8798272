"""What a machine must have to run the services as containers, looked at before anything starts."""

from __future__ import annotations

import errno
import platform
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from deploy.local._cluster._cluster import Containers
from deploy.local._cluster._definitions import CONTAINER_PORT
from deploy.local._cluster._engine import Engine, EngineError
from deploy.local._cluster._images import missing_images
from deploy.local._ports import PortTakenError, listen

# Any address of the machine's own network will do: tasks take others of it.
_ADDRESS_OF_A_TASK = "127.255.255.254"


async def problems(containers: Containers, *, port: int) -> list[str]:
    """All that is missing, a line each; empty where the platform can be started.

    `port` is the gateway's.
    """
    found: list[str] = []
    if sys.platform != "linux":
        found.append(
            "--containers needs Linux: containers share the machine's network, and elsewhere they run"
            " on another machine's, a virtual one's"
        )
    try:
        async with Engine.open(containers.engine) as docker:
            found += _unfit(await docker.info(), docker.host)
            found += await missing_images(docker, containers.images)
    except EngineError as error:
        found.append(f"{error}; DOCKER_HOST names one, Debian's is in the package docker.io")
    found += _taken(port)
    return found


def _unfit(info: Mapping[str, Any], host: str) -> Iterator[str]:
    if "host" not in info.get("Plugins", {}).get("Network", []):
        yield f"the engine at {host} has no host network"
    # Docker Desktop's runs in a virtual machine, a rootless one in a network namespace of its own.
    elsewhere = info.get("KernelVersion") not in (None, platform.release())
    rootless = any("name=rootless" in option for option in info.get("SecurityOptions") or [])
    if info.get("OSType") != "linux" or elsewhere or rootless:
        yield (
            f"the engine at {host} gives containers another network than this machine's"
            f" ({'it is rootless' if rootless else 'it runs elsewhere'})"
        )


def _taken(port: int) -> Iterator[str]:
    try:
        listen(port).close()
    except PortTakenError as error:
        yield str(error)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_ADDRESS_OF_A_TASK, CONTAINER_PORT))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise
            yield (
                f"port {CONTAINER_PORT} is taken on every address of this machine, and containers"
                " need it on theirs (127.*)"
                if error.errno == errno.EADDRINUSE
                else "this machine has no addresses 127.* but 127.0.0.1"
            )
