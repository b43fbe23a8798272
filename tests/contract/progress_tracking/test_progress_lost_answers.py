"""A write whose answer is lost is made again by the client, and twice is the same as once."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from botocore.exceptions import ConnectionClosedError

from libs.aws import DynamoDB
from libs.resilience import RetryBudgetPolicy
from services.progress_tracking.domain.progress import ItemUpdate
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from services.progress_tracking.storage.memory import MemoryProgressRepository
from tests.backends import Backend
from tests.contract.progress_tracking.table import dynamodb_on, new_table
from tests.unit.progress_tracking.updates import NOW, OUTLINE, heartbeat, minutes


def lose_answers(dynamodb: DynamoDB) -> list[str]:
    """Let the first answer to every update be lost below the client's policies: the table has done
    it, the connection breaks. Gives the keys of those, growing."""
    update = dynamodb._client.update_item
    sent: dict[str, itertools.count[int]] = {}
    lost: list[str] = []

    async def lossy(**params: object) -> object:
        answer = await update(**params)
        request = repr((params["Key"], params["ConditionExpression"]))
        if next(sent.setdefault(request, itertools.count())) == 0:
            lost.append(request)
            raise ConnectionClosedError(endpoint_url="http://dynamodb", request=None)
        return answer

    dynamodb._client.update_item = lossy
    return lost


@pytest.mark.parametrize("backend", ["ministack", "moto"])
async def test_every_answer_is_lost_once_and_nobody_notices(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    emulator: Backend = request.getfixturevalue(f"{backend}_backend")
    item = ItemUpdate("intro", minutes(2), completed=True, fraction=0.5, position_seconds=9.0)
    updates = [
        heartbeat(1, "tides", 41.5),
        replace(heartbeat(2, "tides", 50.0), items=(item,)),
        replace(heartbeat(3, "winds", 1.5), items=(replace(item, fraction=0.9),)),
    ]
    wanted = MemoryProgressRepository()
    table = await new_table(emulator)
    # Here every write is repeated; what a service allows itself of that is not what is shown.
    settings = replace(
        emulator.settings(), retry_budget=RetryBudgetPolicy(ratio=1.0, min_retries_per_second=100.0)
    )
    async with dynamodb_on(emulator, monkeypatch, settings) as dynamodb:
        lost = lose_answers(dynamodb)
        repository = DynamoDBProgressRepository(dynamodb, table=table)
        for update in updates:
            recorded = await repository.record("u", "c", update, outline=OUTLINE, at=NOW)
            expected = await wanted.record("u", "c", update, outline=OUTLINE, at=NOW)
            assert recorded.progress == expected.progress
        begun = await repository.start_attempt("u", "c", following=1, at=NOW)
        assert begun == await wanted.start_attempt("u", "c", following=1, at=NOW)
    assert len(lost) > len(updates)
