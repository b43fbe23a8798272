"""What a month costs, line by line, each with its arithmetic and where its numbers are from.

Owns the quantities of the bill and the tiers of prices. Leaves out what it says it leaves out: free
tiers but Cognito's, discounts, data between zones, taxes, support.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deploy.rightsizing._day import shape
from deploy.rightsizing._fargate import TaskSize
from deploy.rightsizing._inputs import SERVICES, Capacity, InputError, Price, Prices, Profile
from deploy.rightsizing._tables import DAYS_PER_MONTH, TablePlan, UnitPrices
from deploy.rightsizing._tasks import ServicePlan, TaskHour

HOURS_PER_MONTH = 730
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
_GB = 1e9

# https://aws.amazon.com/elasticloadbalancing/pricing/ (read 2026-09-20): what one LCU contains.
LCU_NEW_CONNECTIONS_PER_SECOND = 25
LCU_GB_PER_HOUR = 1


@dataclass(frozen=True)
class Line:
    """One line of a month's bill. `sources`: names of prices, files and assumptions."""

    group: str
    item: str
    quantity: float
    unit: str
    usd: float
    how: str
    sources: tuple[str, ...]


def charge(price: Price, name: str, quantity: float) -> float:
    """What so many units of a month cost. Raises InputError for a price that nobody knows."""
    if not price.is_known:
        if quantity == 0:
            return 0.0
        raise InputError(f"prices: {name} is not known; bring it with --price {name}=USD")
    if price.usd is not None:
        return quantity / price.per * price.usd
    total, below = 0.0, 0.0
    for tier in price.tiers:
        bound = tier.up_to if tier.up_to is not None else float("inf")
        total += max(0.0, min(quantity, bound) - below) / price.per * tier.usd
        below = bound
    return total


def task_hour(prices: Prices) -> TaskHour:
    """The four prices of a task. Raises InputError."""
    return TaskHour(
        *(
            charge(prices.prices[name], name, 1)
            for name in (
                "fargate.vcpuHour",
                "fargate.gbHour",
                "fargate.spotVcpuHour",
                "fargate.spotGbHour",
            )
        )
    )


def unit_prices(prices: Prices) -> UnitPrices:
    """The four prices of a capacity unit. Raises InputError."""
    return UnitPrices(
        *(
            charge(prices.prices[name], name, 1)
            for name in (
                "dynamodb.writeRequestUnit",
                "dynamodb.readRequestUnit",
                "dynamodb.writeCapacityUnitHour",
                "dynamodb.readCapacityUnitHour",
            )
        )
    )


def require_prices(prices: Prices) -> None:
    """Raises InputError where the file lacks a price that the bill needs."""
    missing = sorted(_NEEDED - set(prices.prices))
    if missing:
        raise InputError(f"prices: missing {', '.join(missing)}")


def bill(
    profile: Profile,
    capacity: Capacity,
    prices: Prices,
    services: Mapping[str, ServicePlan],
    tables: Mapping[str, TablePlan],
    consumer: TaskSize,
) -> tuple[Line, ...]:
    """The whole month."""
    return (
        *_tasks(profile, prices, services, consumer),
        *_tables(tables),
        *_storage(profile, capacity, prices),
        *_front(profile, prices, services),
        *_network(profile, prices, services),
        *_observability(profile, prices, services),
        *_content(profile, prices, services),
        *_events(profile, prices),
        *_people(profile, prices),
    )


def _line(
    prices: Prices,
    group: str,
    item: str,
    price: str,
    quantity: float,
    how: str,
    *sources: str,
) -> Line:
    known = prices.prices[price]
    return Line(
        group,
        item,
        quantity,
        known.unit,
        charge(known, price, quantity),
        how,
        (f"price {price}", *sources),
    )


def _tasks(
    profile: Profile,
    prices: Prices,
    services: Mapping[str, ServicePlan],
    consumer: TaskSize,
) -> Iterator[Line]:
    hour = task_hour(prices)
    for name, plan in services.items():
        kept = plan.mean_tasks - plan.mean_spot_tasks
        size = f"{plan.size.vcpus:g} vCPU, {plan.size.gibibytes:g} GB"
        measured = f"measurements {name}"
        yield Line(
            "Tasks",
            f"{name}, on demand",
            kept * HOURS_PER_MONTH,
            "task-hour",
            kept * HOURS_PER_MONTH * hour.on_demand(plan.size),
            f"{kept:.2f} tasks of {size} in the mean",
            ("price fargate.vcpuHour", "price fargate.gbHour", measured),
        )
        if plan.mean_spot_tasks:
            yield Line(
                "Tasks",
                f"{name}, Spot",
                plan.mean_spot_tasks * HOURS_PER_MONTH,
                "task-hour",
                plan.mean_spot_tasks * HOURS_PER_MONTH * hour.spot(plan.size),
                f"{plan.mean_spot_tasks:.2f} tasks in the mean",
                (
                    "price fargate.spotVcpuHour",
                    "price fargate.spotGbHour",
                    "assumption utilisationWithoutSpot",
                    measured,
                ),
            )
    yield Line(
        "Tasks",
        "consumer of outlines",
        profile.consumer.tasks * HOURS_PER_MONTH,
        "task-hour",
        profile.consumer.tasks * HOURS_PER_MONTH * hour.on_demand(consumer),
        f"{profile.consumer.tasks} tasks of {consumer.vcpus:g} vCPU, {consumer.gibibytes:g} GB",
        ("price fargate.vcpuHour", "price fargate.gbHour", "profile consumer.tasks"),
    )


def _tables(tables: Mapping[str, TablePlan]) -> Iterator[Line]:
    for table in tables.values():
        yield Line(
            "Tables",
            f"{table.table}, reads and writes",
            (table.mean_reads + table.mean_writes) * SECONDS_PER_MONTH,
            "unit",
            table.usd,
            f"{table.mode}: {table.mean_reads:,.1f} read and {table.mean_writes:,.1f} write units"
            f" a second in the mean; {table.because}",
            (
                ("price dynamodb.writeRequestUnit", "price dynamodb.readRequestUnit")
                if table.mode == "on demand"
                else ("price dynamodb.writeCapacityUnitHour", "price dynamodb.readCapacityUnitHour")
            )
            + ("capacity operations",),
        )


def stored_gigabytes(profile: Profile, capacity: Capacity) -> Mapping[str, float]:
    """What the tables hold, by service."""
    rows, kept = capacity.row_bytes, profile.stored
    started = profile.learners.registered * kept.courses_per_learner
    return {
        # A course's summary stands in both indexes too; twice the row is more than that.
        "course_catalog": kept.courses
        * (2 * rows.get("course", 0) + rows.get("slug", 0) + rows.get("outlineEvent", 0))
        / _GB,
        "content_delivery": kept.courses
        * kept.contents_per_course
        * 1.5
        * rows.get("content", 0)
        / _GB,
        "progress_tracking": (
            started
            * (
                rows.get("courseProgress", 0)
                + rows.get("resumePoint", 0)
                + kept.completed_per_course * rows.get("contentProgress", 0)
            )
            + kept.courses * rows.get("learntOutline", 0)
        )
        / _GB,
    }


def _front(profile: Profile, prices: Prices, services: Mapping[str, ServicePlan]) -> Iterator[Line]:
    rate = sum(plan.load.requests_per_second for plan in services.values())
    yield _line(
        prices,
        "Front",
        "API Gateway, requests",
        "apiGateway.restRequest",
        rate * SECONDS_PER_MONTH,
        f"{rate:,.2f} requests a second in the mean",
        "profile load",
    )
    balancers = profile.topology.load_balancers
    yield _line(
        prices,
        "Front",
        "load balancers, hours",
        "loadBalancer.hour",
        balancers * HOURS_PER_MONTH,
        f"{balancers} all month",
        "profile topology",
    )
    per_connection = max(1.0, profile.assumptions.requests_per_connection.value)
    bytes_a_second = sum(
        plan.load.request_bytes_per_second + plan.load.response_bytes_per_second
        for plan in services.values()
    )
    units = 0.0
    for factor in shape(profile.load.peak_factor):
        connections = rate * factor / per_connection / LCU_NEW_CONNECTIONS_PER_SECOND
        volume = bytes_a_second * factor * 3600 / _GB / LCU_GB_PER_HOUR
        units += max(connections, volume) * DAYS_PER_MONTH
    yield _line(
        prices,
        "Front",
        "load balancers, capacity units",
        "loadBalancer.lcuHour",
        units,
        f"each hour the greater of new connections / {LCU_NEW_CONNECTIONS_PER_SECOND} and GB",
        "measurements requestBytes, responseBytes",
        "assumption requestsPerConnection",
    )


def _network(
    profile: Profile, prices: Prices, services: Mapping[str, ServicePlan]
) -> Iterator[Line]:
    endpoints = len(profile.topology.interface_endpoints)
    zones = profile.topology.availability_zones
    yield _line(
        prices,
        "Network",
        "interface endpoints, hours",
        "endpoint.hour",
        endpoints * zones * HOURS_PER_MONTH,
        f"{endpoints} endpoints in {zones} zones",
        "profile topology",
    )
    yield _line(
        prices,
        "Network",
        "interface endpoints, data",
        "endpoint.gb",
        _log_gigabytes(services),
        "what tasks log; DynamoDB and S3 have gateway endpoints, which cost nothing",
        "measurements logBytes",
    )


def nat_instead(profile: Profile, prices: Prices, services: Mapping[str, ServicePlan]) -> float:
    """What a NAT gateway in each zone would cost in place of the interface endpoints."""
    zones = profile.topology.availability_zones
    return charge(prices.prices["nat.hour"], "nat.hour", zones * HOURS_PER_MONTH) + charge(
        prices.prices["nat.gb"], "nat.gb", _log_gigabytes(services)
    )


def _log_gigabytes(services: Mapping[str, ServicePlan]) -> float:
    a_second = sum(plan.load.log_bytes_per_second for plan in services.values())
    return a_second * SECONDS_PER_MONTH / _GB


def _observability(
    profile: Profile, prices: Prices, services: Mapping[str, ServicePlan]
) -> Iterator[Line]:
    assumed = profile.assumptions
    rate = sum(plan.load.requests_per_second for plan in services.values())
    of_gateway = assumed.gateway_log_bytes.value * rate * SECONDS_PER_MONTH / _GB
    logged = _log_gigabytes(services) + of_gateway
    yield _line(
        prices,
        "Observability",
        "logs, written",
        "logs.ingestedGb",
        logged,
        "two access lines a request: the service's, and the gateway's",
        "measurements logBytes",
        "assumption gatewayLogBytes",
    )
    days = profile.topology.log_retention_days
    yield _line(
        prices,
        "Observability",
        "logs, kept",
        "logs.storedGbMonth",
        logged * days / DAYS_PER_MONTH,
        f"{days} days, uncompressed",
        "profile topology.logRetentionDays",
    )
    yield _line(
        prices,
        "Observability",
        "traces",
        "xray.trace",
        rate * SECONDS_PER_MONTH * assumed.traced_share.value,
        f"{assumed.traced_share.value:.1%} of all requests",
        "assumption tracedShare",
    )
    yield _line(
        prices,
        "Observability",
        "metrics",
        "cloudWatch.metricMonth",
        assumed.metrics_per_service.value * len(SERVICES),
        f"{assumed.metrics_per_service.value:g} a service",
        "assumption metricsPerService",
    )
    yield _line(
        prices,
        "Observability",
        "alarms",
        "cloudWatch.alarmMonth",
        assumed.alarms_per_service.value * len(SERVICES),
        f"{assumed.alarms_per_service.value:g} a service",
        "assumption alarmsPerService",
    )
    yield _line(
        prices,
        "Observability",
        "dashboards",
        "cloudWatch.dashboardMonth",
        assumed.dashboards.value,
        "one a service and one of all",
        "assumption dashboards",
    )


def _content(
    profile: Profile, prices: Prices, services: Mapping[str, ServicePlan]
) -> Iterator[Line]:
    kept = profile.stored
    stored = kept.courses * kept.contents_per_course * kept.mean_content_gigabytes
    yield _line(
        prices,
        "Content",
        "S3, stored",
        "s3.storedGbMonth",
        stored,
        f"{kept.courses * kept.contents_per_course:,.0f} contents of"
        f" {kept.mean_content_gigabytes:g} GB",
        "profile stored",
    )
    plays = plays_per_second(profile)
    yield _line(
        prices,
        "Content",
        "S3, requests",
        "s3.getRequest",
        plays * profile.playback.requests_per_play * SECONDS_PER_MONTH,
        f"{plays:,.2f} plays a second, {profile.playback.requests_per_play:g} ranges each",
        "profile playback",
    )
    played = (
        profile.learners.active_daily * profile.playback.gigabytes_per_learner_day * DAYS_PER_MONTH
    )
    answered = (
        sum(plan.load.response_bytes_per_second for plan in services.values())
        * SECONDS_PER_MONTH
        / _GB
    )
    # One bill: the tiers are those of what leaves AWS in all.
    price = prices.prices["transfer.outGb"]
    total = charge(price, "transfer.outGb", played + answered)
    share = played / (played + answered) if played + answered else 0.0
    for item, gigabytes, part, how, source in (
        ("played from S3", played, share, "what learners play", "profile playback"),
        ("answers of the APIs", answered, 1 - share, "bodies and headers", "measurements"),
    ):
        yield Line(
            "Content" if item.startswith("played") else "Front",
            f"data out: {item}",
            gigabytes,
            price.unit,
            total * part,
            how,
            ("price transfer.outGb", source),
        )


def plays_per_second(profile: Profile) -> float:
    """How often a signed URL is asked for, in the mean of a day."""
    rates = profile.requests_per_second()
    return rates.get("getContent", 0.0) + rates.get("getContent.cached", 0.0)


def _events(profile: Profile, prices: Prices) -> Iterator[Line]:
    changes = profile.requests_per_second().get("patchCourse.outline", 0.0) * SECONDS_PER_MONTH
    yield _line(
        prices,
        "Events",
        "pipe",
        "pipes.request",
        changes,
        "one for each changed outline of up to 64 KB",
        "profile load",
    )
    yield _line(prices, "Events", "topic", "sns.publish", changes, "the same", "profile load")
    # A poll of 10 s (PROGRESS_OUTLINE_WAIT_SECONDS) whether there is anything or not.
    polls = profile.consumer.tasks * SECONDS_PER_MONTH / 10
    yield _line(
        prices,
        "Events",
        "queue",
        "sqs.request",
        polls + 3 * changes,
        "a poll every 10 s of each consumer; send, receive and delete of each event",
        "profile consumer.tasks",
    )


def _people(profile: Profile, prices: Prices) -> Iterator[Line]:
    yield _line(
        prices,
        "Identity",
        "Cognito, active users",
        "cognito.activeUser",
        profile.learners.active_monthly,
        "everybody who signs in or refreshes a token in the month",
        "profile learners",
    )
    yield _line(
        prices,
        "Identity",
        "secrets",
        "secrets.secretMonth",
        profile.assumptions.secrets.value,
        "cursor secrets of each service",
        "assumption secrets",
    )


def _storage(profile: Profile, capacity: Capacity, prices: Prices) -> Iterator[Line]:
    """What the tables hold and its point-in-time recovery."""
    total = sum(stored_gigabytes(profile, capacity).values())
    for item, price in (
        ("stored rows", "dynamodb.storageGbMonth"),
        ("point-in-time recovery", "dynamodb.pointInTimeRecoveryGbMonth"),
    ):
        yield _line(
            prices,
            "Tables",
            item,
            price,
            total,
            "rows of all courses, contents and learners",
            "capacity rowBytes",
            "profile stored",
        )


_NEEDED = {
    "fargate.vcpuHour",
    "fargate.gbHour",
    "fargate.spotVcpuHour",
    "fargate.spotGbHour",
    "dynamodb.writeRequestUnit",
    "dynamodb.readRequestUnit",
    "dynamodb.writeCapacityUnitHour",
    "dynamodb.readCapacityUnitHour",
    "dynamodb.storageGbMonth",
    "dynamodb.pointInTimeRecoveryGbMonth",
    "apiGateway.restRequest",
    "loadBalancer.hour",
    "loadBalancer.lcuHour",
    "endpoint.hour",
    "endpoint.gb",
    "nat.hour",
    "nat.gb",
    "logs.ingestedGb",
    "logs.storedGbMonth",
    "xray.trace",
    "cloudWatch.metricMonth",
    "cloudWatch.alarmMonth",
    "cloudWatch.dashboardMonth",
    "s3.storedGbMonth",
    "s3.getRequest",
    "transfer.outGb",
    "pipes.request",
    "sns.publish",
    "sqs.request",
    "cognito.activeUser",
    "secrets.secretMonth",
}
