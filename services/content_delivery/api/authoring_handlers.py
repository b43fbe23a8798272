"""The controllers of the authors' operations: uploads, metadata, captions, deletion.

Every one asks for the permission first and looks at the input next; only then is anything looked
up, so that a refusal tells nothing of what there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from aiohttp import web

from libs.http import (
    CursorCodec,
    EntityTags,
    Problem,
    encode_json,
    if_match,
    json_response,
    parse_body,
    parse_query,
    path_identifier,
    precondition_failed,
    read_body,
    read_json,
    require,
    require_if_match,
    validate_body,
    version_etag,
)
from libs.idempotency import Answer, Idempotency, Reservation, answer_once
from libs.logging import AuditAction
from services.content_delivery.api.audited import WRITE, audited, require_write
from services.content_delivery.api.schemas import (
    CaptionQuery,
    ListQuery,
    MetadataBody,
    NewContentBody,
    NewRenditionBody,
    NoQuery,
    PageDocument,
    PartsBody,
    UploadQuery,
    metadata_document,
    summary_document,
    ticket_document,
    upload_document,
)
from services.content_delivery.domain.authoring import Authoring, Condition, Edit
from services.content_delivery.domain.content import Content, is_language
from services.content_delivery.domain.errors import (
    ContentNotFoundError,
    IllegalTransitionError,
    RenditionExistsError,
    TooManyMediaError,
    UploadTooLargeError,
)
from services.content_delivery.domain.repository import ListPosition
from services.content_delivery.domain.uploads import Uploads, UploadState, UploadTicket

NO_STORE = "private, no-store"
WEBVTT = "text/vtt"
COMPLETE_RETRY_AFTER_SECONDS = 2


@dataclass(frozen=True)
class Studio:
    """What the authors' handlers answer from."""

    uploads: Uploads
    authoring: Authoring
    cursors: CursorCodec
    idempotency: Idempotency
    new_id: Callable[[], str]


STUDIO = web.AppKey("studio", Studio)
"""The authors' use cases; the composition root puts them there before the first request."""


async def list_content(request: web.Request) -> web.StreamResponse:
    """``GET /content?courseId=``: a page of a course's content."""
    require(request, WRITE)
    query = parse_query(request, ListQuery)
    studio = request.app[STUDIO]
    binding = {"courseId": query.course_id}
    after = None
    if query.cursor is not None:
        after = _position(studio.cursors.decode(query.cursor, binding=binding))
    page = await studio.authoring.list_course(query.course_id, limit=query.limit, after=after)
    next_cursor, headers = None, {}
    if page.next is not None:
        next_cursor = studio.cursors.encode(
            {"p": page.next.position, "id": page.next.content_id}, binding=binding
        )
        parameters = {"courseId": query.course_id, "limit": query.limit, "cursor": next_cursor}
        headers["Link"] = f'</content?{urlencode(parameters)}>; rel="next"'
    document = PageDocument(
        items=[summary_document(item) for item in page.items], nextCursor=next_cursor
    )
    return json_response(request, document, cache_control=NO_STORE, headers=headers)


async def announce_content(request: web.Request) -> web.StreamResponse:
    """``POST /content``: new content, pending, and how to send it."""
    require_write(request, AuditAction.CREATE)
    parse_query(request, NoQuery)
    body = await read_json(request)
    new = validate_body(body, NewContentBody).new_content()
    studio = request.app[STUDIO]

    async def create(reservation: Reservation) -> Answer:
        with audited(AuditAction.CREATE, reservation.resource_id) as record:
            ticket = await studio.uploads.announce(reservation.resource_id, new, record=record)
        return _announced(ticket, location=f"/content/{ticket.content.id}")

    return await answer_once(
        request,
        studio.idempotency,
        operation="announceContent",
        body=body,
        new_id=studio.new_id,
        create=create,
        refusals=(UploadTooLargeError,),
    )


async def announce_rendition(request: web.Request) -> web.StreamResponse:
    """``POST /content/{contentId}/renditions``: one more rendition, and how to send it."""
    require_write(request, AuditAction.START_UPLOAD)
    content_id = path_identifier(request, "contentId")
    parse_query(request, NoQuery)
    body = await read_json(request)
    new = validate_body(body, NewRenditionBody).new_rendition()
    studio = request.app[STUDIO]

    async def create(reservation: Reservation) -> Answer:
        with audited(AuditAction.START_UPLOAD, content_id) as record:
            ticket = await studio.uploads.announce_rendition(
                content_id, reservation.resource_id, new, record=record
            )
        return _announced(
            ticket, location=f"/content/{content_id}/upload?rendition={quote(new.name)}"
        )

    return await answer_once(
        request,
        studio.idempotency,
        operation="announceRendition",
        body=body,
        new_id=studio.new_id,
        create=create,
        refusals=(
            ContentNotFoundError,
            IllegalTransitionError,
            RenditionExistsError,
            TooManyMediaError,
            UploadTooLargeError,
        ),
    )


async def delete_rendition(request: web.Request) -> web.StreamResponse:
    """``DELETE /content/{contentId}/renditions/{rendition}``."""
    require_write(request, AuditAction.UPDATE)
    content_id = path_identifier(request, "contentId")
    rendition = path_identifier(request, "rendition")
    parse_query(request, NoQuery)
    with audited(AuditAction.UPDATE, content_id) as record:
        await request.app[STUDIO].authoring.delete_rendition(content_id, rendition, record=record)
    return _nothing()


async def get_upload(request: web.Request) -> web.StreamResponse:
    """``GET /content/{contentId}/upload``: where an upload stands."""
    content_id, query = _upload_of(request)
    status = await request.app[STUDIO].uploads.status(content_id, query.rendition)
    return json_response(request, upload_document(status), cache_control=NO_STORE)


async def get_upload_parts(request: web.Request) -> web.StreamResponse:
    """``POST /content/{contentId}/upload/parts``: where to send what is missing."""
    content_id, query = _upload_of(request)
    body = await parse_body(request, PartsBody)
    ticket = await request.app[STUDIO].uploads.ticket(
        content_id, query.rendition, body.part_numbers
    )
    return json_response(request, ticket_document(ticket), cache_control=NO_STORE)


async def complete_upload(request: web.Request) -> web.StreamResponse:
    """``POST /content/{contentId}/upload/complete``: verify what was sent."""
    content_id, query = _upload_of(request, AuditAction.COMPLETE_UPLOAD)
    with audited(AuditAction.COMPLETE_UPLOAD, content_id) as record:
        status = await request.app[STUDIO].uploads.complete(
            content_id, query.rendition, record=record
        )
    document = upload_document(status)
    if status.state is UploadState.UPLOADED:
        return json_response(
            request,
            document,
            status=202,
            cache_control=NO_STORE,
            headers={"Retry-After": str(COMPLETE_RETRY_AFTER_SECONDS)},
        )
    return json_response(request, document, cache_control=NO_STORE)


async def abort_upload(request: web.Request) -> web.StreamResponse:
    """``POST /content/{contentId}/upload/abort``: give an upload up."""
    content_id, query = _upload_of(request, AuditAction.ABORT_UPLOAD)
    with audited(AuditAction.ABORT_UPLOAD, content_id) as record:
        await request.app[STUDIO].uploads.abort(content_id, query.rendition, record=record)
    return _nothing()


async def get_metadata(request: web.Request) -> web.StreamResponse:
    """``GET /content/{contentId}/metadata``."""
    require(request, WRITE)
    content_id = path_identifier(request, "contentId")
    parse_query(request, NoQuery)
    return _metadata(request, await request.app[STUDIO].authoring.get(content_id))


async def put_metadata(request: web.Request) -> web.StreamResponse:
    """``PUT /content/{contentId}/metadata``, on the version that If-Match names."""
    require_write(request, AuditAction.UPDATE)
    content_id = path_identifier(request, "contentId")
    parse_query(request, NoQuery)
    body = await parse_body(request, MetadataBody)
    expected = require_if_match(request)
    edit = Edit(
        title=body.title,
        position=body.position,
        course_id=body.course_id,
        duration_seconds=body.duration_seconds,
    )
    with audited(AuditAction.UPDATE, content_id) as record:
        content = await request.app[STUDIO].authoring.edit(
            content_id, edit, condition=_condition(expected), record=record
        )
    return _metadata(request, content)


async def put_caption(request: web.Request) -> web.StreamResponse:
    """``PUT /content/{contentId}/captions/{language}``: a WebVTT file."""
    content_id, language, query = _caption_of(request)
    body = await read_body(request, content_types=(WEBVTT,))
    with audited(AuditAction.UPDATE, content_id) as record:
        content, is_new = await request.app[STUDIO].authoring.put_caption(
            content_id, language=language, kind=query.caption_kind, body=body, record=record
        )
    return _metadata(request, content, status=201 if is_new else 200)


async def delete_caption(request: web.Request) -> web.StreamResponse:
    """``DELETE /content/{contentId}/captions/{language}``."""
    content_id, language, query = _caption_of(request)
    with audited(AuditAction.UPDATE, content_id) as record:
        await request.app[STUDIO].authoring.delete_caption(
            content_id, language=language, kind=query.caption_kind, record=record
        )
    return _nothing()


async def delete_content(request: web.Request) -> web.StreamResponse:
    """``DELETE /content/{contentId}``; If-Match counts where it is sent."""
    require_write(request, AuditAction.DELETE)
    content_id = path_identifier(request, "contentId")
    parse_query(request, NoQuery)
    condition = _condition(if_match(request))
    with audited(AuditAction.DELETE, content_id) as record:
        await request.app[STUDIO].authoring.delete(content_id, condition=condition, record=record)
    return _nothing()


async def restore_content(request: web.Request) -> web.StreamResponse:
    """``POST /content/{contentId}/restore``."""
    require_write(request, AuditAction.RESTORE)
    content_id = path_identifier(request, "contentId")
    parse_query(request, NoQuery)
    with audited(AuditAction.RESTORE, content_id) as record:
        content = await request.app[STUDIO].authoring.restore(content_id, record=record)
    return _metadata(request, content)


def _upload_of(request: web.Request, action: AuditAction | None = None) -> tuple[str, UploadQuery]:
    if action is None:
        require(request, WRITE)
    else:
        require_write(request, action)
    return path_identifier(request, "contentId"), parse_query(request, UploadQuery)


def _caption_of(request: web.Request) -> tuple[str, str, CaptionQuery]:
    require_write(request, AuditAction.UPDATE)
    content_id = path_identifier(request, "contentId")
    language = request.match_info["language"]
    if not is_language(language):
        raise Problem(400, "invalid_path", "language must be a BCP 47 language tag such as pt-BR.")
    return content_id, language, parse_query(request, CaptionQuery)


def _announced(ticket: UploadTicket, *, location: str) -> Answer:
    # What is signed is a credential: it is made anew for a repetition, never kept.
    return Answer(
        201,
        {"Location": location, "Cache-Control": NO_STORE, "Vary": "Authorization"},
        encode_json(ticket_document(ticket)),
        storable=False,
    )


def _metadata(request: web.Request, content: Content, *, status: int = 200) -> web.StreamResponse:
    return json_response(
        request,
        metadata_document(content),
        status=status,
        etag=version_etag(content.version),
        cache_control="private, no-cache",
    )


def _condition(expected: EntityTags | None) -> Condition:
    def check(content: Content) -> None:
        if expected is not None and not expected.matches(version_etag(content.version)):
            raise precondition_failed()

    return check


def _position(position: dict[str, object]) -> ListPosition:
    number, content_id = position.get("p"), position.get("id")
    # It is signed, so it is ours; mypy does not know that.
    assert isinstance(number, int)
    assert isinstance(content_id, str)
    return ListPosition(number, content_id)


def _nothing() -> web.Response:
    return web.Response(status=204, headers={"Cache-Control": NO_STORE, "Vary": "Authorization"})
