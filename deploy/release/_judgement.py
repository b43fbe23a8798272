"""Whether a canary is as good as what it is to replace: decided from counts, and from nothing else.

Pure: no clock, nobody is called. What it is given are sums that somebody else counted, of the canary, of
the stable side at the same time, and of the stable side before there was a canary. Why these rules:
docs/adr/0115.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Period:
    """What one side answered within a period.

    Args:
        requests: how many it got.
        errors: how many of them ended with a status of 500 to 599.
        p99_ms: the 99th percentile of their latencies; None where none is known.
    """

    requests: int
    errors: int
    p99_ms: float | None = None


@dataclass(frozen=True)
class Side:
    """What one side answered, period by period; periods without a request may be missing."""

    periods: Sequence[Period] = ()

    @property
    def requests(self) -> int:
        return sum(one.requests for one in self.periods)

    @property
    def errors(self) -> int:
        return sum(min(one.errors, one.requests) for one in self.periods)

    @property
    def error_rate(self) -> float:
        """From 0 to 1; 0 without a request."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def p99_ms(self) -> float | None:
        """What the p99 of the periods of half of its requests does not exceed.

        Percentiles of periods can not be added up. The median of them, weighted by requests, is what most
        requests saw; one bad period does not move it, nor do many with few requests.
        """
        known = sorted(
            (one.p99_ms, one.requests)
            for one in self.periods
            if one.p99_ms is not None and one.requests
        )
        half = sum(requests for _, requests in known) / 2
        seen = 0
        for p99_ms, requests in known:
            seen += requests
            if seen >= half:
                return p99_ms
        return None

    @property
    def busy_periods(self) -> int:
        """Periods with requests of which the latency is known."""
        return sum(1 for one in self.periods if one.requests and one.p99_ms is not None)


@dataclass(frozen=True)
class Policy:
    """What a canary must keep to.

    Args:
        min_requests: fewer decide nothing good; and a side with fewer is no yardstick.
        error_margin: how much higher than the yardstick its error rate may be; 0.01 is a percentage point.
        slowdown: how many times the yardstick its p99 may be,
        slack_ms: and how much more than that: small latencies differ by nothing.
        doubt: a failure is called before the time is over where its errors would be this unlikely of a
            canary just within the margin.
        slow_periods: and slowness where it has lasted this many periods.
    """

    min_requests: int = 100
    error_margin: float = 0.01
    slowdown: float = 1.5
    slack_ms: float = 50.0
    doubt: float = 0.001
    slow_periods: int = 3


class Outcome(StrEnum):
    """Of watching a canary."""

    WATCHING = "watching"
    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    """The time is over, and there was too little to go by."""


@dataclass(frozen=True)
class Judgement:
    """What the counts mean, and why, in a line."""

    outcome: Outcome
    reason: str


def judge(
    policy: Policy, canary: Side, stable: Side, before: Side, *, time_is_over: bool
) -> Judgement:
    """What the counts mean.

    The yardstick is the better one of the stable side now and before the canary: if both sides got worse
    meanwhile, it is no time to go on either.
    """
    yardsticks = [side for side in (stable, before) if side.requests >= policy.min_requests]
    limit = min((side.error_rate for side in yardsticks), default=0.0) + policy.error_margin
    bound = _latency_bound(policy, yardsticks)
    too_slow = (
        bound is not None
        and canary.requests >= policy.min_requests
        and canary.p99_ms is not None
        and canary.p99_ms > bound
    )
    errors = (
        f"{canary.errors:,} of {canary.requests:,} requests failed ({_percent(canary.error_rate)}),"
        f" at most {_percent(limit)} may{_of_stable(stable, limit)}"
    )
    slow = f"p99 {_ms(canary.p99_ms)}, at most {_ms(bound)} may be{_slow_too(stable, bound)}"
    if _tail(canary.errors, canary.requests, limit) < policy.doubt:
        return Judgement(Outcome.FAILED, errors)
    if too_slow and (time_is_over or canary.busy_periods >= policy.slow_periods):
        return Judgement(Outcome.FAILED, f"{slow}; {canary.requests:,} requests")
    if not time_is_over:
        return Judgement(Outcome.WATCHING, _standing(canary, stable))
    if canary.requests < policy.min_requests:
        return Judgement(
            Outcome.UNDECIDED,
            f"only {canary.requests:,} requests, at least {policy.min_requests:,} are needed",
        )
    if canary.error_rate > limit:
        return Judgement(Outcome.FAILED, errors)
    if bound is None:
        slow = f"p99 {_ms(canary.p99_ms)}, with nothing to compare it with"
    return Judgement(Outcome.PASSED, f"{errors}; {slow}")


def _latency_bound(policy: Policy, yardsticks: Iterable[Side]) -> float | None:
    known = [side.p99_ms for side in yardsticks if side.p99_ms is not None]
    return min(known) * policy.slowdown + policy.slack_ms if known else None


def _tail(successes: int, trials: int, rate: float) -> float:
    """How likely a binomial variable is that many or more: exact, for counts of any size."""
    if successes <= 0 or rate >= 1:
        return 1.0
    if successes <= trials * rate:
        return 1.0  # more likely than any doubt that is asked about
    if rate <= 0:
        return 0.0
    # Beyond the mean each term is smaller than the one before: few of them count.
    term = math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(rate)
        + (trials - successes) * math.log1p(-rate)
    )
    total, odds = 0.0, rate / (1 - rate)
    for number in range(successes, trials + 1):
        total += term
        term *= (trials - number) / (number + 1) * odds
        if term <= total * 1e-12:
            break
    return min(total, 1.0)


def _standing(canary: Side, stable: Side) -> str:
    return "; ".join(
        f"{name} {side.requests:,} requests, {side.errors:,} failed, p99 {_ms(side.p99_ms)}"
        for name, side in (("canary", canary), ("stable", stable))
    )


def _of_stable(stable: Side, limit: float) -> str:
    if stable.requests and stable.error_rate > limit:
        return f"; of the stable side {_percent(stable.error_rate)} fail too"
    return ""


def _slow_too(stable: Side, bound: float | None) -> str:
    if bound is not None and stable.p99_ms is not None and stable.p99_ms > bound:
        return f"; the stable side has {_ms(stable.p99_ms)} too"
    return ""


def _percent(rate: float) -> str:
    return f"{rate * 100:.2f} %"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f} ms"
