"""Pictures of the pages for the documentation: ``./pantsw run tests/browser/screenshots.py``.

Starts a platform on free ports and a state folder of its own, learns a little on it, takes the
pictures and ends it. They go to docs/images, over those that are there.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.browser import ARGUMENTS, CHROMIUM, NOT_HERE, PATIENCE_MS, until
from tests.browser.scenes import SCENES
from tests.system.platform_process import ROOT, RunningPlatform

IMAGES = ROOT / "docs" / "images"
# The picture's name, the scene, its theme, its size.
PICTURES = (
    ("learn-catalog", "catalog", "light", (1120, 720)),
    ("learn-video", "video", "light", (960, 600)),
    ("learn-editor", "editor", "dark", (1120, 900)),
    ("traces", "traces", "light", (1120, 1100)),
    ("board", "board", "dark", (1120, 920)),
)
VIDEO = "document.querySelector('video')"


def main() -> int:
    if CHROMIUM is None:
        sys.stderr.write(f"screenshots: {NOT_HERE}\n")
        return 2
    IMAGES.mkdir(exist_ok=True)
    expect.set_options(timeout=PATIENCE_MS)
    with tempfile.TemporaryDirectory() as folder:
        platform = RunningPlatform(Path(folder), Path(folder) / "state", "--port", "0")
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
                _learn(platform)
                for name, scene, theme, size in PICTURES:
                    _take(browser, platform, name, scene, theme, size)
                browser.close()
            platform.signal(signal.SIGINT)
        finally:
            platform.end()
    return 0


def _learn(platform: RunningPlatform) -> None:
    """So that there is something done, and something to trace."""
    for content in ("tides-1-2", "tides-1-3"):
        update = {
            "occurredAt": "2026-02-01T09:00:00Z",
            "deviceId": "screenshots",
            "items": {content: {"completed": True}},
        }
        platform.request("/progress/me/tides", method="PUT", body=update)
    for path in ("/courses", "/courses/none", "/content/tides-1-1", "/progress/me/tides"):
        for _ in range(5):
            platform.request(path)


def _sync(platform: RunningPlatform) -> None:
    """One request with much below it, the newest there is."""
    entries = [
        {
            "courseId": course,
            "occurredAt": "2026-02-01T09:00:00Z",
            "deviceId": "screenshots",
            "items": {content: {"completed": True}},
        }
        for course, content in (("sql", "sql-1-1"), ("typo", "typo-1-1"), ("maps", "maps-1-1"))
    ]
    platform.request("/progress/me/batch", method="POST", body={"entries": entries})


def _fail(page: Page, platform: RunningPlatform) -> None:
    """DynamoDB goes away, and a circuit is open."""
    group = page.get_by_role("group", name="DynamoDB fails by")
    refusing = group.get_by_role("button", name="refusing connections")
    refusing.click()
    expect(refusing).to_have_attribute("aria-pressed", "true")
    for number in range(8):
        platform.request(f"/courses/unread-{number}")
    breaker = '[data-process="course_catalog"] [data-breaker="dynamodb:read"] .state'
    expect(page.locator(breaker)).to_have_text("open")


def _take(
    browser: Browser,
    platform: RunningPlatform,
    name: str,
    scene_name: str,
    theme: str,
    size: tuple[int, int],
) -> None:
    scene = SCENES[scene_name]
    if scene_name == "traces":
        _sync(platform)
    context = browser.new_context(
        base_url=platform.gateway,
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(f"sessionStorage.setItem('lyceum.user', '{scene.user}')")
    page = context.new_page()
    page.goto(scene.path)
    scene.shown(page)
    if scene_name == "video":
        _at_its_best(page)
    if scene_name == "board":
        _fail(page, platform)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=IMAGES / f"{name}.png")
    sys.stdout.write(f"docs/images/{name}.png\n")
    context.close()


def _at_its_best(page: Page) -> None:
    # The first frame: what is compressed after it has noise, and a picture of noise is large.
    until(page, f"{VIDEO}.readyState >= 2 && !{VIDEO}.seeking")


if __name__ == "__main__":
    sys.exit(main())
