"""What a WebVTT file is, as far as a text track is checked before it is stored.

https://www.w3.org/TR/webvtt1/#file-structure: UTF-8, an optional byte-order mark, the signature,
and a blank line before the first cue. What the cues say is the author's business.
"""

from __future__ import annotations

import re

from services.content_delivery.domain.errors import InvalidCaptionError

CAPTION_CONTENT_TYPE = "text/vtt; charset=utf-8"

_SIGNATURE = re.compile(r"\ufeff?WEBVTT(?:[ \t][^\r\n]*)?(?:\r\n|\r|\n|\Z)")
_LINE_END = re.compile(r"\r\n|\r|\n")


def check_webvtt(body: bytes) -> None:
    """Raise InvalidCaptionError unless ``body`` is a WebVTT file."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidCaptionError(f"invalid UTF-8 at byte {error.start}") from None
    signature = _SIGNATURE.match(text)
    if signature is None:
        raise InvalidCaptionError("the first line must be WEBVTT")
    if "\x00" in text:
        raise InvalidCaptionError("it holds a NUL character")
    before_cues = "-->" not in _LINE_END.split(text[signature.end() :], maxsplit=1)[0]
    if not before_cues:
        raise InvalidCaptionError("a blank line must follow the first line")
