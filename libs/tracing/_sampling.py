"""Which requests are traced, decided here and now: no daemon is asked, no thread polls."""

import random
from dataclasses import dataclass, field
from typing import Final

HEALTH_ROUTES: Final = frozenset({"/healthz", "/readyz"})


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """A fixed rate for a route template, for one method or (`"*"`) for all."""

    route: str
    rate: float
    method: str = "*"


@dataclass(frozen=True, slots=True)
class SamplingRules:
    """The first rule that fits gives the rate, else `default_rate`; a rate is a share, 0 to 1.

    A caller's decision goes before the rules. Routes in `never_sampled` are not traced at all,
    whatever the caller says: health checks would drown the traces that matter.

    Raises ValueError that names every rate out of range.
    """

    default_rate: float = 0.05
    rules: tuple[SamplingRule, ...] = ()
    never_sampled: frozenset[str] = field(default=HEALTH_ROUTES)

    def __post_init__(self) -> None:
        rates = [("default_rate", self.default_rate)]
        rates += [(f"rate of {rule.method} {rule.route}", rule.rate) for rule in self.rules]
        problems = [
            f"{name} must be between 0 and 1, not {rate!r}"
            for name, rate in rates
            if not 0 <= rate <= 1
        ]
        if problems:
            raise ValueError("; ".join(problems))

    def sample(
        self, *, method: str | None, route: str | None, decided: bool | None, source: random.Random
    ) -> bool:
        """Whether to trace a request.

        method, route: as the attributes `http.request.method` and `http.route` name them.
        decided: the caller's decision, None where it made none.
        """
        if route in self.never_sampled:
            return False
        if decided is not None:
            return decided
        rate = self._rate(method, route)
        # random() is below 1, so a rate of 1 takes all and a rate of 0 none.
        return source.random() < rate

    def _rate(self, method: str | None, route: str | None) -> float:
        for rule in self.rules:
            if rule.route == route and rule.method in ("*", method):
                return rule.rate
        return self.default_rate
