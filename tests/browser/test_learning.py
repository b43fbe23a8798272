"""The learner's page in a browser: the journey, the player, and a device that is sometimes offline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.browser import Watched, body_of, texts, until
from tests.browser.conftest import NewTab
from tests.browser.short_lived import short_lived
from tests.contract.consumers.pact import load
from tests.system.exchange import ask
from tests.system.platform_process import ROOT, RunningPlatform
from tests.system.platform_process import until as until_ends

pytestmark = pytest.mark.timeout(300)

VIDEO = "document.querySelector('video:not([data-role])')"
SAVED = "All is saved"
PACTS = ROOT / "tests" / "contract" / "consumers"


def saved(page: Page) -> None:
    expect(page.locator("#sync")).to_have_text(SAVED)


def item(page: Page, content_id: str) -> Any:
    return page.locator(f'.outline a[data-item="{content_id}"]')


def mark_done(page: Page, content_id: str) -> None:
    item(page, content_id).click()
    expect(item(page, content_id)).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Mark as done").click()
    expect(page.get_by_role("button", name="Done", exact=True)).to_be_disabled()


def progress(platform: RunningPlatform, course: str, user: str = "learner-a") -> dict[str, Any]:
    answer = platform.request(f"/progress/me/{course}", user=user)
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


def play(page: Page) -> None:
    until(page, f"{VIDEO}?.readyState >= 3")
    page.evaluate(f"{VIDEO}.play()")


def test_the_journey(platform: RunningPlatform, new_tab: NewTab) -> None:
    tab = new_tab()
    page = tab.page
    expect(page.locator('.courses li[data-course="tides"]')).to_be_visible()
    page.get_by_label("Search in titles").fill("tide")
    page.get_by_label("Language").select_option("en")
    expect(page.locator(".courses li")).to_have_count(1)
    # What was searched for is in the address: a reload finds the same.
    page.reload()
    expect(page.locator(".courses li")).to_have_count(1)
    page.get_by_role("link", name="Reading the tides").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Reading the tides")

    play(page)
    until(page, f"{VIDEO}.currentTime > 1")
    tracks = page.evaluate(f"[...{VIDEO}.textTracks].map((track) => track.language)")
    assert tracks == ["en", "de", "es"]
    page.evaluate(f"{VIDEO}.textTracks[0].mode = 'showing'")
    until(page, f"{VIDEO}.textTracks[0].cues?.length > 0")
    page.evaluate(f"{VIDEO}.currentTime = 40; {VIDEO}.pause()")
    until(page, f"!{VIDEO}.seeking")
    page.evaluate(f"{VIDEO}.play()")
    until(page, f"{VIDEO}.currentTime > 40.2")
    page.evaluate(f"{VIDEO}.pause()")
    saved(page)
    stands = progress(platform, "tides")
    assert stands["resume"]["contentId"] == "tides-1-1"
    assert 40 < stands["resume"]["positionSeconds"] < 60

    item(page, "tides-1-3").click()
    for question, answer in (
        ("two high waters", "far side"),
        ("How much time|how much time", "12"),
    ):
        group = page.get_by_role("group", name=re.compile(question))
        group.get_by_label(re.compile(answer)).check()
    page.get_by_role("button", name="Check the answers").click()
    expect(page.get_by_text("All right.")).to_be_visible()
    item(page, "tides-1-2").click()
    expect(page.locator(".reading")).to_contain_text("bulge")
    mark_done(page, "tides-1-2")
    saved(page)
    stands = progress(platform, "tides")
    assert {name for name, one in stands["items"].items() if one["completed"]} == {
        "tides-1-2",
        "tides-1-3",
    }
    expect(page.get_by_text(f"{stands['percent']} % done, 2 of 6")).to_be_visible()
    assert stands["percent"] > 0
    # A reload is no loss.
    page.reload()
    expect(page.get_by_text(f"{stands['percent']} % done, 2 of 6")).to_be_visible()


def test_another_device_goes_on_where_this_one_left_off(new_tab: NewTab) -> None:
    first = new_tab("/?course=tides&item=tides-1-1", user="learner-b").page
    play(first)
    first.evaluate(f"{VIDEO}.currentTime = 20")
    until(first, f"{VIDEO}.currentTime > 20.2")
    first.evaluate(f"{VIDEO}.pause()")
    saved(first)

    other = new_tab("/?course=tides", user="learner-b").page
    expect(other.get_by_text("Go on with “Spring and neap tides” at 0:2")).to_be_visible()
    until(other, f"{VIDEO}?.readyState >= 3 && !{VIDEO}.seeking")
    assert 20 < other.evaluate(f"{VIDEO}.currentTime") < 30


def test_seeking_asks_for_ranges(new_tab: NewTab) -> None:
    tab = new_tab("/?course=tides&item=tides-1-1")
    page = tab.page
    until(page, f"{VIDEO}?.readyState >= 3 && !{VIDEO}.seeking")
    for seconds in (70, 5, 60):
        page.evaluate(f"{VIDEO}.currentTime = {seconds}")
        until(page, f"!{VIDEO}.seeking && {VIDEO}.readyState >= 2")
        assert abs(page.evaluate(f"{VIDEO}.currentTime") - seconds) < 1
    videos = [answer for answer in tab.responses if "/content/tides-1-1/original" in answer.url]
    assert videos
    assert {answer.status for answer in videos} == {206}
    assert {answer.headers["content-range"].rpartition("/")[2] for answer in videos} == {"4340540"}


# How the video's own time went, frame by frame, whichever element showed it.
RECORD_FRAMES = f"""() => {{
  window.frames_ = [];
  const look = (at) => {{
    const video = {VIDEO};
    if (video) window.frames_.push([at, video.currentTime, video.paused]);
    requestAnimationFrame(look);
  }};
  requestAnimationFrame(look);
}}"""


@pytest.fixture(scope="module")
def dying(platform: RunningPlatform) -> Iterator[str]:
    """Content delivery whose URLs live for seconds."""
    with short_lived(platform) as url:
        yield url


def refused_as_expired(url: str) -> bool:
    """Whether S3 itself says that this URL has died."""
    answer = ask(url)
    return answer.status == 403 and b"Request has expired" in answer.body


def test_playback_goes_on_over_a_fresh_url(
    platform: RunningPlatform, new_tab: NewTab, dying: str
) -> None:
    """The URL in use nears its end, and then it is dead; nobody notices."""
    tab = new_tab()
    page = tab.page
    given: list[str] = []

    def the_first_is_short(route: Route) -> None:
        if given:
            route.continue_()
            return
        answer = route.fetch(url=route.request.url.replace(platform.gateway, dying))
        given.append(answer.json()["url"])
        route.fulfill(response=answer)

    page.route("**/content/tides-1-1", the_first_is_short)
    page.goto("/?course=tides&item=tides-1-1")
    play(page)
    page.evaluate(f"{VIDEO}.currentTime = 3")
    until(page, f"!{VIDEO}.seeking && {VIDEO}.currentTime > 3.1")
    page.evaluate(RECORD_FRAMES)
    (first,) = given
    until(page, f"{VIDEO}.src !== {json.dumps(first)}")
    until_ends(lambda: refused_as_expired(first), "S3 refuses the first URL")
    # It is dead by now: what is asked for further on is asked of a fresh one.
    moved_at = page.evaluate(f"{VIDEO}.currentTime")
    until(page, f"{VIDEO}.currentTime > {moved_at} + 1.5")
    assert not refused_as_expired(page.evaluate(f"{VIDEO}.src"))
    assert page.locator("video:not([data-role])").count() == 1

    frames = page.evaluate("window.frames_")
    assert not any(paused for _, _, paused in frames)
    shifts = [
        (after[1] - before[1]) - (after[0] - before[0]) / 1000 for before, after in pairwise(frames)
    ]
    # No frame is shown again for long and none is left out: time goes on as the clock's does.
    assert max(shifts) < 0.5
    assert min(shifts) > -0.5


def test_a_dead_url_is_replaced_where_the_video_stands(
    platform: RunningPlatform, new_tab: NewTab, dying: str
) -> None:
    """The machine slept while the URL died: S3's own refusal is recovered from."""
    tab = new_tab()
    page = tab.page
    page.goto("/")
    given: list[str] = []

    def expired(route: Route) -> None:
        if given:
            route.continue_()
            return
        # Given in time, and shown to the page when it is too late, as to one that slept.
        answer = route.fetch(url=route.request.url.replace(platform.gateway, dying))
        given.append(answer.json()["url"])
        until_ends(lambda: refused_as_expired(given[0]), "S3 refuses the URL")
        route.fulfill(response=answer)

    page.route("**/content/tides-1-1", expired)
    page.goto("/?course=tides&item=tides-1-1")
    until(page, f"{VIDEO}?.readyState >= 3")
    assert page.evaluate(f"{VIDEO}.src") not in given
    refusals = [answer for answer in tab.responses if answer.url == given[0]]
    assert {answer.status for answer in refusals} == {403}
    # The refusal is the browser's to complain of, and nothing else is.
    assert {re.sub(r"\d+", "", text) for text in tab.complaints} == {
        "Failed to load resource: the server responded with a status of  (Forbidden)"
    }
    tab.complaints.clear()


def test_offline_updates_wait_and_go_out_as_a_batch(
    platform: RunningPlatform, new_tab: NewTab
) -> None:
    tab = new_tab("/?course=sql")
    page = tab.page
    expect(page.locator(".outline a").first).to_be_visible()
    ids = page.eval_on_selector_all(
        ".outline a", "(links) => links.map((link) => link.dataset.item)"
    )
    expect(page.get_by_role("button", name="Mark as done")).to_be_visible()
    page.context.set_offline(True)
    for content_id in ids[:5]:
        mark_done(page, content_id)
    expect(page.locator("#sync")).to_have_text("Offline, 5 updates kept on this device")
    expect(page.get_by_text("not all of it sent yet")).to_be_visible()
    sent_before = [*tab.asked("PUT", "/progress/"), *tab.asked("POST", "/progress/")]

    page.context.set_offline(False)
    saved(page)
    assert not sent_before
    assert not tab.asked("PUT", "/progress/")
    (batch,) = tab.asked("POST", "/progress/me/batch")
    entries = body_of(batch)["entries"]
    assert isinstance(entries, list)
    assert len(entries) == 5
    stands = progress(platform, "sql")
    assert all(stands["items"][content_id]["completed"] for content_id in ids[:5])
    expect(page.get_by_text(f"{stands['percent']} % done, 5 of {len(ids)}")).to_be_visible()
    # What could not be loaded meanwhile is the browser's to complain of.
    assert all("ERR_INTERNET_DISCONNECTED" in text for text in tab.complaints)
    tab.complaints.clear()


def test_the_pages_need_no_more_than_is_agreed(platform: RunningPlatform, new_tab: NewTab) -> None:
    """With the answers of the learner's app's contracts, to the letter, nothing is missing."""
    film = platform.request("/content/tides-1-1").json
    agreed = {
        name: interaction.response["body"]
        for path in sorted(PACTS.glob("learner_app-*.json"))
        for name, interaction in load(path).interactions.items()
        if "body" in interaction.response
    }
    agreed["a film"] |= {"url": film["url"]}
    agreed["a film"]["captions"][0] |= {"url": film["captions"][0]["url"]}
    answers = {
        r"GET /courses\?": "the first courses",
        r"GET /courses/crs-1$": "a published course",
        r"GET /progress/me\?": "where the learner stands",
        r"GET /progress/me/crs-1$": "a course that was begun",
        r"PUT /progress/me/crs-1$": "the first update",
        r"GET /content/c1-1$": "a film",
    }

    def answer(route: Route) -> None:
        asked = f"{route.request.method} {route.request.url.removeprefix(platform.gateway)}"
        names = [name for pattern, name in answers.items() if re.match(pattern, asked)]
        if names:
            route.fulfill(json=agreed[names[0]])
        else:
            route.continue_()

    tab = new_tab("/traces")
    page = tab.page
    page.route("**/*", answer)
    page.goto("/")
    expect(page.locator(".courses li")).to_have_count(1)
    expect(page.locator('.courses progress[data-begun="true"]')).to_be_visible()
    words = [page.locator("main").inner_text()]
    page.get_by_role("link", name="Course 1").click()
    until(page, f"{VIDEO}?.readyState >= 3")
    expect(page.get_by_label("Rendition").locator("option")).to_have_count(2)
    with page.expect_response(lambda found: found.request.method == "PUT"):
        page.get_by_role("button", name="Mark as done").click()
    saved(page)
    words.append(page.locator("main").inner_text())
    assert not re.search("undefined|null|NaN|object Object", " ".join(words))


def test_a_reload_without_a_network_shows_the_page_and_loses_nothing(
    platform: RunningPlatform, new_tab: NewTab
) -> None:
    """The pages' worker keeps them, and the device what was read last."""
    tab = new_tab("/?course=typo", user="learner-b")
    page = tab.page
    expect(page.locator(".reading p").first).to_be_visible()
    ids = page.eval_on_selector_all(
        ".outline a", "(links) => links.map((link) => link.dataset.item)"
    )
    read, title = page.locator(".reading").inner_text(), page.locator("h1").inner_text()
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    page.context.set_offline(True)
    mark_done(page, ids[0])
    page.reload()
    expect(page.locator("h1")).to_have_text(title)
    expect(page.locator("#sync")).to_have_text("Offline, 1 update kept on this device")
    expect(item(page, ids[0])).to_contain_text("✓")
    item(page, ids[0]).click()
    expect(page.locator(".reading")).to_have_text(read, use_inner_text=True)
    mark_done(page, ids[1])
    page.reload()
    expect(page.locator("#sync")).to_have_text("Offline, 2 updates kept on this device")
    # What was never read here can not be shown, and it is said why.
    page.goto("/?course=sql")
    expect(page.get_by_role("alert")).to_contain_text("can not be reached from this device")
    page.goto("/board")
    expect(page.get_by_role("alert")).to_contain_text("can not be reached from this device")

    page.context.set_offline(False)
    page.goto("/?course=typo")
    saved(page)
    stands = progress(platform, "typo", "learner-b")
    assert {ids[0], ids[1]} == {name for name, one in stands["items"].items() if one["completed"]}
    assert all("ERR_INTERNET_DISCONNECTED" in text for text in tab.complaints)
    tab.complaints.clear()


def test_nothing_is_lost_by_a_reload_or_by_closing_the_tab(
    platform: RunningPlatform, new_tab: NewTab
) -> None:
    tab = new_tab("/?course=dynamo")
    page = tab.page
    expect(page.locator(".outline a").first).to_be_visible()
    first, second, *_ = page.eval_on_selector_all(
        ".outline a", "(links) => links.map((link) => link.dataset.item)"
    )

    def refuse(route: Route) -> None:
        if route.request.method == "GET":
            route.continue_()
        else:
            route.abort()

    page.context.route("**/progress/**", refuse)
    mark_done(page, first)
    page.reload()
    expect(page.locator("#sync")).to_have_text("1 update kept on this device")
    expect(item(page, first)).to_contain_text("✓")
    mark_done(page, second)
    expect(page.locator("#sync")).to_have_text("2 updates kept on this device")
    device = page.locator("#device").inner_text()
    page.close()

    page.context.unroute("**/progress/**")
    other = new_tab("/?course=dynamo", context=page.context).page
    saved(other)
    assert other.locator("#device").inner_text() != device
    stands = progress(platform, "dynamo")
    assert {first, second} <= {name for name, one in stands["items"].items() if one["completed"]}
    assert all("ERR_FAILED" in text for text in tab.complaints)
    tab.complaints.clear()


def test_two_tabs_are_two_devices_and_merge_out_of_order(
    platform: RunningPlatform, new_tab: NewTab
) -> None:
    early = new_tab("/?course=asyncio", user="learner-b")
    late = new_tab("/?course=asyncio", user="learner-b")
    expect(early.page.locator(".outline a").first).to_be_visible()
    ids = early.page.eval_on_selector_all(
        ".outline a", "(links) => links.map((link) => link.dataset.item)"
    )
    assert early.page.locator("#device").inner_text() != late.page.locator("#device").inner_text()
    # The first device records first, and is heard last.
    early.page.context.set_offline(True)
    mark_done(early.page, ids[0])
    mark_done(late.page, ids[1])
    saved(late.page)
    early.page.context.set_offline(False)
    saved(early.page)

    stands = progress(platform, "asyncio", "learner-b")
    assert {name for name, one in stands["items"].items() if one["completed"]} == set(ids[:2])
    assert stands["resume"]["contentId"] == ids[1]  # what was done last, not what came last
    for tab in (early, late):
        # A device hears of the other when it looks again.
        tab.page.evaluate("dispatchEvent(new Event('focus'))")
        expect(tab.page.get_by_text(f"{stands['percent']} % done, 2 of {len(ids)}")).to_be_visible()
    early.complaints.clear()


def test_a_title_is_text_and_right_to_left(new_tab: NewTab) -> None:
    page = new_tab("/?course=falak").page
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_attribute("lang", "ar")
    assert heading.evaluate("(node) => getComputedStyle(node).direction") == "rtl"
    assert texts(page, ".outline a")


def test_errors_say_what_happened_and_what_to_do(new_tab: NewTab) -> None:
    tab = new_tab("/?course=no-such-course")
    alert = tab.page.get_by_role("alert")
    expect(alert).to_contain_text("There is no such course")
    expect(alert.get_by_role("link")).to_have_attribute("href", re.compile(r"^/traces\?id=1-"))
    expect(alert.get_by_role("button", name="Try again")).to_be_visible()
    assert len(tab.complaints) == 1
    tab.complaints.clear()


def test_pages_keep_to_their_policy_and_are_not_sent_twice(
    platform: RunningPlatform, new_tab: NewTab
) -> None:
    tab = new_tab()
    page = tab.page
    expect(page.locator(".courses li").first).to_be_visible()
    (loaded,) = (answer for answer in tab.responses if urlsplit(answer.url).path == "/")
    policy = loaded.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert platform.document["s3"] in policy
    page.reload()
    expect(page.locator(".courses li").first).to_be_visible()
    assets = [answer for answer in tab.responses if "/-/assets/" in answer.url]
    assert {answer.status for answer in assets} <= {200, 304}
    assert 304 in {_status_on_the_wire(tab, answer.url) for answer in assets}


def _status_on_the_wire(tab: Watched, url: str) -> int:
    """What the server says to who has the file: the browser itself shows 200 from its cache."""
    etag = tab.page.request.get(url).headers["etag"]
    return tab.page.request.get(url, headers={"If-None-Match": etag}).status
