"""A service's table as its `table.json` describes it, made in DynamoDB.

The file holds exactly CreateTable's parameters plus `TimeToLive`; this module knows no table.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


class TableMismatchError(Exception):
    """A table of this name exists with other keys, indexes or stream than its table.json says."""


def read_table(path: Path) -> dict[str, Any]:
    """The content of a `table.json`."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


async def ensure_table(client: "DynamoDBClient", table: Mapping[str, Any], name: str) -> bool:
    """Make the table `name` where it does not exist, wait until it is active, and set its expiry.

    Returns whether it was made. A stream that is missing is added; raises TableMismatchError where it
    is there but different otherwise: a schema is never changed in place.
    """
    parameters = {key: value for key, value in table.items() if key != "TimeToLive"}
    parameters["TableName"] = name
    created = True
    try:
        await client.create_table(**parameters)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUseException":
            raise
        created = False
    # A local table is active within milliseconds; the waiter's own default is to look every 20 s.
    await client.get_waiter("table_exists").wait(
        TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    if not created:
        await _add_stream(client, table, name)
        await _compare(client, table, name)
    await _ensure_expiry(client, table, name)
    return created


async def _add_stream(client: "DynamoDBClient", table: Mapping[str, Any], name: str) -> None:
    actual: Mapping[str, Any] = (await client.describe_table(TableName=name))["Table"]
    if _schema(table)["stream"] is not None and _schema(actual)["stream"] is None:
        await client.update_table(TableName=name, StreamSpecification=table["StreamSpecification"])


async def _compare(client: "DynamoDBClient", table: Mapping[str, Any], name: str) -> None:
    actual: Mapping[str, Any] = (await client.describe_table(TableName=name))["Table"]
    if _schema(actual) != _schema(table):
        raise TableMismatchError(
            f"the table {name} is not as its table.json says: {_schema(actual)}, not {_schema(table)}"
        )


def _schema(table: Mapping[str, Any]) -> dict[str, object]:
    stream = table.get("StreamSpecification") or {}
    return {
        "keys": _pairs(table["KeySchema"], "KeyType"),
        "attributes": _pairs(table["AttributeDefinitions"], "AttributeType"),
        "indexes": {
            index["IndexName"]: (_pairs(index["KeySchema"], "KeyType"), _projection(index))
            for index in table.get("GlobalSecondaryIndexes", ())
        },
        "stream": stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
    }


def _pairs(entries: list[Mapping[str, str]], value: str) -> dict[str, str]:
    return {entry["AttributeName"]: entry[value] for entry in entries}


def _projection(index: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    projection = index["Projection"]
    return projection["ProjectionType"], tuple(sorted(projection.get("NonKeyAttributes", ())))


async def _ensure_expiry(client: "DynamoDBClient", table: Mapping[str, Any], name: str) -> None:
    expiry = table.get("TimeToLive")
    if expiry is None:
        return
    current = await client.describe_time_to_live(TableName=name)
    if current["TimeToLiveDescription"].get("TimeToLiveStatus") in {"ENABLED", "ENABLING"}:
        return
    await client.update_time_to_live(
        TableName=name,
        TimeToLiveSpecification={"AttributeName": expiry["AttributeName"], "Enabled": True},
    )
