"""Runs the course catalog: `python -m services.course_catalog`."""

from __future__ import annotations

import gc
import sys

# Nothing of what is imported is garbage, and looking for it takes a seventh of the imports' time:
# `libs.http` turns the collector on when it serves.
gc.disable()

from libs.service import serve  # noqa: E402 - see above
from services.course_catalog.app import create_app  # noqa: E402 - see above
from services.course_catalog.config import Config  # noqa: E402 - see above

if __name__ == "__main__":
    sys.exit(serve(Config.from_environment, create_app))
