"""What every IdempotencyStore promises, on the in-memory twin, MiniStack and moto alike."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from libs.aws import AwsSettings, DynamoDB, open_clients
from libs.idempotency import (
    MAX_ANSWER_BYTES,
    Answer,
    DynamoDBIdempotencyStore,
    IdempotencyStore,
    Record,
)
from libs.idempotency.testing import InMemoryIdempotencyStore
from libs.resilience import PipelineRegistry
from libs.tracing.testing import recording_tracer
from tests.backends import Backend, create_table

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "a" * 64

_numbers = itertools.count(1)

# As two services have it: one key attribute and a time to live of its own name; and two.
TABLES = {
    "hash": (["courseId"], "expiresAt"),
    "hash and range": (["pk", "sk"], "purgeAt"),
}


def record(token: str = "token", **changes: Any) -> Record:
    made = Record(
        fingerprint="f" * 64,
        resource_id="id-1",
        token=token,
        lease_until=NOW + timedelta(seconds=15),
        expires_at=NOW + timedelta(hours=24),
    )
    return replace(made, **changes)


@pytest.fixture(params=["memory", "ministack", "moto"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(TABLES))
async def store(
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> AsyncIterator[IdempotencyStore]:
    """An empty store of each kind, on each form of table."""
    if kind == "memory":
        yield InMemoryIdempotencyStore()
        return
    keys, ttl = TABLES[request.param]
    backend: Backend = request.getfixturevalue(f"{kind}_backend")
    async with dynamodb_client(backend, monkeypatch) as dynamodb:
        table = await create_table(backend, _table_json(tmp_path, keys, ttl), _name())
        yield DynamoDBIdempotencyStore(dynamodb, table, key_attributes=keys, ttl_attribute=ttl)


def _name() -> str:
    return f"Idempotency-contract-{next(_numbers)}"


def _table_json(folder: Path, keys: list[str], ttl: str) -> Path:
    path = folder / "table.json"
    document = {
        "TableName": "Keys",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": k, "AttributeType": "S"} for k in keys],
        "KeySchema": [
            {"AttributeName": key, "KeyType": kind}
            for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        "TimeToLive": {"AttributeName": ttl},
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@asynccontextmanager
async def dynamodb_client(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DynamoDB]:
    """The services' own client on a backend."""
    for name, value in backend.variables.items():
        monkeypatch.setenv(name, value)
    tracer, _ = recording_tracer()
    async with open_clients(
        AwsSettings(region=backend.region), registry=PipelineRegistry(), tracer=tracer
    ) as clients:
        yield clients.dynamodb


async def test_a_key_is_taken_once(store: IdempotencyStore) -> None:
    assert await store.insert(KEY, record("one"), now=NOW) is None
    assert await store.insert(KEY, record("two"), now=NOW) == record("one")
    assert await store.insert("b" * 64, record("two"), now=NOW) is None


async def test_of_concurrent_claims_one_is_kept_and_the_others_see_it(
    store: IdempotencyStore,
) -> None:
    found = await asyncio.gather(
        *(store.insert(KEY, record(f"t{n}", resource_id=f"id-{n}"), now=NOW) for n in range(6))
    )
    (winner,) = (n for n, seen in enumerate(found) if seen is None)
    kept = record(f"t{winner}", resource_id=f"id-{winner}")
    assert [seen for seen in found if seen is not None] == [kept] * 5


async def test_an_expired_key_is_free(store: IdempotencyStore) -> None:
    first = record("one", expires_at=NOW + timedelta(seconds=10))
    await store.insert(KEY, first, now=NOW)
    assert await store.insert(KEY, record("two"), now=NOW + timedelta(seconds=9.999)) == first
    assert await store.insert(KEY, record("two"), now=NOW + timedelta(seconds=10)) is None
    assert await store.insert(KEY, record("three"), now=NOW) == record("two")


async def test_only_the_claim_that_is_there_is_replaced(store: IdempotencyStore) -> None:
    assert await store.replace(KEY, record("two"), token="one") is False
    assert await store.insert(KEY, record("probe"), now=NOW) is None
    assert await store.replace(KEY, record("two"), token="one") is False
    assert await store.replace(KEY, record("two"), token="probe") is True
    assert await store.replace(KEY, record("three"), token="probe") is False
    assert await store.insert(KEY, record("late"), now=NOW) == record("two")


async def test_of_concurrent_takeovers_one_succeeds(store: IdempotencyStore) -> None:
    await store.insert(KEY, record("dead"), now=NOW)
    taken = await asyncio.gather(
        *(store.replace(KEY, record(f"t{n}"), token="dead") for n in range(6))
    )
    assert sorted(taken) == [False] * 5 + [True]


async def test_a_replacement_sent_twice_is_made_once(store: IdempotencyStore) -> None:
    """As an SDK does that lost the first answer."""
    await store.insert(KEY, record("dead"), now=NOW)
    taken = record("new", lease_until=NOW + timedelta(microseconds=1_999))
    assert await store.replace(KEY, taken, token="dead") is True
    assert await store.replace(KEY, taken, token="dead") is True


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_an_answer_comes_back_as_it_was(store: IdempotencyStore, status: int) -> None:
    answer = Answer(
        status,
        {"Location": "/courses/x", "ETag": '"v1"'},
        '{"title":"Ökologie 入門 🌍","n":1.50}'.encode(),
    )
    await store.insert(KEY, record(), now=NOW)
    done = record(lease_until=NOW, answer=answer)
    assert await store.replace(KEY, done, token="token") is True
    assert await store.insert(KEY, record("again"), now=NOW) == done


async def test_the_largest_answer_fits_even_where_nothing_can_be_compressed(
    store: IdempotencyStore,
) -> None:
    answer = Answer(201, {}, random.Random(1).randbytes(MAX_ANSWER_BYTES))
    await store.insert(KEY, record(), now=NOW)
    assert await store.replace(KEY, record(answer=answer), token="token") is True
    assert await store.insert(KEY, record("again"), now=NOW) == record(answer=answer)


class LostAnswers:
    """DynamoDB whose writes are sent twice, as by an SDK that lost the first answer."""

    def __init__(self, dynamodb: DynamoDB) -> None:
        self._dynamodb = dynamodb

    async def put_item(self, **params: Any) -> dict[str, Any]:
        await self._dynamodb.put_item(**params)
        return await self._dynamodb.put_item(**params)


@pytest.mark.parametrize("emulator", ["ministack", "moto"])
async def test_who_lost_the_answer_to_its_own_claim_recognises_it(
    emulator: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    backend: Backend = request.getfixturevalue(f"{emulator}_backend")
    async with dynamodb_client(backend, monkeypatch) as dynamodb:
        table = await create_table(backend, _table_json(tmp_path, ["pk"], "ttl"), _name())
        store = DynamoDBIdempotencyStore(
            cast(DynamoDB, LostAnswers(dynamodb)), table, key_attributes=["pk"], ttl_attribute="ttl"
        )
        assert await store.insert(KEY, record("mine"), now=NOW) == record("mine")
        assert await store.replace(KEY, record("next"), token="mine") is True


@pytest.mark.parametrize("emulator", ["ministack", "moto"])
async def test_a_row_is_a_digest_under_the_prefix_and_expires_by_itself(
    emulator: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    backend: Backend = request.getfixturevalue(f"{emulator}_backend")
    async with dynamodb_client(backend, monkeypatch) as dynamodb:
        table = await create_table(backend, _table_json(tmp_path, ["pk"], "ttl"), _name())
        store = DynamoDBIdempotencyStore(
            dynamodb, table, key_attributes=["pk"], ttl_attribute="ttl"
        )
        await store.insert(KEY, record(), now=NOW)
        (item,) = (await dynamodb.scan(TableName=table))["Items"]
    assert item["pk"] == {"S": f"idempotency#{KEY}"}
    assert item["ttl"] == {"N": str(int((NOW + timedelta(hours=24)).timestamp()))}
