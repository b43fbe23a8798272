"""Signature Version 4 in the headers of a request, as botocore makes it and without its cost.

Owns the algorithm and the key that is derived for a day, which changes with the day and the
credentials alone. Knows no service's protocol.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from botocore.utils import normalize_url_path

from libs.aws._credentials import Signer

# What a hop may change is not signed: botocore's SIGNED_HEADERS_BLACKLIST.
_UNSIGNED = frozenset({"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MOST_TEMPLATES = 64


class SignedPlace(NamedTuple):
    """Where a POST without a query goes, in the words of a signature: host and canonical path."""

    host: str
    path: str

    @classmethod
    def of(cls, url: str) -> "SignedPlace":
        """The place of a URL. Raises ValueError for one with a query, which is not signed here."""
        parts = urlsplit(url)
        if parts.query or parts.hostname is None:
            raise ValueError("a signed request goes to a URL with a host and without a query")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
            host = f"{host}:{parts.port}"
        return cls(host, quote(normalize_url_path(parts.path), safe="/~"))


class _Template(NamedTuple):
    """A canonical request but for its moment and the body's hash, and the names that it signs."""

    before_moment: str
    after_moment: str
    names: str


class RequestSigner:
    """Signs for one region and service. The instant is passed with each request: whose clock is
    right is decided elsewhere."""

    def __init__(self, region: str, service: str) -> None:
        self._scope = f"{region}/{service}/aws4_request"
        self._parts = (region.encode(), service.encode(), b"aws4_request")
        self._second = -1
        self._moment = ""
        self._key_of: tuple[str, str] = ("", "")
        self._key = b""
        self._templates: dict[object, _Template] = {}

    def sign(
        self, headers: dict[str, str], body: bytes, *, place: SignedPlace, signer: Signer, at: float
    ) -> None:
        """Add `X-Amz-Date`, for temporary credentials `X-Amz-Security-Token`, and `Authorization`
        to the headers of a POST; those that are there already are signed with it. `at`: seconds of
        the epoch."""
        key = (place, signer.token, *headers.items())
        template = self._templates.get(key) or self._template(key, headers, place, signer.token)
        moment = self._moment_of(at)
        scope = f"{moment[:8]}/{self._scope}"
        canonical = (
            f"{template.before_moment}{moment}{template.after_moment}"
            f"{hashlib.sha256(body).hexdigest()}"
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.digest(
            self._key_for(signer.secret_key, moment[:8]),
            f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(),
            "sha256",
        ).hex()
        headers["X-Amz-Date"] = moment
        if signer.token:
            headers["X-Amz-Security-Token"] = signer.token
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={signer.access_key}/{scope}, "
            f"SignedHeaders={template.names}, Signature={signature}"
        )

    def _template(
        self, key: object, headers: Mapping[str, str], place: SignedPlace, token: str | None
    ) -> _Template:
        signed = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
        signed = {name: value for name, value in signed.items() if name not in _UNSIGNED}
        signed |= {"host": place.host, "x-amz-date": ""}
        if token:
            signed["x-amz-security-token"] = token
        before = [f"{name}:{signed[name]}\n" for name in sorted(signed) if name < "x-amz-date"]
        after = [f"{name}:{signed[name]}\n" for name in sorted(signed) if name > "x-amz-date"]
        names = ";".join(sorted(signed))
        template = _Template(
            f"POST\n{place.path}\n\n{''.join(before)}x-amz-date:",
            f"\n{''.join(after)}\n{names}\n",
            names,
        )
        # One for each operation of an endpoint, until the session token is another.
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        self._templates[key] = template
        return template

    def _moment_of(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second = second
            self._moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        return self._moment

    def _key_for(self, secret_key: str, date: str) -> bytes:
        if self._key_of != (secret_key, date):
            key = b"AWS4" + secret_key.encode()
            for part in (date.encode(), *self._parts):
                key = hmac.digest(key, part, "sha256")
            self._key, self._key_of = key, (secret_key, date)
        return self._key
