"""What a migration will take: capacity, time and money, from what the survey found.

Pure, but for the one dated file of prices, which is `deploy/rightsizing`'s. Each number says what it
is made of. Counts are of units that AWS charges: a write unit for each 1 KB begun, in the table and in
each index; a read unit for each 4 KB of a page, all reads being consistent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.migration._context import Settings
from deploy.migration._ports import TableFacts
from deploy.migration.mapping import SplitMapping
from deploy.migration.planning import Survey

PRICES: Final = Path(__file__).resolve().parents[1] / "rightsizing/prices.yaml"

_READ_UNIT: Final = 4096
_PUTS_PER_SECOND: Final = 1500.0
"""What one worker writes at most, as long as nothing else is known: its processor, not DynamoDB.
See README.md, "Speed"."""


@dataclass(frozen=True)
class Prices:
    """US dollars."""

    read_on: date
    region: str
    read_unit: float
    write_unit: float
    stream_read: float
    gigabyte_month: float


@dataclass(frozen=True)
class TableLoad:
    """What the copy takes of one table: so many units, at most so many a second, and why no more."""

    table: str
    kind: str
    units: int
    per_second: float
    bound_by: str

    @property
    def seconds(self) -> float:
        return self.units / self.per_second


@dataclass(frozen=True)
class Estimate:
    """What the whole takes. `warnings`: where tables will not give what the copy may take."""

    loads: tuple[TableLoad, ...]
    seconds: float
    slowest: str
    verify_read_units: int
    stream_reads_per_day: int
    usd_copy: float
    usd_verify: float
    usd_per_day: float
    usd_per_month_stored: float
    prices: Prices
    warnings: tuple[str, ...]


def read_prices(path: Path = PRICES) -> Prices:
    """The prices of one region, and when they were read."""
    document: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))

    def price(name: str) -> float:
        entry = document["prices"][f"dynamodb.{name}"]
        return float(entry["usd"]) / float(entry.get("per", 1))

    return Prices(
        read_on=document["readOn"],
        region=document["region"],
        read_unit=price("readRequestUnit"),
        write_unit=price("writeRequestUnit"),
        stream_read=price("streamsReadRequestUnit"),
        gigabyte_month=price("storageGbMonth"),
    )


def estimate(
    mapping: SplitMapping, survey: Survey, settings: Settings, *, workers: int, prices: Prices
) -> Estimate:
    """What the copy, one verification of each module and replication take."""
    source = mapping.source.name
    warnings: list[str] = []
    loads = [
        _load(source, "read", -(-survey.bytes // _READ_UNIT), survey.facts[source], settings),
        *(
            _load(
                target.table.name, "write", survey.write_units[target.table.name],
                survey.facts[target.table.name], settings,
            )
            for target in mapping.targets
        ),
    ]  # fmt: skip
    for load in loads:
        if load.per_second < settings.units_per_second:
            warnings.append(
                f"{load.table}: the copy may take {settings.units_per_second:g} {load.kind} units a"
                f" second, and {load.bound_by}: throttle it"
                f" (`throttle --{load.kind} {max(load.per_second // 2, 1):g}`) or raise the table's"
            )
    rows = sum(survey.rows_by_module.values())
    slowest = max(loads, key=lambda load: load.seconds)
    by_workers = rows / (workers * _PUTS_PER_SECOND)
    # Each side is scanned, and what is found is looked up on the other side, by keys.
    verify = len(mapping.targets) * loads[0].units + 2 * rows
    verify += sum(survey.bytes_by_module.values()) // _READ_UNIT
    # A shard is asked so often also where nothing changes; an idle table has one, a busy one more.
    polls = round(24 * 3600 / settings.poll) * (1 + len(mapping.targets))
    stored = sum(survey.bytes_by_module.values())
    return Estimate(
        loads=tuple(loads),
        seconds=max(slowest.seconds, by_workers),
        slowest=(
            f"{slowest.kind} units of {slowest.table}"
            if slowest.seconds > by_workers
            else f"{workers} worker{'s' if workers > 1 else ''} of {_PUTS_PER_SECOND:g} rows a second"
        ),
        verify_read_units=verify,
        stream_reads_per_day=polls,
        usd_copy=loads[0].units * prices.read_unit
        + sum(load.units for load in loads[1:]) * prices.write_unit,
        usd_verify=verify * prices.read_unit,
        usd_per_day=polls * prices.stream_read,
        usd_per_month_stored=stored / 1e9 * prices.gigabyte_month,
        prices=prices,
        warnings=tuple(warnings),
    )


def _load(table: str, kind: str, units: int, facts: TableFacts, settings: Settings) -> TableLoad:
    is_read = kind == "read"
    bounds = {
        f"{settings.units_per_second:g} a second are what the copy may take": (
            settings.units_per_second
        )
    }
    provisioned = facts.read_units if is_read else facts.write_units
    if provisioned is not None:
        bounds[f"{provisioned:g} are provisioned"] = provisioned
    warm = facts.warm_read_units if is_read else facts.warm_write_units
    if provisioned is None and warm is not None:
        bounds[f"{warm:g} are what it takes at once"] = warm
    for index in facts.indexes:
        if not is_read and index.write_units is not None:
            bounds[f"{index.write_units:g} are provisioned for the index {index.name}"] = (
                index.write_units
            )
    bound_by, per_second = min(bounds.items(), key=lambda bound: bound[1])
    return TableLoad(table, kind, units, per_second or 1.0, bound_by)
