"""Which workers there are, and how much of the work is each one's.

Owns `member#<name>`: a row that a worker writes anew as long as its loop goes round. A row that did
not change for a lease is of a worker that is gone. All workers see the same rows and reckon the
same shares, so nothing is handed out: who has less than its share takes, who has more gives back.
Leases alone say who may work; shares that differ for a moment only move work to and fro.
"""

from __future__ import annotations

from deploy.migration._context import Context
from deploy.migration._control import ConflictError, Control, Leases, Row

PREFIX = "member#"


class Members:
    """The workers, as one of them sees them."""

    def __init__(self, context: Context, control: Control, leases: Leases) -> None:
        self._context = context
        self._control = control
        self._leases = leases
        self._key = f"{PREFIX}{context.name}"
        self._row: Row | None = None
        self._next_at = context.clock()
        self._since = context.wall()
        self.names: list[str] = []
        """Those that are there, the oldest first; this one among them once it has said so."""

    async def observe(self) -> None:
        """Say that this worker is there, and see who else is; every quarter of a lease."""
        if self._context.clock() < self._next_at:
            return
        self._next_at = self._context.clock() + self._context.settings.lease / 4
        await self._write()
        present: list[tuple[float, str]] = []
        for row in await self._control.rows(PREFIX):
            if row.key != self._key and self._leases.is_silent(row):
                await self._forget(row)
            else:
                present.append((float(row.values["since"]), row.key.removeprefix(PREFIX)))
        self.names = [name for _, name in sorted(present)]

    async def leave(self) -> None:
        """Say that this worker takes no more; what it gives back is then at once another's."""
        if self._row is not None:
            await self._forget(self._row)

    @property
    def is_oldest(self) -> bool:
        """Whether what one worker is enough for is this one's to do."""
        return self.names[:1] == [self._context.name]

    def share(self, count: int, *, from_oldest: bool) -> int:
        """How many of `count` are this worker's. What is left over when they are divided goes to
        the oldest, or else the youngest: so not always to the same."""
        if self._context.name not in self.names:
            return 0
        names = self.names if from_oldest else self.names[::-1]
        each, over = divmod(count, len(names))
        return each + (names.index(self._context.name) < over)

    async def _write(self) -> None:
        try:
            self._row = await self._control.write(self._key, {"since": self._since}, self._row)
        except ConflictError:
            # Taken for gone by another: whoever stood still for so long joins anew.
            self._since = self._context.wall()
            self._row = await self._control.read(self._key)

    async def _forget(self, row: Row) -> None:
        try:
            await self._control.remove(row)
        except ConflictError:
            return  # it is there after all
