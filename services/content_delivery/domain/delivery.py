"""Delivering content: which object, for how long, under which name.

Owns the life of a pre-signed URL. It reads metadata and signs; it writes nothing and fetches no
bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from services.content_delivery.domain.captions import CAPTION_CONTENT_TYPE
from services.content_delivery.domain.content import (
    ORIGINAL_RENDITION,
    Caption,
    Content,
    ContentStatus,
    Rendition,
)
from services.content_delivery.domain.content_disposition import Disposition, content_disposition
from services.content_delivery.domain.errors import (
    ContentNotFoundError,
    ContentNotReadyError,
    RenditionNotFoundError,
    SigningUnavailableError,
)
from services.content_delivery.domain.object_store import DownloadSignature, ObjectStore
from services.content_delivery.domain.repository import ContentReader

MINIMUM_LIFE_SECONDS = 15 * 60
MAXIMUM_LIFE_SECONDS = 6 * 60 * 60
LIFE_IN_DURATIONS = 2
WINDOW_SECONDS = 5 * 60
"""All URLs of one window are signed for its first instant, and so are the same URLs."""
MINIMUM_USEFUL_LIFE_SECONDS = 60
"""With less left than this, a URL would be dead before a slow client has used it."""
REFRESH_AFTER_PERCENT = 80


@dataclass(frozen=True, slots=True)
class SigningWindow:
    """From when to when a URL works, in whole seconds, and when to ask for the next."""

    issued_at: datetime
    expires_at: datetime
    refresh_after: datetime

    @property
    def seconds(self) -> int:
        """The length of the window."""
        return int((self.expires_at - self.issued_at).total_seconds())


@dataclass(frozen=True, slots=True)
class SignedCaption:
    """A caption and the URL of its track."""

    caption: Caption
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Everything a client needs to play or save one rendition of a content.

    ``renditions`` are all there are, the original first; ``rendition`` is the one ``url`` fetches.
    """

    content: Content
    rendition: Rendition
    renditions: tuple[Rendition, ...]
    url: str = field(repr=False)
    captions: tuple[SignedCaption, ...]
    window: SigningWindow


class ContentDelivery:
    """The use case behind ``GET /content/{contentId}``."""

    def __init__(
        self, *, contents: ContentReader, objects: ObjectStore, clock: Callable[[], datetime]
    ) -> None:
        """``clock`` gives the present instant with a zone."""
        self._contents = contents
        self._objects = objects
        self._clock = clock

    async def deliver(
        self, content_id: str, *, rendition: str | None, disposition: Disposition
    ) -> Delivery:
        """Sign the URLs of a ready content; ``rendition`` None means the original.

        Raises ContentNotFoundError (also for deleted content), ContentNotReadyError,
        RenditionNotFoundError, SigningUnavailableError, and CorruptContentError from the store.
        """
        content = await self._contents.get(content_id)
        if content is None or content.status is ContentStatus.DELETED:
            raise ContentNotFoundError(content_id)
        if content.status is not ContentStatus.READY:
            raise ContentNotReadyError(content_id)
        renditions = (content.original(), *content.renditions)
        chosen = _named(renditions, rendition or ORIGINAL_RENDITION)
        if chosen is None:
            raise RenditionNotFoundError(content_id, rendition or ORIGINAL_RENDITION)

        signer = await self._objects.signer()
        window = signing_window(
            now=self._clock(),
            duration_seconds=content.duration_seconds,
            credentials_expire_at=signer.credentials_expire_at,
        )

        def sign(key: str, content_type: str, kind: Disposition, title: str) -> str:
            return signer.presign_get(
                DownloadSignature(
                    object_key=key,
                    content_type=content_type,
                    content_disposition=content_disposition(
                        kind, title=title, content_type=content_type
                    ),
                    # Keys are never written twice: what was fetched by a URL stays what it is.
                    cache_control=f"private, max-age={window.seconds}, immutable",
                ),
                issued_at=window.issued_at,
                expires_seconds=window.seconds,
            )

        return Delivery(
            content=content,
            rendition=chosen,
            renditions=renditions,
            url=sign(chosen.object_key, chosen.content_type, disposition, content.title),
            captions=tuple(
                SignedCaption(
                    caption,
                    # A track is for the player, whatever the reader does with the video.
                    sign(
                        caption.object_key,
                        CAPTION_CONTENT_TYPE,
                        Disposition.INLINE,
                        f"{content.title}.{caption.language}",
                    ),
                )
                for caption in content.captions
            ),
            window=window,
        )


def signing_window(
    *, now: datetime, duration_seconds: int | None, credentials_expire_at: datetime | None
) -> SigningWindow:
    """How long a URL lives that is given out now.

    Twice the running time, so that pausing does not outlive it; at least 15 minutes, at most 6
    hours; and never beyond the credentials, because the store refuses whatever they signed once
    they are gone, whichever expiry the URL names.

    It is signed as of the beginning of a window of five minutes and lives that much longer, so
    that everybody who asks within the window gets the same URL, which browsers have cached, with
    the promised life still ahead. Only the bound of 6 hours counts from the signature. Instants
    are cut to whole seconds, the resolution of ``X-Amz-Date``, so that the expiry is never later
    than the store's.

    Raises SigningUnavailableError when less than a minute would be left.
    """
    issued_at = datetime.fromtimestamp(now.timestamp() // WINDOW_SECONDS * WINDOW_SECONDS, UTC)
    life = max(LIFE_IN_DURATIONS * (duration_seconds or 0), MINIMUM_LIFE_SECONDS)
    expires_at = issued_at + timedelta(seconds=min(life + WINDOW_SECONDS, MAXIMUM_LIFE_SECONDS))
    if credentials_expire_at is not None:
        if credentials_expire_at - now < timedelta(seconds=MINIMUM_USEFUL_LIFE_SECONDS):
            raise SigningUnavailableError
        expires_at = min(expires_at, credentials_expire_at.replace(microsecond=0))
    # Of what is left now, not of the signature's whole life: the client has just asked.
    refresh_after = now + (expires_at - now) * REFRESH_AFTER_PERCENT / 100
    return SigningWindow(
        issued_at=issued_at,
        expires_at=expires_at,
        refresh_after=refresh_after.replace(microsecond=0),
    )


def _named(renditions: tuple[Rendition, ...], name: str) -> Rendition | None:
    return next((rendition for rendition in renditions if rendition.name == name), None)
