"""The page of a unit: its texts in order, with marks where a video, a quiz or a task stands.

Owns how a page is put together of pieces. What the pieces are is decided by the mapping.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.course_import._findings import Finding
from deploy.course_import._olx import Block
from deploy.course_import._reading import MAX_DOCUMENT_BYTES, Fragment, Rewriter, page


@dataclass(frozen=True)
class Piece:
    """A piece of a page.

    `text` is an author's HTML; or `note`, words of a component that has no counterpart; or it is the
    mark of an item that follows in the outline. `is_source` is what the component becomes; the links
    that come with a video are not.
    """

    block: Block
    text: str = ""
    note: str | None = None
    is_mark: bool = False
    is_source: bool = True


@dataclass(frozen=True)
class Page:
    """A page, made: the document, how many words it has, what was met on the way."""

    content: bytes
    words: int
    findings: tuple[Finding, ...]


def compose(
    title: str, language: str, pieces: Sequence[Piece], where: tuple[str, ...], rewriter: Rewriter
) -> Page:
    """The page of these pieces."""
    parts: list[str] = []
    findings: list[Finding] = []
    words = 0
    room = MAX_DOCUMENT_BYTES
    for piece in pieces:
        name = html.escape(piece.block.title or title, quote=False)
        if piece.is_mark:
            # Without a link: an item's id is the service's, known only once this page is sent.
            parts.append(f"<p>▸ {name}</p>")
        elif piece.note is not None:
            words += len(piece.note.split())
            said = f"<p>{html.escape(piece.note, quote=False)}</p>" if piece.note else ""
            parts.append(f"<aside><p><strong>{name}</strong></p>{said}</aside>")
        else:
            fragment = rewriter.rewrite(piece.text, room=max(room, 0))
            room -= len(fragment.html)
            words += fragment.words
            findings += met(fragment, piece.block.key, where)
            if fragment.is_empty:
                findings.append(Finding("empty", piece.block.key, where))
            else:
                parts.append(f"<section>{fragment.html}</section>")
    return Page(page(title, language, "\n".join(parts)), words, tuple(findings))


def met(fragment: Fragment, subject: str, where: tuple[str, ...]) -> list[Finding]:
    """The findings of a rewritten fragment, one a reason."""
    frames = {"iframe", "object", "embed"}
    left_out = Counter({tag: n for tag, n in fragment.left_out.items() if tag not in frames})
    found = []
    if left_out:
        names = ", ".join(f"{count} {tag}" for tag, count in sorted(left_out.items()))
        found.append(Finding("scripts", subject, where, names))
    for reason, entries in (
        ("embedded_page", fragment.embedded),
        ("dead_link", fragment.dead_links),
        ("missing_file", fragment.missing),
        ("too_large", fragment.too_large),
        ("outside", fragment.outside),
    ):
        if entries:
            found.append(Finding(reason, subject, where, ", ".join(dict.fromkeys(entries))[:500]))
    return found
