"""Who is calling and what they may do: verification of Cognito access tokens, principals, permissions.

Owns everything between a token's text and a `Principal`. It must not know requests, routes or
resources: the HTTP layer takes the token from the header, services ask `Principal.can`.
"""

from __future__ import annotations

from libs.auth._errors import InvalidTokenError, KeysUnavailableError, Reason
from libs.auth._fetch import JwksFetchError, http_fetch
from libs.auth._jwks import InvalidJwksError, VerificationKey
from libs.auth._key_source import JwksKeySource
from libs.auth._principal import (
    DEFAULT_PERMISSIONS,
    PERMISSIONS,
    InvalidPermissionTableError,
    PermissionTable,
    Principal,
)
from libs.auth._verifier import AuthSettings, TokenVerifier

__all__ = [
    "DEFAULT_PERMISSIONS",
    "PERMISSIONS",
    "AuthSettings",
    "InvalidJwksError",
    "InvalidPermissionTableError",
    "InvalidTokenError",
    "JwksFetchError",
    "JwksKeySource",
    "KeysUnavailableError",
    "PermissionTable",
    "Principal",
    "Reason",
    "TokenVerifier",
    "VerificationKey",
    "http_fetch",
]
