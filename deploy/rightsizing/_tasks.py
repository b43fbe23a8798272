"""How large a service's tasks are, how many run when, and what they are scaled by.

Owns the sizing of ECS services. Knows no price list beyond what a task costs an hour, and no table.

A task has one process, and a process of Python answers on one core: more than that core, and what the
sidecar takes, would be paid for and not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from deploy.rightsizing._day import shape
from deploy.rightsizing._fargate import CPU_UNITS_PER_VCPU, TaskSize, task_sizes
from deploy.rightsizing._inputs import (
    SERVICES,
    Assumptions,
    InputError,
    Measurements,
    Profile,
    Signal,
)
from deploy.rightsizing._queueing import response_quantile

CORES_OF_A_PROCESS = 1.0


@dataclass(frozen=True)
class ServiceLoad:
    """What is asked of a service in the mean of a day, and what that costs it."""

    requests_per_second: float
    cpu_seconds_per_request: float
    response_bytes_per_second: float
    request_bytes_per_second: float
    log_bytes_per_second: float

    @property
    def vcpus(self) -> float:
        """Cores in use."""
        return self.requests_per_second * self.cpu_seconds_per_request


@dataclass(frozen=True)
class HourlyTasks:
    """Tasks in one hour of the day, those on Spot apart."""

    on_demand: int
    spot: int

    @property
    def all(self) -> int:
        """Both together."""
        return self.on_demand + self.spot


@dataclass(frozen=True)
class Scaling:
    """A target tracking policy: `metric` is kept at `target`."""

    signal: Signal
    metric: str
    target: float
    minimum: int
    maximum: int


@dataclass(frozen=True)
class ServicePlan:
    """One service's tasks. `usable_vcpus`: what a task has for its requests. `target_utilisation`: of
    those, in the mean, where the policy keeps them."""

    service: str
    load: ServiceLoad
    size: TaskSize
    needed_mebibytes: float
    usable_vcpus: float
    target_utilisation: float
    tasks_at_mean: int
    tasks_at_peak: int
    hours: tuple[HourlyTasks, ...]
    scaling: Scaling
    p99_milliseconds: float

    @property
    def capacity_per_task(self) -> float:
        """Requests a second that keep a task's process busy."""
        return self.usable_vcpus / self.load.cpu_seconds_per_request

    @property
    def mean_tasks(self) -> float:
        """Over the day."""
        return sum(hour.all for hour in self.hours) / len(self.hours)

    @property
    def mean_spot_tasks(self) -> float:
        """Over the day."""
        return sum(hour.spot for hour in self.hours) / len(self.hours)

    @property
    def peak(self) -> HourlyTasks:
        """The busiest hour."""
        return max(self.hours, key=lambda hour: hour.all)


@dataclass(frozen=True)
class TaskHour:
    """What an hour of a vCPU and of a GB costs, on demand and on Spot."""

    vcpu: float
    gib: float
    spot_vcpu: float
    spot_gib: float

    def on_demand(self, size: TaskSize) -> float:
        """USD an hour of a task."""
        return size.vcpus * self.vcpu + size.gibibytes * self.gib

    def spot(self, size: TaskSize) -> float:
        """USD an hour of a task on Spot."""
        return size.vcpus * self.spot_vcpu + size.gibibytes * self.spot_gib


def service_load(service: str, profile: Profile, measurements: Measurements) -> ServiceLoad:
    """The mean of a day, over the operations of the service."""
    factor = profile.assumptions.fargate_cpu_factor.value
    cpu = requests = responses = received = logged = 0.0
    for name, rate in profile.requests_per_second().items():
        if measurements.service_of(name) != service:
            continue
        cost = measurements.cost(name)
        requests += rate
        cpu += rate * cost.cpu_milliseconds / 1000 * factor
        responses += rate * cost.response_bytes
        received += rate * cost.request_bytes
        logged += rate * cost.log_bytes
    if cpu > 0:
        a_request = cpu / requests
    else:  # Without load a request still costs something.
        costs = [one.cpu_milliseconds for one in measurements.services[service].operations.values()]
        a_request = median(costs) / 1000 * factor
    return ServiceLoad(requests, a_request, responses, received, logged)


def target_utilisation(profile: Profile) -> float:
    """How busy tasks may be in the mean: so that, while more of them are on their way, the load can
    grow as the profile says without any being busier than the maximum."""
    assumed = profile.assumptions
    delay = (assumed.scaling_alarm_seconds.value + assumed.task_launch_seconds.value) / 60
    return assumed.maximum_utilisation.value / (1 + profile.load.ramp_per_minute * delay)


def tasks_for(
    vcpus: float, *, usable: float, target: float, maximum: float, minimum: int, zones: int
) -> int:
    """So many that they are as busy as they may be in the mean, and that what is left of them when
    a zone is lost is not busier than the maximum."""
    in_the_mean = _ceil(vcpus / (usable * target))
    without_a_zone = _ceil(vcpus / (usable * maximum) * zones / (zones - 1))
    return max(minimum, in_the_mean, without_a_zone)


def plan_service(
    service: str, profile: Profile, measurements: Measurements, price: TaskHour
) -> ServicePlan:
    """The cheapest size that carries the load within the memory and the latency that are asked for.

    Raises InputError where no size does.
    """
    candidates = [
        _planned(service, profile, measurements, price, size)
        for size in _possible_sizes(service, profile, measurements)
    ]
    if not candidates:
        raise InputError(
            f"{service}: no Fargate size has the memory that it needs and answers 99 % within"
            f" cpuLatencyMilliseconds = {profile.assumptions.cpu_latency_milliseconds.value:g};"
            " requests must cost less, maximumUtilisation be lower, or it be allowed more"
        )
    return min(
        candidates,
        key=lambda plan: (sum(_usd(hour, plan.size, price) for hour in plan.hours), plan.size),
    )


def plan_services(
    profile: Profile, measurements: Measurements, price: TaskHour
) -> Mapping[str, ServicePlan]:
    """As `plan_service`, all of them."""
    return {name: plan_service(name, profile, measurements, price) for name in SERVICES}


def needed_mebibytes(service: str, profile: Profile, measurements: Measurements) -> float:
    """The most that was measured, what more courses take, room above it, and the sidecar's."""
    cost = measurements.services[service]
    measured_courses = measurements.shape.get("courses", 0.0)
    courses = max(0.0, profile.stored.courses - measured_courses)
    process = cost.resident_mebibytes.peak + courses * cost.bytes_per_course / 2**20
    assumed = profile.assumptions
    return process * assumed.memory_headroom.value + assumed.sidecar_mebibytes.value


def _possible_sizes(
    service: str, profile: Profile, measurements: Measurements
) -> Iterator[TaskSize]:
    """Of each CPU the least memory that is enough; not more CPU than one process can use."""
    needed = needed_mebibytes(service, profile, measurements)
    load = service_load(service, profile, measurements)
    target, allowed = target_utilisation(profile), profile.assumptions.cpu_latency_milliseconds
    sidecar = profile.assumptions.sidecar_cpu_units.value / CPU_UNITS_PER_VCPU
    seen: set[int] = set()
    for size in task_sizes():
        if size.cpu_units in seen or size.mebibytes < needed:
            continue
        usable = _usable(size, service, profile, measurements)
        if usable <= 0:
            continue
        seen.add(size.cpu_units)
        seconds = response_quantile(target, load.cpu_seconds_per_request / usable, 0.99)
        if seconds * 1000 <= allowed.value:
            yield size
        if size.vcpus >= CORES_OF_A_PROCESS + sidecar:
            return


def _usable(size: TaskSize, service: str, profile: Profile, measurements: Measurements) -> float:
    """The cores that a task has for requests: without the sidecar, and without what the process does
    when nobody asks for anything."""
    sidecar = profile.assumptions.sidecar_cpu_units.value / CPU_UNITS_PER_VCPU
    idle = measurements.services[service].idle_cpu_share
    factor = profile.assumptions.fargate_cpu_factor.value
    return min(CORES_OF_A_PROCESS, size.vcpus - sidecar) - idle * factor


def _planned(
    service: str, profile: Profile, measurements: Measurements, price: TaskHour, size: TaskSize
) -> ServicePlan:
    assumed, choice = profile.assumptions, profile.services[service]
    load = service_load(service, profile, measurements)
    usable = _usable(size, service, profile, measurements)
    target, zones = target_utilisation(profile), profile.topology.availability_zones

    def tasks(vcpus: float) -> int:
        return tasks_for(
            vcpus,
            usable=usable,
            target=target,
            maximum=assumed.maximum_utilisation.value,
            minimum=choice.minimum_tasks,
            zones=zones,
        )

    def hour(vcpus: float) -> HourlyTasks:
        everything = tasks(vcpus)
        if not choice.spot:
            return HourlyTasks(everything, 0)
        # What stays when every task on Spot is taken back at once carries the hour.
        kept = _ceil(vcpus / (usable * assumed.utilisation_without_spot.value))
        on_demand = min(everything, max(choice.minimum_tasks, kept))
        return HourlyTasks(on_demand, everything - on_demand)

    hours = tuple(hour(load.vcpus * factor) for factor in shape(profile.load.peak_factor))
    growth = profile.load.growth
    grown = load.vcpus * profile.load.peak_factor * max(1.0, 1 + growth.per_month) ** growth.months
    metric, value = _target(load, size, usable, target, choice.signal, assumed)
    return ServicePlan(
        service=service,
        load=load,
        size=size,
        needed_mebibytes=needed_mebibytes(service, profile, measurements),
        usable_vcpus=usable,
        target_utilisation=target,
        tasks_at_mean=tasks(load.vcpus),
        tasks_at_peak=tasks(load.vcpus * profile.load.peak_factor),
        hours=hours,
        scaling=Scaling(
            choice.signal,
            metric,
            value,
            choice.minimum_tasks,
            tasks(grown * max(1.0, assumed.burst_factor.value)),
        ),
        p99_milliseconds=1000
        * response_quantile(target, load.cpu_seconds_per_request / usable, 0.99),
    )


def _target(
    load: ServiceLoad,
    size: TaskSize,
    usable: float,
    target: float,
    signal: Signal,
    assumed: Assumptions,
) -> tuple[str, float]:
    if signal == "requests":
        a_second = usable * target / load.cpu_seconds_per_request
        return "ALBRequestCountPerTarget, a minute", math.floor(a_second * 60)
    sidecar = assumed.sidecar_cpu_units.value / CPU_UNITS_PER_VCPU
    percent = 100 * (usable * target + sidecar) / size.vcpus
    return "ECSServiceAverageCPUUtilization, percent", math.floor(percent)


def _usd(hour: HourlyTasks, size: TaskSize, price: TaskHour) -> float:
    return hour.on_demand * price.on_demand(size) + hour.spot * price.spot(size)


def _ceil(number: float) -> int:
    """Up to the next whole number, but not for what is left of a division."""
    return math.ceil(round(number, 9))
