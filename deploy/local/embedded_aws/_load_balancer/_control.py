"""What the embedded AWS and its load balancer say to each other: a line of JSON each.

To it: the whole of what it is to do, with a number that grows. From it: the number that it has carried
out, and what it counted since the last time.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Target:
    """Where requests go."""

    address: str
    port: int


@dataclass(frozen=True)
class Listener:
    """An address and port that requests come in by, and who gets them.

    Args:
        name: says in the counts which listener it is.
        group: says in the counts which target group it is.
        idle_seconds: how long a target or a client may be silent.
    """

    name: str
    group: str
    address: str
    port: int
    targets: tuple[Target, ...]
    idle_seconds: float = 60.0


@dataclass(frozen=True)
class Routes:
    """All listeners there are from now on."""

    number: int
    listeners: tuple[Listener, ...]

    def line(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Routes:
        document = json.loads(line)
        return cls(
            document["number"],
            tuple(
                Listener(**{**one, "targets": tuple(Target(**t) for t in one["targets"])})
                for one in document["listeners"]
            ),
        )


@dataclass
class Counts:
    """What a listener counted, in CloudWatch's names (namespace AWS/ApplicationELB)."""

    requests: int = 0
    balancer_errors: int = 0  # HTTPCode_ELB_5XX_Count
    target_errors: int = 0  # HTTPCode_Target_5XX_Count
    connection_errors: int = 0  # TargetConnectionErrorCount


@dataclass(frozen=True)
class Report:
    """What the load balancer says.

    Args:
        done: the number of the routes that are in force.
        refused: by the listener's name, why it does not listen.
        counts: by the listener's name; only those that had requests.
    """

    done: int
    refused: dict[str, str] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)

    def line(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Report:
        document: dict[str, Any] = json.loads(line)
        return cls(
            document["done"],
            document["refused"],
            {name: Counts(**counts) for name, counts in document["counts"].items()},
        )
