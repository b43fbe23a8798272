"""Plans, quotas and courses as tables for people, as Markdown, and as JSON.

Owns the words and the rounding. The Markdown tables are those of docs/scale.md, which a test holds
against them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.rightsizing._inputs import Assumption, Prices, Quotas
from deploy.rightsizing._plan import Inputs, Plan, QuotaUse
from deploy.rightsizing._spike import Course

Row = Sequence[str]


@dataclass(frozen=True)
class Section:
    """A titled table. `right`: columns of numbers."""

    title: str
    head: Row
    rows: Sequence[Row]
    right: frozenset[int] = frozenset()


def as_text(sections: Iterable[Section]) -> str:
    """For a terminal."""
    parts = []
    for section in sections:
        table = [section.head, *section.rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(section.head))]
        lines = [section.title, ""]
        for row in table:
            cells = [
                cell.rjust(width) if column in section.right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  " + "  ".join(cells).rstrip())
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def as_markdown(sections: Iterable[Section]) -> str:
    """For a document."""
    parts = []
    for section in sections:
        lines = [f"**{section.title}**", "", _markdown_row(section.head)]
        lines.append(
            _markdown_row(
                [
                    "---:" if column in section.right else "---"
                    for column in range(len(section.head))
                ]
            ).replace(" ", "")
        )
        lines += [_markdown_row(row) for row in section.rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _markdown_row(cells: Row) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# --- plans ----------------------------------------------------------------------------------------


def plan_sections(plan: Plan, inputs: Inputs) -> list[Section]:
    """Everything of a plan."""
    return [
        load_section(plan),
        services_section(plan),
        scaling_section(plan),
        tables_section(plan),
        keys_section(plan, inputs.quotas),
        bill_section(plan),
        assumptions_section(inputs),
    ]


def load_section(plan: Plan) -> Section:
    """What the plan is for."""
    who = plan.profile.learners
    rows = [
        ["registered learners", _number(who.registered)],
        ["active in a day", _number(who.active_daily)],
        ["requests a second, mean of a day", _number(plan.requests_per_second)],
        ["requests a second, busiest hour", _number(plan.peak_requests_per_second)],
        ["a month, USD", _usd(plan.usd)],
        ["a month and registered learner, USD", _small_usd(plan.usd, who.registered)],
    ]
    return Section(plan.profile.name, ["of", "is"], rows, frozenset({1}))


def services_section(plan: Plan) -> Section:
    """Task sizes and counts."""
    rows = []
    for name, one in plan.services.items():
        peak = one.peak
        rows.append(
            [
                name,
                f"{one.load.requests_per_second * plan.profile.load.peak_factor:,.1f}",
                f"{one.load.cpu_seconds_per_request * 1000:.2f}",
                f"{one.size.vcpus:g} vCPU, {one.size.gibibytes:g} GB",
                f"{one.needed_mebibytes:.0f}",
                _number(one.tasks_at_mean),
                _number(peak.all),
                f"{peak.spot / peak.all:.0%}" if peak.spot else "none",
                f"{one.p99_milliseconds:.0f}",
            ]
        )
    rows.append(
        [
            "consumer of outlines",
            "",
            "",
            f"{plan.consumer.vcpus:g} vCPU, {plan.consumer.gibibytes:g} GB",
            "",
            str(plan.profile.consumer.tasks),
            str(plan.profile.consumer.tasks),
            "none",
            "",
        ]
    )
    head = [
        "service",
        "requests/s, busiest hour",
        "CPU ms a request",
        "task",
        "MiB needed",
        "tasks, mean load",
        "tasks, busiest hour",
        "on Spot then",
        "p99 of its own part, ms",
    ]
    return Section("Tasks", head, rows, frozenset({1, 2, 4, 5, 6, 7, 8}))


def scaling_section(plan: Plan) -> Section:
    """Autoscaling policies."""
    rows = [
        [
            name,
            one.scaling.metric,
            f"{one.scaling.target:,.0f}",
            f"{one.target_utilisation:.0%}",
            str(one.scaling.minimum),
            _number(one.scaling.maximum),
        ]
        for name, one in plan.services.items()
    ]
    head = ["service", "metric", "target", "process busy then", "minimum", "maximum"]
    return Section("Autoscaling", head, rows, frozenset({2, 3, 4, 5}))


def tables_section(plan: Plan) -> Section:
    """Capacity modes."""
    rows = [
        [
            table.table,
            _number(table.mean_reads),
            _number(max(table.reads)),
            _number(table.mean_writes),
            _number(max(table.writes)),
            _usd(table.on_demand_usd),
            _usd(table.provisioned_usd),
            f"{table.read_utilisation:.0%}, {table.write_utilisation:.0%}",
            table.mode,
            table.because,
        ]
        for table in plan.tables.values()
    ]
    head = [
        "table",
        "read units/s",
        "busiest hour",
        "write units/s",
        "busiest hour",
        "on demand, USD",
        "provisioned, USD",
        "used of provisioned",
        "mode",
        "because",
    ]
    prices = plan.unit_prices
    title = (
        "Tables (provisioned capacity is cheaper from"
        f" {prices.break_even_read:.1%} use of its reads and {prices.break_even_write:.1%} of its"
        " writes on)"
    )
    return Section(title, head, rows, frozenset(range(1, 8)))


def keys_section(plan: Plan, quotas: Quotas) -> Section:
    """Hot keys, against what a partition can take."""

    def share(units: float, kind: str) -> str:
        limit = quotas.quotas[f"dynamodb.partition{kind.capitalize()}Units"].limit
        return "unknown" if limit is None else f"{units / limit:.1%}"

    rows = [
        [
            key.key,
            f"{_number(key.units_per_second)} {key.kind}",
            share(key.units_per_second, key.kind),
            key.how,
        ]
        for key in plan.hot_keys
    ]
    head = ["key", "units/s, busiest hour", "of what a partition takes", "how"]
    return Section("Hottest keys", head, rows, frozenset({1, 2}))


def bill_section(plan: Plan) -> Section:
    """Every line of the bill."""
    rows = [
        [
            line.group,
            line.item,
            f"{_number(line.quantity)} {line.unit}",
            _usd(line.usd),
            line.how,
            ", ".join(line.sources),
        ]
        for line in plan.lines
    ]
    rows.append(["", "all of it", "", _usd(plan.usd), "", ""])
    rows.append(
        [
            "",
            "not in it: NAT gateways in place of the endpoints",
            "",
            _usd(plan.nat_instead_usd),
            "",
            "price nat.hour, price nat.gb",
        ]
    )
    head = ["group", "item", "a month", "USD", "how", "from"]
    return Section("A month's bill", head, rows, frozenset({2, 3}))


def largest_lines_section(plan: Plan, count: int) -> Section:
    """The lines that most of the bill is."""
    lines = sorted(plan.lines, key=lambda line: (-line.usd, line.item))[:count]
    rows = [
        [
            line.item,
            f"{_number(line.quantity)} {line.unit}",
            _usd(line.usd),
            f"{line.usd / plan.usd:.1%}",
        ]
        for line in lines
    ]
    rows.append(["all of it", "", _usd(plan.usd), ""])
    head = ["line", "a month", "USD a month", "of all"]
    return Section(
        f"The largest lines of the bill at {_number(plan.profile.learners.registered)} learners",
        head,
        rows,
        frozenset({1, 2, 3}),
    )


def growth_section(plans: Sequence[Plan]) -> Section:
    """Several numbers of learners side by side."""
    rows = []
    for plan in plans:
        busiest = {name: one.peak.all for name, one in plan.services.items()}
        rows.append(
            [
                _number(plan.profile.learners.registered),
                _number(plan.peak_requests_per_second),
                _number(sum(busiest.values())),
                _number(max(max(table.reads) for table in plan.tables.values())),
                _number(max(max(table.writes) for table in plan.tables.values())),
                _usd(plan.usd),
                _small_usd(plan.usd, plan.profile.learners.registered),
            ]
        )
    head = [
        "learners",
        "requests/s, busiest hour",
        "tasks then",
        "read units/s, busiest table",
        "write units/s, busiest table",
        "USD a month",
        "USD a month and learner",
    ]
    return Section("From here to there", head, rows, frozenset(range(7)))


def _met_by(use: QuotaUse) -> str:
    if use.learners is None:
        return ""
    return _number(use.learners) if use.learners > 0 else "any"


def quotas_section(uses: Sequence[QuotaUse], plan: Plan) -> Section:
    """What is met first, with its page."""
    rows = [
        [
            use.name,
            "unknown" if use.limit is None else _number(use.limit),
            _number(use.demand),
            "" if use.share is None else f"{use.share:,.2f}",
            _met_by(use),
            "yes" if use.adjustable else "no",
            f"{use.how}; {use.scope}",
            f"{use.page}, read {use.read}",
        ]
        for use in uses
    ]
    head = [
        "quota",
        "limit",
        f"needed at {_number(plan.profile.learners.registered)} learners",
        "of the limit",
        "met at so many learners",
        "raised on request",
        "what needs it",
        "from",
    ]
    return Section("What is met first", head, rows, frozenset({1, 2, 3, 4}))


def assumptions_section(inputs: Inputs) -> Section:
    """Every number that nobody measured."""
    rows = [
        [name, f"{one.value:g}", one.because] for name, one in sorted(_assumptions(inputs).items())
    ]
    return Section("Assumptions", ["name", "value", "because"], rows, frozenset({1}))


def prices_sections(prices: Prices, quotas: Quotas) -> list[Section]:
    """Every price and quota, with its page."""
    price_rows = []
    for name, price in prices.prices.items():
        if price.usd is not None:
            cost = f"{price.usd:g}"
        elif price.tiers:
            cost = ", ".join(
                f"{tier.usd:g}" + (f" up to {tier.up_to:,.0f}" if tier.up_to else "")
                for tier in price.tiers
            )
        else:
            cost = f"REQUIRED: --price {name}=USD"
        unit = price.unit if price.per == 1 else f"{price.per:,.0f} x {price.unit}"
        price_rows.append([name, unit, cost, price.source.page, price.source.read.isoformat()])
    quota_rows = [
        [
            name,
            quota.unit,
            f"REQUIRED: --quota {name}=NUMBER" if quota.limit is None else f"{quota.limit:,.0f}",
            quota.source.page,
            quota.source.read.isoformat(),
        ]
        for name, quota in quotas.quotas.items()
    ]
    return [
        Section(
            f"Prices, {prices.region}, {prices.currency}",
            ["name", "for", "price", "from", "read"],
            price_rows,
        ),
        Section("Quotas", ["name", "of", "limit", "from", "read"], quota_rows),
    ]


# --- spikes ---------------------------------------------------------------------------------------


def courses_section(courses: Sequence[Course]) -> Section:
    """How each case went."""
    rows = []
    for course in courses:
        recovered = course.recovered_after
        rows.append(
            [
                course.name,
                f"{course.served:.1%}",
                f"{course.refused:.1%}",
                f"{course.failed:.1%}",
                "never" if recovered is None else f"{recovered / 60:.1f} min",
                str(course.most_tasks),
                str(course.most_dependency_tasks or ""),
                f"{course.longest_wait:.2f} s",
                f"{course.longest_lag / 60:.1f} min" if course.longest_lag else "",
            ]
        )
    spike = courses[0].spike
    head = [
        "what it depends on",
        "served",
        "refused at once",
        "waited in vain",
        "99 % served after",
        "most tasks",
        "most of the dependency's",
        "longest wait",
        "events late by",
    ]
    title = (
        f"From {_number(spike.base)} to {_number(spike.base * spike.factor)} requests a second"
        f" within {spike.rise:.0f} s, for {spike.lasts / 60:.0f} min"
    )
    return Section(title, head, rows, frozenset(range(1, 9)))


# --- JSON -----------------------------------------------------------------------------------------


def plan_document(plan: Plan, inputs: Inputs) -> dict[str, Any]:
    """A plan as `--json` prints it."""
    return {
        "profile": plan.profile.name,
        "learners": plan.profile.learners.model_dump(by_alias=True),
        "requestsPerSecond": plan.requests_per_second,
        "peakRequestsPerSecond": plan.peak_requests_per_second,
        "measuredOn": inputs.measurements.measured_on.isoformat(),
        "machine": inputs.measurements.machine.model_dump(by_alias=True),
        "pricesReadOn": inputs.prices.read_on.isoformat(),
        "services": {
            name: {
                "size": {"cpuUnits": one.size.cpu_units, "mebibytes": one.size.mebibytes},
                "cpuMillisecondsPerRequest": one.load.cpu_seconds_per_request * 1000,
                "requestsPerSecond": one.load.requests_per_second,
                "tasksAtMean": one.tasks_at_mean,
                "tasksAtPeak": one.peak.all,
                "spotTasksAtPeak": one.peak.spot,
                "scaling": dataclasses.asdict(one.scaling),
                "targetUtilisation": one.target_utilisation,
                "p99Milliseconds": one.p99_milliseconds,
            }
            for name, one in plan.services.items()
        },
        "tables": {
            table.table: {
                "mode": table.mode,
                "because": table.because,
                "readUnitsPerSecond": {"mean": table.mean_reads, "peak": max(table.reads)},
                "writeUnitsPerSecond": {"mean": table.mean_writes, "peak": max(table.writes)},
                "onDemandUsd": table.on_demand_usd,
                "provisionedUsd": table.provisioned_usd,
            }
            for table in plan.tables.values()
        },
        "breakEvenUtilisation": {
            "read": plan.unit_prices.break_even_read,
            "write": plan.unit_prices.break_even_write,
        },
        "hotKeys": [dataclasses.asdict(key) for key in plan.hot_keys],
        "bill": [dataclasses.asdict(line) for line in plan.lines],
        "usd": plan.usd,
        "natInsteadUsd": plan.nat_instead_usd,
        "assumptions": {
            name: one.model_dump(by_alias=True) for name, one in _assumptions(inputs).items()
        },
    }


def quotas_document(uses: Sequence[QuotaUse]) -> list[dict[str, Any]]:
    """Quotas as `--json` prints them."""
    return [{**dataclasses.asdict(use), "share": use.share} for use in uses]


def courses_document(courses: Sequence[Course]) -> list[dict[str, Any]]:
    """Courses as `--json` prints them."""
    return [
        {
            "name": course.name,
            "served": course.served,
            "refused": course.refused,
            "failed": course.failed,
            "recoveredAfterSeconds": course.recovered_after,
            "mostTasks": course.most_tasks,
            "mostDependencyTasks": course.most_dependency_tasks,
            "longestWaitSeconds": course.longest_wait,
            "longestLagSeconds": course.longest_lag,
        }
        for course in courses
    ]


def _assumptions(inputs: Inputs) -> Mapping[str, Assumption]:
    found: dict[str, Assumption] = {}
    assumed = inputs.profile.assumptions
    for name, field in type(assumed).model_fields.items():
        found[field.alias or name] = getattr(assumed, name)
    return found


def _number(value: float) -> str:
    if value < 1000 and value == int(value):
        return f"{value:.0f}"
    if value < 10:
        return f"{value:,.2f}"
    # Three digits that count: more would say that it is known better than it is.
    digits = 3 - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.0f}" if value >= 100 else f"{round(value, digits):,g}"


def _usd(value: float) -> str:
    return f"{value:,.2f}" if value < 1000 else _number(value)


def _small_usd(usd: float, count: float) -> str:
    return f"{usd / count:.4f}" if count else ""
