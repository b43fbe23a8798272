"""How exactly a distribution remembers, in how little memory."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.metrics import RELATIVE_ERROR
from libs.metrics._distribution import Buckets

# Nothing is closer than this to the edge of a bucket in a float of 53 bits.
EPSILON = 1e-12
LATENCIES = st.floats(min_value=0.001, max_value=1e12)


def filled(values: list[float]) -> Buckets:
    buckets = Buckets()
    for value in values:
        buckets.record(value)
    return buckets


def percentile(buckets: Buckets, share: float) -> float:
    """The nearest-rank percentile, from what is sent."""
    rank = max(1, math.ceil(share * buckets.count))
    for part in buckets.parts(100):
        for value, count in zip(part.values, part.counts, strict=True):
            rank -= count
            if rank <= 0:
                return value
    raise AssertionError("there are fewer values than were counted")


@given(values=st.lists(LATENCIES, min_size=1, max_size=300), share=st.floats(0, 1))
@example(values=[1.0], share=0.5)
@example(values=[1.0, 1.0624999999999998, 2.0], share=0.4)
def test_every_percentile_is_within_the_error_that_is_promised(
    values: list[float], share: float
) -> None:
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    found = percentile(filled(values), share)
    assert abs(found - exact) <= exact * (RELATIVE_ERROR + EPSILON)


def test_the_error_that_is_promised_is_the_one_there_is() -> None:
    """Just above a power of two it is reached: the bound is not a generous one."""
    buckets = filled([0.5, 1.0, 4.0])
    assert percentile(buckets, 0.5) == 1.0 * (1 + RELATIVE_ERROR)
    assert RELATIVE_ERROR == 1 / 32


@given(values=st.lists(st.floats(min_value=0, max_value=1e15), min_size=1, max_size=500))
def test_count_sum_minimum_and_maximum_are_exact(values: list[float]) -> None:
    parts = list(filled(values).parts(100))
    assert sum(part.count for part in parts) == len(values)
    assert min(part.minimum for part in parts) == min(values)
    assert max(part.maximum for part in parts) == max(values)
    assert sum(part.total for part in parts) == pytest.approx(math.fsum(values), rel=1e-9)


@given(values=st.lists(st.floats(min_value=0, max_value=1e15), min_size=1, max_size=500))
def test_each_part_is_consistent_in_itself(values: list[float]) -> None:
    for part in filled(values).parts(7):
        assert 1 <= len(part.values) == len(part.counts) <= 7
        assert list(part.values) == sorted(set(part.values))
        assert sum(part.counts) == part.count
        assert part.minimum <= part.values[0] <= part.values[-1] <= part.maximum


def test_one_value_is_shown_as_it_is() -> None:
    (part,) = filled([3.217] * 5).parts(100)
    assert (part.values, part.counts) == ((3.217,), (5,))
    assert part.total == pytest.approx(5 * 3.217)


def test_memory_is_bounded_whatever_is_recorded() -> None:
    """Two million values that differ as much as they can, in at most 16 buckets for each of 50
    powers of two, and one for what is next to nothing."""
    buckets = Buckets()
    for step in range(200_000):
        for exponent in (-40, -3, 0, 3, 12, 15, 20, 60, 300):
            buckets.record((1 + step / 200_000) * 10.0**exponent)
    assert len(buckets) <= 50 * 16 + 2
    assert buckets.count == 1_800_000


@pytest.mark.parametrize("value", [-1.0, -math.inf, math.inf, math.nan])
def test_what_is_no_value_is_ignored(value: float) -> None:
    assert list(filled([value]).parts(100)) == []


def test_next_to_nothing_is_nothing() -> None:
    (part,) = filled([0.0, 0.0001, 5.0]).parts(100)
    assert (part.values[0], part.counts[0]) == (0.0, 2)
    assert (part.minimum, part.maximum) == (0.0, 5.0)


def test_the_average_of_many_parts_is_that_of_the_values() -> None:
    values = [1.07**n for n in range(400)]
    parts = list(filled(values).parts(100))
    assert len(parts) > 1
    total = sum(part.total for part in parts) / sum(part.count for part in parts)
    assert total == pytest.approx(statistics.fmean(values), rel=1e-9)
