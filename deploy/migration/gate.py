"""The gate of the application: which store owns a module now?

The application asks before each request of a module and holds the answer until the request ends.
Owns the wait while a module changes hands, so that users see latency and no errors, and the end of a
fence whose operator is gone. That end is a write which competes with the operator's own: of the two
exactly one is carried out. By a clock alone, one process would take the fence for ended while the
operator goes on to switch (`tests/unit/migration/models/switch_model.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.migration._context import Context
from deploy.migration._control import SOURCE, ConflictError, Control, Module


class Gate:
    """One process's gate to all modules."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._control = Control(context)
        self._known: dict[str, tuple[str, float]] = {}
        self._fences: dict[str, tuple[str, float]] = {}

    @asynccontextmanager
    async def enter(self, module: str) -> AsyncIterator[str]:
        """`SOURCE` or `TARGET`, true until the block ends; the block is ended after
        `longest_request` seconds with a TimeoutError."""
        owner = await self._owner(module)
        async with asyncio.timeout(self._context.settings.longest_request):
            yield owner

    async def _owner(self, name: str) -> str:
        while True:
            owner, until = self._known.get(name, ("", 0.0))
            if self._context.clock() < until:
                return owner
            # The answer counts from before the question.
            asked_at = self._context.clock()
            row = await self._control.read(f"state#module#{name}")
            if row is None:
                return SOURCE  # not begun: nobody switches without a longer wait than a lease
            module = Module(**row.values)
            if not module.fence:
                until = asked_at + self._context.settings.gate_lease
                self._known[name] = (module.owner, until)
                continue
            fence, since = self._fences.get(name, ("", 0.0))
            if fence != module.fence:
                self._fences[name] = (module.fence, self._context.clock())
            elif self._context.clock() - since > self._context.settings.fence:
                try:
                    await self._control.write_module(row, module.opened())
                except ConflictError:
                    continue
                await self._control.audit("fence ended by the application", module=name)
            await self._context.sleep(self._context.settings.poll / 4)
