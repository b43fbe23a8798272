"""Both emulators start, take a table from a table.json, and store an item."""

import json
from pathlib import Path

import pytest

from tests.backends import Backend, create_table

TABLE = {
    "TableName": "Things",
    "KeySchema": [{"AttributeName": "thingId", "KeyType": "HASH"}],
    "AttributeDefinitions": [
        {"AttributeName": "thingId", "AttributeType": "S"},
        {"AttributeName": "owner", "AttributeType": "S"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "byOwner",
            "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ],
    "BillingMode": "PAY_PER_REQUEST",
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    "TimeToLive": {"AttributeName": "expiresAt"},
}


@pytest.fixture()
def table_json(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(TABLE), encoding="utf-8")
    return path


@pytest.fixture(params=["ministack", "moto"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(f"{request.param}_backend")
    return found


async def test_a_table_of_a_table_json_stores_items(backend: Backend, table_json: Path) -> None:
    name = await create_table(backend, table_json, "ThingsStored")
    assert name == "ThingsStored"

    async with backend.client("dynamodb") as client:
        item = {"thingId": {"S": "a"}, "owner": {"S": "b"}}
        await client.put_item(TableName=name, Item=item)
        found = await client.get_item(TableName=name, Key={"thingId": {"S": "a"}})
        expiry = await client.describe_time_to_live(TableName=name)

    assert found["Item"] == item
    assert expiry["TimeToLiveDescription"]["AttributeName"] == "expiresAt"


async def test_making_a_table_again_changes_nothing(backend: Backend, table_json: Path) -> None:
    await create_table(backend, table_json, "ThingsTwice")
    async with backend.client("dynamodb") as client:
        await client.put_item(TableName="ThingsTwice", Item={"thingId": {"S": "a"}})
        await create_table(backend, table_json, "ThingsTwice")
        found = await client.get_item(TableName="ThingsTwice", Key={"thingId": {"S": "a"}})
    assert "Item" in found
