"""What authors do to content besides uploading it, on the twins in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.content_delivery.domain.authoring import Authoring, Edit
from services.content_delivery.domain.content import (
    Caption,
    CaptionKind,
    Content,
    ContentStatus,
    MultipartUpload,
    RenditionUpload,
)
from services.content_delivery.domain.errors import (
    ContentNotFoundError,
    IllegalTransitionError,
    InvalidCaptionError,
    NotRestorableError,
    RenditionNotFoundError,
    TooManyMediaError,
    VersionConflictError,
)
from services.content_delivery.domain.object_store import ObjectMetadata
from services.content_delivery.storage.memory import MemoryContentRepository, MemoryObjectStore
from services.content_delivery.storage.rows import decode, encode
from tests.unit.content_delivery.samples import (
    CREATED,
    ENGLISH,
    PORTUGUESE,
    SECRET_KEY,
    VIDEO_720P,
    failed,
    pending,
    ready,
)

VTT = b"WEBVTT\n\n00:00.000 --> 00:02.000\nMare baixa\n"
EDIT = Edit(title="Ebb", position=7, course_id=None, duration_seconds=None)
ON_ITS_WAY = RenditionUpload(
    name="480p",
    object_key="content/c-1/480p",
    content_type="video/mp4",
    size_bytes=100,
    multipart=MultipartUpload("upload-1", 40),
)


class Studio:
    """The use cases over stores that hold one content and all its objects."""

    def __init__(self, *contents: Content) -> None:
        self.now = CREATED + timedelta(days=1)
        self.contents = MemoryContentRepository()
        self.objects = MemoryObjectStore()
        for content in contents:
            self.contents.rows[content.id] = encode(content)
        for key in (SECRET_KEY, VIDEO_720P.object_key, ENGLISH.object_key, PORTUGUESE.object_key):
            self.objects.objects[key] = ObjectMetadata(1, "video/mp4", '"e"')
        ids = iter(f"new-{number}" for number in range(100))
        self.authoring = Authoring(
            contents=self.contents,
            objects=self.objects,
            retention=timedelta(days=30),
            clock=lambda: self.now,
            new_id=lambda: next(ids),
        )

    async def content(self) -> Content:
        return await self.authoring.get("c-1")


def anything(content: Content) -> None:
    """No condition."""


def stale(content: Content) -> None:
    raise VersionConflictError(content.id)


async def test_an_edit_changes_what_its_author_says_and_nothing_else() -> None:
    studio = Studio(ready())
    edited = await studio.authoring.edit("c-1", EDIT, condition=anything)
    assert edited == await studio.content()
    assert (edited.title, edited.position, edited.duration_seconds) == ("Ebb", 7, None)
    expected = replace(
        ready(),
        title="Ebb",
        position=7,
        duration_seconds=None,
        version=4,
        updated_at=studio.now,
    )
    assert edited == expected
    moved = await studio.authoring.edit(
        "c-1", replace(EDIT, course_id="course-2"), condition=anything
    )
    assert moved.course_id == "course-2"


@pytest.mark.parametrize("content", [pending(), failed(), ready()])
async def test_an_unmet_condition_changes_nothing(content: Content) -> None:
    studio = Studio(content)
    with pytest.raises(VersionConflictError):
        await studio.authoring.edit("c-1", EDIT, condition=stale)
    with pytest.raises(VersionConflictError):
        await studio.authoring.delete("c-1", condition=stale)
    assert await studio.content() == content


async def test_a_track_replaces_the_one_of_its_language_and_kind() -> None:
    studio = Studio(ready())
    content, is_new = await studio.authoring.put_caption(
        "c-1", language="EN", kind=CaptionKind.CAPTIONS, body=VTT
    )
    assert not is_new
    assert [(track.language, track.kind) for track in content.captions] == [
        ("pt-BR", CaptionKind.SUBTITLES),
        ("EN", CaptionKind.CAPTIONS),
    ]
    new = content.captions[-1].object_key
    assert studio.objects.bodies[new] == VTT
    # What was replaced is gone; what it was replaced by is another object.
    assert ENGLISH.object_key not in studio.objects.objects
    content, is_new = await studio.authoring.put_caption(
        "c-1", language="en", kind=CaptionKind.CHAPTERS, body=VTT
    )
    assert is_new
    assert len(content.captions) == 3
    assert content.captions[-1].object_key != new


async def test_a_text_that_is_no_track_is_not_stored() -> None:
    studio = Studio(ready())
    before = dict(studio.objects.objects)
    with pytest.raises(InvalidCaptionError):
        await studio.authoring.put_caption(
            "c-1", language="en", kind=CaptionKind.CAPTIONS, body=b"1\n"
        )
    assert studio.objects.objects == before


async def test_there_are_only_so_many_tracks() -> None:
    tracks = tuple(
        Caption(f"{a}{b}", CaptionKind.SUBTITLES, f"content/c-1/{a}{b}")
        for a in "abcdefgh"
        for b in "abcdefgh"
    )
    studio = Studio(replace(ready(), captions=tracks))
    with pytest.raises(TooManyMediaError):
        await studio.authoring.put_caption(
            "c-1", language="zz", kind=CaptionKind.SUBTITLES, body=VTT
        )
    assert studio.objects.bodies == {}
    # One in the place of another is not one more.
    _, is_new = await studio.authoring.put_caption(
        "c-1", language="aa", kind=CaptionKind.SUBTITLES, body=VTT
    )
    assert not is_new


async def test_a_track_is_removed_with_its_object() -> None:
    studio = Studio(ready())
    for _ in range(2):  # there need not be one
        await studio.authoring.delete_caption("c-1", language="PT-br", kind=CaptionKind.SUBTITLES)
    content = await studio.content()
    assert (content.captions, content.version) == ((ENGLISH,), 4)
    assert PORTUGUESE.object_key not in studio.objects.objects
    assert ENGLISH.object_key in studio.objects.objects


async def test_a_rendition_is_removed_with_its_object() -> None:
    studio = Studio(ready())
    await studio.authoring.delete_rendition("c-1", "720p")
    assert (await studio.content()).renditions == ()
    assert VIDEO_720P.object_key not in studio.objects.objects
    for name in ("720p", "original"):
        with pytest.raises(RenditionNotFoundError):
            await studio.authoring.delete_rendition("c-1", name)


async def test_a_rendition_on_its_way_is_given_up() -> None:
    studio = Studio()
    upload_id = await studio.objects.create_multipart(
        ON_ITS_WAY.object_key, content_type="video/mp4"
    )
    upload = replace(ON_ITS_WAY, multipart=MultipartUpload(upload_id, 40))
    studio.contents.rows["c-1"] = encode(replace(ready(), rendition_uploads=(upload,)))
    await studio.authoring.delete_rendition("c-1", "480p")
    assert studio.objects.open_uploads == 0
    assert (await studio.content()).rendition_uploads == ()


async def test_ready_content_comes_back_as_it_was() -> None:
    studio = Studio(ready())
    objects = dict(studio.objects.objects)
    await studio.authoring.delete("c-1", condition=anything)
    deleted = await studio.content()
    assert (deleted.status, deleted.deleted_at) == (ContentStatus.DELETED, studio.now)
    assert deleted.purge_at == studio.now + timedelta(days=30)
    assert studio.objects.objects == objects
    studio.now += timedelta(days=29)
    restored = await studio.authoring.restore("c-1")
    assert restored == replace(ready(), version=5, updated_at=studio.now)
    # What is not deleted stays as it is.
    assert await studio.authoring.restore("c-1") == restored


async def test_what_was_never_ready_does_not_come_back() -> None:
    for content in (pending(), failed()):
        studio = Studio(content)
        await studio.authoring.delete("c-1", condition=anything)
        assert SECRET_KEY not in studio.objects.objects
        with pytest.raises(NotRestorableError):
            await studio.authoring.restore("c-1")


async def test_after_its_time_it_is_gone_although_its_row_is_there() -> None:
    studio = Studio(ready())
    await studio.authoring.delete("c-1", condition=anything)
    studio.now += timedelta(days=30)
    with pytest.raises(ContentNotFoundError):
        await studio.authoring.restore("c-1")


async def test_a_deletion_gives_up_what_is_on_its_way() -> None:
    studio = Studio()
    upload_id = await studio.objects.create_multipart(SECRET_KEY, content_type="video/mp4")
    studio.contents.rows["c-1"] = encode(pending(multipart=MultipartUpload(upload_id, 1_000)))
    await studio.authoring.delete("c-1", condition=anything)
    assert studio.objects.open_uploads == 0


async def test_deleted_content_is_gone_for_every_change() -> None:
    studio = Studio(ready())
    await studio.authoring.delete("c-1", condition=anything)
    authoring = studio.authoring
    for change in (
        authoring.edit("c-1", EDIT, condition=anything),
        authoring.delete("c-1", condition=anything),
        authoring.put_caption("c-1", language="en", kind=CaptionKind.CAPTIONS, body=VTT),
        authoring.delete_caption("c-1", language="en", kind=CaptionKind.CAPTIONS),
        authoring.delete_rendition("c-1", "720p"),
    ):
        with pytest.raises(ContentNotFoundError):
            await change


async def test_failed_content_takes_no_media() -> None:
    studio = Studio(failed())
    with pytest.raises(IllegalTransitionError):
        await studio.authoring.put_caption(
            "c-1", language="en", kind=CaptionKind.CAPTIONS, body=VTT
        )
    # But its author may still say what it was meant to be.
    assert (await studio.authoring.edit("c-1", EDIT, condition=anything)).title == "Ebb"


@pytest.mark.parametrize(
    "content",
    [
        pending(multipart=MultipartUpload("upload/+=", 1_000)),
        replace(
            ready(),
            renditions=(replace(VIDEO_720P, checksum_sha256="B" * 43 + "="),),
            rendition_uploads=(
                ON_ITS_WAY,
                replace(ON_ITS_WAY, name="240p", multipart=None, failure_reason="other bytes"),
            ),
        ),
    ],
)
def test_a_row_keeps_all_of_an_upload(content: Content) -> None:
    assert decode(encode(content), content_id="c-1") == content


@pytest.mark.parametrize(
    "damage",
    [
        {"multipart": "upload-1"},
        {"multipart": {"uploadId": "u", "partSize": 0}},
        {"multipart": {"uploadId": "", "partSize": 10}},
        {"multipart": {"uploadId": "u", "partSize": 1}},  # more parts than there may be
        {"renditionUploads": [{"name": "480p"}]},
    ],
)
def test_a_damaged_upload_is_told_apart(damage: dict[str, object]) -> None:
    with pytest.raises(Exception, match="not valid|is not a") as caught:
        decode({**encode(pending()), **damage}, content_id="c-1")
    assert type(caught.value).__name__ == "CorruptContentError"
