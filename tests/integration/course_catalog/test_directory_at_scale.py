"""The directory's memory with 100,000 courses. Its speed is measured by the same program, and
printed, in tests/bench: a time is no test's business."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.bench import directory_at_scale
from tests.integration.service_process import python_path


async def test_a_hundred_thousand_courses_take_at_most_150_megabytes() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        directory_at_scale.__name__,
        env={"PYTHONPATH": python_path()},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    report = json.loads(out)
    assert report["courses"] == 100_000
    assert report["megabytes"] <= 150
