"""The bucket: pre-signed downloads and the facts of an object."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.aws import S3, NotFound
from services.content_delivery.domain.object_store import DownloadSignature, ObjectMetadata


@dataclass(frozen=True, slots=True)
class S3Signer:
    """A `Signer` with the process's own credentials. Signing is local: nothing is awaited.

    It is good for the turn of the event loop in which it was given: nothing renews the credentials
    within it, so what signs is what ``credentials_expire_at`` speaks of.
    """

    s3: S3
    bucket: str
    credentials_expire_at: datetime | None

    def presign_get(
        self, download: DownloadSignature, *, issued_at: datetime, expires_seconds: int
    ) -> str:
        """See `Signer.presign_get`. The client's own clock stamps the URL, so it may begin up to a
        turn later than ``issued_at`` and never ends earlier than promised."""
        return self.s3.presign(
            "get_object",
            {
                "Bucket": self.bucket,
                "Key": download.object_key,
                "ResponseContentType": download.content_type,
                "ResponseContentDisposition": download.content_disposition,
            },
            expires_seconds,
        )


class S3ObjectStore:
    """The `ObjectStore` on Amazon S3."""

    def __init__(self, s3: S3, *, bucket: str) -> None:
        """``bucket`` is the bucket's name, without a prefix: keys carry theirs."""
        self._s3 = s3
        self._bucket = bucket

    async def signer(self) -> S3Signer:
        """See `ObjectStore.signer`. The client renews its credentials in the background."""
        return S3Signer(self._s3, self._bucket, self._s3.credentials_expire_at())

    async def head(self, object_key: str) -> ObjectMetadata | None:
        """See `ObjectStore.head`.

        Raises RequestRejected where the role may not list the bucket: S3 then answers 403 for an
        object that does not exist.
        """
        try:
            answer = await self._s3.head_object(Bucket=self._bucket, Key=object_key)
        except NotFound:
            return None
        return ObjectMetadata(
            size_bytes=int(answer["ContentLength"]),
            content_type=str(answer.get("ContentType", "application/octet-stream")),
            etag=str(answer["ETag"]),
        )
