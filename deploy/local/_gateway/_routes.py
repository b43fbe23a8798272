"""Which service answers a path, by the path templates of the contracts.

Works on the raw path as the client sent it: nothing is decoded or normalised, so ``..`` and ``%2F``
are ordinary characters of a segment, and what a service makes of them is the service's to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_ANYTHING = None  # stands for a `{parameter}` segment


@dataclass(frozen=True)
class Route:
    """A path template (``/courses/{courseId}``) and the service whose contract has it."""

    service: str
    template: str


class RouteTable:
    """Finds the route of a raw path.

    A literal segment wins over a parameter, as in API Gateway. Templates that several services have
    (``/healthz``) are nobody's here: each service answers them at its own address.

    Args:
        templates: each service's path templates, from its ``openapi.yaml``.
    """

    def __init__(self, templates: Mapping[str, Iterable[str]]) -> None:
        owned = {service: frozenset(paths) for service, paths in templates.items()}
        owners = Counter(path for paths in owned.values() for path in paths)
        self.shared = frozenset(path for path, count in owners.items() if count > 1)
        routes = [
            (_segments(path), Route(service, path))
            for service, paths in owned.items()
            for path in paths - self.shared
        ]
        # Left to right, literals first: the first match is the most specific one.
        self._routes = sorted(routes, key=lambda entry: [part is _ANYTHING for part in entry[0]])

    def match(self, raw_path: str) -> Route | None:
        """The route of ``raw_path`` (without its query), or None."""
        segments = raw_path.split("/")
        for wanted, route in self._routes:
            if len(wanted) == len(segments) and all(
                (segment != "") if part is _ANYTHING else part == segment
                for part, segment in zip(wanted, segments, strict=True)
            ):
                return route
        return None


def _segments(template: str) -> list[str | None]:
    return [
        _ANYTHING if part.startswith("{") and part.endswith("}") else part
        for part in template.split("/")
    ]
