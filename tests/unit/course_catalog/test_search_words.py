"""Folding and tokenising: what people type must find what authors wrote."""

from __future__ import annotations

import pytest

from services.course_catalog.domain.search import fold, query_words, words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Reading the TIDES", "reading the tides"),
        ("Écologie", "ecologie"),
        ("E\u0301cologie", "ecologie"),
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("Łódź, Ærø, Þór", "lodz, aero, thor"),
        ("İstanbul ısı", "istanbul isi"),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("ﬁnance", "finance"),
        ("Ελληνικά", "ελληνικα"),
        ("Ёлка", "елка"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("हिन्दी", "हिन्दी"),
        ("ガス", "ガス"),
        ("ｶﾞｽ", "ガス"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize("text", ["Écologie", "Ａé İ ß Ǆ", "हिन्दी ガス", "\u0301", "", "ΑΣ ας"])
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Reading, re-reading & 2nd reading", {"reading", "re", "2nd"}),
        ("C, C++, C# and .NET", {"c", "c++", "c#", "and", "net"}),
        ("a+b #tag x#y", {"a", "b", "tag", "x", "y"}),
        ("L'été à Łódź", {"l", "ete", "a", "lodz"}),
        ("हिन्दी भाषा", {"हिन्दी", "भाषा"}),
        ("入門", {"入", "門", "入門"}),
        ("Python入門!", {"python", "入", "門", "入門"}),
        ("…?! \x00", set()),
        ("", set()),
    ],
)
def test_words(text: str, expected: set[str]) -> None:
    assert words(text) == expected


def test_a_query_in_a_script_without_spaces_needs_its_pairs() -> None:
    assert query_words("プログラム") == {"プロ", "ログ", "グラ", "ラム"}
    assert query_words("門") == {"門"}
    assert query_words("Data 科学") == {"data", "科学"}
