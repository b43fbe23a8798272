"""API Gateway and CloudWatch in simulated time, in front of a simulated ECS.

Requests come at a steady rate; which side one goes to is drawn for each, and what becomes of it is told
by the backend at the address. Counts are of whole minutes and seen late, as on AWS.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit.release.simulated_ecs import (
    SimulatedCloud,
    SimulatedRegistry,
    SimulatedTime,
    refused,
)

EPOCH = 1_700_000_000
API = "a1b2c3"


@dataclass
class Backend:
    """What answers at an address.

    Args:
        error_rate: share of requests that fail.
        latency_ms: of nearly all of them; one in fifty takes thrice that.
    """

    error_rate: float = 0.0
    latency_ms: float = 40.0


@dataclass
class Counted:
    """What was answered within a minute."""

    requests: int = 0
    errors: int = 0
    latencies: list[float] = field(default_factory=list)


class SimulatedGateway(SimulatedCloud):
    """The cloud with a stage of one service.

    Args:
        api: the name of the REST API.
        targets: addresses by name; requests go to the first.
        backends: what answers at an address.
        requests_a_second: that come.
        lag_seconds: after which a minute that has ended is seen.
        counts_all: whether the stage's own series has the canary's requests too.
    """

    def __init__(
        self,
        time: SimulatedTime,
        registry: SimulatedRegistry,
        api: str,
        targets: Mapping[str, str],
        backends: Mapping[str, Backend],
        *,
        requests_a_second: float = 20.0,
        lag_seconds: float = 60.0,
        counts_all: bool = False,
    ) -> None:
        super().__init__(time, registry)
        self.api = api
        self.backends = dict(backends)
        self.requests_a_second = requests_a_second
        self.lag_seconds = lag_seconds
        self.counts_all = counts_all
        self.stage: dict[str, Any] = {
            "stageName": "live",
            "deploymentId": "d1",
            "variables": {
                "target": next(iter(targets.values())),
                **{f"target_{name}": address for name, address in targets.items()},
            },
        }
        self.patches: list[list[dict[str, str]]] = []
        self.failed: dict[str, int] = {}
        """Requests that failed, by the address that they went to."""
        self._counted: dict[tuple[str, int], Counted] = {}
        self._random = random.Random(7)
        self._due = 0.0
        self._last = time.now
        time.every_step.append(self._requests)

    def now(self) -> datetime:
        """The time of day."""
        return datetime.fromtimestamp(EPOCH + self.time.now, UTC)

    # What goes on.

    def _requests(self) -> None:
        self._due += (self.time.now - self._last) * self.requests_a_second
        self._last = self.time.now
        while self._due >= 1:
            self._due -= 1
            self._request()

    def _request(self) -> None:
        canary = self.stage.get("canarySettings")
        is_canary = canary is not None and self._random.random() * 100 < canary["percentTraffic"]
        overrides = canary["stageVariableOverrides"] if canary and is_canary else {}
        address = {**self.stage["variables"], **overrides}["target"]
        backend = self.backends[address]
        has_failed = self._random.random() < backend.error_rate
        latency = backend.latency_ms * (3 if self._random.random() < 0.02 else 1)
        if has_failed:
            self.failed[address] = self.failed.get(address, 0) + 1
        series = ["live/Canary"] if is_canary else ["live"]
        if is_canary and self.counts_all:
            series.append("live")
        minute = int((EPOCH + self.time.now) // 60 * 60)
        for one in series:
            counted = self._counted.setdefault((one, minute), Counted())
            counted.requests += 1
            counted.errors += has_failed
            counted.latencies.append(latency * self._random.uniform(0.9, 1.1))

    # The APIs.

    def _get_rest_apis(self, limit: int, position: str | None = None) -> dict[str, Any]:
        """Two pages, the second of which has the API."""
        if position is None:
            return {"items": [{"id": "x", "name": "somebody-elses"}], "position": "2"}
        return {"items": [{"id": API, "name": self.api}]}

    def _get_stage(self, restApiId: str, stageName: str) -> dict[str, Any]:  # noqa: N803 - AWS's
        assert (restApiId, stageName) == (API, "live")
        return self.stage

    def _update_stage(
        self,
        restApiId: str,  # noqa: N803 - AWS's
        stageName: str,  # noqa: N803 - AWS's
        patchOperations: Sequence[Mapping[str, str]],  # noqa: N803 - AWS's
    ) -> dict[str, Any]:
        assert (restApiId, stageName) == (API, "live")
        self.patches.append([dict(one) for one in patchOperations])
        stage: dict[str, Any] = {
            **self.stage,
            "variables": dict(self.stage["variables"]),
            "canarySettings": {
                "stageVariableOverrides": {},
                **(self.stage.get("canarySettings") or {}),
            },
        }
        canary = stage["canarySettings"]
        for one in patchOperations:
            match one["op"], one["path"].strip("/").split("/"):
                case "remove", ["canarySettings"]:
                    canary = stage["canarySettings"] = {}
                case "replace", ["canarySettings", "percentTraffic"]:
                    canary["percentTraffic"] = float(one["value"])
                case "replace", ["canarySettings", "deploymentId"]:
                    canary["deploymentId"] = one["value"]
                case "replace", ["canarySettings", "stageVariableOverrides", name]:
                    canary["stageVariableOverrides"] = {name: one["value"]}
                case "replace", ["variables", name]:
                    stage["variables"][name] = one["value"]
                case "replace", ["description"]:
                    stage["description"] = one["value"]
                case _:
                    raise AssertionError(f"API Gateway knows no {one}")
        if "percentTraffic" not in canary:
            del stage["canarySettings"]
        self.stage = stage
        return stage

    def _get_metric_data(self, **given: Any) -> dict[str, Any]:
        """Two results a page."""
        if given["StartTime"] >= given["EndTime"]:
            raise refused("ValidationError", "StartTime must be less than EndTime")
        queries = given["MetricDataQueries"]
        begin = int(given.get("NextToken", 0))
        page = queries[begin : begin + 2]
        rest = {"NextToken": str(begin + 2)} if begin + 2 < len(queries) else {}
        results = [self._result(one, given["StartTime"], given["EndTime"]) for one in page]
        return {"MetricDataResults": results, **rest}

    def _result(self, query: Mapping[str, Any], since: datetime, until: datetime) -> dict[str, Any]:
        statistic = query["MetricStat"]
        assert statistic["Period"] == 60
        dimensions = {one["Name"]: one["Value"] for one in statistic["Metric"]["Dimensions"]}
        assert dimensions["ApiName"] == self.api
        seen = self.now() - timedelta(seconds=self.lag_seconds + 60)
        found = {}
        for (series, minute), counted in self._counted.items():
            at = datetime.fromtimestamp(minute, UTC)
            if series == dimensions["Stage"] and since <= at < until and at <= seen:
                found[at] = _statistic(
                    statistic["Metric"]["MetricName"], statistic["Stat"], counted
                )
        times = sorted(found)
        return {"Id": query["Id"], "Timestamps": times, "Values": [found[at] for at in times]}


def _statistic(metric: str, statistic: str, counted: Counted) -> float:
    match metric, statistic:
        case "Count", "SampleCount":
            return float(counted.requests)
        case "5XXError", "Sum":
            return float(counted.errors)
        case "Latency", "p99":
            ordered = sorted(counted.latencies)
            return ordered[math.ceil(len(ordered) * 0.99) - 1]
    raise AssertionError(f"nobody asks for {statistic} of {metric}")
