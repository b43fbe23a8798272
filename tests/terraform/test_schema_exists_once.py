"""The tables that Terraform makes and those that the local platform makes are the same, attribute by
attribute, as DynamoDB describes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._provision import BUCKET, _ensure_bucket
from deploy.local._tables import read_table
from tests.backends import Backend, create_table
from tests.terraform.platform_on_moto import SERVICES, Applied

pytestmark = pytest.mark.timeout(900)

# What is this one table's and not its schema's: names, moments, counts, and what production is given
# beside the schema.
_OWN = frozenset(
    {
        *("TableArn", "TableId", "TableName", "TableStatus", "CreationDateTime", "ItemCount"),
        *("TableSizeBytes", "LatestStreamArn", "LatestStreamLabel", "DeletionProtectionEnabled"),
        *("IndexArn", "IndexStatus", "IndexSizeBytes", "Backfilling", "SSEDescription"),
        *("WarmThroughput", "ProvisionedThroughput", "OnDemandThroughput", "TableClassSummary"),
    }
)


def schema(description: Mapping[str, Any]) -> Any:
    """A description without what is one table's own; lists whose order means nothing are sorted."""

    def kept(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: kept(one) for key, one in value.items() if key not in _OWN}
        if isinstance(value, list):
            return sorted((kept(one) for one in value), key=repr)
        return value

    found = kept(description)
    billing = found.pop("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    # A stream that is off is described, or not.
    stream = found.pop("StreamSpecification", {"StreamEnabled": False})
    return {
        **found,
        "BillingMode": billing,
        "Stream": stream.get("StreamViewType") if stream["StreamEnabled"] else None,
        # None are described, or not.
        "GlobalSecondaryIndexes": found.get("GlobalSecondaryIndexes", []),
        "LocalSecondaryIndexes": found.get("LocalSecondaryIndexes", []),
    }


async def described(backend: Backend, region: str, name: str) -> tuple[Any, Any]:
    """The table's schema, and by what its rows expire."""
    async with backend.client_in("dynamodb", region) as dynamodb:
        table = (await dynamodb.describe_table(TableName=name))["Table"]
        expiry = (await dynamodb.describe_time_to_live(TableName=name))["TimeToLiveDescription"]
    return schema(table), (expiry["TimeToLiveStatus"], expiry.get("AttributeName"))


@pytest.mark.parametrize("service", SERVICES)
async def test_terraform_and_the_local_platform_make_the_same_table(
    applied: Applied, ministack_backend: Backend, moto_backend: Backend, service: str
) -> None:
    path = Path("services") / service / "table.json"
    name = read_table(REPOSITORY_ROOT / path)["TableName"]
    by_terraform = await described(applied.backend, "eu-central-1", name)
    for backend in (moto_backend, ministack_backend):
        await create_table(backend, path, name)
        assert await described(backend, backend.region, name) == by_terraform


async def test_terraform_and_the_local_platform_make_the_same_bucket(
    applied: Applied, moto_backend: Backend
) -> None:
    """What browsers may do, and when the parts of an abandoned upload go."""
    origins = ["https://app.dev.lyceum.example"]

    async def rules(client: Any, bucket: str) -> tuple[Any, Any]:
        (cors,) = (await client.get_bucket_cors(Bucket=bucket))["CORSRules"]
        life = (await client.get_bucket_lifecycle_configuration(Bucket=bucket))["Rules"]
        (abandoned,) = (rule for rule in life if rule["ID"] == "abandoned-uploads")
        return {
            name: sorted(value) if isinstance(value, list) else value
            for name, value in cors.items()
        }, abandoned["AbortIncompleteMultipartUpload"]

    async with moto_backend.client("s3") as s3:
        await _ensure_bucket(s3, moto_backend.region, origins)
        locally = await rules(s3, BUCKET)
    async with applied.backend.client_in("s3", "eu-central-1") as s3:
        assert await rules(s3, "lyceum-dev-content") == locally
