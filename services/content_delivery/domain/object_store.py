"""What content delivery asks of the store of objects: a signature and an object's facts.

Delivery never moves bytes: the client fetches them from the store by a signed URL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DownloadSignature:
    """What is signed into a URL besides the object: the headers of the store's answer."""

    object_key: str = field(repr=False)
    content_type: str
    content_disposition: str


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """What the store says of an object. ``etag`` carries its quotes."""

    size_bytes: int
    content_type: str
    etag: str


class Signer(Protocol):
    """One set of credentials: all that it signs dies with them.

    Taking the set first and signing after means that the expiry which a URL was computed with is
    that of the credentials which signed it, even while they are being renewed.
    """

    @property
    def credentials_expire_at(self) -> datetime | None:
        """When the credentials stop working; None for credentials that do not."""

    def presign_get(
        self, download: DownloadSignature, *, issued_at: datetime, expires_seconds: int
    ) -> str:
        """A URL that fetches the object by GET, ranges included, and by no other method.

        It works from ``issued_at`` (a whole second) for ``expires_seconds``.
        """


class ObjectStore(Protocol):
    """The bucket of this service."""

    async def signer(self) -> Signer:
        """The freshest credentials that can be had, renewed first if they are about to expire."""

    async def head(self, object_key: str) -> ObjectMetadata | None:
        """The facts of an object, or None when there is none of this key."""
