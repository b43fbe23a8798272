"""Cuts a segment document into UDP datagrams, as few as possible."""

import json
from collections.abc import Iterator
from typing import Final

# X-Ray takes documents of up to 64 kB, the daemon reads datagrams of up to 64 KiB, and IPv4
# carries 65,507 bytes in one. This keeps below all three, header included.
LARGEST_DATAGRAM: Final = 63_000
# https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon
HEADER: Final = b'{"format":"json","version":1}\n'

_LARGEST_DOCUMENT: Final = LARGEST_DATAGRAM - len(HEADER)
_DISPENSABLE: Final = ("metadata", "cause", "annotations", "http", "aws", "user")
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
_OPEN: Final = b',"subsegments":['
_CLOSE: Final = b"]}"


def datagrams(document: dict[str, object]) -> Iterator[bytes]:
    """One datagram where the document fits, else the largest subtrees go by themselves.

    X-Ray puts a subsegment that was sent by itself under its `parent_id`.
    """
    for piece in _pieces(document, _LARGEST_DOCUMENT):
        yield HEADER + piece


def _pieces(document: dict[str, object], limit: int) -> list[bytes]:
    """The document itself first, then what had to be cut off."""
    whole = _encode(document)
    if len(whole) <= limit:
        return [whole]
    children = document.get("subsegments")
    body = _trimmed({k: v for k, v in document.items() if k != "subsegments"}, limit)
    if not isinstance(children, list) or not children:
        return [body]
    kept: list[bytes] = []
    cut_off: list[bytes] = []
    pieces = [_pieces(child, limit) for child in children]
    room = limit - len(body) - len(_OPEN) - len(_CLOSE)
    # The small ones stay, so that the fewest have to go by themselves.
    for piece, *rest in sorted(pieces, key=lambda pieces: len(pieces[0])):
        cut_off += rest
        if len(piece) + 1 <= room:
            kept.append(piece)
            room -= len(piece) + 1
        else:
            cut_off.append(piece)
    if kept:
        body = body[:-1] + _OPEN + b",".join(kept) + _CLOSE
    return [body, *cut_off]


def _trimmed(body: dict[str, object], limit: int) -> bytes:
    encoded = _encode(body)
    for field in _DISPENSABLE:
        if len(encoded) <= limit:
            break
        body.pop(field, None)
        encoded = _encode(body)
    return encoded


def _encode(document: dict[str, object]) -> bytes:
    # "replace": half of a surrogate pair has no UTF-8 form.
    return _JSON.encode(document).encode("utf-8", "replace")
