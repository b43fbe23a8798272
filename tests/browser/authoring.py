"""What authors do on their page, for the tests that need it done: a course, and an upload in parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Response, Route, expect

from tests.browser.browser import PATIENCE_MS, Watched, until
from tests.system.platform_process import ROOT

VIDEO = ROOT / "deploy" / "local" / "samples" / "media" / "tides" / "spring-and-neap.mp4"
STORE_PUT = "**/lyceum-content/**partNumber=*"


def new_course(tab: Watched, slug: str) -> str:
    """Creates a draft by the page; gives its id."""
    page = tab.page
    page.get_by_role("link", name="Write a new course").click()
    page.get_by_label("Title").fill(f"Course {slug}")
    page.get_by_label("Address (slug)").fill(slug)
    page.get_by_label("Short description").fill("What low water shows.")
    page.get_by_label("Description", exact=True).fill("A course of one film.")
    page.get_by_role("button", name="Create the course").click()
    expect(page.get_by_text("Saved. It is a draft.")).to_be_visible()
    return parse_qs(urlsplit(page.url).query)["edit"][0]


def parts_held(page: Page, *parts: str) -> list[Route]:
    """Lets the first request for each of these parts of an upload wait from now on; they come to be
    in the list."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        part = part_of(route.request.url)
        if part in parts and part not in {part_of(other.request.url) for other in held}:
            held.append(route)
        else:
            route.continue_()

    page.route(STORE_PUT, hold)
    return held


@contextmanager
def held_at_the_last_part(page: Page) -> Iterator[list[Route]]:
    """At its end all of a film of three parts is sent but for the last, whose first request waits."""
    held = parts_held(page, "3")
    # Whether the store has confirmed one of the others by then depends on who is quicker: the last is
    # asked for after that.
    with page.expect_request("**/*partNumber=3*", timeout=PATIENCE_MS):
        yield held
    until(page, "document.querySelector('[data-upload] progress').value >= 10 * 2**20")


@contextmanager
def parts_stored(page: Page, *parts: str) -> Iterator[None]:
    """Waits at its end until the store has confirmed these parts."""
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(page.expect_response(partial(_confirms, part), timeout=PATIENCE_MS))
        yield


def _confirms(part: str, response: Response) -> bool:
    return response.ok and "partNumber=" in response.url and part_of(response.url) == part


def part_of(url: str) -> str:
    """The number of the part that this URL is for."""
    return parse_qs(urlsplit(url).query)["partNumber"][0]


def state(page: Page, text: str) -> None:
    """Waits until the upload says so."""
    expect(page.locator("[data-upload] [role=status]")).to_contain_text(text)
