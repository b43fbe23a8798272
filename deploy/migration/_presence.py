"""Who is there and what they are doing, for whoever looks: rows of the control table.

Owns `worker#<name>` and `doing#<name>`. Nothing is decided by them: leases decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from deploy.migration._context import Context
from deploy.migration._control import ConflictError, Control, Row

EVERY_SECONDS: Final = 2.0
_DOING: Final = "doing#"
_WORKER: Final = "worker#"
_FORGOTTEN_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True)
class Doing:
    """What the operator's command is at: so much of so much (0 where nobody knows). `at`: when that
    was last said."""

    by: str = ""
    command: str = ""
    what: str = ""
    done: float = 0.0
    total: float = 0.0
    at: float = 0.0


@dataclass(frozen=True)
class Seen:
    """A worker: when it was last heard of (time of day), and since when it works."""

    name: str
    at: float
    since: float


class Presence:
    """Says that somebody is there, now and then, until cancelled; takes it back at the end."""

    def __init__(self, context: Context, control: Control) -> None:
        self._context = context
        self._control = control

    async def worker(self) -> None:
        """Say that this worker works."""
        key, since = f"{_WORKER}{self._context.name}", self._context.wall()
        await self._forget(_WORKER)
        while True:
            now = self._context.wall()
            await self._control.update(key, lambda _, now=now: {"at": now, "since": since})  # type: ignore[misc]
            await self._context.sleep(EVERY_SECONDS)

    async def worker_left(self) -> None:
        """Say that it does no more."""
        await self._remove(await self._control.read(f"{_WORKER}{self._context.name}"))

    async def command(self, read: Callable[[], Doing | None]) -> None:
        """Say what `read` gives."""
        await self._forget(_DOING)
        while True:
            doing = read()
            if doing is not None:
                values = vars(doing) | {"at": self._context.wall(), "by": self._context.name}
                key = f"{_DOING}{self._context.name}"
                await self._control.update(key, lambda _, values=values: values)  # type: ignore[misc]
            await self._context.sleep(EVERY_SECONDS)

    async def command_ended(self) -> None:
        """Say nothing more."""
        await self._remove(await self._control.read(f"{_DOING}{self._context.name}"))

    async def doing(self) -> Doing | None:
        """What the operator that holds the lease is doing; None where nobody does."""
        operator = await self._control.read("operator")
        if operator is None or not operator.values["owner"]:
            return None
        row = await self._control.read(f"{_DOING}{operator.values['owner']}")
        if row is None:
            return Doing(
                by=str(operator.values["owner"]),
                command=str(operator.values.get("command", "")),
                at=float(operator.values.get("since", 0.0)),
            )
        return Doing(**row.values)

    async def workers(self) -> list[Seen]:
        """Those that were heard of within a lease."""
        now = self._context.wall()
        silence = self._context.settings.lease + EVERY_SECONDS
        return [
            Seen(row.key.removeprefix(_WORKER), row.values["at"], row.values["since"])
            for row in await self._control.rows(_WORKER)
            if now - row.values["at"] <= silence
        ]

    async def _forget(self, prefix: str) -> None:
        """Those that were killed leave a row behind."""
        for row in await self._control.rows(prefix):
            if self._context.wall() - row.values["at"] > _FORGOTTEN_SECONDS:
                await self._remove(row)

    async def _remove(self, row: Row | None) -> None:
        if row is not None:
            try:
                await self._control.remove(row)
            except ConflictError:
                return
