"""What the tables take: capacity units by the hour, the cheaper capacity mode, the hottest keys.

Owns the arithmetic of DynamoDB's capacity. What a request consumes is measured and comes from a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from deploy.rightsizing._day import HOURS, shape
from deploy.rightsizing._inputs import SERVICES, Capacity, Profile
from deploy.rightsizing._tasks import ServicePlan

# services/course_catalog: shards of an index, and the mean time between two refreshes of a process.
DIRECTORY_SHARDS = 8
DIRECTORY_REFRESH_SECONDS = 5
# services/content_delivery, services/progress_tracking: how long a process keeps what it has read.
CONTENT_CACHE_SECONDS = 5
OUTLINE_CACHE_SECONDS = 30

DAYS_PER_MONTH = 730 / 24

Mode = Literal["on demand", "provisioned"]


@dataclass(frozen=True)
class UnitPrices:
    """USD of a unit on demand, and of a unit that is held for an hour."""

    write_request: float
    read_request: float
    write_hour: float
    read_hour: float

    @property
    def break_even_write(self) -> float:
        """The share of provisioned write capacity from whose use on it is the cheaper mode."""
        return self.write_hour / 3600 / self.write_request

    @property
    def break_even_read(self) -> float:
        """The same of reading."""
        return self.read_hour / 3600 / self.read_request


@dataclass(frozen=True)
class TablePlan:
    """One table. Units a second, by the hour of the day."""

    table: str
    service: str
    reads: tuple[float, ...]
    writes: tuple[float, ...]
    on_demand_usd: float
    provisioned_usd: float
    read_utilisation: float
    write_utilisation: float
    mode: Mode
    because: str

    @property
    def usd(self) -> float:
        """A month in the mode that was chosen."""
        return self.on_demand_usd if self.mode == "on demand" else self.provisioned_usd

    @property
    def mean_reads(self) -> float:
        """Over the day."""
        return sum(self.reads) / HOURS

    @property
    def mean_writes(self) -> float:
        """Over the day."""
        return sum(self.writes) / HOURS


@dataclass(frozen=True)
class HotKey:
    """What one partition key has to take in the busiest hour."""

    key: str
    kind: Literal["read", "write"]
    units_per_second: float
    how: str


def plan_tables(
    profile: Profile,
    capacity: Capacity,
    services: Mapping[str, ServicePlan],
    prices: UnitPrices,
) -> Mapping[str, TablePlan]:
    """Every table, by its service."""
    return {name: _plan_table(name, profile, capacity, services, prices) for name in SERVICES}


def hot_keys(
    profile: Profile, capacity: Capacity, services: Mapping[str, ServicePlan]
) -> tuple[HotKey, ...]:
    """The keys that most of the load meets, hottest first."""
    return tuple(
        sorted(
            _hot_keys(profile, capacity, services), key=lambda one: (-one.units_per_second, one.key)
        )
    )


def _plan_table(
    service: str,
    profile: Profile,
    capacity: Capacity,
    services: Mapping[str, ServicePlan],
    prices: UnitPrices,
) -> TablePlan:
    reads = writes = 0.0
    for name, rate in profile.requests_per_second().items():
        units = capacity.operations[name]
        if units.service == service:
            reads += rate * units.reads
            writes += rate * units.writes
    if service == "progress_tracking":
        # Each change of an outline reaches progress as an event.
        learnt = profile.requests_per_second().get("patchCourse.outline", 0.0)
        writes += learnt * capacity.background["learnOutline"].writes
    by_hour = shape(profile.load.peak_factor)
    background = [_background(service, profile, capacity, services, hour) for hour in range(HOURS)]
    hourly_reads = tuple(
        reads * factor + more for factor, more in zip(by_hour, background, strict=True)
    )
    hourly_writes = tuple(writes * factor for factor in by_hour)
    target = profile.assumptions.dynamodb_target_utilisation.value
    held_reads = [_held(units, target) for units in hourly_reads]
    held_writes = [_held(units, target) for units in hourly_writes]
    on_demand = DAYS_PER_MONTH * sum(
        3600 * (read * prices.read_request + write * prices.write_request)
        for read, write in zip(hourly_reads, hourly_writes, strict=True)
    )
    provisioned = DAYS_PER_MONTH * sum(
        read * prices.read_hour + write * prices.write_hour
        for read, write in zip(held_reads, held_writes, strict=True)
    )
    mode, because = _mode(profile, on_demand, provisioned)
    return TablePlan(
        table=capacity.tables[service],
        service=service,
        reads=hourly_reads,
        writes=hourly_writes,
        on_demand_usd=on_demand,
        provisioned_usd=provisioned,
        read_utilisation=sum(hourly_reads) / sum(held_reads),
        write_utilisation=sum(hourly_writes) / sum(held_writes),
        mode=mode,
        because=because,
    )


def _held(units: float, target: float) -> int:
    """What autoscaling provisions for so many units a second; at least one."""
    return max(1, math.ceil(round(units / target, 9)))


def _mode(profile: Profile, on_demand: float, provisioned: float) -> tuple[Mode, str]:
    assumed = profile.assumptions
    room = 1 / assumed.dynamodb_target_utilisation.value - 1
    ramp = profile.load.ramp_per_minute * assumed.table_scaling_seconds.value / 60
    saving = 1 - provisioned / on_demand if on_demand else 0.0
    if ramp > room:
        return "on demand", (
            f"the load may grow by {ramp:.0%} before autoscaling has followed, and provisioned"
            f" capacity has room for {room:.0%}"
        )
    if saving < assumed.capacity_mode_saving.value:
        return "on demand", f"provisioned would save {max(0.0, saving):.0%} of it"
    return "provisioned", f"it saves {saving:.0%}"


def _background(
    service: str,
    profile: Profile,
    capacity: Capacity,
    services: Mapping[str, ServicePlan],
    hour: int,
) -> float:
    """Read units a second that tasks consume by themselves."""
    tasks = services[service].hours[hour].all
    if service == "course_catalog":
        refreshes = tasks / DIRECTORY_REFRESH_SECONDS
        # A reload every hour (CATALOG_DIRECTORY_RELOAD_SECONDS).
        reloads = tasks / 3600 * profile.stored.courses
        return (
            refreshes * capacity.background["directoryRefresh"].reads
            + reloads * capacity.background["directoryLoad"].reads
        )
    return 0.0


def _hot_keys(
    profile: Profile, capacity: Capacity, services: Mapping[str, ServicePlan]
) -> Iterator[HotKey]:
    rates = profile.requests_per_second()
    peak = profile.load.peak_factor
    assumed = profile.assumptions

    def at_peak(*names: str) -> float:
        return peak * sum(rates.get(name, 0.0) for name in names)

    opened = [name for name in ("getCourse", "getCourse.revalidated") if name in rates]
    share = assumed.hottest_course_share.value
    units = sum(rates[name] * capacity.operations[name].read.get("table", 0.0) for name in opened)
    yield HotKey(
        "CourseCatalog: the course that most open",
        "read",
        peak * share * units,
        f"{share:.0%} of all that open a course, each a consistent read of the whole course",
    )
    catalog = services["course_catalog"].peak.all
    yield HotKey(
        "CourseCatalog.byChange: a shard",
        "read",
        catalog
        / DIRECTORY_REFRESH_SECONDS
        * capacity.background["directoryRefresh"].reads
        / DIRECTORY_SHARDS,
        f"{catalog} tasks ask each shard every {DIRECTORY_REFRESH_SECONDS} s",
    )
    launch = max(1.0, assumed.task_launch_seconds.value)
    yield HotKey(
        "CourseCatalog.byStatus: a shard, while all tasks are replaced",
        "read",
        catalog
        * profile.stored.courses
        * capacity.background["directoryLoad"].reads
        / DIRECTORY_SHARDS
        / launch,
        f"{catalog} tasks load {profile.stored.courses:,.0f} courses within {launch:.0f} s",
    )
    content_share = assumed.hottest_content_share.value
    asked = at_peak("getContent", "getContent.cached") * content_share
    cached = services["content_delivery"].peak.all / CONTENT_CACHE_SECONDS
    yield HotKey(
        "Content: the content that most play",
        "read",
        min(asked, cached) * capacity.operations["getContent"].reads,
        f"{content_share:.1%} of all plays, and each task reads it once in"
        f" {CONTENT_CACHE_SECONDS} s",
    )
    progress = services["progress_tracking"].peak.all
    yield HotKey(
        "Progress: the outline that most need",
        "read",
        progress / OUTLINE_CACHE_SECONDS * capacity.background["readOutline"].reads,
        f"{progress} tasks read it once in {OUTLINE_CACHE_SECONDS} s",
    )
    batch = capacity.operations.get("recordProgressBatch")
    if batch is not None:
        yield HotKey(
            "Progress: one learner",
            "write",
            batch.writes,
            "a batch in one second",
        )
