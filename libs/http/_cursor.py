"""Signed cursors: a place in a listing that only this service could have written.

Owns the text form and its signature. A cursor is bound to what it was made for (the filters, the
user), so it opens nothing else; what a position means is the service's business. It is signed,
not secret: nothing that a client may not read belongs into a position.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

from libs.http._problem import Problem

MAX_CURSOR_CHARACTERS = 2048
_MINIMUM_SECRET_BYTES = 32
_MAC_BYTES = hashlib.sha256().digest_size
_LABEL = b"lyceum.cursor.v1"


class CursorCodec:
    """Writes and reads cursors. The first secret signs, all of them verify: a secret is replaced
    by putting the new one in front and dropping the old one when its cursors have been used up."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """`secrets`: at least one, each of 32 bytes or more. Raises ValueError."""
        if not secrets:
            raise ValueError("a cursor codec needs at least one secret")
        if any(len(secret) < _MINIMUM_SECRET_BYTES for secret in secrets):
            raise ValueError(f"a cursor secret needs at least {_MINIMUM_SECRET_BYTES} bytes")
        self._secrets = tuple(secrets)

    def encode(self, position: Mapping[str, object], *, binding: Mapping[str, object]) -> str:
        """The cursor for `position` (JSON values), good only together with an equal `binding`.

        Raises ValueError for values that JSON has not, and for a position so large that the
        cursor would not be accepted back.
        """
        payload = _canonical(position)
        mac = _mac(self._secrets[0], payload, binding)
        text = base64.urlsafe_b64encode(mac + payload).rstrip(b"=").decode("ascii")
        if len(text) > MAX_CURSOR_CHARACTERS:
            raise ValueError(f"a cursor may have at most {MAX_CURSOR_CHARACTERS} characters")
        return text

    def decode(self, text: str, *, binding: Mapping[str, object]) -> dict[str, object]:
        """The position in `text`. Raises Problem 400 `invalid_cursor`, the same for every cause:
        which part of a forgery was right is nobody's business."""
        position = self._verified(text, binding)
        if position is None:
            raise Problem(
                400,
                "invalid_cursor",
                "The cursor is not one that this service gave for this request.",
            )
        return position

    def _verified(self, text: str, binding: Mapping[str, object]) -> dict[str, object] | None:
        if len(text) > MAX_CURSOR_CHARACTERS:
            return None
        try:
            raw = base64.b64decode(
                text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
            )
        except (UnicodeEncodeError, binascii.Error):
            return None
        # base64 leaves bits of the last character unused: one cursor has one spelling.
        if base64.urlsafe_b64encode(raw).rstrip(b"=") != text.encode("ascii"):
            return None
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        genuine = False
        for secret in self._secrets:
            genuine |= hmac.compare_digest(mac, _mac(secret, payload, binding))
        if not genuine:
            return None
        position: object = json.loads(payload)
        return position if isinstance(position, dict) else None


def _canonical(value: Mapping[str, object]) -> bytes:
    return json.dumps(
        value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")
    ).encode("ascii")


def _mac(secret: bytes, payload: bytes, binding: Mapping[str, object]) -> bytes:
    # Both parts are hashed to fixed lengths, so no byte can move from one to the other.
    bound = hashlib.sha256(_canonical(binding)).digest()
    message = _LABEL + bound + hashlib.sha256(payload).digest()
    return hmac.digest(secret, message, "sha256")
