"""Inputs for tests: small numbers that can be worked out by hand, and the files that are committed."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path

from deploy.rightsizing._inputs import (
    Assumption,
    Assumptions,
    Capacity,
    Consumer,
    Growth,
    Learners,
    Load,
    Machine,
    Measurements,
    OperationCost,
    Playback,
    Profile,
    ResidentMemory,
    ServiceChoice,
    ServiceCost,
    Stored,
    Topology,
    Units,
    read_capacity,
    read_measurements,
    read_prices,
    read_profile,
    read_quotas,
)
from deploy.rightsizing._plan import Inputs

FOLDER = Path(__file__).parents[3] / "deploy" / "rightsizing"

ASSUMED = {
    "fargate_cpu_factor": 1.0,
    "maximum_utilisation": 0.8,
    "utilisation_without_spot": 0.95,
    "cpu_latency_milliseconds": 1000.0,
    "burst_factor": 2.0,
    "scaling_alarm_seconds": 180.0,
    "table_scaling_seconds": 300.0,
    "requests_per_connection": 10.0,
    "sidecar_cpu_units": 0.0,
    "sidecar_mebibytes": 0.0,
    "memory_headroom": 1.0,
    "task_launch_seconds": 60.0,
    "dependency_milliseconds": 5.0,
    "hottest_course_share": 0.05,
    "hottest_content_share": 0.01,
    "sign_ins_per_learner_day": 2.0,
    "traced_share": 0.05,
    "log_requests_per_task_second": 1.0,
    "gateway_log_bytes": 500.0,
    "metrics_per_service": 10.0,
    "alarms_per_service": 2.0,
    "dashboards": 1.0,
    "secrets": 3.0,
    "dynamodb_target_utilisation": 0.7,
    "capacity_mode_saving": 0.15,
}


def profile(
    *,
    per_second: dict[str, float] | None = None,
    per_learner_day: dict[str, float] | None = None,
    peak_factor: float = 1.0,
    ramp_per_minute: float = 0.0,
    minimum_tasks: int = 2,
    spot: bool = False,
    zones: int = 3,
    registered: float = 1000.0,
    months: int = 0,
    per_month: float = 0.0,
    **assumed: float,
) -> Profile:
    """A load on one operation of each service, flat unless told otherwise."""
    assumptions = {**ASSUMED, **assumed}
    rates = {"getCourse": 1.0, "getContent": 1.0, "recordProgress": 1.0}
    return Profile(
        version=1,
        name="for a test",
        learners=Learners(
            registered=registered, active_monthly=registered / 2, active_daily=registered / 10
        ),
        load=Load(
            per_second=rates if per_second is None else per_second,
            per_learner_day=per_learner_day or {},
            peak_factor=peak_factor,
            ramp_per_minute=ramp_per_minute,
            growth=Growth(per_month=per_month, months=months),
        ),
        stored=Stored(
            courses=100,
            contents_per_course=10,
            courses_per_learner=5,
            completed_per_course=10,
            mean_content_gigabytes=0.1,
        ),
        playback=Playback(gigabytes_per_learner_day=0.5, requests_per_play=20),
        services={
            name: ServiceChoice(minimum_tasks=minimum_tasks, signal="requests", spot=spot)
            for name in ("course_catalog", "content_delivery", "progress_tracking")
        },
        consumer=Consumer(tasks=2),
        topology=Topology(
            availability_zones=zones,
            load_balancers=1,
            interface_endpoints=("logs", "xray"),
            log_retention_days=30,
        ),
        assumptions=Assumptions(
            **{
                name: Assumption(value=value, because="a test")
                for name, value in assumptions.items()
            }
        ),
    )


def measurements(milliseconds: float = 10.0, mebibytes: float = 100.0) -> Measurements:
    """Every request costs the same."""

    def service(*names: str) -> ServiceCost:
        cost = OperationCost(
            requests=1,
            cpu_milliseconds=milliseconds,
            request_bytes=1000,
            response_bytes=9000,
            log_bytes=500,
            latency_milliseconds={},
        )
        return ServiceCost(
            resident_mebibytes=ResidentMemory(
                ready=mebibytes / 2, after_load=mebibytes, peak=mebibytes
            ),
            idle_cpu_share=0.0,
            operations=dict.fromkeys(names, cost),
        )

    return Measurements(
        version=1,
        measured_on=date(2026, 1, 1),
        by="a test",
        machine=Machine(processor="none", cores=1, python="3.11", system="none"),
        concurrency=1,
        shape={"courses": 100},
        services={
            "course_catalog": service("getCourse", "patchCourse.outline", "refused.catalog"),
            "content_delivery": service("getContent", "refused.content"),
            "progress_tracking": service("recordProgress", "refused.progress"),
        },
    )


def capacity(reads: float = 1.0, writes: float = 1.0) -> Capacity:
    """Every request reads and writes the same."""

    def units(service: str) -> Units:
        return Units(service=service, calls=1, read={"table": reads}, write={"table": writes})

    nothing = Units(service="course_catalog", calls=0, read={}, write={})
    return Capacity(
        version=1,
        measured_on=date(2026, 1, 1),
        by="a test",
        shape={},
        tables={
            "course_catalog": "CourseCatalog",
            "content_delivery": "Content",
            "progress_tracking": "Progress",
        },
        operations={
            "getCourse": units("course_catalog"),
            "patchCourse.outline": units("course_catalog"),
            "getContent": units("content_delivery"),
            "recordProgress": units("progress_tracking"),
        },
        background=dict.fromkeys(
            ("directoryRefresh", "directoryLoad", "learnOutline", "readOutline"), nothing
        ),
        row_bytes={
            "course": 1000,
            "courseProgress": 500,
            "resumePoint": 200,
            "contentProgress": 200,
        },
    )


def inputs(
    of: Profile | None = None,
    *,
    measured: Measurements | None = None,
    consumed: Capacity | None = None,
) -> Inputs:
    """Everything, with the prices and quotas that are committed."""
    committed_files = committed()
    return Inputs(
        profile=of or profile(),
        measurements=measured or measurements(),
        capacity=consumed or capacity(),
        prices=committed_files.prices,
        quotas=committed_files.quotas,
    )


@cache
def committed() -> Inputs:
    """The files beside the tool."""
    return Inputs(
        profile=read_profile(FOLDER / "lyceum.yaml"),
        measurements=read_measurements(FOLDER / "measurements.json"),
        capacity=read_capacity(FOLDER / "capacity.json"),
        prices=read_prices(FOLDER / "prices.yaml"),
        quotas=read_quotas(FOLDER / "quotas.yaml"),
    )
