"""What our session leaves out of the SDK's data changes no client of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aioboto3
import botocore
import pytest
from botocore.loaders import JSONFileLoader
from botocore.regions import EndpointResolver

from libs.aws import AwsSettings
from libs.aws._session import DataFileLoader, new_session
from libs.aws._settings import client_config

DATA = Path(botocore.__file__).parent / "data"
SERVICES = ("dynamodb", "s3", "sqs", "sts")
FILES = sorted(
    str(file).partition(".json")[0]
    for folder in (DATA, *(DATA / service for service in SERVICES))
    for file in folder.rglob("*.json*")
    if folder != DATA or file.parent == DATA
)


def test_every_data_file_reads_as_botocores_own_loader_reads_it() -> None:
    """In the same order too, which for some members has a meaning; of models without the prose."""
    assert len(FILES) > 20
    for file in FILES:
        if Path(file).name != "endpoints":
            ours, theirs = (kind().load_file(file) for kind in (DataFileLoader, JSONFileLoader))
            if Path(file).name == "service-2":
                for part in ("operations", "shapes"):
                    assert '"documentation": "' not in json.dumps(ours[part])
                    theirs[part] = without_prose(theirs[part])
            assert json.dumps(ours) == json.dumps(theirs), file


def without_prose(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: without_prose(inner)
            for name, inner in value.items()
            if name != "documentation" or not isinstance(inner, str)
        }
    return [without_prose(inner) for inner in value] if isinstance(value, list) else value


def test_a_file_that_is_not_there_is_none() -> None:
    assert DataFileLoader().load_file(str(DATA / "dynamodb" / "service-3")) is None


def test_the_endpoints_of_our_services_are_those_of_all_regions() -> None:
    def endpoints(loader: JSONFileLoader, service: str) -> list[Any]:
        resolver = EndpointResolver(loader.load_file(str(DATA / "endpoints")))
        return [
            (partition, region, resolver.construct_endpoint(service, region, partition))
            for partition in resolver.get_available_partitions()
            for region in regions[partition]
        ]

    whole = JSONFileLoader().load_file(str(DATA / "endpoints"))
    regions = {found["partition"]: [*found["regions"], "xx-new-1"] for found in whole["partitions"]}
    assert len(regions["aws"]) > 20
    for service in SERVICES:
        assert endpoints(DataFileLoader(), service) == endpoints(JSONFileLoader(), service)


@pytest.mark.parametrize("service", ["dynamodb", "s3", "sts"])
async def test_clients_are_those_of_aioboto3(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    config = client_config(AwsSettings(region="eu-west-1"))
    seen = []
    for session in (new_session("eu-west-1"), aioboto3.Session(region_name="eu-west-1")):
        async with session.client(service, config=config) as client:
            seen.append(
                (
                    client.meta.endpoint_url,
                    client.meta.region_name,
                    client.meta.partition,
                    sorted(client.meta.method_to_api_mapping),
                    client.meta.service_model.signature_version,
                )
            )
    assert seen[0] == seen[1]
