"""The authoring operations that the importer uses, as their `openapi.yaml` describes them.

Owns paths, parameters and documents; `_http` owns how requests are sent. What a course or content is
to become is decided by `_importer`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, TypeVar
from urllib.parse import quote

from deploy.course_import._http import Answer, Http, ImportStoppedError, RefusedError, Stream
from deploy.course_import._plan import MAX_CAPTION_BYTES, Body

CAPTION_KIND = "subtitles"

_OK = frozenset((200,))
_STORED = frozenset((200, 201, 204))
_CHUNK = 256 << 10
_PAGE = 100
# What a POST with the same key is given again belongs to something that is gone by now.
_MAX_KEYS = 8
_NAMESPACE = uuid.UUID("6f6c7820-696d-706f-7274-000000000001")
# Ten thousand parts at a hundred URLs an answer, and then some for those that had to be sent again.
_MAX_ROUNDS = 200
_MAX_CHECKS = 600
_MAX_SIGNATURES = 3
_MAX_STALE = 5
_STALE_SECONDS = 2.0

Ticket = Mapping[str, Any]
"""How to send bytes: the `upload` of the API's ticket."""

_Created = TypeVar("_Created")


@dataclass(frozen=True)
class Course:
    """A course as the catalog has it."""

    document: Mapping[str, Any]
    etag: str

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def status(self) -> str:
        return str(self.document["status"])


@dataclass(frozen=True)
class Content:
    """A piece of content as content delivery has it."""

    document: Mapping[str, Any]
    etag: str

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def status(self) -> str:
        return str(self.document["status"])

    @property
    def sha256(self) -> str | None:
        """Hexadecimal digits; None where the service knows none."""
        return to_hex(self.document.get("checksumSha256"))

    @property
    def languages(self) -> frozenset[str]:
        """The languages of its captions of our kind."""
        return frozenset(
            str(track["language"])
            for track in self.document["captions"]
            if track["kind"] == CAPTION_KIND
        )


class Client:
    """The operations. Every method raises ImportStoppedError."""

    def __init__(
        self, http: Http, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._http = http
        self._sleep = sleep

    # Courses

    async def courses_with_tag(self, tag: str) -> list[str]:
        """The ids of the courses that carry this tag, in whatever status they are."""
        found: dict[str, None] = {}
        for status in ("published", "draft", "archived"):
            cursor: str | None = None
            while True:
                params = {"status": status, "tag": tag, "limit": str(_PAGE)}
                params |= {"cursor": cursor} if cursor else {}
                page = (await self._http.api("GET", "/courses", params=params)).document
                found |= {str(item["id"]): None for item in page["items"]}
                cursor = page["nextCursor"]
                if cursor is None:
                    break
        return list(found)

    async def course(self, course_id: str) -> Course | None:
        """A course, None where there is none of this id."""
        accept = frozenset((200, 404))
        answer = await self._http.api("GET", f"/courses/{quote(course_id)}", accept=accept)
        return None if answer.status == 404 else _course(answer)

    async def create_course(self, content: Mapping[str, object]) -> Course:
        """A new draft."""

        async def create(key: str) -> Course | None:
            try:
                answer = await self._http.api(
                    "POST",
                    "/courses",
                    accept=frozenset((201,)),
                    headers={"Idempotency-Key": key},
                    document=content,
                )
            except RefusedError as error:
                if error.code == "course_deleted":
                    return None
                raise
            # The answer may be an earlier request's; the course may have changed or gone since.
            return await self.course(str(answer.document["id"]))

        return await self._once("course", content, create)

    async def patch_course(self, course: Course, patch: Mapping[str, object]) -> Course:
        """The course with these members replaced."""
        answer = await self._http.api(
            "PATCH",
            f"/courses/{quote(course.id)}",
            headers={"If-Match": course.etag, "Content-Type": "application/merge-patch+json"},
            document=patch,
        )
        return _course(answer)

    async def publish_course(self, course: Course) -> Course:
        """The course, open to readers."""
        answer = await self._http.api(
            "POST", f"/courses/{quote(course.id)}/publish", headers={"If-Match": course.etag}
        )
        return _course(answer)

    # Content

    async def content_of(self, course_id: str) -> list[Mapping[str, Any]]:
        """Summaries of all content of a course that was not deleted."""
        found: dict[str, Mapping[str, Any]] = {}
        cursor: str | None = None
        while True:
            params = {"courseId": course_id, "limit": str(_PAGE)}
            params |= {"cursor": cursor} if cursor else {}
            page = (await self._http.api("GET", "/content", params=params)).document
            found |= {str(item["id"]): item for item in page["items"]}
            cursor = page["nextCursor"]
            if cursor is None:
                return list(found.values())

    async def content(self, content_id: str) -> Content | None:
        """A piece of content, None where there is none."""
        path = f"/content/{quote(content_id)}/metadata"
        answer = await self._http.api("GET", path, accept=frozenset((200, 404)))
        return None if answer.status == 404 else _content(answer)

    async def announce(self, new: Mapping[str, object]) -> tuple[str, Ticket | None]:
        """New content that waits for its bytes: its id, and how to send them."""

        async def announce(key: str) -> tuple[str, Ticket | None] | None:
            answer = await self._http.api(
                "POST",
                "/content",
                accept=frozenset((201,)),
                headers={"Idempotency-Key": key},
                document=new,
            )
            ticket = answer.document
            # An earlier request's content may have been deleted, or have failed, since.
            if ticket["status"] not in ("pending", "ready"):
                return None
            return str(ticket["id"]), ticket["upload"]

        return await self._once("content", new, announce)

    async def upload(
        self,
        content_id: str,
        body: Body,
        sent: Callable[[int], None],
        *,
        ticket: Ticket | None = None,
    ) -> None:
        """Sends what is missing of a body and has it verified; `sent` hears of every byte.

        Without a ticket it is asked for what an earlier run has sent already, and that is not sent
        again.
        """
        path = f"/content/{quote(content_id)}/upload"
        failures = 0
        for _ in range(_MAX_ROUNDS):
            if ticket is None:
                status = (await self._http.api("GET", path)).document
                if status["state"] == "uploading":
                    ticket = await self._ticket(path)
            if ticket is not None:
                send = self._send_form if ticket["method"] == "post" else self._send_parts
                answer = await send(ticket, body, sent)
                is_all = ticket["method"] == "post"
                ticket = None
                if answer is not None:
                    # A signature ends; a new one is asked for, a few times.
                    failures += 1
                    if answer.status not in (400, 403) or failures > _MAX_SIGNATURES:
                        raise ImportStoppedError(
                            f"the object store does not take the bytes of {content_id}:"
                            f" {answer.status}"
                        )
                    continue
                if not is_all:  # a ticket names some of the parts
                    continue
            if await self._complete(path, content_id):
                return
        raise ImportStoppedError(f"the upload of {content_id} comes to no end")

    async def replace_metadata(self, content: Content, metadata: Mapping[str, object]) -> None:
        """Title, position and duration of a piece of content."""
        await self._http.api(
            "PUT",
            f"/content/{quote(content.id)}/metadata",
            headers={"If-Match": content.etag},
            document=metadata,
        )

    async def put_caption(self, content_id: str, language: str, track: bytes) -> None:
        """A WebVTT track in place of the one of its language."""
        await self._http.api(
            "PUT",
            f"/content/{quote(content_id)}/captions/{quote(language)}",
            accept=_STORED,
            params={"kind": CAPTION_KIND},
            headers={"Content-Type": "text/vtt"},
            body=track,
        )

    async def delete_caption(self, content_id: str, language: str) -> None:
        """No track of this language any more."""
        await self._http.api(
            "DELETE",
            f"/content/{quote(content_id)}/captions/{quote(language)}",
            accept=frozenset((204,)),
            params={"kind": CAPTION_KIND},
        )

    async def captions(self, content_id: str) -> dict[str, bytes | None]:
        """The tracks of ready content by language; None for one that can not be read.

        The service may give out for some seconds what it had read before a track was replaced,
        whose object is gone by then: so it is asked again.
        """
        tracks: dict[str, bytes | None] = {}
        for _ in range(_MAX_STALE):
            document = (await self._http.api("GET", f"/content/{quote(content_id)}")).document
            tracks = {
                str(track["language"]): await self._http.fetch(
                    track["url"], limit=MAX_CAPTION_BYTES
                )
                for track in document["captions"]
                if track["kind"] == CAPTION_KIND
            }
            if None not in tracks.values():
                break
            await self._sleep(_STALE_SECONDS)
        return tracks

    async def delete(self, content_id: str) -> None:
        """Deletes content; it can be restored for a while."""
        await self._http.api(
            "DELETE", f"/content/{quote(content_id)}", accept=frozenset((204, 404))
        )

    async def _once(
        self,
        kind: str,
        body: Mapping[str, object],
        create: Callable[[str], Awaitable[_Created | None]],
    ) -> _Created:
        """What `create` makes under a key that every run derives alike of the same body.

        So a run that was killed before it learnt the answer is answered the same in the next one.
        Where that answer is about something that is gone, another key is taken.
        """
        text = json.dumps(body, sort_keys=True)
        for number in range(_MAX_KEYS):
            created = await create(str(uuid.uuid5(_NAMESPACE, f"{kind} {number} {text}")))
            if created is not None:
                return created
        raise ImportStoppedError(f"a new {kind} was deleted again and again while this ran")

    async def _ticket(self, path: str) -> Ticket | None:
        try:
            answer = await self._http.api("POST", f"{path}/parts", document={})
        except RefusedError as error:
            if error.code == "not_uploading":  # all of it has arrived meanwhile
                return None
            raise
        upload = answer.document["upload"]
        return upload if isinstance(upload, dict) else None

    async def _send_form(
        self, ticket: Ticket, body: Body, sent: Callable[[int], None]
    ) -> Answer | None:
        """Sends a form with the file as its last field (RFC 7578; S3, "POST Object")."""
        # Of its own hash, which no body can hold.
        boundary = f"lyceum-{body.sha256[:48]}"
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in ticket["fields"].items()
        )
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            f"Content-Type: {body.content_type}\r\n\r\n"
        )
        before, after = head.encode(), f"\r\n--{boundary}--\r\n".encode()

        async def pieces() -> AsyncIterator[bytes]:
            yield before
            async for piece in _pieces(body, 0, body.size, sent):
                yield piece
            yield after

        size = len(before) + body.size + len(after)
        kind = f"multipart/form-data; boundary={boundary}"
        answer = await self._http.store(
            "POST", ticket["url"], Stream(size, kind, pieces), accept=_STORED
        )
        return None if answer.status in _STORED else answer

    async def _send_parts(
        self, ticket: Ticket, body: Body, sent: Callable[[int], None]
    ) -> Answer | None:
        """Sends the parts that a ticket names, one after another."""
        for part in ticket["partUrls"]:
            begin = (part["partNumber"] - 1) * ticket["partSize"]
            size = part["sizeBytes"]

            def pieces(begin: int = begin, size: int = size) -> AsyncIterator[bytes]:
                return _pieces(body, begin, size, sent)

            answer = await self._http.store(
                "PUT", part["url"], Stream(size, None, pieces), accept=_OK
            )
            if answer.status != 200:
                return answer
        return None

    async def _complete(self, path: str, content_id: str) -> bool:
        """Has an upload verified; False where bytes are missing after all."""
        for _ in range(_MAX_CHECKS):
            try:
                answer = await self._http.api(
                    "POST", f"{path}/complete", accept=frozenset((200, 202))
                )
            except RefusedError as error:
                if error.code == "upload_incomplete":
                    return False
                raise
            if answer.status == 200:
                return True
            # Verifying a large object takes longer than a request may.
            seconds = answer.headers.get("Retry-After", "")
            await self._sleep(min(float(seconds) if seconds.isdecimal() else 2.0, 30.0))
        raise ImportStoppedError(f"content {content_id} is still being verified")


async def _pieces(
    body: Body, begin: int, size: int, sent: Callable[[int], None]
) -> AsyncIterator[bytes]:
    """A run of a body's bytes. What was counted is taken back when they have to be sent again."""
    counted = 0
    is_whole = False
    file: IO[bytes] = await asyncio.to_thread(body.open)
    try:
        file.seek(begin)
        left = size
        while left:
            piece = await asyncio.to_thread(file.read, min(_CHUNK, left))
            if not piece:
                raise ImportStoppedError("a file of the export has changed while it was read")
            yield piece
            left -= len(piece)
            counted += len(piece)
            sent(len(piece))
        is_whole = True
    finally:
        file.close()
        if not is_whole:
            sent(-counted)


def to_hex(checksum: object) -> str | None:
    """The API's base64 as hexadecimal digits."""
    try:
        return base64.b64decode(str(checksum), validate=True).hex() if checksum else None
    except binascii.Error:
        return None


def to_base64(sha256: str) -> str:
    """Hexadecimal digits as the API's base64."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _course(answer: Answer) -> Course:
    return Course(answer.document, _etag(answer))


def _content(answer: Answer) -> Content:
    return Content(answer.document, _etag(answer))


def _etag(answer: Answer) -> str:
    etag = answer.headers.get("ETag")
    if etag is None:
        raise ImportStoppedError("the gateway's answer carries no ETag")
    return etag
