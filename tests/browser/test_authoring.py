"""An author's page in a browser: two authors at once, uploads that are interrupted, publishing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser.authoring import (
    STORE_PUT,
    VIDEO,
    held_at_the_last_part,
    new_course,
    part_of,
    parts_stored,
    state,
)
from tests.browser.browser import serious_findings, until
from tests.browser.conftest import NewTab
from tests.system.platform_process import RunningPlatform

pytestmark = pytest.mark.timeout(300)


def test_an_upload_that_is_killed_goes_on_and_is_published(
    platform: RunningPlatform, new_tab: NewTab, film: Path
) -> None:
    tab = new_tab(user="author")
    page = tab.page
    course_id = new_course(tab, "killed-upload")

    def only_the_first(route: Route) -> None:
        if part_of(route.request.url) == "1":
            route.continue_()  # the others hang: the tab is closed in the middle of them

    page.route(STORE_PUT, only_the_first)
    with parts_stored(page, "1"):
        page.get_by_label("Upload a video").set_input_files(film)
    page.reload()
    page.unroute(STORE_PUT)
    sent: list[str] = []
    page.on(
        "request",
        lambda request: sent.append(part_of(request.url)) if request.method == "PUT" else None,
    )
    again = page.get_by_label("Choose low-water.mp4 again")
    again.set_input_files(VIDEO)
    expect(page.get_by_text("That is another file.")).to_be_visible()
    again.set_input_files(film)
    state(page, "Ready")
    assert sorted(sent) == ["2", "3"]  # what had arrived was not sent again

    # It is an item by now, and not saved yet; a reload keeps that too.
    expect(page.get_by_label("Title of item 1")).to_have_value("low water")
    page.reload()
    expect(page.get_by_text("not saved is still here")).to_be_visible()
    expect(page.get_by_label("Title of item 1")).to_have_value("low water")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("Published: learners can open it now.")).to_be_visible()
    assert platform.request(f"/courses/{course_id}").json["status"] == "published"

    learner = new_tab(f"/?course={course_id}").page
    playing = "document.querySelector('video')"
    until(learner, f"{playing}?.readyState >= 3")
    assert learner.evaluate(f"{playing}.duration") > 60


def test_an_upload_is_paused_and_goes_on(new_tab: NewTab, film: Path) -> None:
    tab = new_tab(user="author")
    page = tab.page
    new_course(tab, "paused-upload")
    with held_at_the_last_part(page):
        page.get_by_label("Upload a video").set_input_files(film)
    page.get_by_role("button", name="Pause").click()
    state(page, "Paused at 89 %")
    assert serious_findings(page) == []
    page.get_by_role("button", name="Go on").click()
    state(page, "Ready")


def test_small_files_go_as_one_and_refusals_are_told(new_tab: NewTab, tmp_path: Path) -> None:
    tab = new_tab(user="author")
    page = tab.page
    new_course(tab, "small-files")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("alert")).to_contain_text("a published course has at least one item")
    reading = tmp_path / "on-the-sand.md"
    reading.write_text("# On the sand\n\nNothing but *water*.\n")
    page.get_by_label("Upload a video").set_input_files(reading)
    state(page, "Ready")
    expect(page.get_by_label("Type")).to_have_value("reading")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    page.get_by_role("link", name="Open this course").click()
    expect(page.get_by_role("heading", name="On the sand", level=3)).to_be_visible()
    # The refusal is the browser's to complain of too.
    assert all("409" in text for text in tab.complaints)
    tab.complaints.clear()


def test_two_authors_meet(platform: RunningPlatform, new_tab: NewTab) -> None:
    first, second = new_tab(user="author"), new_tab(user="author")
    course_id = new_course(first, "two-authors")
    second.page.goto(f"/?edit={course_id}")
    for tab in (first, second):
        expect(tab.page.get_by_label("Title", exact=True)).to_have_value("Course two-authors")

    first.page.get_by_label("Title", exact=True).fill("By the first")
    first.page.get_by_label("Tags").fill("sand, water")
    first.page.get_by_role("button", name="Save").click()
    expect(first.page.get_by_text("Saved.", exact=True)).to_be_visible()

    second.page.get_by_label("Title", exact=True).fill("By the second")
    second.page.get_by_label("Short description").fill("Of the second.")
    second.page.get_by_role("button", name="Save").click()
    alert = second.page.get_by_role("alert")
    expect(alert).to_contain_text("You and another author have changed the same")
    assert serious_findings(second.page) == []
    # Only what both have changed is asked; the rest is there already.
    assert alert.locator("legend").all_inner_texts() == ["Title"]
    expect(alert).to_contain_text("Theirs: By the first")
    expect(second.page.get_by_label("Tags")).to_have_value("sand, water")
    expect(second.page.get_by_label("Short description")).to_have_value("Of the second.")
    alert.get_by_label(re.compile("Theirs")).check()
    expect(second.page.get_by_label("Title", exact=True)).to_have_value("By the first")
    alert.get_by_label(re.compile("Mine")).check()
    second.page.get_by_role("button", name="Save").click()
    expect(second.page.get_by_text("Saved.", exact=True)).to_be_visible()

    course = platform.request(f"/courses/{course_id}", user="author").json
    assert course["title"] == "By the second"
    assert course["shortDescription"] == "Of the second."
    assert course["tags"] == ["sand", "water"]
    assert all("412" in text for text in second.complaints)
    second.complaints.clear()


def test_what_is_not_saved_meets_a_change_after_a_reload(
    platform: RunningPlatform, new_tab: NewTab
) -> None:
    tab = new_tab(user="author")
    page = tab.page
    course_id = new_course(tab, "after-a-reload")
    page.get_by_label("Title", exact=True).fill("Mine")
    other = new_tab(f"/?edit={course_id}", user="author").page
    other.get_by_label("Language").fill("de")
    other.get_by_role("button", name="Save").click()
    expect(other.get_by_text("Saved.", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_text("Another author has changed this course meanwhile")).to_be_visible()
    expect(page.get_by_label("Title", exact=True)).to_have_value("Mine")
    expect(page.get_by_label("Language")).to_have_value("de")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    course = platform.request(f"/courses/{course_id}", user="author").json
    assert (course["title"], course["language"]) == ("Mine", "de")
