"""Uploads: announcing an object, sending it to the store, and believing in it once verified.

Owns the life of an upload from its announcement to ready or failed, of originals and of renditions
alike. Bytes go from the client to the store by what is signed here. Every step is conditional on
the content as it was when the rule was checked, and the store is changed in an order in which no
crash leaves ready content without its object: an upload ends first in the metadata, then in the
store.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from services.content_delivery.domain.background import BackgroundWork
from services.content_delivery.domain.content import (
    MAXIMUM_PARTS,
    ORIGINAL_RENDITION,
    Content,
    ContentStatus,
    MultipartUpload,
    Rendition,
    RenditionUpload,
    part_count,
)
from services.content_delivery.domain.errors import (
    ContentNotFoundError,
    IllegalTransitionError,
    NotUploadingError,
    ObjectChangedError,
    RenditionNotFoundError,
    SigningUnavailableError,
    UnknownPartsError,
    UploadFailedError,
    UploadIncompleteError,
    UploadTooLargeError,
)
from services.content_delivery.domain.object_store import (
    ObjectMetadata,
    ObjectStore,
    PartSignature,
    UploadedPart,
    UploadForm,
    UploadSignature,
)
from services.content_delivery.domain.repository import ContentRepository, Recorder, unrecorded

MAXIMUM_PART_URLS = 100
"""In one answer: with a session's token a URL has up to two kilobytes."""

ABORTED = "The upload was aborted."

_MEBIBYTE = 1024 * 1024
_PIECE_BYTES = 8 * _MEBIBYTE
_MINIMUM_USEFUL_LIFE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """How large objects may be and how they are sent.

    single_bytes: up to this size as one form. part_bytes: the least size of a part; Amazon S3
    takes none below 5 MiB but the last. url_seconds: how long what is signed works.
    pending_seconds: after this an upload that was not completed may vanish.
    """

    single_bytes: int
    part_bytes: int
    maximum_bytes: int
    url_seconds: int
    pending_seconds: int

    def part_size(self, size_bytes: int) -> int:
        """The size of each part but the last, so that there are at most 10,000."""
        smallest = -(-size_bytes // MAXIMUM_PARTS)
        if smallest <= self.part_bytes:
            return self.part_bytes
        return -(-smallest // _MEBIBYTE) * _MEBIBYTE


@dataclass(frozen=True, slots=True)
class NewContent:
    """What an author announces. Sizes in bytes, checksum in base64, duration in seconds."""

    course_id: str
    title: str
    content_type: str
    size_bytes: int
    checksum_sha256: str | None
    position: int
    duration_seconds: int | None


@dataclass(frozen=True, slots=True)
class NewRendition:
    """One more encoding of a content."""

    name: str
    content_type: str
    size_bytes: int
    checksum_sha256: str | None
    width: int | None
    height: int | None


class UploadState(Enum):
    """Where an upload stands. ``uploaded``: the object is there and waits to be verified."""

    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PartUrl:
    """Where to send one part."""

    number: int
    size_bytes: int
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UploadTicket:
    """How to send what is missing: a form, or parts by their URLs. All end at ``expires_at``.

    Without an upload there is nothing to send any more.
    """

    content: Content
    rendition: str
    upload: Upload | None
    form: UploadForm | None
    parts: tuple[PartUrl, ...]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """An upload as it stands. ``missing`` are the first and last numbers of runs of parts."""

    content: Content
    upload: Upload
    state: UploadState
    missing: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Upload:
    """The upload of the original or of a rendition, whichever: one view of both."""

    rendition: str
    object_key: str = field(repr=False)
    content_type: str
    size_bytes: int
    checksum_sha256: str | None
    multipart: MultipartUpload | None
    state: UploadState
    failure_reason: str | None
    source: RenditionUpload | None

    @property
    def parts(self) -> int:
        """How many parts it has; 0 for a form."""
        return part_count(self.size_bytes, self.multipart.part_size) if self.multipart else 0

    def bytes_of_part(self, number: int) -> int:
        """How long a part is."""
        assert self.multipart is not None
        part_size = self.multipart.part_size
        return min(part_size, self.size_bytes - (number - 1) * part_size)


class Uploads:
    """The use cases behind the upload operations. Raises ContentNotFoundError for deleted content
    and RenditionNotFoundError for a rendition that was never announced, in every operation."""

    def __init__(
        self,
        *,
        contents: ContentRepository,
        objects: ObjectStore,
        policy: UploadPolicy,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        verifications: BackgroundWork[UploadStatus],
    ) -> None:
        """``clock`` gives the present instant with a zone; ``new_id`` a new identifier."""
        self._contents = contents
        self._objects = objects
        self._policy = policy
        self._clock = clock
        self._new_id = new_id
        self._verifications = verifications

    async def announce(
        self, content_id: str, new: NewContent, *, record: Recorder = unrecorded
    ) -> UploadTicket:
        """New pending content of this id and how to send it.

        Where there is content of this id already, an earlier attempt of the same request made it:
        the ticket is for what is there. Raises UploadTooLargeError and SigningUnavailableError.
        """
        self._check_size(new.size_bytes)
        existing = await self._contents.get(content_id)
        if existing is not None:
            return await self._ticket_again(existing, ORIGINAL_RENDITION)
        at = self._clock()
        content = Content(
            id=content_id,
            course_id=new.course_id,
            position=new.position,
            title=new.title,
            status=ContentStatus.PENDING,
            object_key=f"content/{content_id}/{self._new_id()}",
            content_type=new.content_type,
            size_bytes=new.size_bytes,
            checksum_sha256=new.checksum_sha256,
            duration_seconds=new.duration_seconds,
            created_at=at,
            updated_at=at,
            purge_at=at + timedelta(seconds=self._policy.pending_seconds),
        )
        multipart = await self._begin(content.object_key, new.content_type, new.size_bytes)
        content = replace(content, multipart=multipart)
        try:
            ticket = await self._ticket(content, _upload_of(content, ORIGINAL_RENDITION))
            await self._contents.create_pending(content)
        except BaseException:
            await self._forget(content.object_key, multipart)
            raise
        record(None, content)
        return ticket

    async def announce_rendition(
        self,
        content_id: str,
        upload_name: str,
        new: NewRendition,
        *,
        record: Recorder = unrecorded,
    ) -> UploadTicket:
        """One more rendition of pending or ready content and how to send it.

        ``upload_name`` names this announcement: where a rendition was announced under it already,
        by an earlier attempt of the same request, the ticket is for that one. Raises
        RenditionExistsError, TooManyMediaError, IllegalTransitionError, UploadTooLargeError and
        SigningUnavailableError.
        """
        self._check_size(new.size_bytes)
        expected = RenditionUpload(
            name=new.name,
            object_key=f"content/{content_id}/{upload_name}",
            content_type=new.content_type,
            size_bytes=new.size_bytes,
            checksum_sha256=new.checksum_sha256,
            width=new.width,
            height=new.height,
        )
        content = await self._content(content_id)
        announced: list[Rendition | RenditionUpload] = [
            *content.renditions,
            *content.rendition_uploads,
        ]
        if any(entry.object_key == expected.object_key for entry in announced):
            return await self._ticket_again(content, new.name)
        # Before anything is begun in the store; the change below decides.
        content.with_rendition_upload(expected, at=self._clock())
        multipart = await self._begin(expected.object_key, new.content_type, new.size_bytes)
        upload = replace(expected, multipart=multipart)
        try:
            change = await self._contents.change(
                content_id,
                lambda content: _present(content).with_rendition_upload(upload, at=self._clock()),
            )
            record(change.before, change.after)
            return await self._ticket(change.after, _upload_of(change.after, new.name))
        except BaseException:
            await self._forget(expected.object_key, multipart)
            raise

    async def status(self, content_id: str, rendition: str) -> UploadStatus:
        """Where the upload stands and which parts are missing."""
        content = await self._content(content_id)
        return await self._status(content, _upload_of(content, rendition))

    async def ticket(
        self, content_id: str, rendition: str, numbers: Sequence[int] | None
    ) -> UploadTicket:
        """How to send these parts, or the first ones that are missing.

        Raises NotUploadingError, UnknownPartsError and SigningUnavailableError.
        """
        content = await self._content(content_id)
        upload = _upload_of(content, rendition)
        if upload.state is not UploadState.UPLOADING:
            raise NotUploadingError(content_id, upload.state.value)
        if numbers is not None and any(not 1 <= number <= upload.parts for number in numbers):
            raise UnknownPartsError(content_id, upload.parts)
        if numbers is None and upload.multipart is not None:
            status = await self._status(content, upload)
            if status.state is not UploadState.UPLOADING:
                raise NotUploadingError(content_id, status.state.value)
            numbers = [
                number for first, last in status.missing for number in range(first, last + 1)
            ]
        return await self._ticket(content, upload, numbers or ())

    async def complete(
        self, content_id: str, rendition: str, *, record: Recorder = unrecorded
    ) -> UploadStatus:
        """Make the object of its parts, verify it, and move the upload to ready or failed.

        Repeated and concurrent completions give what the first one found. The state given back is
        ``uploaded`` where verifying takes longer than a request may wait: asking again tells more,
        and ``record`` may hear of the step long after this has returned.
        Raises UploadIncompleteError, and UploadFailedError for what was refused or aborted.
        """
        content = await self._content(content_id)
        upload = _upload_of(content, rendition)
        if upload.state is UploadState.FAILED:
            raise UploadFailedError(content_id, upload.failure_reason or ABORTED)
        if upload.state is UploadState.READY:
            return UploadStatus(content, upload, upload.state)
        if upload.multipart is not None:
            await self._assemble(content_id, upload, upload.multipart)
        # The key is the name: an upload that was announced anew is other work.
        finished = await self._verifications.outcome(
            upload.object_key, lambda: self._verify(content_id, upload, record)
        )
        return finished or UploadStatus(content, upload, UploadState.UPLOADED)

    async def abort(
        self, content_id: str, rendition: str, *, record: Recorder = unrecorded
    ) -> None:
        """Give the upload up. Once it has failed or was aborted, again does no harm.

        Raises NotUploadingError when it is ready already.
        """
        content = await self._content(content_id)
        upload = _upload_of(content, rendition)
        if upload.state is not UploadState.FAILED:
            try:
                await self._refuse(content_id, upload, ABORTED, record)
            except (IllegalTransitionError, RenditionNotFoundError):
                content = await self._content(content_id)
                if _upload_of(content, rendition).state is UploadState.READY:
                    raise NotUploadingError(content_id, UploadState.READY.value) from None
        await self._give_up(upload.object_key, upload.multipart)

    async def _content(self, content_id: str) -> Content:
        content = await self._contents.get(content_id)
        if content is None:
            raise ContentNotFoundError(content_id)
        return _present(content)

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._policy.maximum_bytes:
            raise UploadTooLargeError(self._policy.maximum_bytes)

    async def _begin(
        self, object_key: str, content_type: str, size_bytes: int
    ) -> MultipartUpload | None:
        if size_bytes <= self._policy.single_bytes:
            return None
        return MultipartUpload(
            await self._objects.create_multipart(object_key, content_type=content_type),
            self._policy.part_size(size_bytes),
        )

    async def _ticket_again(self, content: Content, rendition: str) -> UploadTicket:
        """A ticket for what was announced before; without anything to send once that is over."""
        if content.status is not ContentStatus.DELETED:
            upload = _upload_of(content, rendition)
            if upload.state is UploadState.UPLOADING:
                return await self._ticket(content, upload)
        return UploadTicket(content, rendition, None, None, (), None)

    async def _ticket(
        self, content: Content, upload: Upload, numbers: Sequence[int] | None = None
    ) -> UploadTicket:
        signer = await self._objects.signer()
        now = self._clock()
        issued_at = now.replace(microsecond=0)
        expires_at = issued_at + timedelta(seconds=self._policy.url_seconds)
        if signer.credentials_expire_at is not None:
            if signer.credentials_expire_at - now < timedelta(seconds=_MINIMUM_USEFUL_LIFE_SECONDS):
                raise SigningUnavailableError
            expires_at = min(expires_at, signer.credentials_expire_at.replace(microsecond=0))
        seconds = int((expires_at - issued_at).total_seconds())
        if upload.multipart is None:
            form = signer.presign_form(
                UploadSignature(
                    upload.object_key,
                    upload.content_type,
                    upload.size_bytes,
                    upload.checksum_sha256,
                ),
                issued_at=issued_at,
                expires_seconds=seconds,
            )
            return UploadTicket(content, upload.rendition, upload, form, (), expires_at)
        wanted = range(1, upload.parts + 1) if numbers is None else numbers
        parts = tuple(
            PartUrl(
                number,
                upload.bytes_of_part(number),
                signer.presign_part(
                    PartSignature(
                        upload.object_key,
                        upload.multipart.upload_id,
                        number,
                        upload.bytes_of_part(number),
                    ),
                    issued_at=issued_at,
                    expires_seconds=seconds,
                ),
            )
            for number in wanted[:MAXIMUM_PART_URLS]
        )
        return UploadTicket(content, upload.rendition, upload, None, parts, expires_at)

    async def _status(self, content: Content, upload: Upload) -> UploadStatus:
        if upload.state is not UploadState.UPLOADING:
            return UploadStatus(content, upload, upload.state)
        if upload.multipart is not None:
            held = await self._objects.list_parts(upload.object_key, upload.multipart.upload_id)
            if held is not None:
                return UploadStatus(content, upload, upload.state, _missing(upload, held))
        if await self._objects.head(upload.object_key) is not None:
            return UploadStatus(content, upload, UploadState.UPLOADED)
        # A form that was not sent, or parts that are gone: all of it is missing.
        return UploadStatus(content, upload, upload.state, _missing(upload, ()))

    async def _assemble(self, content_id: str, upload: Upload, multipart: MultipartUpload) -> None:
        """Make the object of its parts unless it is there already.

        A completion whose answer was lost leaves no upload behind, only the object.
        """
        held = await self._objects.list_parts(upload.object_key, multipart.upload_id)
        if held is not None:
            missing = _missing(upload, held)
            if missing:
                raise UploadIncompleteError(content_id, missing)
            wanted = [part for part in held if part.number <= upload.parts]
            if await self._objects.complete_multipart(
                upload.object_key, multipart.upload_id, wanted
            ):
                return
            # Somebody else completed or aborted it, or sent a part again, meanwhile.
            held = await self._objects.list_parts(upload.object_key, multipart.upload_id)
            if held is not None:
                raise UploadIncompleteError(content_id, _missing(upload, held))

    async def _verify(self, content_id: str, upload: Upload, record: Recorder) -> UploadStatus:
        facts = await self._objects.head(upload.object_key)
        if facts is None:
            return await self._absent(content_id, upload, record)
        checksum, problem = facts.checksum_sha256, _difference(upload, facts)
        if problem is None and upload.checksum_sha256 is not None:
            if checksum is None:
                try:
                    checksum = await self._sha256(upload.object_key, facts)
                except ObjectChangedError:
                    return await self._absent(content_id, upload, record)
            if checksum != upload.checksum_sha256:
                problem = "The SHA-256 of the object is not the one that was announced."
        try:
            if problem is None:
                content = await self._accept(content_id, upload, facts, checksum, record)
                accepted = _upload_of(content, upload.rendition)
                return UploadStatus(content, accepted, accepted.state)
            await self._refuse(content_id, upload, problem, record)
        except (IllegalTransitionError, RenditionNotFoundError):
            return await self._decided(content_id, upload)
        await self._objects.delete(upload.object_key)
        raise UploadFailedError(content_id, problem)

    async def _absent(self, content_id: str, upload: Upload, record: Recorder) -> UploadStatus:
        """The answer where there is no object: decided by somebody else meanwhile, or not sent."""
        current = _upload_of(await self._content(content_id), upload.rendition)
        if current.state is not UploadState.UPLOADING:
            return await self._decided(content_id, upload)
        if upload.multipart is None:
            raise UploadIncompleteError(content_id)
        reason = "The parts are gone: the upload was given up by the store or took too long."
        try:
            await self._refuse(content_id, upload, reason, record)
        except (IllegalTransitionError, RenditionNotFoundError):
            return await self._decided(content_id, upload)
        raise UploadFailedError(content_id, reason)

    async def _decided(self, content_id: str, upload: Upload) -> UploadStatus:
        """What another completion or an abort has made of the upload meanwhile."""
        content = await self._content(content_id)
        current = _upload_of(content, upload.rendition)
        if current.state is UploadState.FAILED:
            raise UploadFailedError(content_id, current.failure_reason or ABORTED)
        return UploadStatus(content, current, current.state)

    async def _accept(
        self,
        content_id: str,
        upload: Upload,
        facts: ObjectMetadata,
        checksum: str | None,
        record: Recorder,
    ) -> Content:
        def accept(content: Content) -> Content:
            if upload.source is not None:
                return _present(content).with_rendition_arrived(
                    upload.source,
                    size_bytes=facts.size_bytes,
                    etag=facts.etag,
                    checksum_sha256=checksum,
                    at=self._clock(),
                )
            return _present(content).became_ready(
                size_bytes=facts.size_bytes,
                etag=facts.etag,
                checksum_sha256=checksum,
                duration_seconds=content.duration_seconds,
                at=self._clock(),
            )

        change = await self._contents.change(content_id, accept)
        record(change.before, change.after)
        return change.after

    async def _refuse(self, content_id: str, upload: Upload, reason: str, record: Recorder) -> None:
        def refuse(content: Content) -> Content:
            if upload.source is not None:
                return _present(content).with_rendition_refused(
                    upload.source, reason=reason, at=self._clock()
                )
            return _present(content).became_failed(reason=reason, at=self._clock())

        change = await self._contents.change(content_id, refuse)
        record(change.before, change.after)

    async def _forget(self, object_key: str, multipart: MultipartUpload | None) -> None:
        """Give up what nobody will ever name. Where even this fails, the bucket's life-cycle rule
        does it; the failure that led here is the one to tell."""
        if multipart is not None:
            with contextlib.suppress(Exception):
                await self._objects.abort_multipart(object_key, multipart.upload_id)

    async def _give_up(self, object_key: str, multipart: MultipartUpload | None) -> None:
        """Remove what has arrived. The upload first: what completes before that is an object, and
        the object goes next."""
        if multipart is not None:
            await self._objects.abort_multipart(object_key, multipart.upload_id)
        await self._objects.delete(object_key)

    async def _sha256(self, object_key: str, facts: ObjectMetadata) -> str:
        """Of the whole object, read piece by piece: memory is bounded whatever its size."""
        digest = hashlib.sha256()
        for start in range(0, facts.size_bytes, _PIECE_BYTES):
            piece = await self._objects.read(
                object_key, start=start, length=_PIECE_BYTES, etag=facts.etag
            )
            # Hashing a piece takes longer than the event loop should wait.
            await asyncio.to_thread(digest.update, piece)
        return base64.b64encode(digest.digest()).decode()


def upload_leftovers(content: Content) -> Iterable[tuple[str, MultipartUpload | None]]:
    """Keys and uploads in parts that lead to nothing once this content is deleted."""
    if content.etag is None:
        yield content.object_key, content.multipart
    for upload in content.rendition_uploads:
        yield upload.object_key, upload.multipart


def _present(content: Content) -> Content:
    if content.status is ContentStatus.DELETED:
        raise ContentNotFoundError(content.id)
    return content


_STATES = {
    ContentStatus.PENDING: UploadState.UPLOADING,
    ContentStatus.READY: UploadState.READY,
    ContentStatus.FAILED: UploadState.FAILED,
}


def _upload_of(content: Content, rendition: str) -> Upload:
    if rendition == ORIGINAL_RENDITION:
        return Upload(
            rendition=rendition,
            object_key=content.object_key,
            content_type=content.content_type,
            size_bytes=content.size_bytes,
            checksum_sha256=content.checksum_sha256,
            multipart=content.multipart,
            state=_STATES[content.status],
            failure_reason=content.failure_reason,
            source=None,
        )
    for arrived in content.renditions:
        if arrived.name == rendition:
            return Upload(
                rendition=rendition,
                object_key=arrived.object_key,
                content_type=arrived.content_type,
                size_bytes=arrived.size_bytes,
                checksum_sha256=arrived.checksum_sha256,
                multipart=None,
                state=UploadState.READY,
                failure_reason=None,
                source=None,
            )
    for upload in content.rendition_uploads:
        if upload.name == rendition:
            failed = upload.failure_reason is not None
            return Upload(
                rendition=rendition,
                object_key=upload.object_key,
                content_type=upload.content_type,
                size_bytes=upload.size_bytes,
                checksum_sha256=upload.checksum_sha256,
                multipart=upload.multipart,
                state=UploadState.FAILED if failed else UploadState.UPLOADING,
                failure_reason=upload.failure_reason,
                source=upload,
            )
    raise RenditionNotFoundError(content.id, rendition)


def _missing(upload: Upload, held: Sequence[UploadedPart]) -> tuple[tuple[int, int], ...]:
    """Runs of the parts that are not there in the length they should have."""
    good = {
        part.number
        for part in held
        if part.number <= upload.parts and part.size_bytes == upload.bytes_of_part(part.number)
    }
    runs: list[tuple[int, int]] = []
    for number in range(1, upload.parts + 1):
        if number in good:
            continue
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return tuple(runs)


def _difference(upload: Upload, facts: ObjectMetadata) -> str | None:
    """How the object differs from what was announced; for its author."""
    if facts.size_bytes != upload.size_bytes:
        return f"The object has {facts.size_bytes} bytes; {upload.size_bytes} bytes were announced."
    if facts.content_type != upload.content_type:
        return f"The object's type is not {upload.content_type}, which was announced."
    return None
