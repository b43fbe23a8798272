"""Our transport against botocore's: the same calls, the same bytes, the same results."""

import pytest

from tests.unit.aws.generated_calls import generated_call
from tests.unit.aws.transport_conformance import compare

# All 10,000 are compared by the program that tests/unit/aws/transport_conformance.py is as well.
REQUESTS = 1_000


@pytest.mark.usefixtures("_sdk_environment")
async def test_the_same_calls_give_the_same_bytes_and_the_same_results() -> None:
    compared = await compare(0, REQUESTS)
    # Every operation and every kind of trouble was met, on both ways through our transport.
    assert len(compared.methods) == 12
    assert len(compared.kinds) == 14
    assert compared.short > REQUESTS / 10
    assert REQUESTS - compared.short > REQUESTS / 10


def test_a_call_is_the_same_whenever_it_is_made() -> None:
    assert [generated_call(number) for number in range(50)] == [
        generated_call(number) for number in range(50)
    ]
