"""What is kept of a key, and what keeps it: a protocol with two conditional writes.

Every rule about keys is `_once`'s; a store only compares and replaces. Every implementation passes
the one contract suite in tests/contract/idempotency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

# An item of DynamoDB has at most 400 KB; the rest is for the row's other attributes.
MAX_ANSWER_BYTES = 300_000


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, headers, and a body that is JSON.

    `storable` False: it holds what must not be kept (a pre-signed URL), so a repetition makes it
    anew. `replayed` is set on what comes out of the store.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    storable: bool = True
    replayed: bool = False


@dataclass(frozen=True)
class Record:
    """A key that is taken.

    `fingerprint` is the request's; `resource_id` was given out before anything was created, so
    that whoever carries on finds what was created. `token` is the claim that may write next.
    Until `lease_until` the claim is being worked on; from `expires_at` on the key is free again.
    `answer` None: there is none yet, or it is not kept.
    """

    fingerprint: str
    resource_id: str
    token: str
    lease_until: datetime
    expires_at: datetime
    answer: Answer | None = None


class IdempotencyStore(Protocol):
    """Keeps a record a key. Both methods are atomic; they raise what the store's client raises."""

    async def insert(self, key: str, record: Record, *, now: datetime) -> Record | None:
        """Keep `record` where there is none, or one that has expired by `now`.

        Gives None when it was kept, else the record that is there: `record` itself where a client
        that lost the first answer sent it again.
        """
        ...

    async def replace(self, key: str, record: Record, *, token: str) -> bool:
        """Put `record` in the place of the one with `token`; whether that was there still."""
        ...
