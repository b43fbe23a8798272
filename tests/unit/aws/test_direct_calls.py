"""Clients of one's own on our transport: they are botocore's otherwise, those of streams too."""

from __future__ import annotations

import json
from typing import Any

import aioboto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, NoCredentialsError

from libs.aws import DependencyUnavailable, direct_calls
from tests.unit.aws.fault_server import Behaviour, FaultServer, answer, error

ARN = "arn:aws:dynamodb:eu-west-1:000000000000:table/courses/stream/2026-03-04T12:00:00.000"
IMAGE = {
    "courseId": {"S": "c1"},
    "cover": {"B": "AAEC"},
    "sizes": {"NS": ["1", "12345678901234567890123456789012345678"]},
    "icons": {"BS": ["AA==", "Ag=="]},
    "more": {"M": {"none": {"NULL": True}, "list": {"L": [{"BOOL": False}, {"N": "-0.5"}]}}},
}
RECORDS = {
    "Records": [
        {
            "eventID": "1",
            "eventName": "MODIFY",
            "awsRegion": "eu-west-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1772625600.0,
                "Keys": {"courseId": {"S": "c1"}},
                "OldImage": IMAGE,
                "NewImage": None,
                "SequenceNumber": "100000000000000000001",
                "SizeBytes": 80,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        },
        {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "100000000000000000002"}},
    ],
    "NextShardIterator": "next",
    "unknown": 1,
}
GET_RECORDS: tuple[str, dict[str, Any]] = (
    "get_records",
    {"ShardIterator": "iterator", "Limit": 100},
)
CALLS: list[tuple[tuple[str, dict[str, Any]], Behaviour]] = [
    (GET_RECORDS, answer(RECORDS)),
    (GET_RECORDS, answer({"Records": []})),
    (
        ("describe_stream", {"StreamArn": ARN, "ExclusiveStartShardId": "shardId-00000000000000000001"}),
        answer({
            "StreamDescription": {
                "StreamArn": ARN,
                "CreationRequestDateTime": 1772625600,
                "Shards": [{
                    "ShardId": "shardId-00000000000000000002",
                    "SequenceNumberRange": {"StartingSequenceNumber": "1"},
                    "ParentShardId": "shardId-00000000000000000001",
                }],
            },
        }),
    ),
    (
        ("get_shard_iterator", {
            "StreamArn": ARN, "ShardId": "shardId-00000000000000000002",
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "100000000000000000001",
        }),
        answer({"ShardIterator": "iterator"}),
    ),
    *(
        (GET_RECORDS, error(code))
        for code in (
            "ExpiredIteratorException", "TrimmedDataAccessException", "ResourceNotFoundException",
            "LimitExceededException", "AccessDeniedException", "NobodyKnowsThis",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CALLS)))
async def test_streams_are_read_as_by_botocore(aws: FaultServer, number: int) -> None:
    (method, params), behaviour = CALLS[number]
    aws.then(behaviour, behaviour)
    session = aioboto3.Session(region_name="eu-west-1")
    config = Config(retries={"total_max_attempts": 1, "mode": "standard"})
    found = []
    async with session.client("dynamodbstreams", config=config) as client:
        found.append(await _outcome(client, method, params))
        async with direct_calls(session, client):
            found.append(await _outcome(client, method, params))
    assert found[0] == found[1]
    first, second = aws.requests
    assert (first.body, first.operation) == (second.body, second.operation)
    credential = "Credential=AKIAFAULTSERVER/"
    for request in aws.requests:
        assert credential in request.headers["Authorization"]
        assert "/eu-west-1/dynamodb/aws4_request" in request.headers["Authorization"]


async def _outcome(client: Any, method: str, params: dict[str, Any]) -> Any:
    try:
        found = await getattr(client, method)(**params)
    except ClientError as failed:
        found = {**failed.response, "type": type(failed).__name__, "text": str(failed)}
    found["ResponseMetadata"] = {
        name: found["ResponseMetadata"][name] for name in ("RequestId", "HTTPStatusCode")
    }
    return found


async def test_one_set_of_credentials_serves_clients_of_both_kinds(aws: FaultServer) -> None:
    session = aioboto3.Session(region_name="eu-west-1")
    aws.then(answer({"Item": IMAGE}), answer(RECORDS))
    async with (
        session.client("dynamodb") as dynamodb,
        session.client("dynamodbstreams") as streams,
        direct_calls(session, dynamodb, streams),
    ):
        item = (await dynamodb.get_item(TableName="courses", Key={"courseId": {"S": "c1"}}))["Item"]
        records = (await streams.get_records(ShardIterator="iterator"))["Records"]
    assert (
        item["cover"]["B"] == records[0]["dynamodb"]["OldImage"]["cover"]["B"] == bytes([0, 1, 2])
    )
    # They left by our transport, which tells each attempt from another, and reads no more than that.
    assert [json.loads(request.body) for request in aws.requests] == [
        {"TableName": "courses", "Key": {"courseId": {"S": "c1"}}},
        {"ShardIterator": "iterator"},
    ]
    assert [request.headers["amz-sdk-request"] for request in aws.requests] == ["attempt=1"] * 2


async def test_without_credentials_nothing_opens(
    aws: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    session = aioboto3.Session(region_name="eu-west-1")
    async with session.client("dynamodbstreams") as client:
        with pytest.raises(DependencyUnavailable) as raised:
            async with direct_calls(session, client):
                raise AssertionError("nothing signs")
    assert isinstance(raised.value.__cause__, NoCredentialsError)
    assert aws.requests == []
