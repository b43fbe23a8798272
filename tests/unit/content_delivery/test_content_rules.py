"""What valid content is, and every step of its status machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from services.content_delivery.domain.content import (
    TRANSITIONS,
    Caption,
    CaptionKind,
    Content,
    ContentStatus,
    Rendition,
    is_object_key,
)
from services.content_delivery.domain.errors import IllegalTransitionError
from tests.unit.content_delivery.samples import (
    CREATED,
    ENGLISH,
    SECRET_KEY,
    VIDEO_720P,
    deleted,
    failed,
    pending,
    ready,
)

LATER = CREATED + timedelta(days=1)

STATES: dict[ContentStatus, Callable[[], Content]] = {
    ContentStatus.PENDING: pending,
    ContentStatus.READY: ready,
    ContentStatus.FAILED: failed,
    ContentStatus.DELETED: deleted,
}
STEPS: dict[ContentStatus, Callable[[Content], Content]] = {
    ContentStatus.READY: lambda content: content.became_ready(
        size_bytes=1, etag='"e"', checksum_sha256=None, duration_seconds=None, at=LATER
    ),
    ContentStatus.FAILED: lambda content: content.became_failed(reason="why", at=LATER),
    ContentStatus.DELETED: lambda content: content.became_deleted(
        at=LATER, purge_at=LATER + timedelta(days=30)
    ),
}


@pytest.mark.parametrize("start", STATES)
@pytest.mark.parametrize("to", STEPS)
def test_every_step_is_allowed_or_refused_as_the_table_says(
    start: ContentStatus, to: ContentStatus
) -> None:
    content = STATES[start]()
    if to in TRANSITIONS[start]:
        moved = STEPS[to](content)
        assert moved.status is to
        assert moved.version == content.version + 1
        assert moved.updated_at == LATER
    else:
        with pytest.raises(IllegalTransitionError) as refusal:
            STEPS[to](content)
        assert (refusal.value.current, refusal.value.wanted) == (start.value, to.value)


def test_ready_content_is_kept_and_abandoned_content_is_not() -> None:
    assert pending().purge_at is not None
    assert ready().purge_at is None
    assert failed().purge_at == pending().purge_at
    assert deleted().purge_at == CREATED + timedelta(days=30)


@pytest.mark.parametrize("status", [ContentStatus.FAILED, ContentStatus.DELETED])
def test_only_content_that_may_be_delivered_gets_other_media(status: ContentStatus) -> None:
    with pytest.raises(IllegalTransitionError):
        STATES[status]().with_media(renditions=(), captions=(), at=LATER)


def test_the_original_is_a_rendition_once_it_is_ready() -> None:
    original = ready().original()
    assert (original.name, original.size_bytes) == ("original", 6_000_001)
    with pytest.raises(ValueError, match="etag"):
        pending().original()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"id": "a/b"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"course_id": ""}, "courseId"),
        ({"position": -1}, "position"),
        ({"position": 1_000_000}, "position"),
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "a\r\nb"}, "title"),
        ({"title": "\ud800"}, "title"),
        ({"object_key": "elsewhere/a"}, "objectKey"),
        ({"content_type": "video"}, "contentType"),
        ({"content_type": "video/mp4\r\nX: y"}, "contentType"),
        ({"size_bytes": -1}, "sizeBytes"),
        ({"size_bytes": 6 * 1024**4}, "sizeBytes"),
        ({"etag": "unquoted"}, "etag"),
        ({"etag": None}, "etag"),
        ({"checksum_sha256": "short"}, "checksumSha256"),
        ({"duration_seconds": -1}, "durationSeconds"),
        ({"duration_seconds": 604_801}, "durationSeconds"),
        ({"version": 0}, "version"),
        ({"renditions": (VIDEO_720P, VIDEO_720P)}, "renditions"),
        ({"renditions": (replace(VIDEO_720P, name="original"),)}, "renditions"),
        ({"captions": (ENGLISH, replace(ENGLISH, language="EN"))}, "captions"),
        ({"created_at": datetime(2026, 1, 1)}, "zone"),  # noqa: DTZ001  # the fault itself
        ({"failure_reason": ""}, "failureReason"),
        ({"status": ContentStatus.FAILED}, "failureReason"),
        ({"status": ContentStatus.DELETED}, "deletedAt"),
        ({"deleted_at": LATER}, "deletedAt"),
    ],
)
def test_an_invalid_content_cannot_be_made(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named) as refusal:
        replace(ready(), **changes)  # type: ignore[arg-type]  # dataclasses.replace checks
    assert "elsewhere" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "accepted"),
    [
        ("content/a", True),
        ("content/c-1/Ebbe & Flut, Teil 1 (720p).mp4", True),
        ("content/海の潮/% +.mp4", True),
        ("content/" + "x" * 1016, True),
        ("content/" + "x" * 1017, False),
        ("content/" + "海" * 340, False),
        ("content/", False),
        ("content//a", False),
        ("content/../secret", False),
        ("content/./a", False),
        ("content/a/..", False),
        ("content/a\n", False),
        ("content/\ud800", False),
        ("/content/a", False),
        ("", False),
    ],
)
def test_object_keys(key: str, accepted: bool) -> None:
    assert is_object_key(key) is accepted


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a b"},
        {"name": ""},
        {"object_key": "x"},
        {"content_type": ""},
        {"size_bytes": -1},
        {"etag": 'a"b'},
        {"width": 0},
        {"height": 65_536},
    ],
)
def test_an_invalid_rendition_cannot_be_made(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is not valid"):
        replace(VIDEO_720P, **changes)  # type: ignore[arg-type]  # dataclasses.replace checks


@pytest.mark.parametrize("language", ["", "e", "en_US", "en-", "x" * 9, "en\r"])
def test_an_invalid_caption_cannot_be_made(language: str) -> None:
    with pytest.raises(ValueError, match="language"):
        Caption(language, CaptionKind.CAPTIONS, "content/a.vtt")


def test_no_text_form_of_content_shows_an_object_key() -> None:
    content = ready()
    rendition: Rendition = content.original()
    assert SECRET_KEY not in repr(content) + repr(rendition) + str(content)
    assert "mangrove" not in repr(content)
