"""The in-memory twin of the DynamoDB store, for tests; it keeps the same promises."""

from __future__ import annotations

from datetime import datetime

from libs.idempotency._store import Record


class InMemoryIdempotencyStore:
    """An IdempotencyStore in a dictionary; nothing is awaited inside a method."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    async def insert(self, key: str, record: Record, *, now: datetime) -> Record | None:
        found = self.records.get(key)
        # Whole seconds, as a time to live in DynamoDB has them.
        if found is not None and int(found.expires_at.timestamp()) > int(now.timestamp()):
            return found
        self.records[key] = record
        return None

    async def replace(self, key: str, record: Record, *, token: str) -> bool:
        found = self.records.get(key)
        if found is None or token != found.token:
            return found == record
        self.records[key] = record
        return True
