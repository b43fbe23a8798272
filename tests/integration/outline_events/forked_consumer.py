"""Consumers as processes that start within milliseconds: imported once, forked for each `start`.

`python -m tests.integration.outline_events.forked_consumer` reads lines from its standard input. At
each it forks a process that does what `python -m services.progress_tracking.consumer` does, and
writes that process's id. Whoever reads it may kill the process in any way; the next line waits for
its end first.
"""

from __future__ import annotations

import os
import sys

from libs.service import work
from services.progress_tracking.config import Config
from services.progress_tracking.consumer.__main__ import consume


def main() -> None:
    child = 0
    while sys.stdin.readline():
        if child:
            os.waitpid(child, 0)
        child = os.fork()
        if not child:
            os._exit(work(Config.for_consumer, consume))
        os.write(1, f"pid {child}\n".encode())
    if child:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
