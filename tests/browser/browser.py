"""Chromium as the tests drive it: where it is, what a tab may ask for, and how a state is waited for.

Nothing is downloaded: the browser is the machine's. A tab is watched from its first request on: what
its console complains of, and every address that it asks.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request, Response

CHROMIUM = shutil.which("chromium")
NOT_HERE = "no chromium on PATH: the pages were not tried in a browser"

# Waiting ends with the test's own time-out; this is for what never comes.
PATIENCE_MS = 60_000

ARGUMENTS = (
    # Videos of the pages play without a click of a person.
    "--autoplay-policy=no-user-gesture-required",
    # Tests run as root in containers; what is loaded is ours.
    "--no-sandbox",
)


@dataclass
class Watched:
    """A tab and what became known of it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("response", lambda response: self.responses.append(response))

    def asked(self, method: str, path: str) -> list[Request]:
        """The requests of this method whose path begins so."""
        return [
            request
            for request in self.requests
            if request.method == method and urlsplit(request.url).path.startswith(path)
        ]

    def origins(self) -> set[str]:
        """Every origin that was asked for anything."""
        parts = [urlsplit(request.url) for request in self.requests]
        return {f"{part.scheme}://{part.netloc}" for part in parts if part.scheme != "blob"}

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)


def until(page: Page, condition: str) -> None:
    """Waits until the JavaScript expression is true in the page; looks at every frame."""
    # The pages' policy forbids evaluation of text, which Playwright's own waiting does.
    page.evaluate(
        f"async () => {{ while (!({condition})) await new Promise(requestAnimationFrame); }}"
    )


def serious_findings(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds that keeps somebody out: the rule, and the elements that break it."""
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def body_of(request: Request) -> dict[str, object]:
    """The JSON that was sent."""
    found = json.loads(request.post_data or "null")
    assert isinstance(found, dict)
    return found


def texts(page: Page, selector: str) -> Sequence[str]:
    """The texts of all that the selector finds."""
    return page.locator(selector).all_inner_texts()
