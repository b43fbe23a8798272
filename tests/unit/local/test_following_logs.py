"""``--verbose``: every new line of every log, whole, with the name of who wrote it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from deploy.local._follow import follow
from libs.logging import get_logger, write_metrics
from libs.logging._pipeline import PIPELINE, StreamSink


async def test_new_lines_are_shown_whole_and_once(tmp_path: Path) -> None:
    shown: list[tuple[str, str]] = []
    looked: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        looked.put_nowait(None)
        await asyncio.sleep(0)

    async def another_look() -> None:
        while not looked.empty():
            looked.get_nowait()
        await looked.get()

    (tmp_path / "one.log").write_text("of the last run\n")
    async with follow(tmp_path, lambda *line: shown.append(line), sleep=sleep):
        with (tmp_path / "one.log").open("a") as one, (tmp_path / "two.log").open("a") as two:
            one.write("a\nb")
            one.flush()
            two.write("c\n")
            two.flush()
            await another_look()
            assert shown == [("one", "a"), ("two", "c")]
            one.write("b\n")
            one.flush()
            await another_look()
            assert shown[2:] == [("one", "bb")]
        (tmp_path / "one.log").replace(tmp_path / "one.log.1")
        (tmp_path / "one.log").write_text("new\n")
    assert shown[3:] == [("one", "new")]


async def test_metrics_among_the_lines_are_not_shown(tmp_path: Path) -> None:
    shown: list[str] = []
    settings = PIPELINE.settings
    try:
        async with follow(tmp_path, lambda _, line: shown.append(line)):
            with (tmp_path / "service.log").open("a") as log:
                sink = StreamSink(log, pretty=False)
                PIPELINE.settings = replace(settings, sink=sink, metrics=sink)
                assert write_metrics({"_aws": {}, "Count": 1})
                get_logger("l").info("metrics_of_another_kind", text='"event":"metrics"')
    finally:
        PIPELINE.settings = settings
    (line,) = shown
    assert "metrics_of_another_kind" in line
