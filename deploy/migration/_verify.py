"""Verification: both directions, without a snapshot, with nothing reported that lag explains.

A mismatch of two scans is a suspect. A suspect is read again, source item and rows at one moment,
after a barrier: what was written before is applied then. If it still differs, a second barrier
follows, and the keys that were touched since the verification began are asked for. A suspect that
was not touched stood still all the time and differs: a difference. One that was is moving; it will
be compared again behind the fence of a switch, where everything stands still.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from deploy.migration._back import Back
from deploy.migration._barrier import barrier
from deploy.migration._cells import Cells, as_it_was
from deploy.migration._context import Context, Tell, silent
from deploy.migration._control import SOURCE, Control
from deploy.migration._forward import together
from deploy.migration._items import START, Item, Mark, Order, canonical, live, mark_of
from deploy.migration._shards import Stream
from deploy.migration._sweep import pages
from deploy.migration.mapping import Cell, MappingError, Origin, Stays, Target

Standing = Mapping[Cell, Mapping[Cell, Item]]
"""By source cell and cell of the target: the rows with their marks."""

MAX_SUSPECTS: Final = 10_000
_AT_ONE_MOMENT: Final = 99


@dataclass(frozen=True)
class Difference:
    """A cell of the target that is not as the source says: missing, extra, or other attributes."""

    source: Cell | None
    cell: Cell
    kind: str
    attributes: tuple[str, ...] = ()

    def __str__(self) -> str:
        which = f": {', '.join(self.attributes)}" if self.attributes else ""
        return f"{self.cell}: {self.kind}{which}"


@dataclass(frozen=True)
class Verification:
    """What a verification found. `moving` keys are compared again at the switch."""

    items: int
    rows: int
    differences: tuple[Difference, ...]
    moving: tuple[Cell, ...]

    @property
    def is_clean(self) -> bool:
        return not self.differences


class TooManySuspectsError(Exception):
    """So much differs that nothing is to be gained by looking closer."""


class Verifier:
    """Compares one module's rows with the source."""

    def __init__(
        self,
        context: Context,
        control: Control,
        target: Target,
        source: Stream,
        back: Stream,
        *,
        expected: int = 0,
        tell: Tell = silent,
    ) -> None:
        """`expected`: how many items the source has, as far as is known."""
        self._context = context
        self._expected = expected
        self._tell = tell
        self._mapping = context.mapping
        self._control = control
        self._target = target
        self._streams = {True: source, False: back}

    async def verify(self) -> Verification:
        """The whole module. Raises TooManySuspectsError, and BarrierError."""
        begun = self._context.token()
        module = await self._control.update_module(
            self._target.module, lambda module: replace(module, verification=begun, clean=False)
        )
        feed = self._streams[module.owner == SOURCE]
        self._tell(f"verifying {self._target.module}: waiting for replication", 0, 0)
        # From here on every change that is applied is also written down.
        await barrier(self._context, self._control, feed)
        items, suspects = await self._suspects_of_source()
        rows, more = await self._suspects_of_target()
        self._tell(f"verifying {self._target.module}: reading {len(suspects)} again", 0, 0)
        for source, cells in more.items():
            suspects.setdefault(source, set()).update(cells)
        unknown = [
            Difference(None, cell, "extra, of no rule") for cell in suspects.pop(None, set())
        ]
        differences, moving = await self._settle(
            {source: cells for source, cells in suspects.items() if source is not None},
            feed, begun,
        )  # fmt: skip
        found = Verification(items, rows, (*unknown, *differences), tuple(moving))
        await self._control.update_module(
            self._target.module,
            lambda module: (
                replace(module, clean=found.is_clean) if module.verification == begun else module
            ),
        )
        return found

    async def standing(self, sources: Iterable[Cell]) -> Standing:
        """What stands in the cells of these source items' rows, tombstones too."""
        found: dict[Cell, Mapping[Cell, Item]] = {}

        async def look(source: Cell) -> None:
            found[source] = await self._standing(source)

        concurrency = self._context.settings.concurrency
        await together([look(source) for source in sources], concurrency)
        return found

    async def compare(self, standing: Standing) -> list[Difference]:
        """These source items as they stand now; meant for when everything stands still."""
        found: dict[Cell, tuple[Difference, ...]] = {}

        async def look(source: Cell) -> None:
            found[source] = await self._differences(source, set(standing[source])) or ()

        await together([look(source) for source in standing], self._context.settings.concurrency)
        return [difference for source in standing for difference in found[source]]

    async def compare_moving(
        self, standing: Standing, feed: Stream, since: str
    ) -> list[Difference]:
        """As `compare`, while everything moves: what is touched again is left for the next time.

        `since` names the verification that began before the call.
        """
        suspects = {source: set(cells) for source, cells in standing.items()}
        differences, _ = await self._settle(suspects, feed, since)
        return differences

    async def repair(self, differences: Iterable[Difference]) -> int:
        """Make the follower as the owner is, where it differs; gives how many cells were written.

        The cell is read first, then the owner, and the write is conditional on the cell's mark: it
        never undoes what replication writes meanwhile.
        """
        cells = Cells(self._context, self._control)
        _, module = await self._control.module(self._target.module)
        back = Back(self._context, self._control, cells, self._target)
        table = self._target.table
        repaired = 0
        for difference in differences:
            if difference.source is None:
                continue
            if module.owner != SOURCE:
                origin = self._mapping.origin(difference.cell)
                assert isinstance(origin, Origin)
                await back.bring(origin.rule, difference.source)
                repaired += 1
                continue
            stands = await cells.get(table, difference.cell)
            source = live(await cells.get(self._mapping.source, difference.source))
            mark = mark_of(stands)
            view = await self._control.view()
            assert view is not None
            order = mark.order if mark is not None else None
            order = order or Order(view.run.epoch, START)
            refused = await cells.put(
                table,
                difference.cell,
                self._rows(source).get(difference.cell),
                # The tag tells this write from the one that it repairs.
                Mark(order, tag=self._context.token()),
                as_it_was(table, stands),
            )
            repaired += refused is None
        return repaired

    async def _suspects_of_source(self) -> tuple[int, dict[Cell | None, set[Cell]]]:
        items = 0
        suspects: dict[Cell | None, set[Cell]] = {}
        self._rows_expected = 0
        async for page in pages(self._context, self._mapping.source, self._tell_source):
            wanted: dict[Cell, Item] = {}
            origin: dict[Cell, Cell] = {}
            for item in page:
                rows = self._rows(live(item))
                items += bool(rows)
                wanted.update(rows)
                origin |= dict.fromkeys(rows, self._mapping.source.cell(item))
            self._rows_expected += len(wanted)
            found = await self._many(list(wanted))
            for cell, row in wanted.items():
                present = live(found.get(cell))
                if present is None or canonical(present) != canonical(row):
                    suspects.setdefault(origin[cell], set()).add(cell)
            self._bound(suspects)
        return items, suspects

    async def _suspects_of_target(self) -> tuple[int, dict[Cell | None, set[Cell]]]:
        rows = 0
        suspects: dict[Cell | None, set[Cell]] = {}
        table = self._target.table
        async for page in pages(self._context, table, self._tell_target):
            origins: dict[Cell, Cell] = {}
            for item in page:
                if live(item) is None:
                    continue
                cell = table.cell(item)
                origin = self._mapping.origin(cell)
                if isinstance(origin, Stays):
                    continue
                rows += 1
                if isinstance(origin, Origin):
                    origins[cell] = origin.source
                else:
                    suspects.setdefault(None, set()).add(cell)
            sources = await self._many(list(set(origins.values())), source=True)
            for cell, source in origins.items():
                if cell not in self._rows(live(sources.get(source))):
                    suspects.setdefault(source, set()).add(cell)
            self._bound(suspects)
        return rows, suspects

    async def _settle(
        self, suspects: Mapping[Cell, set[Cell]], feed: Stream, begun: str
    ) -> tuple[list[Difference], list[Cell]]:
        if not suspects:
            return [], []
        await barrier(self._context, self._control, feed)
        differing: dict[Cell, tuple[Difference, ...]] = {}
        moving: list[Cell] = []
        for source, cells in suspects.items():
            found = await self._differences(source, cells)
            if found is None:
                moving.append(source)
            elif found:
                differing[source] = found
        if not differing:
            return [], moving
        await barrier(self._context, self._control, feed)
        touched = await self._control.all_touched(begun)
        moving += [source for source in differing if source in touched]
        return [
            difference
            for source, found in differing.items()
            if source not in touched
            for difference in found
        ], moving

    async def _differences(
        self, source: Cell, suspected: set[Cell]
    ) -> tuple[Difference, ...] | None:
        """The differences of one source item at one moment; None where it changed while it was
        read, which only takes more rows than can be read at one moment."""
        item = live(await self._get(source))
        known = suspected | self._rows(item).keys()
        rows: dict[Cell, Item | None] = {}
        image: object = None
        for start in range(0, max(len(known), 1), _AT_ONE_MOMENT):
            chunk = sorted(known, key=str)[start : start + _AT_ONE_MOMENT]
            first, *found = await self._context.patience.answer(
                partial(
                    self._context.database.get_together,
                    [
                        (self._mapping.source, source),
                        *((self._target.table, cell) for cell in chunk),
                    ],
                )
            )
            item = live(first)
            if start and (None if item is None else canonical(item)) != image:
                return None
            image = None if item is None else canonical(item)
            rows.update(zip(chunk, found, strict=True))
        wanted = self._rows(item)
        if not wanted.keys() <= rows.keys():
            return None
        return tuple(
            difference
            for cell, row in rows.items()
            if (difference := _compare(source, cell, wanted.get(cell), live(row))) is not None
        )

    async def _standing(self, source: Cell) -> Mapping[Cell, Item]:
        """What stands in the cells of a source item's rows, also of one that is gone."""
        back = Back(self._context, self._control, Cells(self._context, self._control), self._target)
        present: dict[Cell, Item] = {}
        for rule in self._mapping.rules:
            if rule.target == self._target and self._mapping.is_like(rule, source):
                for row in await back.standing(rule, source):
                    present[self._target.table.cell(row)] = row
        return {
            cell: row
            for cell, row in present.items()
            if isinstance(origin := self._mapping.origin(cell), Origin) and origin.source == source
        }

    def _tell_source(self, count: int) -> None:
        self._expected = max(self._expected, count)
        # Then the target is read: as many rows an item as so far.
        rows = round(self._rows_expected * self._expected / max(count, 1))
        what = f"verifying {self._target.module}: reading {self._mapping.source.name}"
        self._tell(what, count, self._expected + rows)

    def _tell_target(self, count: int) -> None:
        rows = max(self._rows_expected, count)
        what = f"verifying {self._target.module}: reading {self._target.table.name}"
        self._tell(what, self._expected + count, self._expected + rows)

    async def _get(self, source: Cell) -> Item | None:
        return await self._context.patience.answer(
            partial(self._context.database.get, self._mapping.source, source)
        )

    async def _many(self, cells: list[Cell], *, source: bool = False) -> dict[Cell, Item]:
        table = self._mapping.source if source else self._target.table
        found: dict[Cell, Item] = {}
        for start in range(0, len(cells), 100):
            found |= await self._context.patience.answer(
                partial(self._context.database.get_many, table, cells[start : start + 100])
            )
        return found

    def _rows(self, item: Item | None) -> Mapping[Cell, Item]:
        """The module's rows of an item; none of one that is in quarantine."""
        try:
            rows = self._mapping.rows(item)
        except MappingError:
            return {}
        return {cell: row for cell, row in rows.items() if cell.table == self._target.table.name}

    def _bound(self, suspects: Mapping[Cell | None, set[Cell]]) -> None:
        if len(suspects) > MAX_SUSPECTS:
            raise TooManySuspectsError(f"more than {MAX_SUSPECTS} items differ")


def _compare(
    source: Cell, cell: Cell, wanted: Item | None, present: Item | None
) -> Difference | None:
    if wanted is None and present is None:
        return None
    if wanted is None or present is None:
        return Difference(source, cell, "missing" if present is None else "extra")
    if canonical(wanted) == canonical(present):
        return None
    names = sorted(
        name
        for name in wanted.keys() | present.keys()
        if name not in wanted
        or name not in present
        or canonical({name: wanted[name]}) != canonical({name: present[name]})
    )
    return Difference(source, cell, "differs", tuple(names))
