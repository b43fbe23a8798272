"""What the embedded AWS's garbage collector looks at."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from deploy.local.embedded_aws._collector import leave_out_what_lasts


class Row:
    """Something that is stored."""

    def __init__(self) -> None:
        self.other: Row | None = None


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """As the embedded AWS has it, for one test."""
    before = list(gc.callbacks)
    leave_out_what_lasts()
    yield
    gc.callbacks[:] = before
    gc.unfreeze()


def test_what_lasts_is_looked_at_once() -> None:
    rows = [Row() for _ in range(1_000)]
    gc.collect()

    assert gc.get_freeze_count() > len(rows)
    assert not any(isinstance(one, Row) for one in gc.get_objects())


def test_new_garbage_is_collected_and_rows_go_at_once() -> None:
    row = Row()
    gc.collect()
    first, second = Row(), Row()
    first.other, second.other = second, first
    cycle, last = weakref.ref(first), weakref.ref(row)
    del first, second, row
    assert last() is None

    gc.collect()

    assert cycle() is None


def test_it_is_asked_for_once() -> None:
    before = list(gc.callbacks)
    leave_out_what_lasts()
    assert gc.callbacks == before
