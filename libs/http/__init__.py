"""HTTP for every service: the application factory, problem+json, strict input, conditional
requests, signed cursors, operations endpoints and the graceful drain."""

from libs.http._access_log_policy import AccessLogPolicy
from libs.http._app import Lifespan, create_app
from libs.http._authentication import Verifier, forbidden, principal, require
from libs.http._conditional import (
    EntityTags,
    encode_json,
    if_match,
    json_response,
    precondition_failed,
    require_if_match,
    version_etag,
)
from libs.http._cursor import MAX_CURSOR_CHARACTERS, CursorCodec
from libs.http._deadline import (
    DEFAULT_REQUEST_TIMEOUT_SECONDS,
    MAX_REQUEST_TIMEOUT_SECONDS,
    MIN_REQUEST_TIMEOUT_SECONDS,
    TIMEOUT_HEADER,
)
from libs.http._dependency_calls import note_dependency_call
from libs.http._errors import ProblemMapping, problem_document, problem_for, unavailable
from libs.http._json import read_body, read_json
from libs.http._keys import BREAKERS, DRAIN, REQUEST_ID, ServiceInfo
from libs.http._merge_patch import MERGE_PATCH_CONTENT_TYPE, merge_patch
from libs.http._operations import PUBLIC_PATHS
from libs.http._problem import FieldError, Problem
from libs.http._server import (
    DEFAULT_READINESS_NOTICE_SECONDS,
    Listener,
    event_loop_factory,
    run,
    serve,
)
from libs.http._validation import (
    DecimalInteger,
    Identifier,
    Schema,
    UtcTimestamp,
    is_identifier,
    parse_body,
    parse_query,
    path_identifier,
    validate_body,
)

__all__ = [
    "BREAKERS",
    "DEFAULT_READINESS_NOTICE_SECONDS",
    "DEFAULT_REQUEST_TIMEOUT_SECONDS",
    "DRAIN",
    "MAX_CURSOR_CHARACTERS",
    "MAX_REQUEST_TIMEOUT_SECONDS",
    "MIN_REQUEST_TIMEOUT_SECONDS",
    "MERGE_PATCH_CONTENT_TYPE",
    "PUBLIC_PATHS",
    "REQUEST_ID",
    "AccessLogPolicy",
    "TIMEOUT_HEADER",
    "CursorCodec",
    "DecimalInteger",
    "EntityTags",
    "FieldError",
    "Identifier",
    "Lifespan",
    "Listener",
    "Problem",
    "ProblemMapping",
    "Schema",
    "ServiceInfo",
    "UtcTimestamp",
    "Verifier",
    "create_app",
    "encode_json",
    "event_loop_factory",
    "forbidden",
    "if_match",
    "is_identifier",
    "json_response",
    "merge_patch",
    "note_dependency_call",
    "parse_body",
    "parse_query",
    "path_identifier",
    "precondition_failed",
    "principal",
    "problem_document",
    "problem_for",
    "read_body",
    "read_json",
    "require",
    "require_if_match",
    "run",
    "serve",
    "unavailable",
    "validate_body",
    "version_etag",
]
