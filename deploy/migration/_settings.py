"""The settings of one migration: read from the command line once, then the same for everybody.

They are kept in the control table (`settings`) from `start` on: workers and operators that believed in
different leases or fences would not be safe of one another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Final

from deploy.migration._context import Settings
from deploy.migration._control import Control

KEY: Final = "settings"
LOCAL: Final = {"settle": 2.0, "lease": 10.0, "clock_skew": 5.0, "scan_page": 10_000}
"""On this machine a request that nobody waits for is over in milliseconds, not in minutes, and there is one
clock; what was seeded a minute before the start is not replicated beside being copied. For each page of a Scan the
emulator goes through the whole table, while nobody else is answered: few pages."""

SIGNATURE_SECONDS: Final = 300.0
"""For so long AWS takes a signed request."""

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "segments": (1, 1_000),
    "page": (1, 1_000),
    "scan_page": (1, 10_000),
    "batch": (1, 1_000),
    "concurrency": (1, 100),
    "poll": (0.02, 60),
    "look": (0.02, 60),
    "discover": (0.1, 600),
    "successor": (10, 3_600),
    "lease": (1, 600),
    "settle": (0, 3_600),
    "gate_lease": (0.05, 60),
    "longest_request": (0.1, 300),
    "fence": (1, 600),
    "most_unread": (60, 82_800),
    "clock_skew": (1, 43_200),
    "max_lag": (1, 36_000),
    "units_per_second": (1, 1_000_000),
    "max_lag_to_switch": (0, 600),
    "touched_to_switch": (0, 100_000),
}


def parse(given: Sequence[str], *, is_local: bool) -> tuple[Settings, list[str]]:
    """The settings that `NAME=VALUE` say, and everything that is wrong with what was said."""
    known = {field.name: field for field in fields(Settings)}
    values: dict[str, float | int] = {}
    problems: list[str] = []
    for one in given:
        name, _, text = one.partition("=")
        if name not in known:
            problems.append(f"--set {one!r}: there is no {name!r}; there are {', '.join(known)}")
            continue
        low, high = BOUNDS[name]
        is_count = isinstance(known[name].default, int)
        try:
            value = int(text) if is_count else float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            kind = "a whole number" if is_count else "a number"
            problems.append(f"--set {one!r}: is not {kind} from {low:g} to {high:g}")
        else:
            values[name] = value
    settings = replace(Settings(), **{**(LOCAL if is_local else {}), **values})  # type: ignore[arg-type]
    return settings, [*problems, *_contradictions(settings, is_local=is_local)]


def _contradictions(settings: Settings, *, is_local: bool) -> list[str]:
    problems = []
    if not is_local and settings.settle <= SIGNATURE_SECONDS:
        problems.append(
            f"--set settle={settings.settle:g}: AWS carries out a request up to"
            f" {SIGNATURE_SECONDS:g} s after it was signed; less is for --local alone"
        )
    if settings.lease >= SIGNATURE_SECONDS:
        problems.append(f"--set lease={settings.lease:g}: must be below {SIGNATURE_SECONDS:g}")
    if settings.fence <= settings.gate_lease + settings.longest_request:
        problems.append(
            f"--set fence={settings.fence:g}: must be longer than gate_lease and longest_request"
            f" together ({settings.gate_lease + settings.longest_request:g})"
        )
    return problems


async def kept(control: Control) -> Settings | None:
    """Those with which the migration was started."""
    row = await control.read(KEY)
    return None if row is None else Settings(**row.values)
