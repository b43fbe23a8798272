"""Sizes that Fargate takes, counts that carry the load, and what is left when a part of it goes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.rightsizing._bill import task_hour
from deploy.rightsizing._fargate import TaskSize, is_valid, task_sizes
from deploy.rightsizing._inputs import InputError
from deploy.rightsizing._tasks import ServicePlan, plan_service, target_utilisation, tasks_for
from tests.unit.rightsizing.inputs import inputs, measurements, profile

RATES = st.floats(0, 1e6)
PRICE = task_hour(inputs().prices)


def plan_of(
    rate: float, *, milliseconds: float = 10.0, mebibytes: float = 100.0, **choices: object
) -> ServicePlan:
    load = profile(per_second={"recordProgress": rate}, **choices)  # type: ignore[arg-type]
    return plan_service("progress_tracking", load, measurements(milliseconds, mebibytes), PRICE)


def usd(plan: ServicePlan) -> float:
    return sum(
        hour.on_demand * PRICE.on_demand(plan.size) + hour.spot * PRICE.spot(plan.size)
        for hour in plan.hours
    )


def test_the_sizes_are_those_of_the_page() -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"""
    sizes = set(task_sizes())
    assert TaskSize(256, 512) in sizes
    assert TaskSize(256, 2048) in sizes
    assert TaskSize(512, 1024) in sizes
    assert TaskSize(1024, 8192) in sizes
    assert TaskSize(4096, 30 * 1024) in sizes
    assert TaskSize(16384, 120 * 1024) in sizes
    for wrong in (
        TaskSize(256, 4096),
        TaskSize(512, 512),
        TaskSize(1024, 1024),
        TaskSize(1024, 2500),
        TaskSize(300, 512),
        TaskSize(8192, 17 * 1024),
    ):
        assert not is_valid(wrong)
    assert all(map(is_valid, sizes))


@given(
    RATES,
    st.floats(0.1, 50),
    st.floats(10, 20_000),
    st.floats(1, 10),
    st.integers(1, 10),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_plan_can_be_applied(
    rate: float, milliseconds: float, mebibytes: float, peak: float, minimum: int, spot: bool
) -> None:
    try:
        plan = plan_of(
            rate,
            milliseconds=milliseconds,
            mebibytes=mebibytes,
            peak_factor=peak,
            minimum_tasks=minimum,
            spot=spot,
        )
    except InputError:
        assert mebibytes > 8 * 1024 or milliseconds > 10
        return
    assert is_valid(plan.size)
    assert plan.size.mebibytes >= plan.needed_mebibytes
    assert all(hour.all >= minimum and hour.on_demand >= minimum for hour in plan.hours)
    assert plan.tasks_at_mean >= minimum
    assert plan.tasks_at_peak == plan.peak.all
    assert plan.scaling.minimum == minimum <= plan.scaling.maximum
    assert plan.scaling.maximum >= plan.peak.all
    # Nobody is busier than was allowed, also when a zone is lost or all of Spot is taken back.
    busiest = rate * peak * milliseconds / 1000
    tasks = plan.peak
    allowed = 1 + 1e-6
    assert busiest <= tasks.all * plan.usable_vcpus * plan.target_utilisation * allowed
    assert busiest <= tasks.all * 2 / 3 * plan.usable_vcpus * 0.8 * allowed
    assert busiest <= tasks.on_demand * plan.usable_vcpus * 0.95 * allowed


@given(st.floats(0, 1e5), st.floats(1, 3))
@settings(max_examples=60, deadline=None)
def test_more_load_costs_no_less(rate: float, more: float) -> None:
    assert usd(plan_of(rate * more)) >= usd(plan_of(rate)) - 1e-9


@given(st.floats(0, 1e4), st.floats(1, 3), st.floats(0.1, 1), st.integers(2, 6))
@settings(deadline=None)
def test_more_load_needs_no_fewer_tasks_of_a_size(
    vcpus: float, more: float, usable: float, zones: int
) -> None:
    def tasks(load: float) -> int:
        return tasks_for(load, usable=usable, target=0.5, maximum=0.8, minimum=2, zones=zones)

    assert 2 <= tasks(vcpus) <= tasks(vcpus * more)


def test_an_example_by_hand() -> None:
    """100 requests a second of 10 ms keep one core busy; 0.8 of it at most, and two of three zones
    must be enough: 1 / 0.8 * 3 / 2 = 1.9 of one vCPU, 7.5 of a quarter, and the quarter is no dearer."""
    plan = plan_of(100)
    assert plan.size == TaskSize(256, 512)
    assert (plan.tasks_at_mean, plan.tasks_at_peak) == (8, 8)
    assert plan.usable_vcpus == 0.25
    assert plan.capacity_per_task == 25
    # 25 a second, 0.8 of them, 60 seconds.
    assert plan.scaling.target == 1200


def test_a_size_that_answers_too_late_is_not_chosen() -> None:
    """10 ms on a quarter of a core are 40 ms; 0.8 busy, 99 % are answered in 921 ms; on a whole core
    in 230 ms."""
    assert plan_of(100, cpu_latency_milliseconds=1000).size.cpu_units == 256
    assert plan_of(100, cpu_latency_milliseconds=300).size.cpu_units == 1024
    with pytest.raises(InputError, match="cpuLatencyMilliseconds"):
        plan_of(100, cpu_latency_milliseconds=100)


def test_more_than_one_core_is_never_bought_for_cpu() -> None:
    assert plan_of(100_000, cpu_latency_milliseconds=300).size.cpu_units <= 2048


def test_the_sidecar_takes_its_part() -> None:
    alone = plan_of(1000)
    beside = plan_of(1000, sidecar_cpu_units=64.0, sidecar_mebibytes=100.0)
    assert beside.usable_vcpus < alone.usable_vcpus or beside.size > alone.size
    assert beside.needed_mebibytes == alone.needed_mebibytes + 100


def test_what_a_process_does_by_itself_is_not_there_for_requests() -> None:
    measured = measurements()
    busy = measured.services["progress_tracking"].model_copy(update={"idle_cpu_share": 0.05})
    measured = measured.model_copy(
        update={"services": {**measured.services, "progress_tracking": busy}}
    )
    load = profile(per_second={"recordProgress": 100.0})
    plan = plan_service("progress_tracking", load, measured, PRICE)
    assert plan.usable_vcpus == pytest.approx(min(1.0, plan.size.vcpus) - 0.05)


def test_the_steeper_the_load_may_rise_the_more_room_is_kept() -> None:
    """Four minutes pass until help is there: a tenth more each minute is 1.4 times as much."""
    assert target_utilisation(profile()) == pytest.approx(0.8)
    assert target_utilisation(profile(ramp_per_minute=0.1)) == pytest.approx(0.8 / 1.4)


def test_spot_takes_what_is_not_needed_without_it() -> None:
    plan = plan_of(1000, spot=True)
    assert plan.peak.spot > 0
    assert plan.mean_spot_tasks == plan.peak.spot
    assert plan_of(1000).peak.spot == 0


def test_bounds_hold_for_the_growth_that_is_planned_for() -> None:
    now = plan_of(1000)
    later = plan_of(1000, per_month=0.1, months=12)
    assert later.tasks_at_peak == now.tasks_at_peak
    assert later.scaling.maximum > 3 * now.scaling.maximum * 0.99


@pytest.mark.parametrize("rate", [0.0, 5e-324])
def test_a_service_without_load_stands_ready(rate: float) -> None:
    plan = plan_of(rate)
    assert plan.tasks_at_mean == plan.tasks_at_peak == 2
    assert plan.scaling.target > 0


def test_courses_in_memory_make_the_tasks_larger() -> None:
    measured = measurements()
    catalog = measured.services["course_catalog"].model_copy(update={"bytes_per_course": 2**20})
    measured = measured.model_copy(
        update={"services": {**measured.services, "course_catalog": catalog}}
    )
    load = profile().model_copy(
        update={"stored": profile().stored.model_copy(update={"courses": 1100.0})}
    )
    plan = plan_service("course_catalog", load, measured, PRICE)
    # 100 courses were there when it was measured; the thousand more take a mebibyte each.
    assert plan.needed_mebibytes == pytest.approx(1100)
    assert plan.size.mebibytes >= 1100
