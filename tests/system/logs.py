"""What the platform's processes have logged so far."""

from __future__ import annotations

import json
from typing import Any

from tests.system.platform_process import RunningPlatform


def logged(platform: RunningPlatform, process: str) -> list[dict[str, Any]]:
    """The events of a process (``course_catalog``, ``gateway``), oldest first."""
    written = (platform.state / "logs" / f"{process}.log").read_text()
    # What stands after the last line's end is still being written.
    lines = written.rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
