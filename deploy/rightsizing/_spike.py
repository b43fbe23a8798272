"""What a sudden rise of the load does to a service and to what it depends on, second by second.

Owns the model; deterministic. A fluid: rates instead of requests, so that it costs the same for ten
requests a second and for a hundred thousand. Where work waits for a process it follows the pointwise
stationary fluid flow approximation (W. Wang, D. Tipper, S. Banerjee, INFOCOM 1996): in the long run the
number that is there is that of M/M/1, and in overload the queue grows by what is too much.

The guards are those of libs/resilience and libs/circuit_breaker as the services configure them. Of many
processes, each with a circuit of its own, the share with a closed one follows from how soon a run of so
many failures comes.

What is left out: that clients try again by themselves, and that the hash of a key can be hot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from deploy.rightsizing._scaling import TaskPolicy, Tasks

STEP_SECONDS = 1.0


@dataclass(frozen=True)
class Guards:
    """libs/service's defaults: BREAKER_*, BULKHEAD_*, RETRY_*, REQUEST_TIMEOUT_SECONDS."""

    failures_that_open: int | None = 5
    open_seconds: float = 5.0
    calls_at_once: int | None = 50
    wait_seconds: float = 0.5
    attempt_seconds: float = 2.0
    deadline_seconds: float = 5.0
    attempts: int = 3
    retry_budget: float | None = 0.1


UNGUARDED = Guards(failures_that_open=None, calls_at_once=None, retry_budget=None)


@dataclass(frozen=True)
class Caller:
    """The service that the load meets. Seconds of CPU: of a request, and of one that is refused
    before it has done anything."""

    tasks: int
    policy: TaskPolicy
    vcpus_per_task: float
    cpu_seconds: float
    refusal_cpu_seconds: float
    signal: str = "requests"


@dataclass(frozen=True)
class Spike:
    """A load that rises from `base` to `factor` times as much, stays, and falls."""

    base: float
    factor: float
    begins: float = 300.0
    rise: float = 10.0
    lasts: float = 2400.0
    after: float = 300.0

    @property
    def seconds(self) -> float:
        """How long it is looked at."""
        return self.begins + self.lasts + self.after

    def rate(self, now: float) -> float:
        """Requests a second."""
        up = min(1.0, max(0.0, (now - self.begins) / self.rise))
        down = min(1.0, max(0.0, (now - self.begins - self.lasts) / self.rise))
        return self.base * (1 + (self.factor - 1) * (up - down))


@dataclass(frozen=True)
class Answer:
    """What a dependency does in a step, in calls a second. `in_time`: answered while somebody waits.
    `late`: answered, or given up, when nobody does any more. `throttled`: told at once that it is too
    much. `refused`: what a bulkhead kept from it. `late_share`: how many of those that are called now
    will be late."""

    in_time: float
    late: float = 0.0
    throttled: float = 0.0
    refused: float = 0.0
    late_share: float = 0.0
    wait_seconds: float = 0.0

    def of_requests(self, tried: float, attempts: float) -> tuple[float, float]:
        """Requests a second that were served and that failed, of those that were tried with so many
        attempts each."""
        if self.throttled:
            # Nothing waits: whoever is not served now has failed, and was served once at most.
            served = min(tried, self.in_time)
            return served, tried - served
        return self.in_time / attempts, self.late / attempts


class Dependency(Protocol):
    """What the service calls."""

    @property
    def capacity(self) -> float:
        """Requests a second that it can take now."""

    @property
    def tasks(self) -> int | None:
        """How many tasks it has, where it has any."""

    def step(
        self, now: float, seconds: float, asked: float, *, callers: int, guards: Guards
    ) -> Answer:
        """So much time passes in which so many requests a second ask for it."""


class Queue:
    """Work that waits for servers: M/M/1 each in the long run, a fluid in overload."""

    def __init__(self) -> None:
        self.number = 0.0

    def step(self, seconds: float, arriving: float, *, servers: float, capacity: float) -> float:
        """Gives how many a second leave. `capacity`: of all servers together."""
        # The implicit step: n x + dt C x / (1 + x) = Q + dt lambda, solved for x = Q / n.
        total = self.number + seconds * arriving
        b = servers + seconds * capacity - total
        x = (-b + math.sqrt(b * b + 4 * servers * total)) / (2 * servers)
        before, self.number = self.number, servers * x
        return max(0.0, arriving + (before - self.number) / seconds)


class TableCapacity(Protocol):
    """Units of a table over time: `Provisioned` or `OnDemand`."""

    @property
    def units(self) -> float:
        """What there is."""

    def take(self, now: float, seconds: float, asked: float) -> float:
        """What is given."""


class Table:
    """A table: what is too much for it is throttled at once."""

    def __init__(
        self, capacity: TableCapacity, *, units_per_request: float, milliseconds: float
    ) -> None:
        self._capacity = capacity
        self._units = units_per_request
        self._seconds = milliseconds / 1000

    @property
    def capacity(self) -> float:
        return self._capacity.units / self._units

    @property
    def tasks(self) -> int | None:
        return None

    def step(
        self, now: float, seconds: float, asked: float, *, callers: int, guards: Guards
    ) -> Answer:
        given = self._capacity.take(now, seconds, asked * self._units) / self._units
        return Answer(in_time=given, throttled=max(0.0, asked - given), wait_seconds=self._seconds)


class Service:
    """Another service that is called and waited for. It works off what it was asked in its order,
    also what nobody waits for any more, up to its own deadline."""

    def __init__(
        self,
        tasks: Tasks,
        *,
        vcpus_per_task: float,
        cpu_seconds: float,
        deadline_seconds: float = 5.0,
    ) -> None:
        self._tasks = tasks
        self._per_task = vcpus_per_task / cpu_seconds
        self._deadline = deadline_seconds
        self._queue = Queue()

    @property
    def capacity(self) -> float:
        return self._tasks.running * self._per_task

    @property
    def tasks(self) -> int | None:
        return self._tasks.running

    def step(
        self, now: float, seconds: float, asked: float, *, callers: int, guards: Guards
    ) -> Answer:
        capacity, refused = self.capacity, 0.0
        admitted = asked
        if guards.calls_at_once is not None:
            # Each call holds a slot until it is answered or its attempt's time is over.
            held = min(
                guards.attempt_seconds, max(self._queue.number / capacity, 1 / self._per_task)
            )
            admitted = min(asked, callers * guards.calls_at_once / held)
            refused = asked - admitted
        answered = self._queue.step(
            seconds, admitted, servers=self._tasks.running, capacity=capacity
        )
        most = capacity * self._deadline
        given_up = max(0.0, self._queue.number - most) / seconds
        self._queue.number = min(self._queue.number, most)
        wait = self._queue.number / capacity
        limit = guards.attempt_seconds
        # Waits differ by a tenth: there is no one moment at which all are late.
        late_share = min(1.0, max(0.0, (wait - 0.9 * limit) / (0.2 * limit)))
        # It sees what reaches it, and not what its callers' circuits keep back.
        self._tasks.step(now, seconds, admitted / self._per_task)
        return Answer(
            in_time=answered * (1 - late_share),
            late=answered * late_share + given_up,
            refused=refused,
            late_share=late_share,
            wait_seconds=wait,
        )


@dataclass(frozen=True)
class Moment:
    """One step, in requests a second."""

    at: float
    offered: float
    served: float
    refused: float
    failed: float
    caller_capacity: float
    dependency_capacity: float
    caller_tasks: int
    dependency_tasks: int | None
    closed: float
    wait_seconds: float
    lag_seconds: float = 0.0


@dataclass(frozen=True)
class Course:
    """How it went."""

    name: str
    spike: Spike
    moments: tuple[Moment, ...] = field(repr=False)

    def _during(self) -> list[Moment]:
        begin, end = self.spike.begins, self.spike.begins + self.spike.lasts
        return [moment for moment in self.moments if begin <= moment.at < end]

    def share(self, what: Callable[[Moment], float]) -> float:
        """Of all requests during the spike."""
        during = self._during()
        offered = sum(moment.offered for moment in during)
        return sum(map(what, during)) / offered if offered else 0.0

    @property
    def served(self) -> float:
        """The share that was answered."""
        return self.share(lambda moment: moment.served)

    @property
    def refused(self) -> float:
        """The share that was told at once to come again."""
        return self.share(lambda moment: moment.refused)

    @property
    def failed(self) -> float:
        """The share that waited in vain."""
        return self.share(lambda moment: moment.failed)

    @property
    def recovered_after(self) -> float | None:
        """Seconds until at least 99 % are served, and stay served; None: not within the spike."""
        last = None
        for moment in self._during():
            if moment.served < 0.99 * moment.offered:
                last = moment.at
        if last is None:
            return 0.0
        end = self.spike.begins + self.spike.lasts
        after = last + STEP_SECONDS - self.spike.begins
        return None if last + STEP_SECONDS >= end - 60 else after

    @property
    def most_tasks(self) -> int:
        """Of the caller."""
        return max(moment.caller_tasks for moment in self.moments)

    @property
    def most_dependency_tasks(self) -> int | None:
        """Of the dependency."""
        counts = [m.dependency_tasks for m in self.moments if m.dependency_tasks is not None]
        return max(counts) if counts else None

    @property
    def longest_wait(self) -> float:
        """Seconds."""
        return max(moment.wait_seconds for moment in self.moments)

    @property
    def longest_lag(self) -> float:
        """Seconds that an event was late."""
        return max(moment.lag_seconds for moment in self.moments)


def opening_rate(calls_per_second: float, failing: float, in_a_row: int) -> float:
    """How often a circuit opens that so many failures in a row open, where each call fails with a
    probability: one over the mean time to such a run."""
    if failing <= 0 or calls_per_second <= 0:
        return 0.0
    if failing >= 1:
        return calls_per_second / in_a_row
    run = failing**in_a_row
    return calls_per_second * (1 - failing) * run / (1 - run)


def simulate(
    name: str, spike: Spike, caller: Caller, dependency: Dependency, guards: Guards
) -> Course:
    """The spike meets the caller, and what the caller lets through its dependency."""
    tasks = Tasks(caller.policy, caller.tasks)
    queue, moments = Queue(), list[Moment]()
    closed, refusing, failing = 1.0, 0.0, 0.0
    now = 0.0
    while now < spike.seconds:
        offered = spike.rate(now)
        cost = (1 - refusing) * caller.cpu_seconds + refusing * caller.refusal_cpu_seconds
        cores = tasks.running * caller.vcpus_per_task
        capacity = cores / cost
        through = queue.step(STEP_SECONDS, offered, servers=tasks.running, capacity=capacity)
        late = 0.0
        most = capacity * guards.deadline_seconds
        if queue.number > most:
            late = (queue.number - most) / STEP_SECONDS
            queue.number = most
            # Whom there was no time for has cost something as well.
            through = max(0.0, through - late * caller.refusal_cpu_seconds / cost)
        wait = queue.number / through if through else 0.0

        let_through = through * closed
        again = _retries(guards, failing)
        answer = dependency.step(
            now, STEP_SECONDS, let_through * (1 + again), callers=tasks.running, guards=guards
        )
        asked = let_through * (1 + again)
        kept_back = answer.refused / (1 + again)
        tried = max(0.0, let_through - kept_back)
        served, failed = answer.of_requests(tried, 1 + again)
        failing = _failing(answer, asked)
        closed = _closed(closed, failing, asked, tasks.running, guards)
        refused = (through - let_through) + kept_back
        refusing = min(1.0, refused / through) if through else 0.0

        load = offered * caller.cpu_seconds / caller.vcpus_per_task
        if caller.signal == "cpu":
            load = min(float(tasks.running), through * cost / caller.vcpus_per_task)
        tasks.step(now, STEP_SECONDS, load)
        moments.append(
            Moment(
                at=now,
                offered=offered,
                served=served,
                refused=refused,
                failed=failed + late,
                caller_capacity=cores / caller.cpu_seconds,
                dependency_capacity=dependency.capacity,
                caller_tasks=tasks.running,
                dependency_tasks=dependency.tasks,
                closed=closed,
                wait_seconds=min(
                    guards.deadline_seconds, wait + min(answer.wait_seconds, guards.attempt_seconds)
                ),
            )
        )
        now += STEP_SECONDS
    return Course(name, spike, tuple(moments))


def simulate_events(
    name: str, spike: Spike, caller: Caller, consumers: Tasks, rate: float
) -> Course:
    """The caller answers by itself and leaves a message for who works it off later: `rate` messages
    a second of one consumer. Nobody waits for that; it is late."""
    tasks = Tasks(caller.policy, caller.tasks)
    queue, moments = Queue(), list[Moment]()
    waiting, now = 0.0, 0.0
    deadline = Guards().deadline_seconds
    while now < spike.seconds:
        offered = spike.rate(now)
        cores = tasks.running * caller.vcpus_per_task
        capacity = cores / caller.cpu_seconds
        served = queue.step(STEP_SECONDS, offered, servers=tasks.running, capacity=capacity)
        most, late = capacity * deadline, 0.0
        if queue.number > most:
            late, queue.number = (queue.number - most) / STEP_SECONDS, most
            served = max(0.0, served - late * caller.refusal_cpu_seconds / caller.cpu_seconds)
        tasks.step(now, STEP_SECONDS, offered * caller.cpu_seconds / caller.vcpus_per_task)
        can = consumers.running * rate
        waiting = max(0.0, waiting + (served - can) * STEP_SECONDS)
        # Scaled by what waits as well: it is to be worked off within the minute.
        consumers.step(now, STEP_SECONDS, (served + waiting / 60) / rate)
        moments.append(
            Moment(
                at=now,
                offered=offered,
                served=served,
                refused=0.0,
                failed=late,
                caller_capacity=capacity,
                dependency_capacity=can,
                caller_tasks=tasks.running,
                dependency_tasks=consumers.running,
                closed=1.0,
                wait_seconds=queue.number / served if served else 0.0,
                lag_seconds=waiting / can,
            )
        )
        now += STEP_SECONDS
    return Course(name, spike, tuple(moments))


def _retries(guards: Guards, failing: float) -> float:
    """Further attempts, of each first one."""
    wanted = sum(failing**attempt for attempt in range(1, guards.attempts))
    return wanted if guards.retry_budget is None else min(wanted, guards.retry_budget)


def _failing(answer: Answer, asked: float) -> float:
    """The share of calls that fails, as a circuit counts; what a bulkhead refuses counts not."""
    reached = asked - answer.refused
    if reached <= 0:
        return 0.0
    return min(1.0, answer.throttled / reached + answer.late_share)


def _closed(closed: float, failing: float, asked: float, processes: int, guards: Guards) -> float:
    """The share of processes whose circuit is closed, a step later."""
    if guards.failures_that_open is None:
        return 1.0
    per_process = asked / max(1e-9, closed * processes)
    opening = opening_rate(per_process, failing, guards.failures_that_open)
    closing = (1 - failing) / guards.open_seconds
    if opening + closing == 0:
        return closed
    # Exactly, for rates that stay during the step.
    there = closing / (opening + closing)
    return there + (closed - there) * math.exp(-(opening + closing) * STEP_SECONDS)
