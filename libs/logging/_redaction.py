"""What counts as a secret in names and in text, and how it is taken out.

Prefers to hide too much: a word lost from a message costs less than a credential in a log that
many may read and that is kept for months. Every pattern is linear in the text, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

REDACTED = "[redacted]"

_SECRET_NAMES = frozenset({"auth", "jwt", "pwd", "s3key", "objectkey", "otp", "pin"})
_SECRET_PARTS = (
    "authorization",
    "cookie",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "credential",
    "signature",
)
SHORT_NAME = 64
_SEPARATORS = re.compile(r"[\s_.:-]+")

_KEYWORD = (
    r"passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|signing[_-]?key|credential|signature"
)
# What may stand between a name and its value: `name=`, `"name": `, `('name', `, `\"name\": `,
# and the percent-encoded form of a URL inside a URL.
_BETWEEN = r"""\\*(?:["']\s*,\s*|["']?\s*(?:[:=]|%3d)\s*)"""
_QUOTED = (
    r"""\[redacted\]"""  # redacting twice changes nothing
    r"""|\\+["'].*?(?:\\+["']|\Z)"""  # quoted inside quoted text
    r"""|[bu]?"(?:[^"\\]|\\.)*+(?:"|\\?\Z)"""  # the end of the text may have been cut off
    r"""|[bu]?'(?:[^'\\]|\\.)*+(?:'|\\?\Z)"""
)
_BRACKETED = r"""\w{0,64}\(.*?(?:\)|\Z)|\[.*?(?:\]|\Z)|\{.*?(?:\}|\Z)"""
_FLAGS = re.IGNORECASE | re.DOTALL

# A quick no for the great majority of texts.
_SUSPECT = re.compile(
    rf"{_KEYWORD}|authorization|cookie|bearer|://|e[yw][a-z0-9_-]{{8}}|akia|asia|private key",
    re.IGNORECASE,
)
# No text of these alone holds any of the above: request ids, trace ids, and most subjects.
is_plain = re.compile(r"[0-9a-f-]*").fullmatch
SHORT_TEXT = 64
_URL = re.compile(r"""https?://[^\s"'<>\\]+""", re.IGNORECASE)
_PRESIGNED = re.compile(r"x-amz-|[?&](?:signature|awsaccesskeyid)=", re.IGNORECASE)
_USER_INFO = re.compile(r"""(://)[^/\s@?#"']+@""")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_HEADER = re.compile(
    rf"((?:authorization|cookie){_BETWEEN})(?:{_QUOTED}|[^\r\n]+)",
    _FLAGS,
)
_ASSIGNMENT = re.compile(
    # The look-ahead keeps the names of exception types readable ("ExpiredTokenException: ...").
    rf"((?:{_KEYWORD})(?![\w-]{{0,32}}(?:error|exception))[\w-]{{0,32}}{_BETWEEN})"
    rf"""(?:{_QUOTED}|{_BRACKETED}|[^\s&,;"'<>]+)""",
    _FLAGS,
)
_BEARER = re.compile(r"""\b(bearer\s+)[^\s"',;]+""", re.IGNORECASE)
# A JWT's header is base64url of a JSON object: it starts with eyJ, or, when it begins with a
# blank or a line end, with ey or ew. A cut-off token is still hidden.
_JWT = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}(?:=*\.[A-Za-z0-9_-]*)*"
    r"|(?<![A-Za-z0-9_-])e[yw][A-Za-z0-9_-]{14,}=*\.[A-Za-z0-9_-]{14,}(?:=*\.[A-Za-z0-9_-]*)*"
)
_AWS_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}")


def is_secret_name(name: str) -> bool:
    """Whether a field, header or parameter of this name holds a secret."""
    return field_name(name)[1]


def field_name(name: str) -> tuple[str, bool]:
    """The name as it may be shown, bounded, and whether what it names is a secret."""
    if len(name) > SHORT_NAME:
        return redact_text(name[:SHORT_NAME]) + "...", _names_secret(name)
    return short_field_name(name)


@lru_cache(maxsize=2048)
def short_field_name(name: str) -> tuple[str, bool]:
    """`field_name` of one that has at most `SHORT_NAME` characters."""
    return redact_text(name), _names_secret(name)


def _names_secret(name: str) -> bool:
    plain = _SEPARATORS.sub("", name).lower()
    return plain in _SECRET_NAMES or any(part in plain for part in _SECRET_PARTS)


def redact_text(text: str) -> str:
    """The text with tokens, credentials, cookies, pre-signed URLs and private keys taken out."""
    if is_plain(text):
        return text
    if len(text) <= SHORT_TEXT:
        return redact_short_text(text)
    return _redacted(text)


@lru_cache(maxsize=1_024)
def redact_short_text(text: str) -> str:
    """`redact_text` of at most `SHORT_TEXT` characters that are not plain: routes, methods, events
    and subjects come again and again."""
    return _redacted(text)


def _redacted(text: str) -> str:
    if _SUSPECT.search(text) is None:
        return text
    text = _URL.sub(lambda match: _without_presigned_query(match[0]), text)
    text = _USER_INFO.sub(rf"\1{REDACTED}@", text)
    text = _PRIVATE_KEY.sub(REDACTED, text)
    text = _HEADER.sub(rf"\1{REDACTED}", text)
    text = _ASSIGNMENT.sub(rf"\1{REDACTED}", text)
    text = _BEARER.sub(rf"\1{REDACTED}", text)
    text = _JWT.sub(REDACTED, text)
    return _AWS_KEY_ID.sub(REDACTED, text)


def redact_url(url: str) -> str:
    """The URL without user, password, fragment and the values of secret query parameters.

    Of a pre-signed URL only scheme and host remain: whoever reads its path learns an object's key.
    What cannot be read as a URL is hidden as a whole.
    """
    try:
        parts = urlsplit(url)
        parameters = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return REDACTED
    if _PRESIGNED.search(f"?{parts.query}") or any(_is_signing(name) for name, _ in parameters):
        return _host_only(url)
    host = parts.netloc.rpartition("@")[2]
    start = f"{parts.scheme}://{host}" if parts.scheme and host else host
    query = "&".join(
        f"{name}={REDACTED if is_secret_name(name) else value}" for name, value in parameters
    )
    return redact_text(f"{start}{parts.path}{'?' if query else ''}{query}")


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A plain dictionary of the headers with the values of secret ones hidden."""
    return {
        name: REDACTED if is_secret_name(name) else redact_text(value)
        for name, value in headers.items()
    }


def _is_signing(name: str) -> bool:
    return name.lower().startswith("x-amz-")


def _without_presigned_query(url: str) -> str:
    return _host_only(url) if _PRESIGNED.search(url) else url


def _host_only(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return REDACTED
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{host}/{REDACTED}"
