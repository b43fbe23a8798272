"""Runs the monolith: `python -m tests.monolith`."""

from __future__ import annotations

import sys

from libs.service import serve
from tests.monolith.app import create_app
from tests.monolith.config import Config

if __name__ == "__main__":
    sys.exit(serve(Config.from_environment, create_app))
