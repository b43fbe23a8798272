"""The routes of content delivery, and the problem that each of the domain's errors is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from libs.http import FieldError, Problem, unavailable
from services.content_delivery.api import authoring_handlers as authors
from services.content_delivery.api.handlers import get_content
from services.content_delivery.domain.errors import (
    ContentNotFoundError,
    ContentNotReadyError,
    IllegalTransitionError,
    InvalidCaptionError,
    NotRestorableError,
    NotUploadingError,
    RenditionExistsError,
    RenditionNotFoundError,
    SigningUnavailableError,
    TooManyMediaError,
    UnknownPartsError,
    UploadFailedError,
    UploadIncompleteError,
    UploadTooLargeError,
    VersionConflictError,
)

SIGNING_RETRY_AFTER_SECONDS = 5


def routes() -> Sequence[web.RouteDef]:
    """Every operation with a principal."""
    content = "/content/{contentId}"
    return [
        web.get(content, get_content),
        web.delete(content, authors.delete_content),
        web.get("/content", authors.list_content),
        web.post("/content", authors.announce_content),
        web.get(f"{content}/upload", authors.get_upload),
        web.post(f"{content}/upload/parts", authors.get_upload_parts),
        web.post(f"{content}/upload/complete", authors.complete_upload),
        web.post(f"{content}/upload/abort", authors.abort_upload),
        web.get(f"{content}/metadata", authors.get_metadata),
        web.put(f"{content}/metadata", authors.put_metadata),
        web.put(f"{content}/captions/{{language}}", authors.put_caption),
        web.delete(f"{content}/captions/{{language}}", authors.delete_caption),
        web.post(f"{content}/renditions", authors.announce_rendition),
        web.delete(f"{content}/renditions/{{rendition}}", authors.delete_rendition),
        web.post(f"{content}/restore", authors.restore_content),
    ]


def problems() -> Mapping[type[Exception], Callable[[Exception], Problem]]:
    """The answers to the domain's errors.

    A row that breaks a rule (`CorruptContentError`) is not here: it is a fault of ours, which the
    layer above logs and answers with 500 and none of it.
    """
    return {
        ContentNotFoundError: lambda error: Problem(
            404, "content_not_found", "There is no such content."
        ),
        RenditionNotFoundError: lambda error: Problem(
            404,
            "rendition_not_found",
            "The content has no rendition of this name; without one, the original is given.",
        ),
        ContentNotReadyError: lambda error: Problem(
            409, "content_not_ready", "The content is not ready to be delivered."
        ),
        SigningUnavailableError: lambda error: Problem(
            503,
            "signing_unavailable",
            "A URL that lives long enough cannot be signed at the moment.",
            headers={"Retry-After": str(SIGNING_RETRY_AFTER_SECONDS)},
        ),
        VersionConflictError: lambda error: unavailable(
            "The content is being changed by many at once.", retry_after_seconds=1
        ),
        IllegalTransitionError: lambda error: Problem(
            409, "content_failed", "The content's upload has failed; delete it and begin anew."
        ),
        NotRestorableError: lambda error: Problem(
            409, "not_restorable", "The content was never ready: there is nothing to restore."
        ),
        RenditionExistsError: lambda error: Problem(
            409, "rendition_exists", "The content has a rendition of this name, or expects one."
        ),
        InvalidCaptionError: _invalid_caption,
        NotUploadingError: _not_uploading,
        TooManyMediaError: _too_many_media,
        UnknownPartsError: _unknown_parts,
        UploadFailedError: _upload_failed,
        UploadIncompleteError: _upload_incomplete,
        UploadTooLargeError: _upload_too_large,
    }


def _invalid_caption(error: Exception) -> Problem:
    assert isinstance(error, InvalidCaptionError)
    return Problem(
        422,
        "invalid_body",
        "The body is not a WebVTT file.",
        errors=[FieldError("", error.problem)],
    )


def _not_uploading(error: Exception) -> Problem:
    assert isinstance(error, NotUploadingError)
    return Problem(409, "not_uploading", f"There is nothing to send: the upload is {error.state}.")


def _too_many_media(error: Exception) -> Problem:
    assert isinstance(error, TooManyMediaError)
    return Problem(
        409, "too_many_media", f"The content has {error.maximum} {error.what}, as many as it may."
    )


def _unknown_parts(error: Exception) -> Problem:
    assert isinstance(error, UnknownPartsError)
    has = f"has parts 1 to {error.parts}" if error.parts else "is one form, without parts"
    return Problem(
        422,
        "invalid_body",
        "The body is well-formed JSON but not what this operation takes.",
        errors=[FieldError("/partNumbers", f"the upload {has}")],
    )


def _upload_failed(error: Exception) -> Problem:
    assert isinstance(error, UploadFailedError)
    return Problem(409, "upload_failed", error.reason)


def _upload_incomplete(error: Exception) -> Problem:
    assert isinstance(error, UploadIncompleteError)
    return Problem(
        409,
        "upload_incomplete",
        "Not everything has arrived: send what is missing, then complete again.",
        errors=[
            FieldError(
                f"/parts/{first}",
                "is missing" if first == last else f"is missing, and all up to {last}",
            )
            for first, last in error.missing[:100]
        ],
    )


def _upload_too_large(error: Exception) -> Problem:
    assert isinstance(error, UploadTooLargeError)
    return Problem(
        422,
        "invalid_body",
        "The body is well-formed JSON but not what this operation takes.",
        errors=[FieldError("/sizeBytes", f"must be at most {error.maximum_bytes}")],
    )
