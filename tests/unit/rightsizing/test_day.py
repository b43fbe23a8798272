"""A day's shape: its mean is one, its busiest hour is what was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.rightsizing._day import HOURS, shape


@given(st.floats(1, 23))
@settings(deadline=None)
def test_the_busiest_hour_and_the_mean_are_as_asked(factor: float) -> None:
    hours = shape(factor)
    assert len(hours) == HOURS
    assert sum(hours) / HOURS == pytest.approx(1)
    assert max(hours) == pytest.approx(factor, rel=1e-6)
    assert min(hours) >= 0


def test_a_flat_day() -> None:
    assert shape(1.0) == pytest.approx([1.0] * HOURS)


@pytest.mark.parametrize("factor", [0.99, 24.1])
def test_no_day_is_like_that(factor: float) -> None:
    with pytest.raises(ValueError, match="busiest hour"):
        shape(factor)
