"""The directory's bounds with 100,000 courses: 150 MB, and 1 ms of CPU a page at any depth."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tests.integration.course_catalog import directory_at_scale
from tests.integration.course_catalog.conftest import REPOSITORY_ROOT


async def test_a_hundred_thousand_courses_fit_and_a_page_takes_a_millisecond_at_any_depth() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        directory_at_scale.__name__,
        env={"PYTHONPATH": os.pathsep.join([str(REPOSITORY_ROOT), *filter(None, sys.path)])},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    report = json.loads(out)
    assert report["courses"] == 100_000
    assert report["megabytes"] <= 150
    slow = {name: taken for name, taken in report["pageMilliseconds"].items() if max(taken) > 1}
    assert slow == {}
