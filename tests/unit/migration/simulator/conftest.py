"""Garbage is collected less often: looking for it was a sixth of what thousands of scenarios take."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _collect_less_often() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
