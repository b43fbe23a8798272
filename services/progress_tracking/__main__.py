"""Runs progress tracking: ``python -m services.progress_tracking``."""

from __future__ import annotations

import os
import sys

from libs.config import ConfigurationError
from libs.http import run
from libs.logging import configure
from services.progress_tracking.app import create_app
from services.progress_tracking.config import Config


def main() -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 2 for a bad configuration, else `run`'s."""
    try:
        config = Config.from_environment(os.environ)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure(service=config.service.name, version=config.service.version, level=config.log_level)
    return run(
        lambda: create_app(config),
        host=config.host,
        port=config.port,
        drain_seconds=config.drain_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
