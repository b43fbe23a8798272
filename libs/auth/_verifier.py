"""Judges one access token: shape, header, key, signature, claims, in that order, then remembers it.

The rules are RFC 7519's and RFC 8725's (best current practices), for access tokens as Amazon
Cognito issues them. The key decides the algorithm; nothing in the token can choose it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from libs.auth._errors import InvalidTokenError
from libs.auth._json import decode_base64url, decode_object
from libs.auth._key_source import JwksKeySource
from libs.auth._principal import DEFAULT_PERMISSIONS, PermissionTable, Principal

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ALGORITHMS = ("RS256", "ES256")
# RFC 7515 section 4.1: parameters that bring or point to a key, or that change how the rest is to
# be read (RFC 7515 crit, RFC 7797 b64, RFC 7516 zip and enc). No legitimate token here has them.
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5c", "x5u", "crit", "b64", "zip", "enc"})
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_LATEST_DATE = 253_402_300_799  # the end of the year 9999
_MAX_SKEW_SECONDS = 60


@dataclass(frozen=True)
class AuthSettings:
    """Whose tokens are accepted, for which clients, and what they grant.

    ``issuer`` is compared with ``iss`` letter by letter. ``skew_seconds`` (at most 60) is how far
    the clocks of issuer and service may differ.
    """

    issuer: str
    jwks_url: str
    client_ids: frozenset[str]
    permissions: PermissionTable = DEFAULT_PERMISSIONS
    skew_seconds: int = 60
    max_token_bytes: int = 8192

    def __post_init__(self) -> None:
        problems = []
        if not self.issuer:
            problems.append("an issuer is needed")
        if not self.client_ids or "" in self.client_ids:
            problems.append("at least one client id is needed, and none may be empty")
        if not 0 <= self.skew_seconds <= _MAX_SKEW_SECONDS:
            problems.append(f"skew_seconds must be from 0 to {_MAX_SKEW_SECONDS}")
        if not 256 <= self.max_token_bytes <= 65_536:
            problems.append("max_token_bytes must be from 256 to 65536")
        if problems:
            raise ValueError("\n".join(problems))


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    expires_at: float


class TokenVerifier:
    """Turns access tokens into principals.

    Verified tokens are remembered, at most ``cache_size`` of them, by a keyed digest: the tokens
    themselves are not kept. A remembered token is forgotten at its ``exp`` and when keys change.
    """

    def __init__(
        self,
        settings: AuthSettings,
        keys: JwksKeySource,
        *,
        now: Callable[[], float] = time.time,
        cache_size: int = 4096,
    ) -> None:
        """``now`` gives seconds since 1970, as the claims count them."""
        self._settings = settings
        self._keys = keys
        self._now = now
        self._cache: OrderedDict[bytes, _Verified] = OrderedDict()
        self._cache_size = cache_size
        self._cache_generation = keys.generation
        # A key of the process's own makes the look-up's timing useless for guessing tokens.
        self._digest_key = secrets.token_bytes(32)

    @property
    def ready(self) -> bool:
        """Whether the issuer's keys have been read, so that tokens can be judged."""
        return self._keys.ready

    async def verify(self, token: str) -> Principal:
        """The principal whom the token proves.

        Raises InvalidTokenError when it proves nobody, KeysUnavailableError when that cannot be
        told because the issuer's keys have never been read.
        """
        if len(token) > self._settings.max_token_bytes:
            raise InvalidTokenError("too_large")
        if not token.isascii():
            raise InvalidTokenError("malformed")
        encoded = token.encode("ascii")
        digest = hashlib.blake2b(encoded, key=self._digest_key, digest_size=32).digest()
        remembered = self._remembered(digest)
        if remembered is not None:
            self._keys.refresh_when_old()
            return remembered
        verified = self._judged(await self._verified_claims(token, encoded))
        self._remember(digest, verified)
        return verified.principal

    async def _verified_claims(self, token: str, encoded: bytes) -> Mapping[str, object]:
        match = _COMPACT.fullmatch(token)
        if match is None:
            raise InvalidTokenError("malformed")
        payload, signature = decode_base64url(match[2]), decode_base64url(match[3])
        if payload is None or signature is None:
            raise InvalidTokenError("malformed")
        kid, algorithm = _checked_header(match[1])
        key = await self._keys.get(kid)
        if key.algorithm != algorithm:
            raise InvalidTokenError("algorithm")
        if not key.verifies(encoded[: match.end(2)], signature):
            raise InvalidTokenError("signature")
        claims = decode_object(payload)
        if claims is None:
            raise InvalidTokenError("malformed")
        return claims

    def _judged(self, claims: Mapping[str, object]) -> _Verified:
        settings, now = self._settings, self._now()
        issuer, use = _text(claims, "iss"), _text(claims, "token_use")
        if issuer != settings.issuer:
            raise InvalidTokenError("issuer")
        if use != "access":
            raise InvalidTokenError("token_use")
        if settings.client_ids.isdisjoint(_clients(claims)):
            raise InvalidTokenError("client")
        expires_at, issued_at = _date(claims, "exp"), _date(claims, "iat")
        not_before = _date(claims, "nbf") if "nbf" in claims else issued_at
        if now >= expires_at + settings.skew_seconds:
            raise InvalidTokenError("expired")
        if now < max(issued_at, not_before) - settings.skew_seconds:
            raise InvalidTokenError("not_yet_valid")
        subject = _text(claims, "sub")
        if _SUBJECT.fullmatch(subject) is None:
            raise InvalidTokenError("subject")
        scopes = frozenset(_text(claims, "scope").split()) if "scope" in claims else frozenset()
        groups = frozenset(_texts(claims, "cognito:groups"))
        principal = Principal(
            subject=subject,
            username=_text(claims, "username") if "username" in claims else None,
            groups=groups,
            scopes=scopes,
            permissions=settings.permissions.permissions(scopes=scopes, groups=groups),
        )
        return _Verified(principal, expires_at)

    def _forget_older_generations(self) -> None:
        if self._cache_generation != self._keys.generation:
            self._cache.clear()
            self._cache_generation = self._keys.generation

    def _remembered(self, digest: bytes) -> Principal | None:
        self._forget_older_generations()
        verified = self._cache.get(digest)
        if verified is None:
            return None
        # Without skew: past its exp a token is judged anew each time.
        if self._now() >= verified.expires_at:
            del self._cache[digest]
            return None
        self._cache.move_to_end(digest)
        return verified.principal

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._forget_older_generations()
        if self._now() >= verified.expires_at:
            return
        self._cache[digest] = verified
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


# An issuer's tokens have one header for each of its keys. What is refused is not remembered.
@lru_cache(maxsize=64)
def _checked_header(encoded: str) -> tuple[str, str]:
    """The key's id and the algorithm that a token's header names."""
    decoded = decode_base64url(encoded)
    header = None if decoded is None else decode_object(decoded)
    if header is None:
        raise InvalidTokenError("malformed")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise InvalidTokenError("algorithm")
    if not _REFUSED_HEADERS.isdisjoint(header):
        raise InvalidTokenError("header")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise InvalidTokenError("header")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise InvalidTokenError("unknown_key")
    return kid, algorithm


def _clients(claims: Mapping[str, object]) -> tuple[str, ...]:
    """Whom the token is for: Cognito's access tokens say ``client_id``, others ``aud``."""
    if "client_id" in claims:
        return (_text(claims, "client_id"),)
    if isinstance(claims.get("aud"), str):
        return (_text(claims, "aud"),)
    audiences = _texts(claims, "aud")
    if not audiences:
        raise InvalidTokenError("claims")
    return audiences


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str):
        raise InvalidTokenError("claims")
    return value


def _texts(claims: Mapping[str, object], name: str) -> tuple[str, ...]:
    values = claims.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidTokenError("claims")
    return tuple(values)


def _date(claims: Mapping[str, object], name: str) -> float:
    """A NumericDate (RFC 7519 section 2): seconds since 1970."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTokenError("claims")
    if not 0 <= value <= _LATEST_DATE:
        raise InvalidTokenError("claims")
    return float(value)
