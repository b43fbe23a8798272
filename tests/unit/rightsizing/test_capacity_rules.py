"""How the program that writes capacity.json counts: DynamoDB's published rules, on calls of a fake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from libs.aws import ConditionFailed, DynamoDB
from services.course_catalog.storage.items import course_item, item_size
from tests.bench.capacity_units import item_bytes
from tests.bench.consumed_capacity import Meter
from tests.bench.typical_traffic import typical_course

SMALL = {"id": {"S": "x" * 98}}  # 100 bytes
LARGE = {"id": {"S": "x" * 4998}}  # 5,000 bytes


class FakeDynamoDB:
    """Answers what it was given."""

    def __init__(self, answer: Mapping[str, Any] | Exception) -> None:
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        async def call(**params: Any) -> Mapping[str, Any]:
            if isinstance(self._answer, Exception):
                raise self._answer
            return self._answer

        return call


def meter(answer: Mapping[str, Any] | Exception) -> Meter:
    return Meter(cast(DynamoDB, FakeDynamoDB(answer)))


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"ab": {"S": "é"}}, 2 + 2),
        ({"n": {"N": "1234"}}, 1 + 4),
        ({"b": {"BOOL": True}}, 1 + 1),
        ({"b": {"B": b"abc"}}, 1 + 3),
        ({"s": {"SS": ["ab", "c"]}}, 1 + 3),
        ({"l": {"L": [{"S": "ab"}, {"NULL": True}]}}, 1 + 3 + (1 + 2) + (1 + 1)),
        ({"m": {"M": {"k": {"S": "ab"}}}}, 1 + 3 + 1 + (1 + 2)),
    ],
)
def test_the_bytes_of_an_item(item: Mapping[str, Mapping[str, Any]], size: int) -> None:
    assert item_bytes(item) == size


def test_they_are_those_that_the_catalog_counts() -> None:
    item = course_item(typical_course(1))
    assert item_bytes(item) == item_size(item) > 10_000


@pytest.mark.parametrize(
    ("item", "consistent", "units"),
    [(SMALL, True, 1.0), (SMALL, False, 0.5), (LARGE, True, 2.0), (LARGE, False, 1.0)],
)
async def test_a_read_item(item: Mapping[str, Any], consistent: bool, units: float) -> None:
    counted = meter({"Item": item})
    await counted.get_item(TableName="t", Key={}, ConsistentRead=consistent)
    assert counted.take().per(1)["read"] == {"table": units}


async def test_an_item_that_is_not_there_costs_as_a_small_one() -> None:
    counted = meter({})
    await counted.get_item(TableName="t", Key={}, ConsistentRead=True)
    assert counted.take().read == {"table": 1.0}


async def test_a_query_is_rounded_up_once_and_a_batch_item_by_item() -> None:
    """Fifty small rows are 5,000 bytes: two steps of 4 KB together, one each apart."""
    counted = meter({"Items": [SMALL] * 50})
    await counted.query(TableName="t", IndexName="byStatus", ConsistentRead=False)
    assert counted.take().read == {"byStatus": 1.0}
    counted = meter({"Responses": {"t": [SMALL] * 48}})
    await counted.batch_get_item(RequestItems={"t": {"Keys": [{}] * 50, "ConsistentRead": True}})
    assert counted.take().read == {"table": 50.0}


async def test_a_write_by_what_is_reported() -> None:
    reported = {
        "TableName": "t",
        "CapacityUnits": 5.0,
        "Table": {"CapacityUnits": 2.0},
        "GlobalSecondaryIndexes": {"byStatus": {"CapacityUnits": 3.0}},
    }
    counted = meter({"ConsumedCapacity": reported})
    await counted.put_item(TableName="t", Item={})
    assert counted.take().write == {"table": 2.0, "byStatus": 3.0}


async def test_a_failed_condition_costs_what_the_stored_row_is() -> None:
    counted = meter(ConditionFailed(item=LARGE))
    with pytest.raises(ConditionFailed):
        await counted.put_item(TableName="t", Item={})
    assert counted.take().write == {"table": 5.0}


async def test_what_was_told_is_forgotten() -> None:
    counted = meter({"Item": SMALL})
    await counted.get_item(TableName="t", Key={})
    assert counted.take().calls == 1
    assert counted.take().per(1) == {"calls": 0, "read": {}, "write": {}}
