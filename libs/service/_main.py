"""From the environment to a served application: what ``python -m services.<name>`` does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from aiohttp import web

from libs.config import ConfigurationError
from libs.http import run
from libs.logging import configure
from libs.service._settings import ServiceSettings
from libs.service._start import imported

_Config = TypeVar("_Config", bound=ServiceSettings)


def serve(
    read: Callable[[Mapping[str, str]], _Config],
    create_app: Callable[[_Config], web.Application],
) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 2 for a bad configuration, whose problems are
    then on stderr, one a line; else `libs.http.run`'s."""
    imported()
    try:
        config = read(os.environ)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure(service=config.service.name, version=config.service.version, level=config.log_level)
    return run(
        lambda: create_app(config),
        host=config.host,
        port=config.port,
        drain_seconds=config.drain_seconds,
        readiness_notice_seconds=config.readiness_notice_seconds,
    )
