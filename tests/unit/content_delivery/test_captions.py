"""What is a WebVTT file, and what only looks like one."""

from __future__ import annotations

import pytest

from services.content_delivery.domain.captions import check_webvtt
from services.content_delivery.domain.errors import InvalidCaptionError

CUE = "00:00.000 --> 00:02.000\nThe tide comes in.\n"


@pytest.mark.parametrize(
    "text",
    [
        "WEBVTT",
        "WEBVTT\n",
        f"WEBVTT\n\n{CUE}",
        f"\ufeffWEBVTT\r\n\r\n{CUE}",
        f"WEBVTT\r\r{CUE}",
        f"WEBVTT - Ebbe & Flut – 海の潮\n\n{CUE}",
        f"WEBVTT\tkind\n\nNOTE --> is no cue here\n\n{CUE}",
        f"WEBVTT\nKind: captions\nLanguage: en\n\n{CUE}",
    ],
)
def test_what_is_one(text: str) -> None:
    check_webvtt(text.encode())


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "WEBVTT"),
        (b"webvtt\n", "WEBVTT"),
        (b"WEBVTTX\n", "WEBVTT"),
        (b" WEBVTT\n", "WEBVTT"),
        (b"\nWEBVTT\n", "WEBVTT"),
        (b"1\n00:00:00,000 --> 00:00:02,000\nSubRip\n", "WEBVTT"),
        (b"<html>", "WEBVTT"),
        ("\ufeff\ufeffWEBVTT\n".encode(), "WEBVTT"),
        ("WEBVTT\n\n".encode("utf-16"), "invalid UTF-8"),
        (b"WEBVTT\n\n\xff\n", "invalid UTF-8 at byte 8"),
        (b"WEBVTT\n\n\xed\xa0\x80\n", "invalid UTF-8"),
        (b"WEBVTT\n\na\x00b\n", "NUL"),
        (f"WEBVTT\n{CUE}".encode(), "blank line"),
    ],
)
def test_what_is_none(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidCaptionError, match=problem) as refused:
        check_webvtt(body)
    assert "tide" not in str(refused.value)
