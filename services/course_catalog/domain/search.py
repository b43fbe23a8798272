"""How text is compared and cut into words, for search and for ordering by title.

Owns folding (case, diacritics, compatibility forms) and tokenising. Knows no course.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Letters with a stroke or a ligature have no decomposition in Unicode, yet people type them plain.
_PLAIN = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae",
                        "œ": "oe", "þ": "th", "ð": "d"})  # fmt: skip
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:\+\+|#(?![a-z0-9]))?")  # c++ and c# are words of their own
# Scripts written without spaces: Thai to Khmer, kana, Han.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"
                       "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")  # fmt: skip


def fold(text: str) -> str:
    """`text` without regard to case, diacritics and compatibility forms.

    Marks that only modify a letter go (accents, Hebrew points, Arabic vowels: canonical combining
    class 10 to 35 and from 200 on); those that make another letter stay (Indic signs, kana voicing).
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    decomposed = unicodedata.normalize("NFKD", decomposed).translate(_PLAIN)
    kept = (char for char in decomposed if not _is_diacritic(unicodedata.combining(char)))
    return unicodedata.normalize("NFC", "".join(kept))


def words(text: str) -> frozenset[str]:
    """The folded words of `text`.

    A run of a script without spaces gives its characters and its pairs of neighbours, the usual
    way to search it without a dictionary.
    """
    return frozenset(words_in_order(text))


def words_in_order(text: str) -> Iterator[str]:
    """The words of `text` as they come, each as often as it stands there."""
    return _split(fold(text))


def query_words(text: str) -> frozenset[str]:
    """The words that a text must have to be found by `text`: pairs stand for their characters."""
    found = words(text)
    inside_pairs = {char for word in found if is_unspaced(word) and len(word) == 2 for char in word}
    return found - inside_pairs


def is_unspaced(word: str) -> bool:
    """Whether `word` is of a script without spaces; it is never the beginning of another."""
    return _UNSPACED.match(word) is not None


def _is_diacritic(combining_class: int) -> bool:
    return 10 <= combining_class <= 35 or combining_class >= 200


def _split(folded: str) -> Iterator[str]:
    if folded.isascii():
        yield from _ASCII_WORD.findall(folded)
        return
    for run in _runs(folded):
        yield from _pieces(run)


def _runs(folded: str) -> list[str]:
    spaced = (
        char if char.isalnum() or unicodedata.category(char)[0] == "M" or char in "+#" else " "
        for char in folded
    )
    return "".join(spaced).split()


def _pieces(run: str) -> Iterator[str]:
    position = 0
    for match in _UNSPACED.finditer(run):
        yield from _spaced(run[position : match.start()])
        chars = match.group()
        yield from chars
        yield from (chars[i : i + 2] for i in range(len(chars) - 1))
        position = match.end()
    yield from _spaced(run[position:])


def _spaced(run: str) -> Iterator[str]:
    if run.isascii():
        yield from _ASCII_WORD.findall(run)
    else:
        yield from (piece for piece in re.split("[+#]+", run) if piece)
