"""The files that a plan is made of: a load profile, measurements, consumed capacity, prices, quotas.

Owns their forms and their reading; README.md describes them. Knows nothing of what is worked out from
them. Every number of a plan comes from one of these files, and every price, quota and assumption in
them says where it is from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

SERVICES = ("course_catalog", "content_delivery", "progress_tracking")

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]


class InputError(Exception):
    """A file can not be used; its text is one line that names every problem of it."""


class _Form(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        alias_generator=to_camel,
        allow_inf_nan=False,
    )


# --- the load profile -----------------------------------------------------------------------------


class Assumption(_Form):
    """A number that nobody measured, with the reason why it is this one."""

    value: NotNegative
    because: Text


class Learners(_Form):
    """Who there is, and how many of them come. `active_daily` may be below one: a mean."""

    registered: NotNegative
    active_monthly: NotNegative
    active_daily: NotNegative


class Growth(_Form):
    """How fast the load grows, and for how long the plan must hold."""

    per_month: Annotated[float, Field(ge=-0.5, le=1)]
    months: Annotated[int, Field(ge=0, le=60)]


class Load(_Form):
    """Requests by operation: so many a second in the mean of a day, or so many that each active
    learner makes in a day. `peak_factor`: the busiest hour over the mean of the day."""

    per_second: dict[str, NotNegative] = {}
    per_learner_day: dict[str, NotNegative] = {}
    peak_factor: Annotated[float, Field(ge=1, le=24)]
    ramp_per_minute: NotNegative
    growth: Growth


class Stored(_Form):
    """What is kept."""

    courses: NotNegative
    contents_per_course: NotNegative
    courses_per_learner: NotNegative
    completed_per_course: NotNegative
    mean_content_gigabytes: NotNegative


class Playback(_Form):
    """What is fetched from S3 by the URLs that content delivery signs."""

    gigabytes_per_learner_day: NotNegative
    requests_per_play: NotNegative


class Assumptions(_Form):
    """Everything that is neither measured nor a price."""

    fargate_cpu_factor: Assumption
    maximum_utilisation: Assumption
    utilisation_without_spot: Assumption
    cpu_latency_milliseconds: Assumption
    burst_factor: Assumption
    scaling_alarm_seconds: Assumption
    table_scaling_seconds: Assumption
    requests_per_connection: Assumption
    sidecar_cpu_units: Assumption
    sidecar_mebibytes: Assumption
    memory_headroom: Assumption
    task_launch_seconds: Assumption
    dependency_milliseconds: Assumption
    hottest_course_share: Assumption
    hottest_content_share: Assumption
    sign_ins_per_learner_day: Assumption
    traced_share: Assumption
    log_requests_per_task_second: Assumption
    gateway_log_bytes: Assumption
    metrics_per_service: Assumption
    alarms_per_service: Assumption
    dashboards: Assumption
    secrets: Assumption
    dynamodb_target_utilisation: Assumption
    capacity_mode_saving: Assumption

    @model_validator(mode="after")
    def _are_possible(self) -> Assumptions:
        for name in (
            "maximum_utilisation",
            "utilisation_without_spot",
            "dynamodb_target_utilisation",
        ):
            value = getattr(self, name).value
            if not 0 < value <= 1:
                raise ValueError(f"{to_camel(name)} must be above 0 and at most 1")
        for name in ("fargate_cpu_factor", "memory_headroom"):
            if getattr(self, name).value <= 0:
                raise ValueError(f"{to_camel(name)} must be above 0")
        return self


Signal = Literal["requests", "cpu"]


class ServiceChoice(_Form):
    """What was decided of a service and is not worked out."""

    minimum_tasks: Annotated[int, Field(ge=1, le=5000)]
    signal: Signal
    spot: bool


class Consumer(_Form):
    """The consumer of outlines, which no request reaches."""

    tasks: Annotated[int, Field(ge=1, le=100)]


class Topology(_Form):
    """How it stands in the network."""

    availability_zones: Annotated[int, Field(ge=2, le=6)]
    load_balancers: Annotated[int, Field(ge=1, le=50)]
    interface_endpoints: tuple[str, ...]
    log_retention_days: Annotated[int, Field(ge=1, le=3653)]


class Profile(_Form):
    """A load, and where it is carried."""

    version: Literal[1]
    name: Text
    learners: Learners
    load: Load
    stored: Stored
    playback: Playback
    services: dict[str, ServiceChoice]
    consumer: Consumer
    topology: Topology
    assumptions: Assumptions

    @model_validator(mode="after")
    def _knows_all_services(self) -> Profile:
        if set(self.services) != set(SERVICES):
            raise ValueError(f"services must be {', '.join(SERVICES)}")
        return self

    def at(self, learners: float) -> Profile:
        """The same behaviour of another number of learners: who comes, what is asked and what is
        kept of them grows alike; courses and what authors do stay."""
        if self.learners.registered <= 0:
            raise InputError("learners.registered is 0, so there is nothing to scale from")
        return self.times(learners / self.learners.registered)

    def times(self, factor: float) -> Profile:
        """As `at`, for so many times as many learners."""
        who = self.learners
        return self.model_copy(
            update={
                "learners": Learners(
                    registered=who.registered * factor,
                    active_monthly=who.active_monthly * factor,
                    active_daily=who.active_daily * factor,
                ),
            }
        )

    def after(self, months: int) -> Profile:
        """The same after so many months of its own growth."""
        return self.times((1 + self.load.growth.per_month) ** months)

    def requests_per_second(self) -> dict[str, float]:
        """The mean of a day, by operation."""
        seconds = 86_400
        found = dict(self.load.per_second)
        for name, each in self.load.per_learner_day.items():
            found[name] = found.get(name, 0.0) + each * self.learners.active_daily / seconds
        return found


# --- what was measured ----------------------------------------------------------------------------


class OperationCost(_Form):
    """What a request costs the service's process."""

    requests: Annotated[int, Field(ge=1)]
    cpu_milliseconds: Positive
    request_bytes: NotNegative
    response_bytes: NotNegative
    log_bytes: NotNegative
    latency_milliseconds: dict[str, NotNegative]


class ResidentMemory(_Form):
    """Mebibytes of the process."""

    ready: Positive
    after_load: Positive
    peak: Positive


class ServiceCost(_Form):
    """One service's measurements. `bytes_per_course`: of memory, where it keeps courses there."""

    resident_mebibytes: ResidentMemory
    idle_cpu_share: Share
    operations: dict[str, OperationCost] = Field(min_length=1)
    bytes_per_course: NotNegative = 0


class Machine(_Form):
    """Where it was measured."""

    processor: str
    cores: Annotated[int, Field(ge=1)]
    python: str
    system: str


class Measurements(_Form):
    """What `tests/bench/request_costs.py` writes, or a load test in the same form."""

    version: Literal[1]
    measured_on: date
    by: Text
    machine: Machine
    concurrency: Annotated[int, Field(ge=1)]
    shape: dict[str, float]
    services: dict[str, ServiceCost]

    def service_of(self, operation: str) -> str | None:
        """Which service an operation is of."""
        for name, service in self.services.items():
            if operation in service.operations:
                return name
        return None

    def cost(self, operation: str) -> OperationCost:
        """Raises KeyError for an operation that was not measured."""
        service = self.service_of(operation)
        if service is None:
            raise KeyError(operation)
        return self.services[service].operations[operation]


class Units(_Form):
    """Capacity units by place: `table`, or the name of an index."""

    service: str
    calls: NotNegative
    read: dict[str, NotNegative]
    write: dict[str, NotNegative]
    requests: Annotated[int, Field(ge=1)] = 1
    of: str = "a request"

    @property
    def reads(self) -> float:
        """All that is read, of the table and its indexes."""
        return sum(self.read.values())

    @property
    def writes(self) -> float:
        """All that is written, to the table and its indexes."""
        return sum(self.write.values())


class Capacity(_Form):
    """What `tests/bench/consumed_capacity.py` writes."""

    version: Literal[1]
    measured_on: date
    by: Text
    shape: dict[str, float]
    tables: dict[str, str]
    operations: dict[str, Units]
    background: dict[str, Units]
    row_bytes: dict[str, NotNegative]


# --- what AWS says --------------------------------------------------------------------------------


class Source(_Form):
    """A page, and when it was read."""

    page: Text
    read: date


class Tier(_Form):
    """A price up to so many units a month; without `up_to`: for all the rest."""

    up_to: Positive | None = None
    usd: NotNegative


class Price(_Form):
    """What `per` units cost. Neither `usd` nor `tiers`: who plans must say it."""

    unit: Text
    per: Positive = 1
    usd: NotNegative | None = None
    tiers: tuple[Tier, ...] = ()
    source: Source
    note: str = ""

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> Price:
        if self.tiers and self.usd is not None:
            raise ValueError("has a price and tiers")
        if self.tiers:
            *bounded, last = self.tiers
            bounds = [tier.up_to for tier in bounded]
            if last.up_to is not None or None in bounds:
                raise ValueError("every tier but the last has a bound")
            if sorted(set(bounds), key=lambda bound: bound or 0) != bounds:
                raise ValueError("the bounds of tiers must grow")
        return self

    @property
    def is_known(self) -> bool:
        """Whether it was found anywhere."""
        return self.usd is not None or bool(self.tiers)


class Prices(_Form):
    """The one dated file of prices."""

    version: Literal[1]
    region: Text
    currency: Literal["USD"]
    read_on: date
    prices: dict[str, Price]

    def with_prices(self, given: Mapping[str, float]) -> Prices:
        """The same with prices that who plans has said."""
        unknown = sorted(set(given) - set(self.prices))
        if unknown:
            raise InputError(f"there is no price {unknown[0]}; `prices` lists them")
        own = Source(page="given on the command line", read=self.read_on)
        changed = {
            name: self.prices[name].model_copy(update={"usd": usd, "tiers": (), "source": own})
            for name, usd in given.items()
        }
        return self.model_copy(update={"prices": {**self.prices, **changed}})


class Quota(_Form):
    """How much there may be. Without `limit`: found on no page; the account's own must be said."""

    limit: Positive | None
    unit: Text
    scope: Text
    adjustable: bool
    source: Source


class Quotas(_Form):
    """The one dated file of quotas."""

    version: Literal[1]
    region: Text
    read_on: date
    quotas: dict[str, Quota]

    def with_limits(self, given: Mapping[str, float]) -> Quotas:
        """The same with limits that who plans has said."""
        unknown = sorted(set(given) - set(self.quotas))
        if unknown:
            raise InputError(f"there is no quota {unknown[0]}; `prices` lists them")
        own = Source(page="given on the command line", read=self.read_on)
        changed = {
            name: self.quotas[name].model_copy(update={"limit": limit, "source": own})
            for name, limit in given.items()
        }
        return self.model_copy(update={"quotas": {**self.quotas, **changed}})


_Model = TypeVar("_Model", bound=BaseModel)


def read_profile(path: Path) -> Profile:
    """Raises InputError."""
    return _read(path, Profile)


def read_measurements(path: Path) -> Measurements:
    """Raises InputError."""
    return _read(path, Measurements)


def read_capacity(path: Path) -> Capacity:
    """Raises InputError."""
    return _read(path, Capacity)


def read_prices(path: Path) -> Prices:
    """Raises InputError."""
    return _read(path, Prices)


def read_quotas(path: Path) -> Quotas:
    """Raises InputError."""
    return _read(path, Quotas)


def require_measured(profile: Profile, measurements: Measurements, capacity: Capacity) -> None:
    """Raises InputError where the profile has requests that were never measured."""
    problems = []
    for name in sorted({*profile.load.per_second, *profile.load.per_learner_day}):
        if measurements.service_of(name) is None:
            problems.append(f"{name} is in no measurements")
        elif name not in capacity.operations:
            problems.append(f"{name} is in no consumed capacity")
    for service in SERVICES:
        if service not in measurements.services:
            problems.append(f"{service} is in no measurements")
        if service not in capacity.tables:
            problems.append(f"{service} has no table in the consumed capacity")
    for name in ("directoryRefresh", "directoryLoad", "learnOutline", "readOutline"):
        if name not in capacity.background:
            problems.append(f"{name} is in no consumed capacity")
    if problems:
        raise InputError("; ".join(problems))


def _read(path: Path, model: type[_Model]) -> _Model:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    try:
        document: Any = (
            json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
        )
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = [
            f"{'.'.join(str(part) for part in one['loc']) or 'it'}: {one['msg']}"
            for one in error.errors()
        ]
        raise InputError(f"{path}: {'; '.join(found)}") from error


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which no name stands twice: the second would silently take the first one's place."""


def _unique(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise yaml.constructor.ConstructorError(
            None, None, f"{twice[0]} stands twice", node.start_mark
        )
    found: dict[Any, Any] = yaml.SafeLoader.construct_mapping(loader, node, deep=True)
    return found


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique)
