"""When metrics are written, and what a process and a queue's consumer tell of themselves."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from libs.logging.testing import captured_metrics
from libs.metrics import (
    Metrics,
    ProcessFigures,
    QueueMetrics,
    event_loop_watched,
    process_figures,
    reported,
)
from libs.metrics.testing import RecordedMetrics
from tests.unit.metrics.emf import check_document

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Pauses:
    """A sleep that ends when it is told to, and says that it has been entered again."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._passed = asyncio.Event()
        self._entered = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        self._entered.set()
        await self._passed.wait()
        self._passed.clear()

    async def one_passes(self) -> None:
        """Let the present pause end, and wait for the next to begin."""
        await self._entered.wait()
        self._entered.clear()
        self._passed.set()
        await self._entered.wait()


async def test_a_flush_an_interval_and_one_at_the_end() -> None:
    found, pauses = RecordedMetrics(), Pauses()
    count = found.metrics.counter("Count")
    async with reported(found.metrics, every_seconds=60, sleep=pauses):
        count.add(1)
        await pauses.one_passes()
        assert [document["Count"] for document in found.documents] == [1]
        await pauses.one_passes()
        count.add(2)
    assert [document["Count"] for document in found.documents] == [1, 2]
    assert set(pauses.asked) == {60}


async def test_the_last_flush_comes_however_the_block_is_left() -> None:
    found = RecordedMetrics()
    count = found.metrics.counter("Count")

    async def fails() -> None:
        async with reported(found.metrics, every_seconds=60):
            count.add(1)
            raise RuntimeError("the start failed")

    async def hangs() -> None:
        async with reported(found.metrics, every_seconds=60):
            count.add(2)
            await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="the start failed"):
        await fails()
    hanging = asyncio.create_task(hangs())
    await asyncio.sleep(0)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    assert [document["Count"] for document in found.documents] == [1, 2]


async def test_no_interval_writes_nothing() -> None:
    found, pauses = RecordedMetrics(), Pauses()
    async with reported(found.metrics, every_seconds=0, sleep=pauses):
        found.metrics.counter("Count").add(1)
    assert (found.documents, pauses.asked) == ([], [])


def test_documents_are_lines_of_the_log() -> None:
    metrics = Metrics("progress_tracking", clock=lambda: NOW)
    metrics.counter("Count").add(1)
    with captured_metrics() as lines:
        metrics.flush()
    (line,) = lines
    assert {"timestamp", "level", "service", "version", "event"} < line.keys()
    assert (line["event"], line["Service"]) == ("metrics", "progress_tracking")
    check_document(line)


async def test_a_late_timer_is_a_lag() -> None:
    found, pauses = RecordedMetrics(), Pauses()
    now = 100.0
    async with event_loop_watched(found.metrics, clock=lambda: now, sleep=pauses):
        for lag in (0.0, 0.25, -0.001):
            await pauses._entered.wait()
            now += 0.5 + lag
            await pauses.one_passes()
        found.flush()
    statistics = found.series("EventLoopLag")[()]
    assert (statistics["Count"], statistics["Max"], statistics["Min"]) == (3, 250, 0)


async def test_the_processs_figures_are_gauges() -> None:
    found = RecordedMetrics()
    figures = ProcessFigures(resident_bytes=50_000_000, open_file_descriptors=12, tasks=3)
    async with event_loop_watched(found.metrics, sleep=Pauses(), figures=lambda: figures):
        found.flush()
    assert found.series("ResidentMemory") == {(): 50_000_000}
    assert found.series("OpenFileDescriptors") == {(): 12}
    assert found.series("Tasks") == {(): 3}


async def test_figures_are_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "statm").write_text("90000 1250 700 10 0 500 0\n")
    (tmp_path / "fd").mkdir()
    for number in range(8):
        (tmp_path / "fd" / str(number)).touch()
    figures = process_figures(tmp_path)
    assert figures.resident_bytes == 1250 * os.sysconf("SC_PAGE_SIZE")
    assert figures.open_file_descriptors == 7  # the eighth is the one that lists them
    assert figures.tasks == 1


async def test_the_real_figures_are_plausible() -> None:
    figures = process_figures()
    assert figures.resident_bytes is not None
    assert figures.resident_bytes > 10_000_000
    assert figures.open_file_descriptors is not None
    assert figures.open_file_descriptors >= 1


async def test_a_system_that_does_not_tell_is_no_error(tmp_path: Path) -> None:
    figures = process_figures(tmp_path / "proc")
    assert (figures.resident_bytes, figures.open_file_descriptors) == (None, None)
    found = RecordedMetrics()
    async with event_loop_watched(found.metrics, sleep=Pauses(), figures=lambda: figures):
        found.flush()
    assert found.series("ResidentMemory") == found.series("OpenFileDescriptors") == {}


def milliseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


@pytest.mark.parametrize(
    ("sent", "lag"),
    [
        (milliseconds(NOW - timedelta(seconds=90)), 90_000),
        (int(milliseconds(NOW - timedelta(seconds=1))), 1000),
        (milliseconds(NOW), 0),
        (milliseconds(NOW + timedelta(minutes=3)), 0),  # the sender's clock is ahead
        (milliseconds(NOW - timedelta(days=14)), 14 * 86_400_000),
        (milliseconds(NOW - timedelta(days=15)), None),  # no queue keeps anything so long
        ("0", None),
        ("", None),
        ("soon", None),
        (None, None),
    ],
)
def test_a_queues_lag(sent: str | int | None, lag: float | None) -> None:
    found = RecordedMetrics()
    queue = QueueMetrics(found.metrics, clock=lambda: NOW)
    queue.received("outlines", sent)
    found.flush()
    assert found.series("MessagesReceived") == {("outlines",): 1}
    assert found.series("MessagesFailed") == {("outlines",): 0}
    lags = found.series("QueueLag")
    assert (lags[("outlines",)]["Max"] if lags else None) == lag


def test_failures_are_counted_by_queue() -> None:
    found = RecordedMetrics()
    queue = QueueMetrics(found.metrics, clock=lambda: NOW)
    for number in range(1000):
        queue.received(f"queue-{number}", milliseconds(NOW))
    queue.failed("queue-3")
    queue.parked("queue-3")
    found.flush()
    assert len(found.series("MessagesReceived")) == 17
    assert found.series("MessagesFailed")[("queue-3",)] == 1
    parked = found.series("MessagesParked")
    assert (parked[("queue-3",)], parked[("queue-4",)]) == (1, 0)
    for document in found.documents:
        check_document(document)
