"""The same spike on the same service, over dependencies that scale in different ways.

Owns which cases are compared, and takes everything else from the plan: tasks, their policy, measured
service times, measured units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.rightsizing._inputs import InputError
from deploy.rightsizing._plan import Inputs, Plan
from deploy.rightsizing._scaling import (
    ON_DEMAND_READS,
    ON_DEMAND_WRITES,
    OnDemand,
    Provisioned,
    TaskPolicy,
    Tasks,
)
from deploy.rightsizing._spike import (
    UNGUARDED,
    Caller,
    Course,
    Guards,
    Service,
    Spike,
    Table,
    simulate,
    simulate_events,
)
from deploy.rightsizing._tasks import ServicePlan

SLOW = 3.0
"""How much slower the slow dependency scales."""

# No service of Lyceum calls another. If one did, it would ask the catalog for a course.
_CALLED = "course_catalog"
_CALLED_OPERATION = "getCourse"
# What working off a message costs is taken to be what a heartbeat does.
_EVENT_OPERATION = "recordProgress"
# Far above what any table here is asked for: its autoscaling has no bound that is met.
_MOST_UNITS = 1e9


def spike_of(plan: Plan, service: str, factor: float) -> Spike:
    """From the busiest hour to so many times as much."""
    load = plan.services[service].load.requests_per_second * plan.profile.load.peak_factor
    if load <= 0:
        raise InputError(f"{service} has no load that could rise")
    return Spike(base=load, factor=factor)


def scenarios(inputs: Inputs, plan: Plan, service: str, factor: float) -> Iterator[Course]:
    """All cases, those where the dependency keeps up first."""
    spike = spike_of(plan, service, factor)
    caller = _caller(inputs, plan, service, factor)
    guards = Guards()
    units = _units(inputs, plan, service)
    milliseconds = plan.profile.assumptions.dependency_milliseconds.value
    if units:
        peak = spike.base * units
        yield simulate(
            "table on demand, up to twice its peak of before",
            spike,
            caller,
            Table(
                OnDemand(peak, least=_least(plan, service)),
                units_per_request=units,
                milliseconds=milliseconds,
            ),
            guards,
        )
        assumed = plan.profile.assumptions
        target = assumed.dynamodb_target_utilisation.value
        yield simulate(
            "table provisioned, with autoscaling",
            spike,
            caller,
            Table(
                Provisioned(
                    peak / target,
                    target=target,
                    scaling_seconds=assumed.table_scaling_seconds.value,
                    maximum=_MOST_UNITS,
                ),
                units_per_request=units,
                milliseconds=milliseconds,
            ),
            guards,
        )
    yield simulate(
        "a service that scales as fast", spike, caller, _service(inputs, plan, spike, 1.0), guards
    )
    yield simulate(
        f"a service that scales {SLOW:g} times slower",
        spike,
        caller,
        _service(inputs, plan, spike, SLOW),
        guards,
    )
    ready = replace(
        caller,
        tasks=_ready(caller, spike),
        policy=replace(caller.policy, minimum=_ready(caller, spike)),
    )
    yield simulate(
        f"the same, and the caller is scaled for {factor:g} times before it begins",
        spike,
        ready,
        _service(inputs, plan, spike, SLOW),
        guards,
    )
    yield simulate(
        "the same as before, without breaker, bulkhead and retry budget",
        spike,
        ready,
        _service(inputs, plan, spike, SLOW),
        UNGUARDED,
    )
    yield simulate_events(
        f"by events: the consumer scales {SLOW:g} times slower",
        spike,
        caller,
        _consumers(inputs, plan, spike),
        _event_rate(inputs, plan),
    )


def _caller(inputs: Inputs, plan: Plan, service: str, factor: float) -> Caller:
    one = plan.services[service]
    fastest = inputs.profile.assumptions.fargate_cpu_factor.value
    operations = inputs.measurements.services[service].operations
    refusals = [
        cost.cpu_milliseconds for name, cost in operations.items() if name.startswith("refused.")
    ]
    if not refusals:
        raise InputError(f"{service}: the measurements have no refused.… operation")
    return Caller(
        tasks=one.peak.all,
        policy=_policy(one, plan, factor),
        vcpus_per_task=one.usable_vcpus,
        cpu_seconds=one.load.cpu_seconds_per_request,
        refusal_cpu_seconds=min(min(refusals) / 1000 * fastest, one.load.cpu_seconds_per_request),
        signal=one.scaling.signal,
    )


def _policy(one: ServicePlan, plan: Plan, factor: float, slowness: float = 1.0) -> TaskPolicy:
    """The plan's policy, but for its upper bound: how fast it is is what is compared."""
    return TaskPolicy(
        minimum=one.scaling.minimum,
        maximum=max(one.scaling.maximum, int(one.peak.all * factor * 2)),
        target=one.target_utilisation,
        launch_seconds=plan.profile.assumptions.task_launch_seconds.value,
        slowness=slowness,
    )


def _service(inputs: Inputs, plan: Plan, spike: Spike, slowness: float) -> Service:
    one = plan.services[_CALLED]
    seconds = (
        inputs.measurements.cost(_CALLED_OPERATION).cpu_milliseconds
        / 1000
        * plan.profile.assumptions.fargate_cpu_factor.value
    )
    # As many as the spike's base needs at the same utilisation as everywhere.
    count = max(
        one.scaling.minimum,
        round(spike.base * seconds / (one.usable_vcpus * one.target_utilisation) + 0.5),
    )
    policy = replace(
        _policy(one, plan, spike.factor, slowness), maximum=int(count * spike.factor * 2)
    )
    return Service(Tasks(policy, count), vcpus_per_task=one.usable_vcpus, cpu_seconds=seconds)


def _consumers(inputs: Inputs, plan: Plan, spike: Spike) -> Tasks:
    rate, target = _event_rate(inputs, plan), 0.5
    count = max(2, round(spike.base / (rate * target) + 0.5))
    policy = TaskPolicy(
        minimum=count,
        maximum=int(count * spike.factor * 4),
        target=target,
        launch_seconds=plan.profile.assumptions.task_launch_seconds.value,
        slowness=SLOW,
    )
    return Tasks(policy, count)


def _event_rate(inputs: Inputs, plan: Plan) -> float:
    one = plan.services["progress_tracking"]
    seconds = inputs.measurements.cost(_EVENT_OPERATION).cpu_milliseconds / 1000
    return one.usable_vcpus / (seconds * plan.profile.assumptions.fargate_cpu_factor.value)


def _ready(caller: Caller, spike: Spike) -> int:
    return int(caller.tasks * spike.factor)


def _kind(plan: Plan, service: str) -> str:
    table = plan.tables[service]
    # The kind of unit that is nearer to what a partition can take.
    return "write" if table.mean_writes * 3 >= table.mean_reads else "read"


def _least(plan: Plan, service: str) -> float:
    return ON_DEMAND_WRITES if _kind(plan, service) == "write" else ON_DEMAND_READS


def _units(inputs: Inputs, plan: Plan, service: str) -> float:
    """Units of the scarcer kind that a request of the service takes in the mean."""
    kind, total = _kind(plan, service), 0.0
    for name, rate in plan.profile.requests_per_second().items():
        if inputs.measurements.service_of(name) == service:
            units = inputs.capacity.operations[name]
            total += rate * (units.writes if kind == "write" else units.reads)
    load = plan.services[service].load.requests_per_second
    return total / load if load else 0.0
