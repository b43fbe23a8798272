"""Form uploads to S3 (POST policies), as far as the guard must see into them.

Owns the reading of a form in exactly MiniStack's way, so that what is checked is what is obeyed: it
takes fields from anywhere in the body and the last of several by one name. Whether the policy allows
the upload, and its signature, stay MiniStack's business.
"""

import re
from typing import Protocol

from ._asgi import Message, Receive, RefusedError

_BUCKET_PATH = re.compile(r"/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/?")
# What the service signs into a form, and the bytes.
_FIELDS = frozenset(
    {
        "content-type",
        "file",
        "key",
        "policy",
        "x-amz-algorithm",
        "x-amz-checksum-algorithm",
        "x-amz-checksum-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-signature",
    }
)
_REQUIRED = _FIELDS - {
    "content-type",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-sha256",
    "x-amz-security-token",
}
# MiniStack puts the file's name in its place, in every field: a key could be completed by it.
_PLACEHOLDER = b"${filename}"
# More than the largest form that the service signs, with its fields.
MAXIMUM_FORM_BYTES = 128 * 1024 * 1024


class Headers(Protocol):
    """A request's headers."""

    def single(self, name: str) -> str | None: ...

    def names(self) -> frozenset[str]: ...


def may_be_form(path: str, headers: Headers) -> bool:
    """Whether this is the place of a form, or of the preflight of one.

    Any header of AWS's would let MiniStack take it for a call of another kind.
    """
    if not _BUCKET_PATH.fullmatch(path):
        return False
    if any(name.startswith("x-amz-") for name in headers.names()):
        return False
    content_type = headers.single("content-type")
    if content_type is None:
        return headers.single("access-control-request-method") is not None
    return content_type.startswith("multipart/form-data")


async def read_form(receive: Receive) -> bytes:
    """The whole body; raises RefusedError beyond its bound."""
    chunks, size = [], 0
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > MAXIMUM_FORM_BYTES:
            raise RefusedError("the form is too large")
        if not message.get("more_body", False):
            return b"".join(chunks)


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """The fields by their names in small letters, without the file.

    Raises RefusedError for a form that is not plain: other fields, one twice, any behind the file,
    placeholders, or no file.
    """
    found = re.search(r'boundary=("?)([^";\s]+)\1', content_type, re.IGNORECASE)
    if not found:
        raise RefusedError("the form has no boundary")
    fields: dict[str, str] = {}
    names: list[str] = []
    for chunk in body.split(b"--" + found.group(2).encode())[1:-1]:
        head, separator, value = chunk.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _name(head if separator else b"")
        names.append(name)
        if name != "file":
            if _PLACEHOLDER in value:
                raise RefusedError("placeholders in a form are not accepted")
            fields[name] = value.removesuffix(b"\r\n").decode("utf-8", "replace")
    if len(names) != len(set(names)) or not _REQUIRED <= set(names) <= _FIELDS:
        raise RefusedError("only a signed form with the fields of its policy is accepted")
    if names[-1] != "file":
        raise RefusedError("the file must be the last field of a form")
    return fields


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, in one piece, and then what comes after it."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _name(head: bytes) -> str:
    disposition = b""
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"content-disposition":
            disposition = value
    found = re.search(rb'name=(?:"([^"]*)"|([^;\s]+))', disposition)
    if not found:
        raise RefusedError("a field of the form has no name")
    return (found.group(1) or found.group(2) or b"").decode("latin-1").lower()
