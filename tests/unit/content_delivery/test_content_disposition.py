"""File names of downloads: right for people, harmless as a header and on a disk."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.content_delivery.domain.content_disposition import Disposition, content_disposition

# RFC 6266 section 4.1, with the value characters of RFC 7230 and of RFC 8187.
GRAMMAR = re.compile(
    r'(inline|attachment); filename="([ !#-\[\]-~]*)"'
    r"(; filename\*=UTF-8''((?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+))?"
)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Mangroves at low tide", 'filename="Mangroves at low tide.mp4"'),
        ("  spaces \t everywhere  ", 'filename="spaces everywhere.mp4"'),
        (
            "Café",
            "filename=\"Cafe.mp4\"; filename*=UTF-8''Caf%C3%A9.mp4",
        ),
        (
            "海の潮",
            "filename=\"___.mp4\"; filename*=UTF-8''%E6%B5%B7%E3%81%AE%E6%BD%AE.mp4",
        ),
        ('say "hi"', 'filename="say -hi-.mp4"'),
        ("back\\slash", 'filename="back-slash.mp4"'),
        ("a\r\nSet-Cookie: x=1", 'filename="a Set-Cookie- x=1.mp4"'),
        ("a\x00b", 'filename="ab.mp4"'),
        ("../../etc/passwd", 'filename="-..-etc-passwd.mp4"'),
        (".hidden", 'filename="hidden.mp4"'),
        ("100 % sure", "filename=\"100 _ sure.mp4\"; filename*=UTF-8''100%20%25%20sure.mp4"),
        # A right-to-left override would show this as "phoexe.jpg".
        ("pho\u202egpj.exe", 'filename="phogpj.exe.mp4"'),
        ("\u200b\u200d", 'filename="content.mp4"'),
        ("...", 'filename="content.mp4"'),
        ("x" * 200, f'filename="{"x" * 120}.mp4"'),
    ],
)
def test_names(title: str, expected: str) -> None:
    value = content_disposition(Disposition.ATTACHMENT, title=title, content_type="video/mp4")
    assert value == f"attachment; {expected}"


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("video/mp4", "a.mp4"),
        ("text/markdown; charset=utf-8", "a.md"),
        ("Text/HTML", "a.html"),
        ("application/x-unheard-of", "a"),
    ],
)
def test_the_extension_follows_the_type(content_type: str, name: str) -> None:
    value = content_disposition(Disposition.INLINE, title="a", content_type=content_type)
    assert value == f'inline; filename="{name}"'


@given(st.text(max_size=300), st.sampled_from(Disposition))
def test_any_title_gives_one_well_formed_header(title: str, disposition: Disposition) -> None:
    value = content_disposition(disposition, title=title, content_type="video/mp4")
    match = GRAMMAR.fullmatch(value)
    assert match is not None, value
    assert match[1] == disposition.value
    assert match[2].endswith(".mp4")
    for name in (match[2], unquote(match[4] or match[2], errors="strict")):
        assert not set(name) & set('/\\:*?"<>|\r\n\0')
        assert not name.startswith(".")
        assert len(name.encode()) <= 4 * 120 + 4
