"""The ``Content-Disposition`` of a download (RFC 6266), from a title that anybody may have written.

The value ends in a header of the object store's answer and names a file on the reader's disk, so
nothing in a title may end the header, leave the folder or disguise the file's kind.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from functools import lru_cache
from urllib.parse import quote

_EXTENSIONS = {
    "application/epub+zip": ".epub",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/webp": ".webp",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/vtt": ".vtt",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
}
# Separators of paths and what file systems and shells give a meaning of their own.
_UNSAFE = re.compile(r'[/\\:*?"<>|]')
# In the plain form a reader may or may not undo escapes: RFC 6266 appendix D says to avoid them.
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 !#$&'()+,.;=@\[\]^_`{}~-]")
# attr-char of RFC 8187 section 3.2.1, besides letters, digits and what quote() always keeps.
_ATTRIBUTE_CHARACTERS = "!#$&+^`|"
_MAXIMUM_NAME = 120  # characters; four bytes each still fit the 255 bytes of common file systems


class Disposition(Enum):
    """Whether a browser shows the object or saves it."""

    INLINE = "inline"
    ATTACHMENT = "attachment"


# Whoever plays a content asks again before its URL ends, and many play the same.
@lru_cache(maxsize=1_024)
def content_disposition(disposition: Disposition, *, title: str, content_type: str) -> str:
    """The header's value, in ASCII.

    ``filename`` is a plain approximation for old readers; ``filename*`` (RFC 8187) carries the
    name itself where the two differ.
    """
    extension = _EXTENSIONS.get(content_type.partition(";")[0].strip().lower(), "")
    stem = _file_name(title)
    plain = _NOT_PLAIN.sub("_", _without_accents(stem)).strip(" .") or "content"
    value = f'{disposition.value}; filename="{plain}{extension}"'
    if plain != stem:
        value += f"; filename*=UTF-8''{quote(stem + extension, safe=_ATTRIBUTE_CHARACTERS)}"
    return value


def _file_name(title: str) -> str:
    """The title without what must not stand in a file's name; never empty, no leading dot."""
    # NFC first: cutting a decomposed text could take an accent off its letter.
    text = unicodedata.normalize("NFC", title)
    # Cc would end the header, Cf holds the overrides that turn "gpj.exe" around, Cs is no text.
    text = "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co"}
    )
    text = " ".join(_UNSAFE.sub("-", text).split())
    return text[:_MAXIMUM_NAME].strip(" .") or "content"


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character))
