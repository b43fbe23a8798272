"""Keys as rows with a time to live in a service's own table. Owns the row's form and conditions.

The table's own keys come from the service: every key attribute gets the prefix and a digest, so
that a row can be no course and no content. It needs the right to PutItem and no other.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from libs.aws import ConditionFailed, DynamoDB, marshal, unmarshal
from libs.idempotency._store import Answer, Record

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)


class DynamoDBIdempotencyStore:
    """An IdempotencyStore in `table`.

    `key_attributes`: those of the table's primary key. `ttl_attribute`: the table's, in seconds.
    DynamoDB deletes an expired row late, up to days; what counts is the time in the row.
    """

    def __init__(
        self,
        dynamodb: DynamoDB,
        table: str,
        *,
        key_attributes: Sequence[str],
        ttl_attribute: str,
        key_prefix: str = "idempotency#",
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._key_attributes = tuple(key_attributes)
        self._ttl_attribute = ttl_attribute
        self._key_prefix = key_prefix

    async def insert(self, key: str, record: Record, *, now: datetime) -> Record | None:
        try:
            await self._dynamodb.put_item(
                TableName=self._table,
                Item=self._item(key, record),
                ConditionExpression="attribute_not_exists(#key) OR #expires <= :now",
                ExpressionAttributeNames={
                    "#key": self._key_attributes[0],
                    "#expires": self._ttl_attribute,
                },
                ExpressionAttributeValues={":now": {"N": str(_seconds(now))}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            return self._record(failed.item or {})  # it is there: it was asked for
        return None

    async def replace(self, key: str, record: Record, *, token: str) -> bool:
        try:
            await self._dynamodb.put_item(
                TableName=self._table,
                Item=self._item(key, record),
                ConditionExpression="claimToken = :token",
                ExpressionAttributeValues={":token": {"S": token}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            # A client that lost the first answer sends again and meets the very row it brings.
            return failed.item is not None and self._record(failed.item) == self._kept(record)
        return True

    def _kept(self, record: Record) -> Record:
        """`record` as it comes back: times lose what is finer than is kept."""
        return self._record(self._item("", record))

    def _item(self, key: str, record: Record) -> dict[str, dict[str, Any]]:
        item: dict[str, object] = {
            **dict.fromkeys(self._key_attributes, self._key_prefix + key),
            "fingerprint": record.fingerprint,
            "resourceId": record.resource_id,
            "claimToken": record.token,
            "leaseUntil": (record.lease_until - _EPOCH) // _MILLISECOND,
            self._ttl_attribute: _seconds(record.expires_at),
        }
        if record.answer is not None:
            item["answer"] = {
                "status": record.answer.status,
                "headers": dict(record.answer.headers),
                "body": zlib.compress(record.answer.body),
            }
        return marshal(item)

    def _record(self, item: Mapping[str, Mapping[str, Any]]) -> Record:
        values = unmarshal(item)
        answer = values.get("answer")
        return Record(
            fingerprint=values["fingerprint"],
            resource_id=values["resourceId"],
            token=values["claimToken"],
            lease_until=_EPOCH + values["leaseUntil"] * _MILLISECOND,
            expires_at=_EPOCH + values[self._ttl_attribute] * _SECOND,
            answer=None
            if answer is None
            else Answer(answer["status"], answer["headers"], zlib.decompress(answer["body"])),
        )


def _seconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _SECOND
