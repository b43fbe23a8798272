"""Runs content delivery: `python -m services.content_delivery`."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # `serve` switches it on again.

from libs.service import serve
from services.content_delivery.app import create_app
from services.content_delivery.config import Config

if __name__ == "__main__":
    sys.exit(serve(Config.from_environment, create_app))
