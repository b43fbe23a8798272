"""Content delivery whose URLs live for seconds: ``python -m tests.browser.short_lived``.

The service as it is, with its own settings and role, but for the bounds of a URL's life: nobody waits a
quarter of an hour for one to die. What it signs, the local S3 refuses after these seconds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local._ports import local_url, port_of, reserve
from libs.service import serve
from services.content_delivery.app import create_app
from services.content_delivery.config import Config
from services.content_delivery.domain import delivery
from tests.system.exchange import ask
from tests.system.platform_process import ROOT, RunningPlatform, until
from tests.system.roles import environment_of

LIFE_SECONDS = 6


@contextmanager
def short_lived(platform: RunningPlatform) -> Iterator[str]:
    """One beside the platform's own; gives its address."""
    with reserve() as port:
        variables = environment_of(platform, "content_delivery")
        variables |= {
            "CONTENT_PORT": str(port_of(port)),
            "PYTHONPATH": ":".join([str(ROOT), *sys.path]),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.browser.short_lived"],
            env=variables,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        try:
            until(lambda: _answers(local_url(port)), "content delivery of short lives is ready")
            yield local_url(port)
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        return ask(f"{url}/readyz").status == 200
    except OSError:
        return False


def main() -> int:
    delivery.MINIMUM_LIFE_SECONDS = LIFE_SECONDS
    delivery.LIFE_IN_DURATIONS = 0
    delivery.WINDOW_SECONDS = 1
    return serve(Config.from_environment, create_app)


if __name__ == "__main__":
    sys.exit(main())
