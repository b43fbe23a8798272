"""Every page for everybody: axe-core, keyboard, themes, widths, other scripts, and much of everything."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.browser import many_courses
from tests.browser.browser import serious_findings
from tests.browser.browser import until as until_shown
from tests.browser.conftest import NewTab
from tests.browser.many_courses import RARE_EVERY, RARE_LANGUAGE
from tests.browser.scenes import SCENES, board, catalog, video
from tests.system.exchange import ask
from tests.system.platform_process import RunningPlatform, until

pytestmark = pytest.mark.timeout(300)

# Narrow: 1280 at 400 % (WCAG 2.2, 1.4.10).
NARROW = {"width": 320, "height": 640}
WIDE = {"width": 1600, "height": 1000}
COURSES = 5_000
ITEMS = 500


@pytest.mark.parametrize(
    ("theme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"]
)
@pytest.mark.parametrize("name", SCENES)
def test_axe_finds_nothing_serious(
    platform: RunningPlatform, new_tab: NewTab, name: str, theme: str, viewport: dict[str, int]
) -> None:
    scene = SCENES[name]
    assert platform.request("/courses/tides").status == 200  # something to trace
    tab = new_tab(scene.path, user=scene.user, color_scheme=theme, viewport=viewport)
    page = tab.page
    scene.shown(page)
    assert serious_findings(page) == []
    # Nothing is beyond the edge of the window: what is wide scrolls by itself.
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]
    if viewport is WIDE:
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    if name == "failure":
        tab.complaints.clear()


def test_the_journey_by_keyboard(new_tab: NewTab) -> None:
    page = new_tab("/?q=tides&language=en").page
    expect(page.locator(".courses li")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Reading the tides")
    for _ in range(8):
        page.keyboard.press("Tab")
        if link.evaluate("(node) => node === document.activeElement"):
            break
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Reading the tides")
    expect(page.locator("main")).to_be_focused()
    outline = page.locator('.outline a[data-item="tides-1-2"]')
    outline.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".reading")).to_contain_text("bulge")
    expect(outline).to_be_focused()  # who walks through an outline stays in it
    page.go_back()
    page.go_back()
    expect(page.locator(".courses li")).to_have_count(1)


SHIFTS = """() => {
  window.shifts_ = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts_ += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
}"""


@pytest.mark.parametrize("path", ["/", "/?course=tides&item=tides-1-1", "/board"])
def test_nothing_moves_while_it_is_read(new_tab: NewTab, path: str) -> None:
    page = new_tab(path).page
    {"/": catalog, "/board": board}.get(path, video)(page)
    page.evaluate(SHIFTS)
    if path == "/board":
        with page.expect_response("**/-/board"):
            pass
    page.evaluate("new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)))")
    # "Good" is up to 0.1 (web.dev/cls).
    assert page.evaluate("window.shifts_") < 0.1


def test_text_of_twice_the_size_is_readable(new_tab: NewTab) -> None:
    page = new_tab("/?course=tides", viewport={"width": 1280, "height": 800}).page
    video(page)
    before = page.locator("h1").evaluate("(node) => node.getBoundingClientRect().height")
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    after = page.locator("h1").evaluate("(node) => node.getBoundingClientRect().height")
    assert after > 1.8 * before
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_five_thousand_courses(platform: RunningPlatform, new_tab: NewTab) -> None:
    """Kept in the catalog's table, read by the catalog, shown page by page."""
    many_courses.keep(platform, COURSES)
    until(lambda: known(platform) == COURSES, "the catalog knows all courses")
    tab = new_tab("/?level=advanced&tag=many&sort=title")
    page = tab.page
    catalog(page)
    page.evaluate(SHIFTS)
    more = page.get_by_role("button", name="Show more courses")
    expect(more).to_be_enabled()
    begun = page.evaluate("window.shifts_")
    assert begun < 0.1
    more.click()
    expect(page.locator(".courses li")).to_have_count(96)
    assert page.evaluate("window.shifts_") - begun < 0.1

    page.get_by_label("Language").select_option(RARE_LANGUAGE)
    expect(page.get_by_text("48 courses, and there are more")).to_be_visible()
    more.click()
    expect(page.get_by_text(f"{COURSES // RARE_EVERY} courses", exact=True)).to_be_visible()
    page.get_by_label("Language").select_option("")
    page.get_by_label("Search in titles").fill(f"{COURSES - 1}")
    expect(page.locator(".courses li h2")).to_have_text([f"Course {COURSES - 1} of many"])
    page.get_by_label("Search in titles").fill("")
    expect(page.get_by_text("48 courses, and there are more")).to_be_visible()

    asked = len(tab.asked("GET", "/courses"))
    page.evaluate(
        """async () => {
          const more = [...document.querySelectorAll('button')].find((one) => one.textContent.startsWith('Show more'));
          while (!more.hidden) {
            if (!more.disabled) more.click();
            await new Promise(requestAnimationFrame);
          }
        }"""
    )
    expect(page.locator(".courses li")).to_have_count(COURSES)
    expect(page.get_by_text(f"{COURSES} courses", exact=True)).to_be_visible()
    # All of them came from the service by the gateway, none twice.
    assert len(tab.asked("GET", "/courses")) - asked == -(-COURSES // 48) - 1
    shown = page.eval_on_selector_all(
        ".courses li", "(all) => all.map((one) => one.dataset.course)"
    )
    assert len(set(shown)) == COURSES
    # Keeping so many answers for offline holds up nothing.
    page.get_by_label("Level").select_option("beginner")
    until_shown(page, "document.querySelectorAll('.courses li').length < 48")


def known(platform: RunningPlatform) -> int:
    """How many of the many the catalog has in its directory, which takes news in by and by."""
    count, cursor = 0, ""
    while True:
        found = platform.request(f"/courses?tag=many&sort=title&limit=100{cursor}").json
        count += len(found["items"])
        if found["nextCursor"] is None:
            return count
        cursor = f"&cursor={quote(found['nextCursor'])}"


def test_an_outline_of_five_hundred_items(platform: RunningPlatform, new_tab: NewTab) -> None:
    token = platform.document["users"]["author"]["accessToken"]
    course = {
        "slug": "five-hundred-items",
        "title": "Five hundred items",
        "shortDescription": "As many as there may be.",
        "description": "As many as there may be.",
        "language": "en",
        "level": "advanced",
        "outline": [
            {
                "id": f"s{section}",
                "title": f"Section {section}",
                "items": [
                    {"contentId": f"many-{section}-{n}", "title": f"Item {n}", "type": "quiz"}
                    for n in range(ITEMS // 20)
                ],
            }
            for section in range(20)
        ],
    }
    made = ask(f"{platform.gateway}/courses", method="POST", token=token, json_body=course)
    assert made.status == 201
    path = f"/courses/{made.json['id']}/publish"
    headers = {"If-Match": str(made.headers["ETag"]), "Content-Length": "0"}
    published = ask(platform.gateway + path, method="POST", token=token, headers=headers)
    assert published.status == 200

    tab = new_tab(f"/?course={made.json['id']}&item=many-19-24")
    page = tab.page
    links = page.locator(".outline a")
    expect(links).to_have_count(ITEMS)
    last = page.locator('.outline a[data-item="many-19-24"]')
    expect(last).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Mark as done").click()
    expect(page.get_by_text(f"1 of {ITEMS}")).to_be_visible()
    expect(last).to_contain_text("✓")
    # There is no such content: its place says so, and the browser complains of it.
    expect(page.get_by_role("alert")).to_be_visible()
    assert all("404" in text for text in tab.complaints)
    tab.complaints.clear()

    author = new_tab(f"/?edit={made.json['id']}", user="author").page
    expect(author.get_by_label("Title of item 25").last).to_have_value("Item 24")
    expect(author.locator(".items > li")).to_have_count(ITEMS)
