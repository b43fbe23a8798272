"""A whole plan of one load, and which quota it meets first when more learners come.

Owns how the parts are put together. Everything is worked out anew from the files at each call; nothing
is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from deploy.rightsizing._bill import (
    Line,
    bill,
    nat_instead,
    plays_per_second,
    require_prices,
    task_hour,
    unit_prices,
)
from deploy.rightsizing._fargate import TaskSize, task_sizes
from deploy.rightsizing._inputs import (
    Capacity,
    InputError,
    Measurements,
    Prices,
    Profile,
    Quotas,
    require_measured,
)
from deploy.rightsizing._tables import HotKey, TablePlan, UnitPrices, hot_keys, plan_tables
from deploy.rightsizing._tasks import ServicePlan, plan_services

Demands = Mapping[str, tuple[float, str]]
"""By the name of a quota: how much of it, and what needs it."""


@dataclass(frozen=True)
class Inputs:
    """Everything that was read."""

    profile: Profile
    measurements: Measurements
    capacity: Capacity
    prices: Prices
    quotas: Quotas

    def of(self, profile: Profile) -> Inputs:
        """The same of another load."""
        return Inputs(profile, self.measurements, self.capacity, self.prices, self.quotas)


@dataclass(frozen=True)
class Plan:
    """What one load needs and costs."""

    profile: Profile
    services: Mapping[str, ServicePlan]
    consumer: TaskSize
    tables: Mapping[str, TablePlan]
    unit_prices: UnitPrices
    hot_keys: tuple[HotKey, ...]
    lines: tuple[Line, ...]
    nat_instead_usd: float

    @property
    def usd(self) -> float:
        """A month."""
        return sum(line.usd for line in self.lines)

    @property
    def requests_per_second(self) -> float:
        """The mean of a day."""
        return sum(one.load.requests_per_second for one in self.services.values())

    @property
    def peak_requests_per_second(self) -> float:
        """The busiest hour."""
        return self.requests_per_second * self.profile.load.peak_factor


@dataclass(frozen=True)
class QuotaUse:
    """A quota and what the plan needs of it. `learners`: how many there can be before it is met,
    with the same behaviour; 0 where the fewest tasks need more already, None where more learners do
    not bring it nearer, or the limit is unknown."""

    name: str
    demand: float
    limit: float | None
    unit: str
    scope: str
    adjustable: bool
    how: str
    page: str
    read: str
    learners: float | None

    @property
    def share(self) -> float | None:
        """Of the limit that is used; None where the limit is unknown."""
        return None if self.limit is None else self.demand / self.limit


def make_plan(inputs: Inputs) -> Plan:
    """Raises InputError where the files do not go together or a price is missing."""
    require_measured(inputs.profile, inputs.measurements, inputs.capacity)
    require_prices(inputs.prices)
    require_quotas(inputs.quotas)
    profile = inputs.profile
    services = plan_services(profile, inputs.measurements, task_hour(inputs.prices))
    units = unit_prices(inputs.prices)
    tables = plan_tables(profile, inputs.capacity, services, units)
    consumer = _consumer_size(inputs)
    return Plan(
        profile=profile,
        services=services,
        consumer=consumer,
        tables=tables,
        unit_prices=units,
        hot_keys=hot_keys(profile, inputs.capacity, services),
        lines=bill(profile, inputs.capacity, inputs.prices, services, tables, consumer),
        nat_instead_usd=nat_instead(profile, inputs.prices, services),
    )


def require_quotas(quotas: Quotas) -> None:
    """Raises InputError where the file lacks what hot keys are held against."""
    missing = sorted(
        {"dynamodb.partitionReadUnits", "dynamodb.partitionWriteUnits"} - set(quotas.quotas)
    )
    if missing:
        raise InputError(f"quotas: missing {', '.join(missing)}")


def quota_uses(inputs: Inputs, plan: Plan | None = None) -> tuple[QuotaUse, ...]:
    """Every quota, the one that is met by the fewest learners first; unknown limits last."""
    plan = plan or make_plan(inputs)
    now = demands(plan)
    missing = sorted(set(inputs.quotas.quotas) - set(now))
    if missing:
        raise InputError(f"quotas: nobody knows what a plan needs of {missing[0]}")
    registered = inputs.profile.learners.registered

    @cache
    def demand_at(factor: float) -> Demands:
        return demands(make_plan(inputs.of(inputs.profile.times(factor))))

    found = []
    for name, quota in inputs.quotas.quotas.items():
        demand, how = now[name]
        found.append(
            QuotaUse(
                name=name,
                demand=demand,
                limit=quota.limit,
                unit=quota.unit,
                scope=quota.scope,
                adjustable=quota.adjustable,
                how=how,
                page=quota.source.page,
                read=quota.source.read.isoformat(),
                learners=(
                    None
                    if quota.limit is None
                    else _met_at(name, quota.limit, registered, demand_at)
                ),
            )
        )
    return tuple(
        sorted(found, key=lambda use: (use.learners is None, use.learners or 0.0, use.name))
    )


def demands(plan: Plan) -> Demands:
    """What a plan needs of each quota, and what it is that needs it."""
    return {name: (demand, how) for name, demand, how in _each_demand(plan)}


def _consumer_size(inputs: Inputs) -> TaskSize:
    """The smallest that has room for progress's process at rest, and the sidecar."""
    assumed = inputs.profile.assumptions
    resident = inputs.measurements.services["progress_tracking"].resident_mebibytes.ready
    needed = resident * assumed.memory_headroom.value + assumed.sidecar_mebibytes.value
    for size in task_sizes():
        if size.mebibytes >= needed and size.cpu_units > assumed.sidecar_cpu_units.value:
            return size
    raise InputError("consumer: no Fargate size has the memory that it needs")


def _met_at(
    name: str, limit: float, registered: float, demand_at: Callable[[float], Demands]
) -> float | None:
    """The number of learners at which a demand reaches its limit, to a thousandth."""
    if registered <= 0:
        return None
    low, high = 1e-6, 1.0
    if demand_at(low)[name][0] > limit:
        return 0.0
    while demand_at(high)[name][0] <= limit:
        low, high = high, high * 4
        if high * registered > _ALL_PEOPLE:
            return None
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        if demand_at(middle)[name][0] <= limit:
            low = middle
        else:
            high = middle
    return low * registered


# Ten times as many as there are people: whoever is not met by then is met by nobody.
_ALL_PEOPLE = 1e11


def _each_demand(plan: Plan) -> Iterator[tuple[str, float, str]]:
    profile, services = plan.profile, plan.services
    assumed, peak = profile.assumptions, profile.load.peak_factor
    tasks = {name: one.peak.all for name, one in services.items()}
    rolling = max(tasks.values())
    vcpus = {name: one.peak.on_demand * one.size.vcpus for name, one in services.items()}
    yield (
        "apiGateway.requestsPerSecond",
        plan.peak_requests_per_second,
        "requests in the busiest hour",
    )
    yield (
        "fargate.vcpu",
        sum(vcpus.values()) + max(vcpus.values()) + profile.consumer.tasks * plan.consumer.vcpus,
        "tasks on demand in the busiest hour, the largest service twice while it is rolled",
    )
    yield (
        "fargate.launchesPerServiceMinute",
        rolling * max(0.0, assumed.burst_factor.value - 1),
        f"all that a load of {assumed.burst_factor.value:g} times the busiest hour asks for, at"
        " once",
    )
    shared = sum(tasks.values()) if profile.topology.load_balancers == 1 else rolling
    yield (
        "loadBalancer.targets",
        shared + rolling,
        "tasks behind the fullest load balancer, the largest service twice while it is rolled",
    )
    reads = max(plan.tables.values(), key=lambda table: max(table.reads))
    yield "dynamodb.tableReadUnits", max(reads.reads), f"{reads.table} in the busiest hour"
    writes = max(plan.tables.values(), key=lambda table: max(table.writes))
    yield "dynamodb.tableWriteUnits", max(writes.writes), f"{writes.table} in the busiest hour"
    for kind, name in (("read", "partitionReadUnits"), ("write", "partitionWriteUnits")):
        hottest = max(
            (one for one in plan.hot_keys if one.kind == kind),
            key=lambda one: one.units_per_second,
            default=HotKey("none", "read", 0.0, ""),
        )
        yield f"dynamodb.{name}", hottest.units_per_second, hottest.key
    yield "cognito.users", profile.learners.registered, "registered learners in one pool"
    yield (
        "cognito.userAuthentication",
        profile.learners.active_daily * assumed.sign_ins_per_learner_day.value / 86_400 * peak,
        "sign-ins and refreshed tokens in the busiest hour",
    )
    yield (
        "logs.putLogEvents",
        2 * sum(tasks.values()) * assumed.log_requests_per_task_second.value,
        "two containers a task",
    )
    yield (
        "s3.getsPerPrefix",
        plays_per_second(profile)
        * peak
        * assumed.hottest_content_share.value
        * profile.playback.requests_per_play,
        "ranges of the content that most play, in the busiest hour",
    )
    yield (
        "xray.segmentsPerSecond",
        plan.peak_requests_per_second * assumed.traced_share.value,
        "a segment of each traced request in the busiest hour",
    )
