"""One running platform for each test module."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.system.platform_process import RunningPlatform, is_alive


@pytest.fixture(scope="module")
def platform_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the module's platform runs; its state is in the folder `state`."""
    return tmp_path_factory.mktemp("platform")


@pytest.fixture(scope="module")
def platform_arguments() -> Sequence[str]:
    """What `up.py` is told besides where; a module may have a fixture of its own by this name."""
    return ()


@pytest.fixture(scope="module")
def platform(
    platform_directory: Path, platform_arguments: Sequence[str]
) -> Iterator[RunningPlatform]:
    """The whole platform on free ports and a state folder of its own. It must end by itself."""
    state = platform_directory / "state"
    running = RunningPlatform(platform_directory, state, "--port", "0", *platform_arguments)
    try:
        yield running
        left = running.descendants()
        assert running.signal(signal.SIGINT) == 0, running.errors
        assert not any(map(is_alive, left))
    finally:
        running.end()
