"""The closed forms, against chains of Markov that are solved state by state."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.rightsizing._queueing import (
    erlang_b,
    erlang_c,
    mean_number,
    offered_at,
    response_quantile,
    waits_longer,
)

SERVERS = st.integers(1, 12)
UTILISATION = st.floats(0.01, 0.9)


def stationary(servers: int, offered: float, states: int) -> list[float]:
    """How probable each number of requests is: what comes in from below goes out from above."""
    weights = [1.0]
    for number in range(1, states):
        weights.append(weights[-1] * offered / min(number, servers))
    total = sum(weights)
    return [weight / total for weight in weights]


@given(SERVERS, UTILISATION)
@settings(deadline=None)
def test_erlang_b_is_the_last_state_of_a_system_where_none_waits(
    servers: int, utilisation: float
) -> None:
    chain = stationary(servers, servers * utilisation, servers + 1)
    assert erlang_b(servers, servers * utilisation) == pytest.approx(chain[-1])


@given(SERVERS, UTILISATION)
@settings(deadline=None)
def test_erlang_c_is_how_often_all_servers_are_busy(servers: int, utilisation: float) -> None:
    chain = stationary(servers, servers * utilisation, 600)
    assert erlang_c(servers, servers * utilisation) == pytest.approx(sum(chain[servers:]), rel=1e-6)


@given(SERVERS, UTILISATION)
@settings(deadline=None)
def test_the_mean_number_is_that_of_the_chain(servers: int, utilisation: float) -> None:
    chain = stationary(servers, servers * utilisation, 600)
    mean = sum(number * share for number, share in enumerate(chain))
    assert mean_number(servers, servers * utilisation) == pytest.approx(mean, rel=1e-6)


@given(UTILISATION)
@settings(deadline=None)
def test_one_server(utilisation: float) -> None:
    """M/M/1, which every textbook has."""
    assert erlang_c(1, utilisation) == pytest.approx(utilisation)
    assert mean_number(1, utilisation) == pytest.approx(utilisation / (1 - utilisation))
    # Little's law: the mean of an exponential time, whose 99 % are ln 100 of it away.
    response = mean_number(1, utilisation) / utilisation * 0.01
    assert response_quantile(utilisation, 0.01, 0.99) == pytest.approx(response * math.log(100))


@given(SERVERS, UTILISATION)
@settings(deadline=None)
def test_the_load_is_found_again_from_the_number(servers: int, utilisation: float) -> None:
    number = mean_number(servers, servers * utilisation)
    assert offered_at(servers, number) == pytest.approx(servers * utilisation, rel=1e-6)


def test_what_is_known_of_ten_servers() -> None:
    """Kleinrock's and every table's values: ten servers, eight of them busy in the mean."""
    assert erlang_b(10, 8) == pytest.approx(0.1217, abs=1e-4)
    assert erlang_c(10, 8) == pytest.approx(0.4092, abs=1e-4)


@pytest.mark.parametrize("servers", [1, 7])
def test_in_saturation_everybody_waits_for_ever(servers: int) -> None:
    assert erlang_c(servers, servers) == 1
    assert mean_number(servers, servers + 1.0) == math.inf
    assert waits_longer(servers, servers, 1.0, 1e9) == 1
    assert response_quantile(1.0, 1.0, 0.5) == math.inf
    assert offered_at(servers, 1e9) == pytest.approx(servers)


@given(SERVERS, UTILISATION, st.floats(0, 10))
@settings(deadline=None)
def test_fewer_wait_longer(servers: int, utilisation: float, seconds: float) -> None:
    offered = servers * utilisation
    longer = waits_longer(servers, offered, 1.0, seconds)
    assert 0 <= longer <= erlang_c(servers, offered)
    assert waits_longer(servers, offered, 1.0, seconds + 1) <= longer


def test_nobody_is_there_without_load() -> None:
    assert mean_number(3, 0) == 0
    assert offered_at(3, 0) == 0
