"""The table in DynamoDB. Owns expressions, pages and what a refusal says; knows no module's items."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from libs.aws import ConditionFailed, DynamoDB, marshal_value
from tests.monolith.table import (
    BY_COURSE,
    BY_STATE,
    BY_UPDATE,
    PARTITION,
    WRITTEN_BY,
    Expected,
    Item,
    Key,
    NotAsExpectedError,
    Page,
    Put,
    Write,
)

_KEYS: Final = {
    BY_STATE: ("state", PARTITION),
    BY_UPDATE: ("state", "updatedAt"),
    BY_COURSE: ("course", None),
}


class DynamoDBTable:
    """A `Table` in DynamoDB."""

    def __init__(self, dynamodb: DynamoDB, name: str) -> None:
        self._dynamodb = dynamodb
        self._name = name

    async def get(self, key: Key) -> Item | None:
        answer = await self._dynamodb.get_item(
            TableName=self._name, Key=key.item(), ConsistentRead=True
        )
        item: Item | None = answer.get("Item")
        return item

    async def write(self, *writes: Write, token: str | None = None) -> None:
        actions = [self._action(write, token) for write in writes]
        try:
            if len(actions) == 1:
                await self._one(*actions[0], repeatable=token is not None)
            else:
                await self._dynamodb.transact_write_items(
                    TransactItems=[{kind: parameters} for kind, parameters in actions]
                )
        except ConditionFailed as failed:
            items = failed.items or (failed.item,)
            if token is not None and all(_is_of(item, token) for item in items):
                return  # the first answer was lost
            refused = [reason is not None for reason in failed.reasons] or [True]
            raise NotAsExpectedError(refused, items) from failed

    async def between(self, partition: str, lowest: str, highest: str, *, limit: int) -> Page:
        items: list[Item] = []
        start: Item | None = None
        while True:
            answer = await self._dynamodb.query(
                TableName=self._name,
                KeyConditionExpression="pk = :pk AND sk BETWEEN :lowest AND :highest",
                ExpressionAttributeValues={
                    ":pk": {"S": partition},
                    ":lowest": {"S": lowest},
                    ":highest": {"S": highest},
                },
                ConsistentRead=True,
                # One more tells whether there are more.
                Limit=limit + 1 - len(items),
                **({} if start is None else {"ExclusiveStartKey": start}),
            )
            items += answer["Items"]
            start = answer.get("LastEvaluatedKey")
            if not start or len(items) > limit:
                return Page(items[:limit], len(items) > limit)

    async def index(
        self, name: str, value: str, *, since: str | None = None
    ) -> AsyncIterator[Sequence[Item]]:
        partition, sort = _KEYS[name]
        names = {"#partition": partition}
        values = {":value": {"S": value}}
        condition = "#partition = :value"
        if since is not None:
            names["#sort"] = str(sort)
            values[":since"] = {"S": since}
            condition += " AND #sort >= :since"
        start: Item | None = None
        while True:
            answer = await self._dynamodb.query(
                TableName=self._name,
                IndexName=name,
                KeyConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                **({} if start is None else {"ExclusiveStartKey": start}),
            )
            yield answer["Items"]
            start = answer.get("LastEvaluatedKey")
            if not start:
                return

    def _action(self, write: Write, token: str | None) -> tuple[str, dict[str, Any]]:
        parameters: dict[str, Any] = {"TableName": self._name, **_condition(write.expected)}
        if isinstance(write, Put):
            item = write.item
            if token is not None:
                item = {**item, WRITTEN_BY: marshal_value(token)}
            return "Put", {**parameters, "Item": item}
        return "Delete", {**parameters, "Key": write.key.item()}

    async def _one(self, kind: str, parameters: dict[str, Any], *, repeatable: bool) -> None:
        if kind == "Put":
            await self._dynamodb.put_item(**parameters, repeatable=repeatable)
        else:
            await self._dynamodb.delete_item(**parameters, repeatable=repeatable)


def _is_of(item: Item | None, token: str) -> bool:
    return item is not None and item.get(WRITTEN_BY) == marshal_value(token)


def _condition(expected: Expected) -> dict[str, Any]:
    if not expected:
        return {}
    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    clauses: list[str] = []
    for number, (attribute, allowed) in enumerate(expected.items()):
        names[f"#e{number}"] = attribute
        alternatives = []
        for place, value in enumerate(allowed):
            if value is None:
                alternatives.append(f"attribute_not_exists(#e{number})")
            else:
                values[f":e{number}v{place}"] = value
                alternatives.append(f"#e{number} = :e{number}v{place}")
        clauses.append(f"({' OR '.join(alternatives)})")
    return {
        "ConditionExpression": " AND ".join(clauses),
        "ExpressionAttributeNames": names,
        **({"ExpressionAttributeValues": values} if values else {}),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
