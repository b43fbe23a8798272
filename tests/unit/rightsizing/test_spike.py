"""The model of a spike, against what queueing theory says of its limits and against the real breaker."""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.rightsizing._plan import make_plan
from deploy.rightsizing._queueing import mean_number
from deploy.rightsizing._scaling import OnDemand, TaskPolicy, Tasks
from deploy.rightsizing._scenarios import scenarios
from deploy.rightsizing._spike import (
    UNGUARDED,
    Caller,
    Course,
    Guards,
    Queue,
    Service,
    Spike,
    Table,
    opening_rate,
    simulate,
)
from libs.circuit_breaker import BreakerPolicy, CircuitBreaker, CircuitOpenError
from tests.unit.rightsizing.inputs import committed

FIXED = TaskPolicy(minimum=10, maximum=10, target=0.5, launch_seconds=60)
CALLER = Caller(
    tasks=10, policy=FIXED, vcpus_per_task=1.0, cpu_seconds=0.01, refusal_cpu_seconds=0.0005
)
ENOUGH = Table(OnDemand(1e9, least=1e9), units_per_request=1.0, milliseconds=5.0)
FLAT = Spike(base=500.0, factor=1.0, begins=300, lasts=600, after=60)


def service(count: int) -> Service:
    policy = TaskPolicy(minimum=count, maximum=count, target=0.5, launch_seconds=60)
    return Service(Tasks(policy, count), vcpus_per_task=1.0, cpu_seconds=0.01)


@given(st.floats(0.05, 0.95), st.floats(10, 1000))
@settings(deadline=None)
def test_in_the_long_run_a_queue_is_m_m_1(utilisation: float, rate: float) -> None:
    queue = Queue()
    for _ in range(2000):
        left = queue.step(1.0, utilisation * rate, servers=1, capacity=rate)
    assert queue.number == pytest.approx(mean_number(1, utilisation), rel=1e-3)
    assert left == pytest.approx(utilisation * rate, rel=1e-3)


@given(st.integers(1, 50), st.floats(0.05, 0.9))
@settings(deadline=None)
def test_so_many_servers_are_so_many_queues(servers: int, utilisation: float) -> None:
    """Requests are spread over the tasks by chance, and each task has its own queue."""
    queue = Queue()
    for _ in range(1000):
        queue.step(1.0, servers * 100 * utilisation, servers=servers, capacity=servers * 100.0)
    assert queue.number == pytest.approx(servers * mean_number(1, utilisation), rel=1e-3)


@given(st.floats(1.2, 10), st.floats(100, 1000))
@settings(deadline=None)
def test_in_overload_a_queue_grows_by_what_is_too_much(times: float, rate: float) -> None:
    """The fluid limit: after so long, (lambda - mu) t are there."""
    queue = Queue()
    for _ in range(600):
        queue.step(1.0, times * rate, servers=1, capacity=rate)
    assert queue.number == pytest.approx((times - 1) * rate * 600, rel=0.01)


def test_a_queue_drains_as_fast_as_there_is_room() -> None:
    """Q / (mu - lambda) seconds."""
    queue = Queue()
    queue.number = 6000.0
    seconds = 0
    while queue.number > 60:
        queue.step(1.0, 40.0, servers=1, capacity=100.0)
        seconds += 1
    assert seconds == pytest.approx(6000 / 60, rel=0.05)


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=100), st.floats(1, 1000))
@settings(deadline=None)
def test_nothing_is_lost_in_a_queue(arriving: list[float], capacity: float) -> None:
    queue, left = Queue(), 0.0
    for rate in arriving:
        left += queue.step(1.0, rate, servers=3, capacity=capacity)
    assert left + queue.number == pytest.approx(sum(arriving), abs=1e-3, rel=1e-6)


@pytest.mark.parametrize("failing", [0.5, 0.8, 0.95, 1.0])
async def test_circuits_open_as_often_as_the_real_one(failing: float) -> None:
    """The mean number of calls until the service's own breaker opens, by chance with a seed."""
    chance = random.Random(7)
    runs, calls = 400, 0
    for _ in range(runs):
        breaker = CircuitBreaker("d", BreakerPolicy(failure_threshold=5), clock=lambda: 0.0)
        while True:
            fails = chance.random() < failing
            try:
                await breaker.call(_call, fails)
            except CircuitOpenError:
                break
            except ConnectionError:
                pass
            calls += 1
    assert calls / runs == pytest.approx(1 / opening_rate(1.0, failing, 5), rel=0.1)


async def _call(fails: bool) -> None:
    if fails:
        raise ConnectionError


def test_a_circuit_of_a_healthy_dependency_never_opens() -> None:
    assert opening_rate(1000.0, 0.0, 5) == 0


def test_who_has_enough_of_everything_serves_all() -> None:
    course = simulate("enough", FLAT, CALLER, ENOUGH, Guards())
    assert course.served == pytest.approx(1, abs=1e-3)
    assert course.refused == course.failed == 0
    assert course.recovered_after == 0
    # Half busy, M/M/1: ten milliseconds twice, and five for the table.
    assert course.longest_wait == pytest.approx(0.02 + 0.005, rel=0.02)


def test_a_caller_in_overload_serves_what_its_cores_can() -> None:
    """1000 a second is what ten cores can; who waits in vain takes something of it."""
    spike = Spike(base=500, factor=4, begins=60, rise=1, lasts=600, after=10)
    course = simulate("overload", spike, CALLER, ENOUGH, Guards())
    moment = course.moments[500]
    late = 2000 - moment.served
    assert moment.failed == pytest.approx(late, rel=0.05)
    assert moment.served * 0.01 + late * 0.0005 == pytest.approx(10, rel=0.02)
    assert moment.wait_seconds == 5


def test_every_request_comes_to_an_end_or_still_waits() -> None:
    """Without retries: offered is served, refused, failed, or in a queue, which a deadline bounds."""
    guards = Guards(attempts=1)
    spike = Spike(base=500, factor=1.6, begins=60, rise=1, lasts=1200, after=10)
    for count in (4, 6, 20):
        course = simulate("balance", spike, CALLER, service(count), guards)
        ends = course.served + course.refused + course.failed
        assert ends == pytest.approx(1, abs=0.02)


def test_a_throttled_table_serves_what_it_has() -> None:
    table = Table(OnDemand(150, least=0), units_per_request=1.0, milliseconds=5)
    course = simulate("throttled", FLAT, CALLER, table, Guards())
    late = course.moments[-100]
    assert late.served == pytest.approx(300)
    # Circuits keep back most of what would have been throttled.
    assert late.refused > late.failed
    assert late.served + late.refused + late.failed == pytest.approx(500, rel=0.01)


def test_guards_give_way_at_once_where_without_them_all_wait_in_vain() -> None:
    """A dependency that can do a fifth of what it is asked."""
    spike = Spike(base=100, factor=5, begins=60, rise=1, lasts=900, after=10)
    guarded = simulate("guarded", spike, CALLER, service(1), Guards())
    bare = simulate("bare", spike, CALLER, service(1), UNGUARDED)
    assert bare.served < 0.05
    assert bare.refused == 0
    assert bare.failed > 0.9
    assert guarded.served > bare.served
    assert guarded.refused > guarded.failed


def test_more_of_a_dependency_never_serves_fewer() -> None:
    spike = Spike(base=200, factor=4, begins=60, rise=1, lasts=900, after=10)
    served = [
        simulate("n", spike, CALLER, service(count), Guards()).served for count in (1, 2, 4, 8, 16)
    ]
    assert all(less <= more + 0.01 for less, more in pairwise(served))


@cache
def courses(factor: float) -> list[Course]:
    return fresh_courses(factor)


def fresh_courses(factor: float) -> list[Course]:
    inputs = committed()
    return list(scenarios(inputs, make_plan(inputs), "progress_tracking", factor))


def test_without_a_spike_all_cases_serve_all() -> None:
    for course in courses(1.0):
        assert course.served == pytest.approx(1, abs=0.001), course.name
        assert course.longest_lag < 60


def test_the_slower_the_dependency_the_fewer_are_served() -> None:
    found = {course.name: course for course in courses(10.0)}
    fast = found["a service that scales as fast"]
    slow = found["a service that scales 3 times slower"]
    events = found["by events: the consumer scales 3 times slower"]
    assert slow.served < fast.served < events.served
    # Nothing that is left for later is refused: it is late.
    assert events.refused == 0
    assert events.longest_lag > 60


def test_the_same_files_give_the_same_courses() -> None:
    assert fresh_courses(10.0) == courses(10.0)


@pytest.mark.parametrize("signal", ["requests", "cpu"])
def test_a_signal_of_requests_sees_all_of_a_spike_and_one_of_cpu_steps(signal: str) -> None:
    policy = TaskPolicy(minimum=4, maximum=1000, target=0.5, launch_seconds=60)
    caller = Caller(
        tasks=4,
        policy=policy,
        vcpus_per_task=1.0,
        cpu_seconds=0.01,
        refusal_cpu_seconds=0.0005,
        signal=signal,
    )
    spike = Spike(base=200, factor=10, begins=60, rise=1, lasts=1800, after=10)
    course = simulate(signal, spike, caller, ENOUGH, Guards())
    steps = sorted({moment.caller_tasks for moment in course.moments})
    assert (len(steps) == 2) == (signal == "requests")
    assert course.recovered_after is not None
