"""The audit line of each write of an author's: done, refused, or not known.

A step may be stored after its request has been answered, when verifying an upload takes long; its
line still names the request and the author who asked for it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

from libs.http import Problem, path_identifier, require
from libs.logging import AuditAction, AuditOutcome, audit
from services.content_delivery.domain.content import Content
from services.content_delivery.domain.errors import ContentDeliveryError
from services.content_delivery.domain.repository import Recorder

WRITE = "content:write"


def require_write(request: web.Request, action: AuditAction) -> None:
    """Raise Problem 403 without the permission; what was tried on an id leaves its line."""
    try:
        require(request, WRITE)
    except Problem:
        # What is no id names nothing that could have been changed; new content has none yet.
        with suppress(Problem, KeyError):
            _write(action, path_identifier(request, "contentId"), AuditOutcome.REFUSED, None, None)
        raise


@contextmanager
def audited(action: AuditAction, content_id: str) -> Iterator[Recorder]:
    """Give what a use case tells its steps to; a block that raises before any leaves a line too."""
    request_context = contextvars.copy_context()
    steps = 0

    def record(before: Content | None, after: Content) -> None:
        nonlocal steps
        steps += 1
        request_context.copy().run(
            _write,
            action,
            content_id,
            AuditOutcome.SUCCEEDED,
            before.version if before else None,
            after.version,
        )

    try:
        yield record
    except BaseException as error:
        if not steps:
            refused = isinstance(error, ContentDeliveryError) or (
                isinstance(error, Problem) and error.status < 500
            )
            outcome = AuditOutcome.REFUSED if refused else AuditOutcome.UNKNOWN
            _write(action, content_id, outcome, None, None)
        raise


def _write(
    action: AuditAction,
    content_id: str,
    outcome: AuditOutcome,
    version_before: int | None,
    version_after: int | None,
) -> None:
    audit(
        action,
        resource="content",
        resource_id=content_id,
        version_before=version_before,
        version_after=version_after,
        outcome=outcome,
    )
