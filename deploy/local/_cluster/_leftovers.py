"""That no container outlives its platform: what a killed run left is ended by the next start of any kind.

The embedded AWS ends its containers when it ends, and removes at its start what another one left; but it
may have been killed itself, and may not be started with an engine again.
"""

from __future__ import annotations

import json

from deploy.local._cluster._engine import Engine, EngineError
from deploy.local._report import Console
from deploy.local._state import StateFolder, write_private

# Given by the embedded AWS (deploy/local/embedded_aws/_containers/_engine.py).
PLATFORM_LABEL = "lyceum.platform"


def remember(folder: StateFolder, engine: str) -> None:
    """Keeps in mind which engine will have containers of this platform, until none is left."""
    write_private(folder.containers, {"engine": engine})


async def remove_leftovers(folder: StateFolder, console: Console) -> None:
    """Ends all containers of the platform on this folder, if there may be any."""
    try:
        host = str(json.loads(folder.containers.read_text(encoding="utf-8"))["engine"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):  # written half when the machine stopped
        folder.containers.unlink()
        return
    try:
        async with Engine.open(host) as engine:
            containers = await engine.containers(f"{PLATFORM_LABEL}={folder.id}")
            for container in containers:
                await engine.remove(container.id)
    except EngineError as error:
        console.warn(f"Containers of this platform may be left: {error}")
        return
    folder.containers.unlink()
    if containers:
        console.note(f"removed {len(containers)} container{'s' * (len(containers) > 1)}")
