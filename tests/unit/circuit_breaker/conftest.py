"""The clock and the dependency of the breaker's tests."""

import pytest

from libs.circuit_breaker.testing import ManualClock
from tests.unit.circuit_breaker.dependency import Dependency


@pytest.fixture()
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture()
def dependency() -> Dependency:
    return Dependency()
