"""Which requests are traced: rules as X-Ray has them, decided here and now.

Owns what a rule is, how it matches and how it decides, and the rules of the configuration. Must
not know where other rules come from: `_central` fetches those, in the background.
"""

import random as random_module
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from libs.tracing._reservoir import LARGEST_RESERVOIR, Reservoir
from libs.tracing._wildcards import matches

HEALTH_ROUTES: Final = frozenset({"/healthz", "/readyz"})

# The limits of X-Ray's CreateSamplingRule:
# https://docs.aws.amazon.com/xray/latest/api/API_SamplingRule.html
_LONGEST_NAME: Final = 32
_LONGEST_SERVICE: Final = 64
_LONGEST_HOST: Final = 64
_LONGEST_METHOD: Final = 10
_LONGEST_PATH: Final = 128
_LOWEST_PRIORITY: Final = 9_999
_MOST_RULES: Final = 100
# Routes and methods are few, unless somebody makes rules match on what callers choose freely.
_MOST_REMEMBERED: Final = 512
# The longest name of DNS, and a port.
_LONGEST_REQUEST_HOST: Final = 260


class SamplingDecision(NamedTuple):
    """Whether a request is traced, and the rule that said so."""

    sampled: bool
    rule: str


class Sampler(Protocol):
    """Decides for requests about which their callers have not decided."""

    def decide(
        self, *, method: str | None, route: str | None, host: str | None
    ) -> SamplingDecision | None:
        """The decision, or None to leave it to others. Waits for nothing."""


class InvalidSamplingRulesError(ValueError):
    """Every problem of a set of rules; `str()` gives one problem a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """A rule with X-Ray's fields: `reservoir_size` requests a second, and of the others a share.

    priority: 1 to 9999, the lowest goes first; rules of one priority by their names.
    service_name, http_method, url_path, host: patterns with `*` and `?`, in either case. The
    path is the route's template (`/courses/{courseId}`), never the path of a request.
    """

    name: str
    fixed_rate: float
    reservoir_size: int = 0
    priority: int = 1_000
    service_name: str = "*"
    http_method: str = "*"
    url_path: str = "*"
    host: str = "*"

    def problems(self) -> list[str]:
        """What is wrong with it, in the words of X-Ray's fields."""
        found = []
        if not 0 <= self.fixed_rate <= 1:
            found.append("FixedRate must be between 0 and 1")
        if not 0 <= self.reservoir_size <= LARGEST_RESERVOIR:
            found.append(f"ReservoirSize must be between 0 and {LARGEST_RESERVOIR}")
        if not 1 <= self.priority <= _LOWEST_PRIORITY:
            found.append(f"Priority must be between 1 and {_LOWEST_PRIORITY}")
        for label, text, longest in (
            ("RuleName", self.name, _LONGEST_NAME),
            ("ServiceName", self.service_name, _LONGEST_SERVICE),
            ("HTTPMethod", self.http_method, _LONGEST_METHOD),
            ("URLPath", self.url_path, _LONGEST_PATH),
            ("Host", self.host, _LONGEST_HOST),
        ):
            if not 1 <= len(text) <= longest:
                found.append(f"{label} must have 1 to {longest} characters")
        return found


@dataclass(frozen=True, slots=True)
class SamplingRules:
    """The rules of a configuration; a request that none of them fits is traced by `default_rate`.

    A caller's decision goes before the rules. Routes in `never_sampled` are not traced at all,
    whatever the caller says: health checks would drown the traces that matter.

    Raises InvalidSamplingRulesError, a ValueError that names every problem.
    """

    default_rate: float = 0.05
    rules: tuple[SamplingRule, ...] = ()
    never_sampled: frozenset[str] = field(default=HEALTH_ROUTES)

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.default_rate <= 1:
            problems.append(f"default_rate must be between 0 and 1, not {self.default_rate!r}")
        for rule in self.rules:
            problems += [f"rule {rule.name}: {problem}" for problem in rule.problems()]
        names = [rule.name for rule in self.rules]
        problems += [
            f"rule {name}: RuleName must not be there twice"
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        if len(self.rules) > _MOST_RULES:
            problems.append(f"there must not be more than {_MOST_RULES} rules")
        if problems:
            raise InvalidSamplingRulesError(problems)


def parse_sampling_rules(document: object) -> tuple[SamplingRule, ...]:
    """Rules out of a JSON array of objects with the fields of X-Ray's CreateSamplingRule.

    `RuleName`, `Priority` and `FixedRate` are required; `ReservoirSize` is 0 where it is missing,
    `ServiceName`, `HTTPMethod`, `URLPath` and `Host` are `*`.

    Raises InvalidSamplingRulesError with every problem.
    """
    if not isinstance(document, list):
        raise InvalidSamplingRulesError(["the document must be an array of rules"])
    rules: list[SamplingRule] = []
    problems: list[str] = []
    for number, entry in enumerate(document[: _MOST_RULES + 1], start=1):
        where = f"rule {number}"
        if not isinstance(entry, dict):
            problems.append(f"{where} must be an object")
            continue
        wrong = _shape_problems(entry)
        if wrong:
            problems += [f"{where}: {problem}" for problem in wrong]
            continue
        rules.append(SamplingRule(**{_FIELDS[name][0]: value for name, value in entry.items()}))
    try:
        SamplingRules(rules=tuple(rules))
    except InvalidSamplingRulesError as error:
        problems += error.problems
    if problems:
        raise InvalidSamplingRulesError(problems)
    return tuple(rules)


class HasRule(Protocol):
    """What a `RuleTable` holds."""

    @property
    def rule(self) -> SamplingRule:
        """The rule whose patterns are matched."""
        ...


_Active = TypeVar("_Active", bound=HasRule)


class RuleTable(Generic[_Active]):
    """Rules in the order in which they are tried, and which of them fits a request.

    What a request does not have, such as the method of a message, only `*` fits.
    """

    def __init__(self, rules: Sequence[_Active], service: str) -> None:
        self._rules = [active for active in rules if matches(active.rule.service_name, service)]
        self._candidates: dict[tuple[str | None, str | None], tuple[_Active, ...]] = {}

    def find(self, method: str | None, route: str | None, host: str | None) -> _Active | None:
        """The first rule that fits."""
        candidates = self._candidates.get((method, route))
        if candidates is None:
            candidates = self._match(method, route)
        for active in candidates:
            pattern = active.rule.host
            if pattern == "*" or matches(pattern, (host or "")[:_LONGEST_REQUEST_HOST]):
                return active
        return None

    def _match(self, method: str | None, route: str | None) -> tuple[_Active, ...]:
        found: list[_Active] = []
        for active in self._rules:
            rule = active.rule
            if matches(rule.http_method, method or "") and matches(rule.url_path, route or ""):
                found.append(active)
                if rule.host == "*":
                    break
        candidates = tuple(found)
        if len(self._candidates) < _MOST_REMEMBERED:
            self._candidates[method, route] = candidates
        return candidates


class ActiveRule:
    """A rule at work: its reservoir, and the two decisions that it can take."""

    __slots__ = ("fixed_rate", "refused", "reservoir", "rule", "taken")

    def __init__(self, rule: SamplingRule) -> None:
        self.rule = rule
        self.fixed_rate = rule.fixed_rate
        self.reservoir: Reservoir | None = (
            Reservoir(rule.reservoir_size) if rule.reservoir_size else None
        )
        self.taken = SamplingDecision(sampled=True, rule=rule.name)
        self.refused = SamplingDecision(sampled=False, rule=rule.name)


class LocalSampler:
    """Decides every request by the rules of the configuration.

    service: the name that `service_name` is matched against.
    monotonic: seconds, for the reservoirs.
    """

    def __init__(
        self,
        rules: SamplingRules,
        *,
        service: str,
        random: random_module.Random,
        monotonic: Callable[[], float],
    ) -> None:
        self._random = random
        self._monotonic = monotonic
        by_priority = sorted(rules.rules, key=lambda rule: (rule.priority, rule.name))
        default = SamplingRule("Default", rules.default_rate)
        self._table = RuleTable([ActiveRule(rule) for rule in [*by_priority, default]], service)

    def decide(
        self, *, method: str | None, route: str | None, host: str | None
    ) -> SamplingDecision:
        active = self._table.find(method, route, host)
        assert active is not None, "the default rule fits everything"
        reservoir = active.reservoir
        if reservoir is not None and reservoir.take(self._monotonic()):
            return active.taken
        rate = active.fixed_rate
        # random() is below 1, so a rate of 1 takes all and a rate of 0 none.
        return active.taken if rate > 0 and self._random.random() < rate else active.refused


# The field of X-Ray, ours, its types in JSON, how they are called, and whether it must be there.
_FIELDS: Final[Mapping[str, tuple[str, tuple[type, ...], str, bool]]] = {
    "RuleName": ("name", (str,), "a string", True),
    "Priority": ("priority", (int,), "a whole number", True),
    "FixedRate": ("fixed_rate", (int, float), "a number", True),
    "ReservoirSize": ("reservoir_size", (int,), "a whole number", False),
    "ServiceName": ("service_name", (str,), "a string", False),
    "HTTPMethod": ("http_method", (str,), "a string", False),
    "URLPath": ("url_path", (str,), "a string", False),
    "Host": ("host", (str,), "a string", False),
}


def _shape_problems(entry: Mapping[str, object]) -> list[str]:
    problems = [
        f"{name} is missing"
        for name, (_, _, _, required) in _FIELDS.items()
        if required and name not in entry
    ]
    for name, value in entry.items():
        if name not in _FIELDS:
            # Not the name itself: it may be a secret in the wrong place.
            problems.append(f"only {', '.join(_FIELDS)} are known")
        # bool is an int, and no number of JSON.
        elif isinstance(value, bool) or not isinstance(value, _FIELDS[name][1]):
            problems.append(f"{name} must be {_FIELDS[name][2]}")
    return list(dict.fromkeys(problems))
