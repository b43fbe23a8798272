"""The traces and the board in a browser, beside a platform that does what they show."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.browser import serious_findings
from tests.browser.conftest import NewTab
from tests.system.exchange import ask
from tests.system.platform_process import RunningPlatform, until

pytestmark = pytest.mark.timeout(300)


def request(platform: RunningPlatform, path: str, trace: str) -> int:
    """One request of learner-a under this trace; its status."""
    return ask(
        platform.gateway + path,
        token=platform.document["users"]["learner-a"]["accessToken"],
        headers={"X-Amzn-Trace-Id": f"Root={trace};Sampled=1"},
    ).status


def publish(platform: RunningPlatform) -> str:
    """A course of one item, made and published by the author; its id."""
    token = platform.document["users"]["author"]["accessToken"]
    item = {"contentId": "tides-1-2", "title": "An item", "type": "reading"}
    course = {
        "slug": "for-the-map",
        "title": "For the map",
        "shortDescription": "What the queue tells of.",
        "description": "What the queue tells of.",
        "language": "en",
        "level": "beginner",
        "outline": [{"id": "s1", "title": "A section", "items": [item]}],
    }
    made = ask(f"{platform.gateway}/courses", method="POST", token=token, json_body=course)
    assert made.status == 201
    published = ask(
        f"{platform.gateway}/courses/{made.json['id']}/publish",
        method="POST",
        token=token,
        headers={"If-Match": str(made.headers["ETag"]), "Content-Length": "0"},
    )
    assert published.status == 200
    return str(made.json["id"])


def upload_nothing(platform: RunningPlatform, course_id: str) -> None:
    """An upload in parts that is begun and given up: the service asks S3 for both."""
    token = platform.document["users"]["author"]["accessToken"]
    film = {"title": "A film", "contentType": "video/mp4", "sizeBytes": 9 * 2**20}
    url = f"{platform.gateway}/content"
    begun = ask(url, method="POST", token=token, json_body={"courseId": course_id, **film})
    assert begun.status == 201
    given_up = ask(
        f"{url}/{begun.json['id']}/upload/abort",
        method="POST",
        token=token,
        headers={"Content-Length": "0"},
    )
    assert given_up.status == 204


def calls_of_s3(platform: RunningPlatform) -> int:
    """How often content delivery called S3 in the last five minutes, by its own segments."""
    since = time.time() - 300
    return sum(
        part.get("name") == "S3" and part["aws"]["bucket_name"] == "lyceum-content"
        for path in (platform.state / "traces").glob("segments.jsonl*")
        for line in path.read_bytes().splitlines()
        if line.endswith(b"}") and b'"lyceum-content"' in line
        for segment in [json.loads(line)]
        if segment["name"] == "content_delivery" and segment["start_time"] >= since
        for part in parts_of(segment)
    )


def parts_of(entity: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in entity.get("subsegments", ()):
        yield part
        yield from parts_of(part)


def fresh(number: int) -> str:
    return f"1-{int(time.time()):08x}-{number:024x}"


def rows(page: Page) -> list[str]:
    found: list[str] = page.locator(".waterfall tbody tr td:first-child").all_inner_texts()
    return found


def test_the_trace_of_a_click_is_found_and_complete(new_tab: NewTab) -> None:
    page = new_tab("/?course=tides&item=tides-1-2").page
    expect(page.locator(".reading")).to_contain_text("bulge")
    # Nothing else is asked for after the content, but now and then where the learner stands.
    with page.expect_response(re.compile("/content/tides-1-3$")) as answered:
        page.get_by_role("link", name="Check: what moves the water").first.click()
    trace = answered.value.headers["x-amzn-trace-id"].partition("Root=")[2].partition(";")[0]
    page.get_by_role("link", name="What became of the last request").click()
    expect(page.get_by_role("heading", level=1, name="Traces")).to_be_visible()

    page.goto(f"/traces?id={trace}")
    expect(page.locator(".waterfall tbody tr")).to_have_count(3)
    gateway, service, table = rows(page)
    assert gateway == "gateway GET /content/{contentId} 200"
    assert service == "content_delivery GET /content/{contentId} 200"
    assert table == "DynamoDB GetItem Content"
    # Each lies within what is above it.
    boxes = [bar.bounding_box() for bar in page.locator(".waterfall .span").all()]
    spans = [(box["x"], box["x"] + box["width"]) for box in boxes if box is not None]
    assert len(spans) == 3
    for outer, inner in ((spans[0], spans[1]), (spans[1], spans[2])):
        assert outer[0] - 3 <= inner[0] <= inner[1] <= outer[1] + 3
    lines = page.locator(".lines li").all_inner_texts()
    assert any(
        re.match(r"\d\d:\d\d:\d\d\.\d{3} content_delivery request ", line) and "status=200" in line
        for line in lines
    )


def test_the_map_shows_who_called_whom(platform: RunningPlatform, new_tab: NewTab) -> None:
    page = new_tab("/traces").page
    course_id = publish(platform)  # which progress_tracking hears of by the queue
    upload_nothing(platform, course_id)
    assert request(platform, "/courses/tides", fresh(10)) == 200
    assert request(platform, "/progress/me/no-course", fresh(11)) == 404
    page.get_by_text("The same as a table").click()
    edges = page.locator("#edges tbody tr")
    for calls in (
        ("gateway", "course_catalog"),
        ("course_catalog", "DynamoDB CourseCatalog"),
        ("gateway", "progress_tracking"),
        ("progress_tracking", "DynamoDB Progress"),
        ("content_delivery", "S3 lyceum-content"),
        ("SQS", "progress_tracking"),
    ):
        one = edges.filter(
            has=page.locator("td:nth-child(1)", has_text=re.compile(f"^{calls[0]}$"))
        )
        one = one.filter(has=page.locator("td:nth-child(2)", has_text=re.compile(f"^{calls[1]}$")))
        expect(one).to_have_count(1)
    drawn = page.locator(".map .node").all_text_contents()
    assert {
        "gateway",
        "servicecourse_catalog",
        "tableDynamoDB Progress",
        "bucketS3 lyceum-content",
    } <= set(drawn)
    # Its own two calls at least, and none that no segment has. Of the last five minutes the map keeps
    # a thousand traces: others' uploads may have left it, so it can show fewer than there were.
    asked = edges.filter(has_text="S3 lyceum-content").locator("td:nth-child(3)")
    until(
        lambda: 2 <= int(asked.inner_text()) <= calls_of_s3(platform),
        "the map shows the calls of S3 that the segments have",
    )


def test_the_list_is_live_and_can_be_filtered(platform: RunningPlatform, new_tab: NewTab) -> None:
    page = new_tab("/traces").page
    listed = page.locator("#list tr")
    expect(listed.first).to_be_visible()
    trace = fresh(20)
    assert request(platform, "/courses/no-such-course", trace) == 404
    row = page.locator(f'#list a[data-trace="{trace}"]')
    expect(row).to_be_visible()  # without a reload

    page.get_by_label("Status").select_option("4")
    page.get_by_label("Route or service").fill("/courses/{")
    expect(row).to_be_visible()
    statuses = set(page.locator("#list td:nth-child(3)").all_inner_texts())
    assert "404" in statuses
    assert all(status.startswith("4") for status in statuses)
    assert "status=4" in page.url
    page.reload()
    expect(row).to_be_visible()
    slower_ones_are_shown(platform, page)
    expect(row).to_be_visible()

    # By the keyboard alone.
    row.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#one-title")).to_be_focused()
    expect(page.locator(".waterfall .mark-error").first).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#one")).to_be_hidden()


def slower_ones_are_shown(platform: RunningPlatform, page: Page) -> None:
    """By a bound that some are above and some are not; held against what the traces took themselves."""
    own = {fresh(n) for n in range(200, 206)}
    assert {request(platform, "/courses/no-such-course", trace) for trace in own} == {404}

    def took() -> dict[str, float]:
        listed = page.request.get("/-/traces?after=0").json()["traces"]
        # Of those whose request and segment have both come: how long they took is known.
        return {
            trace["id"]: trace["durationMs"]
            for trace in listed
            if ("gateway", "course_catalog") in [(e["from"], e["to"]) for e in trace["edges"]]
        }

    until(lambda: own <= took().keys(), "the traces are whole")
    page.reload()
    page.get_by_role("checkbox", name="Live").uncheck()
    expect(page.locator(f'#list a[data-trace="{max(own)}"]')).to_be_visible()
    milliseconds = took()
    shown = [trace for trace in trace_ids(page) if trace in milliseconds]
    bound = sorted(milliseconds[trace] for trace in shown)[len(shown) // 2]
    slower = [trace for trace in shown if milliseconds[trace] > bound]
    assert 0 < len(slower) < len(shown)
    page.get_by_label("Slower than").fill(str(bound))
    assert [trace for trace in trace_ids(page) if trace in milliseconds] == slower
    page.get_by_label("Slower than").fill("59999")
    expect(page.locator("#list tr")).to_have_count(0)
    page.get_by_label("Slower than").fill("")
    page.get_by_role("checkbox", name="Live").check()


def trace_ids(page: Page) -> list[str]:
    """The traces that are listed, the newest first."""
    found: list[str] = page.eval_on_selector_all(
        "#list a", "(links) => links.map((link) => link.dataset.trace)"
    )
    return found


def test_a_breaker_is_seen_open_and_closed_again(
    platform: RunningPlatform, new_tab: NewTab
) -> None:
    page = new_tab("/board").page
    catalog = page.locator('[data-process="course_catalog"]')
    state = catalog.locator('[data-breaker="dynamodb:read"] .state')
    expect(state).to_have_text("closed")
    dynamodb = page.get_by_role("group", name="DynamoDB fails by")
    refusing = dynamodb.get_by_role("button", name="refusing connections")
    refusing.click()
    expect(refusing).to_have_attribute("aria-pressed", "true")
    # More failures than open a circuit, of courses that no one has read.
    unread = {request(platform, f"/courses/unread-{n}", fresh(300 + n)) for n in range(8)}
    assert unread == {503}
    expect(state).to_have_text("open")
    assert serious_findings(page) == []

    # It is answered for as long as it lasts, from memory, and says since when.
    assert request(platform, "/courses", fresh(31)) == 200
    works = dynamodb.get_by_role("button", name="works")
    works.click()
    expect(works).to_have_attribute("aria-pressed", "true")
    expect(state).to_have_text("closed")
    assert request(platform, "/courses/unread-0", fresh(32)) == 404


def test_the_board_shows_what_the_services_say(platform: RunningPlatform, new_tab: NewTab) -> None:
    page = new_tab("/board").page
    assert request(platform, "/courses/tides", fresh(40)) == 200
    catalog = page.locator('[data-process="course_catalog"]')
    figure = catalog.locator(".figures div", has_text="Requests/min").locator("dd")
    expect(figure).not_to_have_text("0")
    expect(catalog.locator(".figures div", has_text="Directory age")).to_be_visible()
    expect(catalog.locator(".figures div", has_text="p99")).to_contain_text("ms")
    consumer = page.locator('[data-process="progress_tracking-consumer"]')
    expect(consumer.locator(".figures div", has_text="Queue lag")).to_contain_text("ms")
    capacity = page.locator("#capacity tbody tr", has_text="CourseCatalog")
    expect(capacity.first).to_be_visible()
