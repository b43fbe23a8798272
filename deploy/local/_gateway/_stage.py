"""A service's stage: its variables, and the canary that overrides them for a share of the requests.

As API Gateway has it: the integration leads to what the stage's variable `target` names. Knows no file
and no API; whether a request is the canary's is drawn anew for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass

TARGET = "target"
"""The variable that the integration leads to: host and port."""

Address = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}$")]

_CONFIG = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, config=_CONFIG)
class Canary:
    """The canary of a stage: its share of the requests, and which variables are others for these."""

    percentTraffic: Annotated[float, Field(ge=0, le=100)]  # noqa: N815 - AWS's name
    stageVariableOverrides: dict[str, Address]  # noqa: N815 - AWS's name


@dataclass(frozen=True, config=_CONFIG)
class Stage:
    """A stage. Names and meaning of the fields are those of API Gateway's Stage."""

    variables: dict[str, Address]
    canarySettings: Canary | None = None  # noqa: N815 - AWS's name

    def __post_init__(self) -> None:
        if TARGET not in self.variables:
            raise ValueError(f"the stage has no variable `{TARGET}`")

    @classmethod
    def leading_to(cls, address: str, *, canary: tuple[float, str] | None = None) -> Stage:
        """A stage that leads to an address, and its canary (a percentage) to another."""
        settings = Canary(canary[0], {TARGET: canary[1]}) if canary else None
        return cls({TARGET: address}, settings)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Stage:
        """From an answer of GetStage. Raises ValueError."""
        canary = answer.get("canarySettings")
        return cls(
            answer.get("variables") or {},
            Canary(canary.get("percentTraffic", 0), canary.get("stageVariableOverrides") or {})
            if canary
            else None,
        )

    def draw(self, random: Random) -> bool:
        """Whether the next request is the canary's."""
        # One draw a request, whatever the share: a seed gives the same sequence at each percentage.
        drawn = random.random() * 100
        return self.canarySettings is not None and drawn < self.canarySettings.percentTraffic

    def target(self, *, canary: bool) -> str:
        """Where a request goes."""
        overrides = self.canarySettings.stageVariableOverrides if self.canarySettings else {}
        return (canary and overrides.get(TARGET)) or self.variables[TARGET]
