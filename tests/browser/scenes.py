"""What there is to see on the pages: where it is, and when it is there. For axe and for pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, expect


@dataclass(frozen=True)
class Scene:
    """A page as a demo user has it.

    Args:
        shown: waits until it is.
    """

    path: str
    shown: Callable[[Page], None]
    user: str = "learner-a"


def catalog(page: Page) -> None:
    expect(page.locator(".courses li").first).to_be_visible()


def video(page: Page) -> None:
    expect(page.locator(".stage video")).to_be_visible()


def quiz(page: Page) -> None:
    expect(page.get_by_role("button", name="Check the answers")).to_be_visible()


def editor(page: Page) -> None:
    expect(page.get_by_label("Upload a video")).to_be_visible()


def waterfall(page: Page) -> None:
    page.locator("#list a").first.click()
    expect(page.locator(".waterfall tbody tr").first).to_be_visible()


def board(page: Page) -> None:
    expect(page.locator("[data-breaker]").first).to_be_visible()
    expect(page.get_by_role("button", name="works").first).to_be_visible()


def outline(page: Page) -> None:
    expect(page.locator(".outline a").first).to_be_visible()


def failure(page: Page) -> None:
    expect(page.get_by_role("alert")).to_be_visible()


SCENES = {
    "catalog": Scene("/?sort=title", catalog),
    "authors' catalog": Scene("/", catalog, "author"),
    "video": Scene("/?course=tides&item=tides-1-1", video),
    "quiz": Scene("/?course=tides&item=tides-1-3", quiz),
    "right to left": Scene("/?course=falak", outline),
    "editor": Scene("/?edit=tides", editor, "author"),
    "failure": Scene("/?course=none", failure),
    "traces": Scene("/traces", waterfall),
    "board": Scene("/board", board),
}
