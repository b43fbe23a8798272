"""A platform, a browser and as many tabs as a test opens; each tab must have stayed at home."""

from __future__ import annotations

import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.browser.authoring import VIDEO
from tests.browser.browser import ARGUMENTS, CHROMIUM, NOT_HERE, PATIENCE_MS, Watched
from tests.system.platform_process import RunningPlatform, is_alive

expect.set_options(timeout=PATIENCE_MS)

FREE_BYTES = 7 * 1024 * 1024


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """The whole platform on free ports, one for all of the folder. It must end by itself."""
    if CHROMIUM is None:
        pytest.skip(NOT_HERE)
    directory = tmp_path_factory.mktemp("platform")
    running = RunningPlatform(directory, directory / "state", "--port", "0")
    try:
        yield running
        left = running.descendants()
        assert running.signal(signal.SIGINT) == 0, running.errors
        assert not any(map(is_alive, left))
    finally:
        running.end()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The machine's browser, without a window."""
    if CHROMIUM is None:
        pytest.skip(NOT_HERE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that is sent in three parts: a sample's, and then nothing (ISO 14496-12, `free`)."""
    path = tmp_path_factory.mktemp("films") / "low-water.mp4"
    box = struct.pack(">I4s", FREE_BYTES, b"free") + bytes(FREE_BYTES - 8)
    path.write_bytes(VIDEO.read_bytes() + box)
    return path


NewTab = Callable[..., Watched]


@pytest.fixture()
def new_tab(platform: RunningPlatform, chromium: Browser) -> Iterator[NewTab]:
    """Opens a tab, as another device: with storage of its own, or in the `context` of another."""
    contexts: list[BrowserContext] = []
    tabs: list[Watched] = []

    def open_tab(
        path: str = "/",
        *,
        user: str = "learner-a",
        context: BrowserContext | None = None,
        **options: Any,
    ) -> Watched:
        if context is None:
            context = chromium.new_context(base_url=platform.gateway, **options)
            context.set_default_timeout(PATIENCE_MS)
            context.add_init_script(
                f"sessionStorage.getItem('lyceum.user') ?? sessionStorage.setItem('lyceum.user', '{user}')"
            )
            contexts.append(context)
        tab = Watched(context.new_page())
        tabs.append(tab)
        tab.page.goto(path)
        return tab

    yield open_tab
    at_home = {platform.gateway, platform.document["s3"]}
    left = [origin for tab in tabs for origin in tab.origins() if origin not in at_home]
    complaints = [complaint for tab in tabs for complaint in tab.complaints]
    for context in contexts:
        context.close()
    assert not left, "something was asked for beyond the gateway and the local S3"
    assert not complaints
