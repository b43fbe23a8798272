"""What a client got for one request, and when.

Owns the record alone; who asks, and whether the answer is right, is others' business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Answer:
    """What a client got, and when. Status 0: the connection broke, or nothing came in time."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    seconds: float

    @property
    def json(self) -> Any:
        """The body as a document."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The stable word of a problem."""
        return str(self.json["code"]) if self.status >= 400 else None


class Asks(Protocol):
    """Sends requests of a demo user: once each, whatever comes of it."""

    async def ask(
        self,
        method: str,
        path: str,
        *,
        user: str | None = "learner-a",
        body: object = None,
        service: str | None = None,
    ) -> Answer:
        """One request, to `service` itself or to where everybody asks."""
