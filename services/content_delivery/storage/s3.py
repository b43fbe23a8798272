"""The bucket: pre-signed downloads and uploads, the facts of an object, and uploads in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libs.aws import S3, NotFound, RequestRejected
from services.content_delivery.domain.errors import ObjectChangedError
from services.content_delivery.domain.object_store import (
    DownloadSignature,
    ObjectMetadata,
    PartSignature,
    UploadedPart,
    UploadForm,
    UploadSignature,
)

# CompleteMultipartUpload, where a part was sent again or is missing by now.
_PARTS_DIFFER = frozenset({"InvalidPart", "InvalidPartOrder"})


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
        """See `Signer.presign_get`."""
        return self.s3.presign(
            "get_object",
            {
                "Bucket": self.bucket,
                "Key": download.object_key,
                "ResponseCacheControl": download.cache_control,
                "ResponseContentType": download.content_type,
                "ResponseContentDisposition": download.content_disposition,
            },
            expires_seconds,
            issued_at=issued_at,
        )

    def presign_part(
        self, part: PartSignature, *, issued_at: datetime, expires_seconds: int
    ) -> str:
        """See `Signer.presign_part`. The length is a signed header: no other is accepted."""
        return self.s3.presign(
            "upload_part",
            {
                "Bucket": self.bucket,
                "Key": part.object_key,
                "UploadId": part.upload_id,
                "PartNumber": str(part.part_number),
                "ContentLength": str(part.size_bytes),
            },
            expires_seconds,
            issued_at=issued_at,
        )

    def presign_form(
        self, upload: UploadSignature, *, issued_at: datetime, expires_seconds: int
    ) -> UploadForm:
        """See `Signer.presign_form`."""
        fields = {"Content-Type": upload.content_type}
        if upload.checksum_sha256 is not None:
            fields["x-amz-checksum-algorithm"] = "SHA256"
            fields["x-amz-checksum-sha256"] = upload.checksum_sha256
        form = self.s3.presign_post(
            self.bucket,
            upload.object_key,
            fields=fields,
            conditions=[
                *({name: value} for name, value in fields.items()),
                ["content-length-range", upload.size_bytes, upload.size_bytes],
            ],
            expires_seconds=expires_seconds,
            issued_at=issued_at,
        )
        return UploadForm(form.url, form.fields)


class S3ObjectStore:
    """The `ObjectStore` on Amazon S3."""

    def __init__(self, s3: S3, *, bucket: str) -> None:
        """``bucket`` is the bucket's name, without a prefix: keys carry theirs."""
        self._s3 = s3
        self.bucket = bucket

    async def signer(self) -> S3Signer:
        """See `ObjectStore.signer`. The client renews its credentials in the background."""
        return S3Signer(self._s3, self.bucket, self._s3.credentials_expire_at())

    async def head(self, object_key: str) -> ObjectMetadata | None:
        """See `ObjectStore.head`."""
        try:
            answer = await self._s3.head_object(
                Bucket=self.bucket, Key=object_key, ChecksumMode="ENABLED"
            )
        except RequestRejected as refused:
            # The role may not list the bucket, so S3 answers 403 for an object that is not there
            # (HeadObject, "Permissions"). NotFound is the same, to who may list.
            if isinstance(refused, NotFound) or refused.status == 403:
                return None
            raise
        return ObjectMetadata(
            size_bytes=int(answer["ContentLength"]),
            content_type=str(answer.get("ContentType", "application/octet-stream")),
            etag=str(answer["ETag"]),
            checksum_sha256=_whole_object_checksum(answer),
        )

    async def read(self, object_key: str, *, start: int, length: int, etag: str) -> bytes:
        """See `ObjectStore.read`."""
        try:
            answer = await self._s3.get_object(
                Bucket=self.bucket,
                Key=object_key,
                Range=f"bytes={start}-{start + length - 1}",
                IfMatch=etag,
            )
        except RequestRejected as refused:
            if isinstance(refused, NotFound) or refused.status in (403, 412, 416):
                raise ObjectChangedError from None
            raise
        body = answer["Body"]
        assert isinstance(body, bytes)
        return body

    async def put(self, object_key: str, body: bytes, *, content_type: str) -> None:
        """See `ObjectStore.put`."""
        await self._s3.put_object(
            Bucket=self.bucket,
            Key=object_key,
            Body=body,
            ContentType=content_type,
            repeatable=True,
        )

    async def delete(self, object_key: str) -> None:
        """See `ObjectStore.delete`."""
        await self._s3.delete_object(Bucket=self.bucket, Key=object_key, repeatable=True)

    async def create_multipart(self, object_key: str, *, content_type: str) -> str:
        """See `ObjectStore.create_multipart`."""
        answer = await self._s3.create_multipart_upload(
            Bucket=self.bucket, Key=object_key, ContentType=content_type
        )
        return str(answer["UploadId"])

    async def list_parts(self, object_key: str, upload_id: str) -> Sequence[UploadedPart] | None:
        """See `ObjectStore.list_parts`: at most ten pages, as an upload has 10,000 parts."""
        parts: list[UploadedPart] = []
        marker = 0
        while True:
            try:
                answer = await self._s3.list_parts(
                    Bucket=self.bucket,
                    Key=object_key,
                    UploadId=upload_id,
                    PartNumberMarker=marker,
                )
            except NotFound:
                return None
            parts += [
                UploadedPart(int(part["PartNumber"]), int(part["Size"]), str(part["ETag"]))
                for part in answer.get("Parts", ())
            ]
            if not answer.get("IsTruncated") or not answer.get("Parts"):
                return parts
            marker = parts[-1].number

    async def complete_multipart(
        self, object_key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> bool:
        """See `ObjectStore.complete_multipart`."""
        try:
            await self._s3.complete_multipart_upload(
                Bucket=self.bucket,
                Key=object_key,
                UploadId=upload_id,
                MultipartUpload={
                    "Parts": [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
                },
            )
        except RequestRejected as refused:
            if isinstance(refused, NotFound) or refused.code in _PARTS_DIFFER:
                return False
            raise
        return True

    async def abort_multipart(self, object_key: str, upload_id: str) -> None:
        """See `ObjectStore.abort_multipart`."""
        try:
            await self._s3.abort_multipart_upload(
                Bucket=self.bucket, Key=object_key, UploadId=upload_id, repeatable=True
            )
        except NotFound:
            return


def _whole_object_checksum(answer: dict[str, Any]) -> str | None:
    """A multipart object's SHA-256 is a checksum of its parts' checksums, with their number behind
    it; it says nothing about the SHA-256 of the object."""
    checksum = answer.get("ChecksumSHA256")
    if not isinstance(checksum, str) or answer.get("ChecksumType") == "COMPOSITE":
        return None
    return None if "-" in checksum else checksum
