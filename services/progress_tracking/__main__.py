"""Runs progress tracking: `python -m services.progress_tracking`."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # `serve` switches it on again.

from libs.service import serve
from services.progress_tracking.app import create_app
from services.progress_tracking.config import Config

if __name__ == "__main__":
    sys.exit(serve(Config.from_environment, create_app))
