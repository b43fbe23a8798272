"""What content delivery asks of the store of objects: signatures, facts, and uploads.

Originals and renditions never pass through here: clients send and fetch them by signed URLs. Only
captions are written, and an object is read to be verified, a bounded piece at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DownloadSignature:
    """What is signed into a URL besides the object: the headers of the store's answer."""

    object_key: str = field(repr=False)
    content_type: str
    content_disposition: str
    cache_control: str


@dataclass(frozen=True, slots=True)
class UploadSignature:
    """What is signed into a form: it uploads this one object, so long, of this type and, where a
    checksum is named, with these bytes."""

    object_key: str = field(repr=False)
    content_type: str
    size_bytes: int
    checksum_sha256: str | None


@dataclass(frozen=True, slots=True)
class PartSignature:
    """What is signed into the URL of a part: it uploads this many bytes as this part."""

    object_key: str = field(repr=False)
    upload_id: str = field(repr=False)
    part_number: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form to send as multipart/form-data: the fields, then the bytes as ``file``."""

    url: str = field(repr=False)
    fields: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part that the store holds."""

    number: int
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """What the store says of an object. ``etag`` carries its quotes; ``checksum_sha256`` is of the
    whole object, None where the store has none of that kind."""

    size_bytes: int
    content_type: str
    etag: str
    checksum_sha256: str | None = None


class Signer(Protocol):
    """One set of credentials: all that it signs dies with them.

    Taking the set first and signing after means that the expiry which a URL was computed with is
    that of the credentials which signed it, even while they are being renewed. Everything works
    from ``issued_at`` (a whole second) for ``expires_seconds``, and the same request signed for the
    same instant is the same URL.
    """

    @property
    def credentials_expire_at(self) -> datetime | None:
        """When the credentials stop working; None for credentials that do not."""

    def presign_get(
        self, download: DownloadSignature, *, issued_at: datetime, expires_seconds: int
    ) -> str:
        """A URL that fetches the object by GET, ranges included, and by no other method."""

    def presign_part(
        self, part: PartSignature, *, issued_at: datetime, expires_seconds: int
    ) -> str:
        """A URL that takes a part by PUT."""

    def presign_form(
        self, upload: UploadSignature, *, issued_at: datetime, expires_seconds: int
    ) -> UploadForm:
        """A form that takes the object by POST."""


class ObjectStore(Protocol):
    """The bucket of this service."""

    async def signer(self) -> Signer:
        """The freshest credentials that can be had, renewed first if they are about to expire."""

    async def head(self, object_key: str) -> ObjectMetadata | None:
        """The facts of an object, or None when there is none of this key."""

    async def read(self, object_key: str, *, start: int, length: int, etag: str) -> bytes:
        """Up to ``length`` bytes from ``start`` of exactly the object with this entity tag.

        Raises ObjectChangedError when there is another or none by now.
        """

    async def put(self, object_key: str, body: bytes, *, content_type: str) -> None:
        """Store an object."""

    async def delete(self, object_key: str) -> None:
        """Remove an object; it may be gone already."""

    async def create_multipart(self, object_key: str, *, content_type: str) -> str:
        """Begin an upload in parts; gives the store's name of it."""

    async def list_parts(self, object_key: str, upload_id: str) -> Sequence[UploadedPart] | None:
        """The parts that have arrived by number, or None when there is no such upload (any more)."""

    async def complete_multipart(
        self, object_key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> bool:
        """Make the object of exactly these parts.

        False when there is no such upload (any more), which a completion also leaves behind, or
        when a part is not what it was.
        """

    async def abort_multipart(self, object_key: str, upload_id: str) -> None:
        """Give up an upload and its parts; it may be over already."""
