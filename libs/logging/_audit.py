"""Audit lines: who changed what, from which version to which, and whether it was done.

One schema for every service, which README.md has as a table: a line always has all of its fields,
and nothing of what else is bound. Neither a level nor sampling leaves one out.
"""

from __future__ import annotations

import logging
from enum import StrEnum

from libs.logging._context import bound
from libs.logging._pipeline import PIPELINE


class AuditAction(StrEnum):
    """What was done, or tried, to a resource."""

    CREATE = "create"
    UPDATE = "update"
    PUBLISH = "publish"
    ARCHIVE = "archive"
    DELETE = "delete"
    RESTORE = "restore"
    START_UPLOAD = "start_upload"
    COMPLETE_UPLOAD = "complete_upload"
    ABORT_UPLOAD = "abort_upload"


class AuditOutcome(StrEnum):
    """What came of it."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    """Nothing was changed: not permitted, another version, a rule."""

    UNKNOWN = "unknown"
    """The store's answer was lost: it may have been changed."""


def audit(
    action: AuditAction,
    *,
    resource: str,
    resource_id: str,
    version_before: int | None,
    version_after: int | None,
    outcome: AuditOutcome = AuditOutcome.SUCCEEDED,
) -> None:
    """Write the audit line of one write, once its outcome is known.

    ``resource`` is the kind ("course", "content"), ``resource_id`` the one. The versions are the
    stored ones: None before it existed, None after it was deleted or where that is not known.
    Who, request and trace come from what is bound. A write that nobody is known to have made is
    written with ``sub`` null, and beside it an error says so. Never raises.
    """
    context = bound()
    values: dict[str, object] = {
        "action": action,
        "resource": resource,
        "resourceId": resource_id,
        "versionBefore": version_before,
        "versionAfter": version_after,
        "outcome": outcome,
        **{name: context.get(name) for name in ("sub", "requestId", "traceId")},
    }
    PIPELINE.emit_audit("audit", values)
    if values["sub"] is None:
        missing = {name: values[name] for name in ("action", "resource", "resourceId")}
        PIPELINE.emit(logging.ERROR, "audit_without_principal", missing, logger=__name__)
