"""Rows of the table: what is written is read back, and a damaged row is named, not served."""

from __future__ import annotations

import pytest

from services.content_delivery.domain.content import Content
from services.content_delivery.domain.errors import CorruptContentError
from services.content_delivery.storage.rows import decode, decode_summary, encode
from tests.unit.content_delivery.samples import VIDEO_720P, deleted, failed, pending, ready

RENDITION = {
    "name": VIDEO_720P.name,
    "objectKey": VIDEO_720P.object_key,
    "contentType": VIDEO_720P.content_type,
    "sizeBytes": VIDEO_720P.size_bytes,
    "etag": VIDEO_720P.etag,
}


@pytest.mark.parametrize("content", [pending(), ready(), failed(), deleted()])
def test_what_is_written_is_read_back(content: Content) -> None:
    row = encode(content)
    assert decode(row, content_id="c-1") == content
    assert None not in row.values()
    summary = decode_summary(row)
    assert (summary.id, summary.status) == (content.id, content.status)


def test_attributes_of_others_are_left_alone() -> None:
    assert decode({**encode(ready()), "migration": {"epoch": 1}}, content_id="c-1") == ready()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"contentId": "other"}, "contentId"),
        ({"courseId": 7}, "courseId"),
        ({"position": "1"}, "position"),
        ({"position": 1.5}, "position"),
        ({"position": True}, "position"),
        ({"title": None}, "title"),
        ({"status": "published"}, "status"),
        ({"status": []}, "status"),
        ({"objectKey": "../../etc/passwd"}, "objectKey"),
        ({"objectKey": "other-prefix/film.mp4"}, "objectKey"),
        ({"contentType": "text/html\r\nX-Injected: 1"}, "contentType"),
        ({"sizeBytes": -5}, "sizeBytes"),
        ({"etag": None}, "etag"),
        ({"durationSeconds": 10.5}, "durationSeconds"),
        ({"renditions": "none"}, "renditions"),
        ({"renditions": ["720p"]}, "renditions"),
        ({"renditions": [{**RENDITION, "objectKey": "x"}]}, "objectKey"),
        ({"renditions": [{**RENDITION, "width": "wide"}]}, "width"),
        ({"renditions": [RENDITION, RENDITION]}, "renditions"),
        ({"captions": [{"language": "en", "kind": "lyrics", "objectKey": "content/a"}]}, "kind"),
        ({"version": 0}, "version"),
        ({"createdAt": "yesterday"}, "createdAt"),
        ({"updatedAt": 5}, "updatedAt"),
        ({"deletedAt": "2026-01-01T00:00:00.000Z"}, "deletedAt"),
        ({"purgeAt": 10**30}, "purgeAt"),
    ],
)
def test_a_damaged_row_is_refused_by_the_name_of_the_attribute(
    changes: dict[str, object], named: str
) -> None:
    with pytest.raises(CorruptContentError, match=named) as refusal:
        decode({**encode(ready()), **changes}, content_id="c-1")
    assert "c-1" in str(refusal.value)
    for value in changes.values():
        assert (
            isinstance(value, bool) or len(str(value)) < 4 or str(value) not in str(refusal.value)
        )


@pytest.mark.parametrize("missing", sorted(set(encode(ready())) - {"renditions", "captions"}))
def test_a_missing_attribute_is_found_or_optional(missing: str) -> None:
    row = {name: value for name, value in encode(ready()).items() if name != missing}
    if missing in ("checksumSha256", "durationSeconds"):
        decode(row, content_id="c-1")
    else:
        with pytest.raises(CorruptContentError, match=missing):
            decode(row, content_id="c-1")


def test_a_damaged_summary_is_refused() -> None:
    with pytest.raises(CorruptContentError, match="title"):
        decode_summary({**encode(ready()), "title": 5})
