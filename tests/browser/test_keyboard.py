"""An author and an operator with a keyboard alone: no click, and no focus but what keys have moved."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.authoring import held_at_the_last_part, state
from tests.browser.browser import until
from tests.browser.conftest import NewTab
from tests.browser.keyboard import Keyboard
from tests.system.exchange import ask
from tests.system.platform_process import RunningPlatform

pytestmark = pytest.mark.timeout(300)


def a_course(platform: RunningPlatform) -> str:
    """A draft of two items, made by the author; its id."""
    items = [
        {"contentId": content, "title": title, "type": "reading"}
        for content, title in (("tides-1-2", "First"), ("tides-2-1", "Second"))
    ]
    course = {
        "slug": "by-keyboard",
        "title": "With a mouse",
        "shortDescription": "What keys can do.",
        "description": "What keys can do.",
        "language": "en",
        "level": "beginner",
        "outline": [{"id": "s1", "title": "A section", "items": items}],
    }
    token = platform.document["users"]["author"]["accessToken"]
    made = ask(f"{platform.gateway}/courses", method="POST", token=token, json_body=course)
    assert made.status == 201
    return str(made.json["id"])


def version_of(platform: RunningPlatform, course_id: str) -> str:
    """The version of the course that there is now."""
    token = platform.document["users"]["author"]["accessToken"]
    return str(ask(f"{platform.gateway}/courses/{course_id}", token=token).headers["ETag"])


def test_an_author_works_by_keyboard(
    platform: RunningPlatform, new_tab: NewTab, film: Path
) -> None:
    course_id = a_course(platform)
    tab = new_tab(f"/?edit={course_id}", user="author")
    page, keys = tab.page, Keyboard(tab.page)
    # The browser's own dialog is no part of the page.
    page.on("filechooser", lambda chooser: chooser.set_files(film))
    title = page.get_by_label("Title", exact=True)
    saved = page.get_by_text("Saved. It is a draft.")
    save = page.get_by_role("button", name="Save")

    keys.go_to(title)
    keys.write("By keyboard")
    keys.press("Enter")
    expect(saved).to_be_visible()
    expect(title).to_be_focused()

    # The outline: what is moved keeps the focus, what is removed gives it to its neighbour.
    keys.go_to(page.get_by_label("Title of item 1"))
    keys.write("Was first")
    keys.go_to(page.get_by_role("button", name="Move the item “First” down"))
    keys.press("Enter")
    expect(page.get_by_label("Title of item 2")).to_have_value("Was first")
    up = page.get_by_role("button", name="Move the item “Was first” up")
    expect(up).to_be_focused()
    keys.press("Space")
    expect(page.get_by_label("Title of item 1")).to_have_value("Was first")
    down = page.get_by_role("button", name="Move the item “Was first” down")
    expect(down).to_be_focused()
    keys.press("Tab", "Tab")
    kind = page.get_by_label("Type").nth(1)
    keys.go_to(kind)
    keys.press("ArrowDown")
    expect(kind).to_have_value("quiz")
    keys.go_to(page.get_by_role("button", name="Remove Second"))
    keys.press("Enter")
    expect(page.get_by_role("button", name="Remove Was first")).to_be_focused()

    # Somebody else changes the title meanwhile.
    theirs = ask(
        f"{platform.gateway}/courses/{course_id}",
        method="PATCH",
        token=platform.document["users"]["author"]["accessToken"],
        headers={
            "If-Match": version_of(platform, course_id),
            "Content-Type": "application/merge-patch+json",
        },
        body=b'{"title": "Of somebody else"}',
    )
    assert theirs.status == 200
    keys.go_to(title, "Shift+Tab")
    keys.write("Mine")
    keys.go_to(save)
    keys.press("Enter")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("You and another author have changed the same")
    expect(alert).to_be_focused()
    keys.press("Tab")
    expect(alert.get_by_label("Mine")).to_be_focused()
    keys.press("ArrowDown")
    expect(title).to_have_value("Of somebody else")
    keys.press("ArrowUp")
    expect(title).to_have_value("Mine")
    keys.go_to(save)
    keys.press("Enter")
    expect(saved).to_be_visible()
    expect(save).to_be_focused()

    # A film in three parts, held in the middle of it.
    keys.go_to(page.get_by_label("Upload a video"), "Shift+Tab")
    with held_at_the_last_part(page) as held:
        keys.press("Enter")
    keys.go_to(page.get_by_role("button", name="Pause"))
    keys.press("Enter")
    state(page, "Paused at 89 %")
    expect(page.get_by_role("button", name="Go on")).to_be_focused()
    keys.press("Space")
    state(page, "Ready")
    keys.has_focus()
    keys.go_to(save)
    keys.press("Enter")
    expect(saved).to_be_visible()
    keys.go_to(page.get_by_role("button", name="Publish"))
    keys.press("Enter")
    published = page.get_by_text("Published: learners can open it now.")
    expect(published).to_be_visible()
    expect(published.locator("..")).to_be_focused()

    course = platform.request(f"/courses/{course_id}").json
    assert (course["title"], course["status"]) == ("Mine", "published")
    assert [one["title"] for one in course["outline"][0]["items"]] == ["Was first", "low water"]

    # What takes away what it is done with: an upload is given up, changes are, the outline is.
    held.clear()
    keys.go_to(page.get_by_label("Upload a video"))
    keys.press("Enter")
    until(page, "document.querySelector('[data-upload]:last-child progress').value >= 10 * 2**20")
    keys.go_to(page.get_by_role("button", name="Give up").last)
    keys.press("Enter")
    row = page.locator("[data-upload]").last
    expect(row.get_by_role("status")).to_have_text("Given up")
    expect(row).to_be_focused()
    keys.go_to(title, "Shift+Tab")
    keys.write("Not this")
    page.reload()
    keys.go_to(page.get_by_role("button", name="Discard my changes"))
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Mine")).to_be_focused()
    expect(title).to_have_value("Mine")
    keys.go_to(page.get_by_role("button", name="Remove the section “A section”"))
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Outline")).to_be_focused()
    assert all("412" in text for text in tab.complaints)
    tab.complaints.clear()


def test_the_board_is_read_and_switched_by_keyboard(new_tab: NewTab) -> None:
    page = new_tab("/board").page
    keys = Keyboard(page)
    expect(page.locator("[data-breaker]").first).to_be_visible()
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keys.press("Enter")
    expect(page.locator("main")).to_be_focused()
    s3 = page.get_by_role("group", name="S3 fails by")
    works, hanging = (s3.get_by_role("button", name=name) for name in ("works", "hanging"))
    keys.go_to(hanging)
    keys.press("Space")
    expect(hanging).to_have_attribute("aria-pressed", "true")
    expect(hanging).to_be_focused()
    with page.expect_response("**/-/board"):
        pass  # what is drawn anew takes nothing from who reads
    expect(hanging).to_be_focused()
    keys.go_to(works, "Shift+Tab")
    keys.press("Enter")
    expect(works).to_have_attribute("aria-pressed", "true")
    expect(hanging).to_have_attribute("aria-pressed", "false")
    # The tables' capacity is wider than a narrow window, and scrolls by keys.
    keys.go_to(page.locator(".scroll:has(#capacity)"))
    live = page.get_by_role("checkbox", name="Live")
    keys.go_to(live, "Shift+Tab")
    keys.press("Space")
    expect(live).not_to_be_checked()
