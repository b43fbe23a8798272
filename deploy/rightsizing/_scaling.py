"""How capacity follows load: target tracking of tasks, and DynamoDB's two capacity modes, over time.

Owns the delays. Time is passed in, nothing is random: the same load gives the same capacity.

- Target tracking of an ECS service: metrics of a minute; three of them above the target start a
  scale-out; new tasks serve when they have been launched; fifteen below it start a scale-in.
  https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
- Provisioned capacity: two minutes above the target, then an alarm that may be late and an update that
  takes minutes; what is throttled meanwhile is not consumed, so each step sees at most what there is. Up
  to five minutes of what was not used can be used in a burst.
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/burst-adaptive-capacity.html
- On demand: at once up to twice the peak of before, at least 4,000 writes or 12,000 reads a second; more
  than that within 30 minutes may be throttled, and is here.
  https://repost.aws/knowledge-center/on-demand-table-throttling-dynamodb
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PERIOD_SECONDS = 60.0
DATAPOINTS_OUT = 3
DATAPOINTS_IN = 15
BURST_SECONDS = 300.0
TABLE_DATAPOINTS = 2
ON_DEMAND_PEAK_SECONDS = 1800.0
ON_DEMAND_WRITES = 4_000.0
ON_DEMAND_READS = 12_000.0


@dataclass(frozen=True)
class TaskPolicy:
    """A target tracking policy. `target`: the metric's, as a share of what a task can do.
    `slowness` stretches every delay."""

    minimum: int
    maximum: int
    target: float
    launch_seconds: float
    cooldown_seconds: float = 60.0
    launches_per_minute: float = 500.0
    slowness: float = 1.0


class Tasks:
    """The tasks of a service, as its policy and the load of the last minutes have them."""

    def __init__(self, policy: TaskPolicy, count: int) -> None:
        self._policy = policy
        self.running = max(policy.minimum, min(policy.maximum, count))
        self._coming: list[tuple[float, int]] = []
        self._minutes: list[float] = []
        self._sum = self._seconds = 0.0
        self._cooled_at = 0.0

    @property
    def desired(self) -> int:
        """Those that run and those that were launched."""
        return self.running + sum(count for _, count in self._coming)

    def step(self, now: float, seconds: float, load: float) -> None:
        """So much time passes, with a load of so many tasks' whole work, as the metric shows it: what
        is counted by request knows no bound, a CPU is never busier than always."""
        self.running += sum(count for at, count in self._coming if at <= now)
        self._coming = [(at, count) for at, count in self._coming if at > now]
        self._sum += load * seconds
        self._seconds += seconds
        if self._seconds + 1e-9 >= PERIOD_SECONDS * self._policy.slowness:
            self._minutes.append(self._sum / self._seconds)
            self._sum = self._seconds = 0.0
            self._decide(now)

    def _decide(self, now: float) -> None:
        policy = self._policy
        last = self._minutes[-DATAPOINTS_OUT:]
        if len(last) == DATAPOINTS_OUT and min(last) > policy.target * self.desired:
            if now < self._cooled_at:
                return
            wanted = math.ceil(round(last[-1] / policy.target, 9))
            at_most = self.desired + int(policy.launches_per_minute)
            more = min(policy.maximum, wanted, at_most) - self.desired
            if more > 0:
                self._coming.append((now + policy.launch_seconds * policy.slowness, more))
                self._cooled_at = now + policy.cooldown_seconds * policy.slowness
            return
        quiet = self._minutes[-DATAPOINTS_IN:]
        low = 0.9 * policy.target * self.running
        if len(quiet) == DATAPOINTS_IN and max(quiet) < low and not self._coming:
            wanted = math.ceil(round(max(quiet) / policy.target, 9))
            self.running = max(policy.minimum, min(self.running, wanted))
            self._minutes.clear()


class Provisioned:
    """Provisioned capacity of a table that autoscaling follows the load with."""

    def __init__(
        self, units: float, *, target: float, scaling_seconds: float, maximum: float
    ) -> None:
        """`scaling_seconds`: from the first minute above the target to the new capacity."""
        self.units = units
        self._target = target
        self._delay = max(0.0, scaling_seconds - TABLE_DATAPOINTS * PERIOD_SECONDS)
        self._maximum = maximum
        self._saved = BURST_SECONDS * units * (1 - target)
        self._minutes: list[float] = []
        self._sum = self._seconds = 0.0
        self._coming: tuple[float, float] | None = None

    def take(self, now: float, seconds: float, asked: float) -> float:
        """Of so many units a second that are asked for, how many are given."""
        if self._coming is not None and self._coming[0] <= now:
            self.units, self._coming = self._coming[1], None
            self._minutes.clear()
        given = min(asked, self.units + self._saved / seconds)
        self._saved = min(
            BURST_SECONDS * self.units, max(0.0, self._saved + (self.units - given) * seconds)
        )
        self._sum += given * seconds
        self._seconds += seconds
        if self._seconds + 1e-9 >= PERIOD_SECONDS:
            self._minutes.append(self._sum / self._seconds)
            self._sum = self._seconds = 0.0
            last = self._minutes[-TABLE_DATAPOINTS:]
            above = len(last) == TABLE_DATAPOINTS and min(last) > self.units * self._target
            if above and self._coming is None:
                wanted = min(self._maximum, last[-1] / self._target)
                if wanted > self.units:
                    self._coming = (now + self._delay, wanted)
        return given


class OnDemand:
    """Capacity on demand, at the bound up to which AWS promises it."""

    def __init__(self, peak: float, *, least: float) -> None:
        """`peak`: of before, in units a second; `least`: what any table has."""
        self._history: list[tuple[float, float]] = [(-ON_DEMAND_PEAK_SECONDS, peak)]
        self._least = least

    @property
    def units(self) -> float:
        """What there is now."""
        return max(self._least, 2 * self._history[0][1])

    def take(self, now: float, seconds: float, asked: float) -> float:
        """As `Provisioned.take`."""
        # A peak counts once half an hour has passed since it was reached.
        while len(self._history) > 1 and self._history[1][0] + ON_DEMAND_PEAK_SECONDS <= now:
            self._history.pop(0)
        given = min(asked, self.units)
        if given > self._history[-1][1]:
            self._history.append((now, given))
        return given
