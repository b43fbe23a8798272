"""Where traffic goes and what became of it: stages of API Gateway and their metrics, as our own values.

The only module that knows how API Gateway says it. A service's REST API is found by its name; its stage
says in variables where its traffic may be led (`target_<name>`) and where it is led (`target`), which a
canary overrides for a share of the requests. `TRAFFIC_ACTIONS` is all that an operator needs for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploy.release._calls import Calls
from deploy.release._errors import ReleaseError
from deploy.release._judgement import Period, Side
from deploy.release._services import Service

TRAFFIC_ACTIONS = frozenset({
    "apigateway:GET",
    "apigateway:PATCH",
    "cloudwatch:GetMetricData",
})  # fmt: skip

STAGE = "live"

_TARGET = "target"
_OTHERS = f"{_TARGET}_"
_CANARY = "/canarySettings"
_DESCRIPTION_CHARACTERS = 500


@dataclass(frozen=True)
class Canary:
    """A share of a stage's requests that goes somewhere else.

    Args:
        percent: how many of a hundred.
        address: host and port; None where it goes where all go.
    """

    percent: float
    address: str | None


@dataclass(frozen=True)
class Stage:
    """A service's stage at one moment.

    Args:
        api: the REST API's id.
        api_name: its name, which its metrics have.
        deployment: which deployment of the API it shows; Terraform's.
        address: where requests go: host and port.
        targets: where they may be led, by name.
        canary: None where there is none.
        description: what the last operator left there.
    """

    api: str
    api_name: str
    deployment: str
    address: str
    targets: Mapping[str, str]
    canary: Canary | None
    description: str

    @property
    def target(self) -> str:
        """Where requests go, by name; the address where it has none."""
        return self.named(self.address)

    @property
    def canary_target(self) -> str | None:
        """Where the canary's go, by name."""
        return self.named(self.canary.address) if self.canary and self.canary.address else None

    def named(self, address: str) -> str:
        """The name of an address."""
        return next((name for name, one in self.targets.items() if one == address), address)

    def __str__(self) -> str:
        if self.canary is None:
            return f"all to {self.target}"
        return f"to {self.target}, {self.canary.percent:g} % to {self.canary_target or self.target}"


@dataclass(frozen=True)
class Traffic:
    """What both sides of a stage answered within some time."""

    stable: Side
    canary: Side


@dataclass(frozen=True)
class Stages:
    """The services' stages."""

    calls: Calls

    def find(self, service: Service) -> Stage:
        """A service's stage. Raises ReleaseError where there is none, AwsError."""
        position: dict[str, object] = {}
        while True:
            answer = self.calls("apigateway", "get_rest_apis", limit=500, **position)
            for one in answer.get("items", ()):
                if one["name"] == service.api:
                    return self.read(str(one["id"]), service.api)
            if not answer.get("position"):
                raise ReleaseError(f"there is no REST API {service.api}: deploy/terraform makes it")
            position = {"position": answer["position"]}

    def read(self, api: str, api_name: str) -> Stage:
        """The stage as it is now. Raises AwsError."""
        answer = self.calls("apigateway", "get_stage", restApiId=api, stageName=STAGE)
        return _stage(api, api_name, answer)

    def lead(self, stage: Stage, percent: float, address: str, description: str) -> Stage:
        """Leads a share of the requests to an address. Raises AwsError."""
        return self._update(
            stage,
            # The deployment that all requests see: a canary is of where they go, not of the contract.
            ("replace", f"{_CANARY}/deploymentId", stage.deployment),
            ("replace", f"{_CANARY}/percentTraffic", f"{percent:g}"),
            ("replace", f"{_CANARY}/stageVariableOverrides/{_TARGET}", address),
            _description(description),
        )

    def promote(self, stage: Stage, address: str, description: str) -> Stage:
        """Leads all requests to an address, and no canary. Raises AwsError."""
        return self._update(
            stage,
            ("replace", f"/variables/{_TARGET}", address),
            ("remove", _CANARY, None),
            _description(description),
        )

    def end_canary(self, stage: Stage, description: str) -> Stage:
        """Leads all requests where the stable ones go. Raises AwsError."""
        return self._update(stage, ("remove", _CANARY, None), _description(description))

    def describe(self, stage: Stage, description: str) -> Stage:
        """Leaves word on the stage. Raises AwsError."""
        return self._update(stage, _description(description))

    def traffic(self, stage: Stage, since: datetime, until: datetime, *, period: int) -> Traffic:
        """What was answered from `since` to `until`, in periods of seconds. Raises AwsError."""
        series = {"stable": STAGE, "canary": f"{STAGE}/Canary"}
        statistics = {
            "requests": ("Count", "SampleCount"),
            "errors": ("5XXError", "Sum"),
            "latency": ("Latency", "p99"),
        }
        queries = [
            {
                "Id": f"{side}_{name}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/ApiGateway",
                        "MetricName": metric,
                        "Dimensions": [
                            {"Name": "ApiName", "Value": stage.api_name},
                            {"Name": "Stage", "Value": value},
                        ],
                    },
                    "Period": period,
                    "Stat": statistic,
                },
            }
            for side, value in series.items()
            for name, (metric, statistic) in statistics.items()
        ]
        found = self._metric_data(queries, since, until)
        return Traffic(stable=_side(found, "stable"), canary=_side(found, "canary"))

    def _metric_data(
        self, queries: Sequence[Mapping[str, Any]], since: datetime, until: datetime
    ) -> dict[str, dict[datetime, float]]:
        found: dict[str, dict[datetime, float]] = {}
        token: dict[str, object] = {}
        while True:
            answer = self.calls(
                "cloudwatch",
                "get_metric_data",
                MetricDataQueries=list(queries),
                StartTime=since,
                EndTime=until,
                ScanBy="TimestampAscending",
                **token,
            )
            for one in answer.get("MetricDataResults", ()):
                values = found.setdefault(str(one["Id"]), {})
                for at, value in zip(one["Timestamps"], one["Values"], strict=True):
                    values[_time(at)] = float(value)
            if not answer.get("NextToken"):
                return found
            token = {"NextToken": answer["NextToken"]}

    def _update(self, stage: Stage, *operations: tuple[str, str, str | None]) -> Stage:
        answer = self.calls(
            "apigateway",
            "update_stage",
            restApiId=stage.api,
            stageName=STAGE,
            patchOperations=[
                {"op": op, "path": path, **({} if value is None else {"value": value})}
                for op, path, value in operations
            ],
        )
        return _stage(stage.api, stage.api_name, answer)


def _description(text: str) -> tuple[str, str, str]:
    return "replace", "/description", text[:_DESCRIPTION_CHARACTERS]


def _stage(api: str, api_name: str, answer: Mapping[str, Any]) -> Stage:
    variables: Mapping[str, str] = answer.get("variables") or {}
    if _TARGET not in variables:
        raise ReleaseError(
            f"the stage {STAGE} of {api_name} has no variable {_TARGET}: deploy/terraform makes it"
        )
    canary: Mapping[str, Any] = answer.get("canarySettings") or {}
    return Stage(
        api=api,
        api_name=api_name,
        deployment=str(answer.get("deploymentId") or ""),
        address=variables[_TARGET],
        targets={
            name.removeprefix(_OTHERS): value
            for name, value in variables.items()
            if name.startswith(_OTHERS)
        },
        canary=Canary(
            percent=float(canary.get("percentTraffic") or 0),
            address=(canary.get("stageVariableOverrides") or {}).get(_TARGET),
        )
        if canary
        else None,
        description=str(answer.get("description") or ""),
    )


def _side(found: Mapping[str, Mapping[datetime, float]], side: str) -> Side:
    requests = found.get(f"{side}_requests", {})
    errors = found.get(f"{side}_errors", {})
    latencies = found.get(f"{side}_latency", {})
    return Side(
        tuple(
            Period(round(count), round(errors.get(at, 0.0)), latencies.get(at))
            for at, count in sorted(requests.items())
        )
    )


def _time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.fromtimestamp(float(value), UTC)
