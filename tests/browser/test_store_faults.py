"""S3 fails while an author uploads and learners watch; and then it works again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.authoring import new_course, state, third_part_held
from tests.browser.browser import serious_findings, until
from tests.browser.conftest import NewTab

pytestmark = pytest.mark.timeout(300)

VIDEO = "document.querySelector('video:not([data-role])')"
WAITS = "The video waits for its store"


def slow_down(page: Page) -> None:
    """A line on which a film plays well and is not there as a whole at once."""
    line = {"offline": False, "latency": 0, "downloadThroughput": 300_000, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)


def test_nothing_is_lost_while_s3_is_gone(new_tab: NewTab, film: Path) -> None:
    author = new_tab(user="author")
    page = author.page
    new_course(author, "store-gone")
    held = third_part_held(page)
    page.get_by_label("Upload a video").set_input_files(film)
    learner = new_tab("/")
    slow_down(learner.page)
    learner.page.goto("/?course=tides&item=tides-1-1")
    until(learner.page, f"{VIDEO}?.readyState >= 3")
    learner.page.evaluate(f"{VIDEO}.currentTime = 3; {VIDEO}.play()")
    until(learner.page, f"!{VIDEO}.seeking && {VIDEO}.currentTime > 3.1")
    until(page, "document.querySelector('[data-upload] progress')?.value >= 10 * 2**20")

    board = new_tab("/board").page
    s3 = board.get_by_role("group", name="S3 fails by")
    refusing = s3.get_by_role("button", name="refusing connections")
    refusing.click()
    expect(refusing).to_have_attribute("aria-pressed", "true")
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

    works = s3.get_by_role("button", name="works")
    works.click()
    expect(works).to_have_attribute("aria-pressed", "true")
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
