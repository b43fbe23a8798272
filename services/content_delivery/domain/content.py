"""Content and its status machine.

Owns what a valid piece of content is and which steps its status may take. Every instance is valid:
a rule that is broken raises ValueError when the instance is made, whoever makes it (an upload, a
row of the table), with a message that names the field and never its value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from services.content_delivery.domain.errors import IllegalTransitionError

ORIGINAL_RENDITION = "original"
"""The name under which the uploaded object itself is listed and asked for."""

OBJECT_KEY_PREFIX = "content/"
"""Every object key starts with it; the service's role may read nothing else of the bucket."""

MAXIMUM_POSITION = 999_999
MAXIMUM_RENDITIONS = 16
MAXIMUM_CAPTIONS = 64

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPE_NAME = r"[A-Za-z0-9!#$&^_.+-]{1,64}"  # restricted-name of RFC 6838 section 4.2
_CONTENT_TYPE = re.compile(rf"{_TYPE_NAME}/{_TYPE_NAME}(; ?charset=[A-Za-z0-9-]{{1,32}})?")
_ETAG = re.compile(r'"[!#-~]{1,254}"')  # a strong entity tag, RFC 9110 section 8.8.3
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}")  # a BCP 47 tag
_CHECKSUM = re.compile(r"[A-Za-z0-9+/]{43}=")  # SHA-256 in base64, as S3 gives it
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class ContentStatus(Enum):
    """Where content stands between upload and deletion."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


TRANSITIONS = {
    ContentStatus.PENDING: {ContentStatus.READY, ContentStatus.FAILED, ContentStatus.DELETED},
    ContentStatus.READY: {ContentStatus.DELETED},
    ContentStatus.FAILED: {ContentStatus.DELETED},
    ContentStatus.DELETED: set[ContentStatus](),
}
"""pending → ready | failed → deleted, and deletion from anywhere."""


class CaptionKind(Enum):
    """The kinds of text track of HTML's ``track`` element that a player shows."""

    SUBTITLES = "subtitles"
    CAPTIONS = "captions"
    DESCRIPTIONS = "descriptions"
    CHAPTERS = "chapters"


@dataclass(frozen=True, slots=True)
class Rendition:
    """One encoding of the content, as an object in the store.

    ``etag`` is the object's entity tag with its quotes, so that a client may send it as it is in
    ``If-Range``. Width and height are pixels, of pictures and videos only.
    """

    name: str
    object_key: str = field(repr=False)
    content_type: str
    size_bytes: int
    etag: str
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        _require(_IDENTIFIER.fullmatch(self.name) is not None, "rendition name")
        _check_object(self.object_key, self.content_type, self.size_bytes)
        _require(_ETAG.fullmatch(self.etag) is not None, "rendition etag")
        for side in (self.width, self.height):
            _require(side is None or 0 < side <= 65_535, "rendition width or height")


@dataclass(frozen=True, slots=True)
class Caption:
    """A WebVTT text track. ``language`` is a BCP 47 tag; (language, kind) is unique in a content."""

    language: str
    kind: CaptionKind
    object_key: str = field(repr=False)

    def __post_init__(self) -> None:
        _require(_LANGUAGE.fullmatch(self.language) is not None, "caption language")
        _require(is_object_key(self.object_key), "caption objectKey")


@dataclass(frozen=True, slots=True)
class Content:
    """One piece of content of a course, as stored.

    Instants carry a zone. ``size_bytes`` and ``content_type`` are what was declared while pending
    and what was verified from ready on; ``etag`` is known from ready on. ``duration_seconds`` is
    None where the content has no running time. ``position`` orders the content of a course.
    ``purge_at`` is when the row may vanish: an abandoned upload's, or a deleted content's.
    """

    id: str
    course_id: str
    position: int
    title: str
    status: ContentStatus
    object_key: str = field(repr=False)
    content_type: str
    size_bytes: int
    created_at: datetime
    updated_at: datetime
    version: int = 1
    etag: str | None = None
    checksum_sha256: str | None = None
    duration_seconds: int | None = None
    renditions: tuple[Rendition, ...] = ()
    captions: tuple[Caption, ...] = ()
    failure_reason: str | None = None
    deleted_at: datetime | None = None
    purge_at: datetime | None = None

    def __post_init__(self) -> None:
        _require(_IDENTIFIER.fullmatch(self.id) is not None, "id")
        _require(_IDENTIFIER.fullmatch(self.course_id) is not None, "courseId")
        _require(0 <= self.position <= MAXIMUM_POSITION, "position")
        _require(0 < len(self.title) <= 200 and not _CONTROL.search(self.title), "title")
        _check_object(self.object_key, self.content_type, self.size_bytes)
        _require(self.version >= 1, "version")
        _require(self.etag is None or _ETAG.fullmatch(self.etag) is not None, "etag")
        _require(
            self.checksum_sha256 is None or _CHECKSUM.fullmatch(self.checksum_sha256) is not None,
            "checksumSha256",
        )
        _require(
            self.duration_seconds is None or 0 <= self.duration_seconds <= 604_800,
            "durationSeconds",
        )
        _require(
            self.failure_reason is None or 0 < len(self.failure_reason) <= 500, "failureReason"
        )
        names = [rendition.name for rendition in self.renditions]
        _require(len(names) <= MAXIMUM_RENDITIONS, "number of renditions")
        _require(len({ORIGINAL_RENDITION, *names}) == len(names) + 1, "names of renditions")
        tracks = {(caption.language.lower(), caption.kind) for caption in self.captions}
        _require(len(self.captions) <= MAXIMUM_CAPTIONS, "number of captions")
        _require(len(tracks) == len(self.captions), "languages of captions")
        for instant in (self.created_at, self.updated_at, self.deleted_at, self.purge_at):
            _require(instant is None or instant.utcoffset() is not None, "zone of an instant")
        _require(self.status is not ContentStatus.READY or self.etag is not None, "etag of ready")
        _require(
            (self.status is ContentStatus.FAILED) <= (self.failure_reason is not None),
            "failureReason of failed",
        )
        _require(
            (self.status is ContentStatus.DELETED) == (self.deleted_at is not None), "deletedAt"
        )

    def original(self) -> Rendition:
        """The uploaded object itself as a rendition. Raises ValueError before it is ready."""
        _require(self.etag is not None, "etag of the original")
        return Rendition(
            name=ORIGINAL_RENDITION,
            object_key=self.object_key,
            content_type=self.content_type,
            size_bytes=self.size_bytes,
            etag=self.etag or "",
        )

    def became_ready(
        self,
        *,
        size_bytes: int,
        etag: str,
        checksum_sha256: str | None,
        duration_seconds: int | None,
        at: datetime,
    ) -> Content:
        """This content once its upload has been verified: the facts are those of the store.

        Raises IllegalTransitionError unless it is pending.
        """
        return replace(
            self._moved(ContentStatus.READY),
            status=ContentStatus.READY,
            size_bytes=size_bytes,
            etag=etag,
            checksum_sha256=checksum_sha256,
            duration_seconds=duration_seconds,
            purge_at=None,
            updated_at=at,
        )

    def became_failed(self, *, reason: str, at: datetime) -> Content:
        """This content once its upload has been refused; ``reason`` is for its author.

        It keeps its ``purge_at``. Raises IllegalTransitionError unless it is pending.
        """
        return replace(
            self._moved(ContentStatus.FAILED),
            status=ContentStatus.FAILED,
            failure_reason=reason,
            updated_at=at,
        )

    def became_deleted(self, *, at: datetime, purge_at: datetime) -> Content:
        """This content after its deletion; until ``purge_at`` everything in it is kept.

        Raises IllegalTransitionError when it is deleted already.
        """
        return replace(
            self._moved(ContentStatus.DELETED),
            status=ContentStatus.DELETED,
            deleted_at=at,
            purge_at=purge_at,
            updated_at=at,
        )

    def with_media(
        self, *, renditions: tuple[Rendition, ...], captions: tuple[Caption, ...], at: datetime
    ) -> Content:
        """This content with other renditions and captions. Only pending or ready content has any.

        Raises IllegalTransitionError otherwise.
        """
        if self.status not in (ContentStatus.PENDING, ContentStatus.READY):
            raise IllegalTransitionError(self.id, self.status.value, self.status.value)
        return replace(
            self,
            version=self.version + 1,
            renditions=renditions,
            captions=captions,
            updated_at=at,
        )

    def _moved(self, to: ContentStatus) -> Content:
        if to not in TRANSITIONS[self.status]:
            raise IllegalTransitionError(self.id, self.status.value, to.value)
        return replace(self, version=self.version + 1)


@dataclass(frozen=True, slots=True)
class ContentSummary:
    """What a listing of a course shows of one content."""

    id: str
    course_id: str
    position: int
    title: str
    status: ContentStatus
    content_type: str
    size_bytes: int
    duration_seconds: int | None
    version: int
    updated_at: datetime


def is_object_key(key: str) -> bool:
    """Whether a key may be signed: below the prefix, without empty or dotted parts or controls.

    At most 1,024 bytes of UTF-8 (Amazon S3, "Naming Amazon S3 objects"). Browsers and the SDKs
    fold ``.`` and ``..`` in a URL's path, which would sign one object and ask for another.
    """
    if not key.startswith(OBJECT_KEY_PREFIX) or _CONTROL.search(key):
        return False
    parts = key.split("/")
    return len(key.encode()) <= 1024 and not any(part in ("", ".", "..") for part in parts)


def _check_object(key: str, content_type: str, size_bytes: int) -> None:
    _require(is_object_key(key), "objectKey")
    _require(_CONTENT_TYPE.fullmatch(content_type) is not None, "contentType")
    # One object of Amazon S3 holds at most 5 TB; the bound keeps the number exact in JavaScript.
    _require(0 <= size_bytes <= 5 * 1024**4, "sizeBytes")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} is not valid")
