"""S3 fails while an author uploads and learners watch; and then it works again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.authoring import new_course, part_of, parts_held, parts_stored, state
from tests.browser.browser import Watched, serious_findings, until
from tests.browser.conftest import NewTab

pytestmark = pytest.mark.timeout(300)

VIDEO = "document.querySelector('video:not([data-role])')"
WAITS = "The video waits for its store"


def slow_down(page: Page) -> None:
    """A line on which a film plays well and is not there as a whole at once."""
    line = {"offline": False, "latency": 0, "downloadThroughput": 300_000, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)


def playing(new_tab: NewTab) -> Watched:
    """A learner's tab in which a film plays that is not there as a whole."""
    tab = new_tab("/")
    slow_down(tab.page)
    tab.page.goto("/?course=tides&item=tides-1-1")
    until(tab.page, f"{VIDEO}?.readyState >= 3")
    tab.page.evaluate(f"{VIDEO}.currentTime = 3; {VIDEO}.play()")
    until(tab.page, f"!{VIDEO}.seeking && {VIDEO}.currentTime > 3.1")
    return tab


def s3_is(board: Page, state: str) -> None:
    """Presses the board's button of this name, and waits until it is so."""
    button = board.get_by_role("group", name="S3 fails by").get_by_role("button", name=state)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")


def test_nothing_is_lost_while_s3_is_gone(new_tab: NewTab, film: Path) -> None:
    author = new_tab(user="author")
    page = author.page
    new_course(author, "store-gone")
    held = parts_held(page, "3")
    with parts_stored(page, "1", "2"):
        page.get_by_label("Upload a video").set_input_files(film)
    learner = playing(new_tab)
    board = new_tab("/board").page
    s3_is(board, "refusing connections")
    held[0].continue_()
    state(page, "Paused at 89 %. The store can not be reached. Nothing is lost")

    # What was loaded plays on; what was not is waited for, and it is said.
    gone_at = learner.page.evaluate(f"{VIDEO}.currentTime")
    until(learner.page, f"{VIDEO}.currentTime > {gone_at} + 0.5")
    expect(learner.page.get_by_role("alert")).to_have_count(0)
    learner.page.evaluate(f"{VIDEO}.currentTime = 60")
    late = new_tab("/?course=tides&item=tides-1-2", user="learner-b")
    expect(late.page.get_by_role("alert")).to_contain_text("The content is out of reach")
    late.page.locator('.outline a[data-item="tides-1-1"]').click()
    for tab in (learner, late):
        expect(tab.page.get_by_role("alert")).to_contain_text(WAITS)
    assert serious_findings(learner.page) == []

    s3_is(board, "works")
    until(learner.page, f"{VIDEO}.currentTime > 60.2 && !{VIDEO}.paused")
    until(late.page, f"{VIDEO}?.readyState >= 3")
    for tab in (learner, late):
        expect(tab.page.get_by_role("alert")).to_have_count(0)
    late.page.locator('.outline a[data-item="tides-1-2"]').click()
    expect(late.page.locator(".reading")).to_contain_text("bulge")
    page.get_by_role("button", name="Go on").click()
    state(page, "Ready")
    for tab in (author, learner, late):
        # That the store was gone is the browser's to complain of, and nothing else is.
        assert all(re.search("ERR_CONNECTION_(REFUSED|RESET)", text) for text in tab.complaints)
        tab.complaints.clear()


def test_a_film_outlives_a_store_that_says_nothing(new_tab: NewTab) -> None:
    learner, board = playing(new_tab), new_tab("/board").page
    page = learner.page
    s3_is(board, "hanging")

    gone_at = page.evaluate(f"{VIDEO}.currentTime")
    until(page, f"{VIDEO}.currentTime > {gone_at} + 0.5")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.evaluate(f"{VIDEO}.currentTime = 60")
    expect(page.get_by_role("alert")).to_contain_text(WAITS)
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    # Who moves it meanwhile says where it is to go on.
    page.evaluate(f"{VIDEO}.currentTime = 40")

    s3_is(board, "works")
    until(page, f"{VIDEO}.currentTime > 40.2 && {VIDEO}.currentTime < 50 && !{VIDEO}.paused")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert all(re.search("ERR_CONNECTION_RESET", text) for text in learner.complaints)
    learner.complaints.clear()


def test_a_pause_keeps_what_is_on_its_way(new_tab: NewTab, film: Path) -> None:
    author, board = new_tab(user="author"), new_tab("/board").page
    page = author.page
    new_course(author, "late-answers")
    held = parts_held(page, "1", "2")
    with page.expect_request("**/*partNumber=1*"), page.expect_request("**/*partNumber=2*"):
        page.get_by_label("Upload a video").set_input_files(film)
    s3_is(board, "answering after 10 s")
    assert len(held) == 2
    for route in held:
        route.continue_()

    # The store has both and has confirmed none.
    until(page, "document.querySelector('[data-upload] progress').value >= 10 * 2**20")
    page.get_by_role("button", name="Pause").click()
    state(page, "Pausing …")
    state(page, "Paused at 89 %")
    s3_is(board, "works")
    page.get_by_role("button", name="Go on").click()
    state(page, "Ready")
    sent = [part_of(request.url) for request in author.asked("PUT", "/lyceum-content/")]
    assert sorted(sent) == ["1", "2", "3"]
