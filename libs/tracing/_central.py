"""X-Ray's centralised sampling: rules and quotas out of answers, counts of what was decided.

Owns the rules that X-Ray holds for the account, what they are worth at a moment, and the reading
of X-Ray's answers, which it trusts in nothing. Must not know how the answers are had: `_poller`
asks for them.

https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sampling.html
"""

import math
import random as random_module
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.tracing._reservoir import LARGEST_RESERVOIR, Reservoir
from libs.tracing._sampling import RuleTable, SamplingDecision, SamplingRule

# What AWS's SDKs do: rules that could not be refreshed for an hour are given up.
RULES_LIVE_SECONDS: Final = 3_600.0
REPORT_SECONDS: Final = 10.0
MOST_RULES: Final = 500
_LOWEST_PRIORITY: Final = 10_000  # of the rule named Default
_LONGEST_INTERVAL: Final = 300.0
_LONGEST_QUOTA_SECONDS: Final = 3_600.0
_LONGEST_TEXT: Final = 256


class AnswerError(Exception):
    """An answer that is not what X-Ray's API describes; the text quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class RulesPage:
    """One page of GetSamplingRules: the rules of it that we can follow, and the next page's token."""

    rules: tuple[SamplingRule, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """What X-Ray assigns to a rule here. quota_ends: seconds since 1970. None: as before."""

    rule: str
    fixed_rate: float
    quota: int | None
    quota_ends: float | None
    interval: float | None


@dataclass(frozen=True, slots=True)
class Targets:
    """An answer of GetSamplingTargets; `refused` are rules whose counts it did not take."""

    targets: tuple[Target, ...]
    rules_modified: float
    refused: frozenset[str]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was decided by a rule since the last report; borrowed ones are among the sampled."""

    rule: str
    requests: int
    sampled: int
    borrowed: int


class CentralRule:
    """A rule of X-Ray's at work, with this process's part of its reservoir."""

    __slots__ = (
        "_borrow",
        "_quota",
        "_quota_ends",
        "borrowed",
        "fixed_rate",
        "report_at",
        "requests",
        "rule",
        "sampled",
        "refused_decision",
        "taken_decision",
    )

    def __init__(self, rule: SamplingRule, *, report_at: float) -> None:
        self.rule = rule
        self.fixed_rate = rule.fixed_rate
        self.report_at = report_at
        self.requests = self.sampled = self.borrowed = 0
        self._quota = Reservoir(0)
        self._quota_ends = -math.inf
        # Without a quota each process may take one request a second, so that a rule with a
        # reservoir is seen at all.
        self._borrow = Reservoir(1)
        self.taken_decision = SamplingDecision(sampled=True, rule=rule.name)
        self.refused_decision = SamplingDecision(sampled=False, rule=rule.name)

    def decide(self, now: float, random: random_module.Random) -> SamplingDecision:
        self.requests += 1
        if now < self._quota_ends:
            if self._quota.take(now):
                self.sampled += 1
                return self.taken_decision
        elif self.rule.reservoir_size and self._borrow.take(now):
            self.sampled += 1
            self.borrowed += 1
            return self.taken_decision
        rate = self.fixed_rate
        if rate > 0 and random.random() < rate:
            self.sampled += 1
            return self.taken_decision
        return self.refused_decision

    def assign(self, target: Target, *, now: float, seconds_left: float | None) -> None:
        """Take what X-Ray assigns; what it leaves out stays as it was."""
        self.fixed_rate = target.fixed_rate
        if target.quota is not None:
            self._quota.resize(target.quota)
        if seconds_left is not None:
            self._quota_ends = now + seconds_left
        self.report_at = now + (REPORT_SECONDS if target.interval is None else target.interval)

    def reported(self, statistics: Statistics) -> None:
        """What was counted while the report was under way stays for the next one."""
        self.requests -= statistics.requests
        self.sampled -= statistics.sampled
        self.borrowed -= statistics.borrowed

    def continues(self, former: "CentralRule") -> None:
        """Go on where the rule of the same name was before the rules were read again."""
        self.requests, self.sampled = former.requests, former.sampled
        self.borrowed, self.report_at = former.borrowed, former.report_at
        self._quota, self._quota_ends = former._quota, former._quota_ends
        self._borrow = former._borrow
        if self.rule.fixed_rate == former.rule.fixed_rate:
            self.fixed_rate = former.fixed_rate


class CentralRules:
    """The sampler of X-Ray's rules, which leaves the decision to others while it has none.

    service: the name that the rules' ServiceName is matched against.
    monotonic: seconds, for reservoirs and ages. clock: seconds since 1970, as X-Ray counts.
    """

    def __init__(
        self,
        *,
        service: str,
        random: random_module.Random | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._random = random or random_module.Random()  # noqa: S311 - chance, no secrets
        self._clock = clock
        self._monotonic = monotonic
        self._rules: dict[str, CentralRule] = {}
        self._table: RuleTable[CentralRule] = RuleTable([], service)
        self._end = -math.inf

    @property
    def in_force(self) -> bool:
        """Whether there are rules that are not too old."""
        return self._monotonic() < self._end

    def decide(
        self, *, method: str | None, route: str | None, host: str | None
    ) -> SamplingDecision | None:
        now = self._monotonic()
        if now >= self._end:
            return None
        found = self._table.find(method, route, host)
        return None if found is None else found.decide(now, self._random)

    def load_rules(self, rules: Sequence[SamplingRule]) -> None:
        """Go by these from now on, with the counts and quotas of those that stay."""
        now = self._monotonic()
        loaded = []
        for rule in sorted(rules, key=lambda rule: (rule.priority, rule.name)):
            active = CentralRule(rule, report_at=now + REPORT_SECONDS)
            former = self._rules.get(rule.name)
            if former is not None:
                active.continues(former)
            loaded.append(active)
        self._rules = {active.rule.name: active for active in loaded}
        self._table = RuleTable(loaded, self._service)
        self._end = now + RULES_LIVE_SECONDS

    def due(self) -> tuple[Statistics, ...]:
        """The counts of the rules whose turn it is to be reported; rules never used are not."""
        now = self._monotonic()
        return tuple(
            Statistics(name, active.requests, active.sampled, active.borrowed)
            for name, active in self._rules.items()
            if active.requests > 0 and now >= active.report_at
        )

    def next_report(self) -> float:
        """When, by the monotonic clock, the next of the rules is to be reported."""
        return min((active.report_at for active in self._rules.values()), default=math.inf)

    def load_targets(self, reported: Sequence[Statistics], answer: Targets) -> None:
        """Take what X-Ray answered to a report."""
        now, wall = self._monotonic(), self._clock()
        for statistics in reported:
            active = self._rules.get(statistics.rule)
            if active is not None and statistics.rule not in answer.refused:
                active.reported(statistics)
                active.report_at = now + REPORT_SECONDS
        for target in answer.targets:
            active = self._rules.get(target.rule)
            if active is not None:
                left = None if target.quota_ends is None else target.quota_ends - wall
                if left is not None:
                    left = min(left, _LONGEST_QUOTA_SECONDS)
                active.assign(target, now=now, seconds_left=left)


def read_rules_page(document: object) -> RulesPage:
    """An answer of GetSamplingRules. Raises AnswerError.

    Rules that AWS's SDKs do not follow either are left out: of another version than 1, for one
    resource, or with attributes.
    """
    answer = _object(document, "the answer")
    records = answer.get("SamplingRuleRecords")
    if not isinstance(records, list) or len(records) > MOST_RULES:
        raise AnswerError(f"SamplingRuleRecords must be an array of at most {MOST_RULES}")
    rules = []
    for record in records:
        fields = _object(_object(record, "a record").get("SamplingRule"), "SamplingRule")
        if (
            fields.get("Version") == 1
            and fields.get("ResourceARN", "*") == "*"
            and not fields.get("Attributes")
        ):
            rules.append(_rule(fields))
    token = answer.get("NextToken")
    return RulesPage(tuple(rules), _text(answer, "NextToken", longest=8_192) if token else None)


def read_targets(document: object) -> Targets:
    """An answer of GetSamplingTargets. Raises AnswerError."""
    answer = _object(document, "the answer")
    return Targets(
        targets=tuple(
            Target(
                rule=_text(fields, "RuleName"),
                fixed_rate=_number(fields, "FixedRate", 1.0),
                quota=_optional_count(fields, "ReservoirQuota"),
                quota_ends=_optional_number(fields, "ReservoirQuotaTTL"),
                interval=_interval(fields),
            )
            for fields in _objects(answer, "SamplingTargetDocuments")
        ),
        rules_modified=_optional_number(answer, "LastRuleModification") or 0.0,
        refused=frozenset(
            _text(fields, "RuleName") for fields in _objects(answer, "UnprocessedStatistics")
        ),
    )


def _rule(fields: Mapping[str, object]) -> SamplingRule:
    return SamplingRule(
        name=_text(fields, "RuleName"),
        fixed_rate=_number(fields, "FixedRate", 1.0),
        reservoir_size=_count(fields, "ReservoirSize", LARGEST_RESERVOIR),
        priority=_count(fields, "Priority", _LOWEST_PRIORITY),
        service_name=_text(fields, "ServiceName"),
        http_method=_text(fields, "HTTPMethod"),
        url_path=_text(fields, "URLPath"),
        host=_text(fields, "Host"),
    )


def _object(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise AnswerError(f"{name} must be an object")
    return value


def _objects(answer: Mapping[str, object], name: str) -> Iterator[Mapping[str, object]]:
    found = answer.get(name)
    if found is None:
        return
    if not isinstance(found, list) or len(found) > MOST_RULES:
        raise AnswerError(f"{name} must be an array of at most {MOST_RULES}")
    for entry in found:
        yield _object(entry, f"an entry of {name}")


def _text(fields: Mapping[str, object], name: str, *, longest: int = _LONGEST_TEXT) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise AnswerError(f"{name} must be a string of 1 to {longest} characters")
    return value


def _number(fields: Mapping[str, object], name: str, highest: float) -> float:
    value = fields.get(name)
    # bool is an int, and no number of JSON. NaN is not between anything.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
        raise AnswerError(f"{name} must be a number between 0 and {highest:g}")
    return float(value)


def _count(fields: Mapping[str, object], name: str, highest: int) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise AnswerError(f"{name} must be a whole number, not below 0")
    return min(value, highest)


def _optional_count(fields: Mapping[str, object], name: str) -> int | None:
    return None if fields.get(name) is None else _count(fields, name, LARGEST_RESERVOIR)


def _optional_number(fields: Mapping[str, object], name: str) -> float | None:
    # Seconds since 1970, up to the year 9999.
    return None if fields.get(name) is None else _number(fields, name, 253_402_300_799.0)


def _interval(fields: Mapping[str, object]) -> float | None:
    seconds = _optional_count(fields, "Interval")
    # At least a second: an answer must not make us ask without pause.
    return None if seconds is None else float(min(max(seconds, 1), int(_LONGEST_INTERVAL)))
