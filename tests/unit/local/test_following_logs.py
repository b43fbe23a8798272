"""``--verbose``: every new line of every log, whole, with the name of who wrote it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from deploy.local._follow import follow


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
