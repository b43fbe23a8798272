"""Runs the course catalog: `python -m services.course_catalog`."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # `serve` switches it on again.

from libs.service import serve
from services.course_catalog.app import create_app
from services.course_catalog.config import Config

if __name__ == "__main__":
    sys.exit(serve(Config.from_environment, create_app))
