"""Transcripts become WebVTT."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.course_import._captions import CaptionsError, Cue, cues_of, plain_text, to_webvtt
from tests.unit.course_import.exports import SAMPLE

SRT = b"""1
00:00:01,600 --> 00:00:04,000
First line
second line

2
00:00:04,000 --> 00:00:05,250
Third
"""


def webvtt(content: bytes) -> str:
    return to_webvtt(cues_of(content, "a.srt")).decode()


def test_srt() -> None:
    assert webvtt(SRT) == (
        "WEBVTT\n\n"
        "00:00:01.600 --> 00:00:04.000\nFirst line\nsecond line\n\n"
        "00:00:04.000 --> 00:00:05.250\nThird\n"
    )


@pytest.mark.parametrize(
    "variant",
    [
        SRT.replace(b"\n", b"\r\n"),
        SRT.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + SRT,
        SRT.decode().encode("utf-16"),
        SRT.replace(b"1\n00", b"00").replace(b"2\n00", b"00"),  # no numbers
        SRT.replace(b"\n\n2\n", b"\n2\n"),  # no empty line between
        SRT.replace(b",", b"."),
        SRT.replace(b",600", b",6").replace(b",250", b",25"),
        SRT.replace(b"00:00:0", b"0:0:0"),
        SRT.replace(b"000\nFirst", b"000 X1:40 X2:600 Y1:20 Y2:50\nFirst"),
        b"WEBVTT\nKind: captions\n\nNOTE a remark\n\n" + SRT.replace(b",", b"."),
    ],
)
def test_what_is_found_of_srt_in_the_wild_is_read_the_same(variant: bytes) -> None:
    assert webvtt(variant) == webvtt(SRT)


def test_old_files_are_windows_1252() -> None:
    assert "Café “x”" in webvtt(SRT.replace(b"Third", "Café “x”".encode("cp1252")))


def test_sjson_is_escaped_for_html_already() -> None:
    document = {"start": [0, 2500.4], "end": [2400, 5000], "text": ["a &amp; b", "c &lt; d"]}
    assert webvtt(json.dumps(document).encode()) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.400\na &amp; b\n\n"
        "00:00:02.500 --> 00:00:05.000\nc &lt; d\n"
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<i>a</i> <b>b</b> <u>c</u>", "<i>a</i> <b>b</b> <u>c</u>"),
        ('<font color="#fff">a</font>', "a"),
        (r"{\an8}a", "a"),
        ("a --> b", "a --&gt; b"),
        ("1 < 2 & 3", "1 &lt; 2 &amp; 3"),
        ("a &amp; b", "a &amp; b"),
        ("<I onclick=x>a</I>", "<i>a</i>"),
        ("<script>a</script>", "a"),
    ],
)
def test_what_is_said_is_escaped_but_for_the_tags_of_both(said: str, shown: str) -> None:
    assert webvtt(f"1\n00:00:00,000 --> 00:00:01,000\n{said}\n".encode()).split("\n")[3] == shown


def test_cues_are_in_order_and_end_after_they_start() -> None:
    text = "00:00:09,000 --> 00:00:08,000\nb\n\n00:00:01,000 --> 00:00:02,000\na\n"
    assert cues_of(text.encode(), "x") == (Cue(1000, 2000, "a"), Cue(9000, 9001, "b"))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"{}", b"[1]", b'{"start": [0], "end": [], "text": []}', b"{" * 10_000,
     b'{"start": ["x"], "end": [1], "text": ["a"]}', b'{"start": [1e999], "end": [1], "text": ["a"]}',
     b"x" * (6 << 20)],
)  # fmt: skip
def test_what_is_no_transcript_is_said_in_a_line(content: bytes) -> None:
    with pytest.raises(CaptionsError) as caught:
        cues_of(content, "x.srt")
    assert "\n" not in str(caught.value)


def test_the_words_alone() -> None:
    cues = cues_of((SAMPLE / "static" / "stars-rise-en.srt").read_bytes(), "x")
    assert plain_text(cues) == (
        "Stars rise in the east & move on. Five minutes --> one degree and a quarter."
    )


@given(
    cues=st.lists(
        st.tuples(st.integers(0, 10**8), st.integers(0, 10**8), st.text(max_size=60)), max_size=8
    )
)
def test_whatever_is_said_the_file_is_webvtt(cues: list[tuple[int, int, str]]) -> None:
    document = {
        "start": [c[0] for c in cues],
        "end": [c[1] for c in cues],
        "text": [c[2] for c in cues],
    }
    try:
        text = to_webvtt(cues_of(json.dumps(document).encode(), "x")).decode()
    except CaptionsError:
        return
    head, *blocks = text.split("\n\n")
    assert head == "WEBVTT"
    last = 0
    for block in blocks:
        timing, *said = block.strip("\n").split("\n")
        times = re.fullmatch(
            r"(\d\d):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d\d):([0-5]\d):([0-5]\d)\.(\d{3})", timing
        )
        assert times is not None
        start, end = (
            ((int(part[0]) * 60 + int(part[1])) * 60 + int(part[2])) * 1000 + int(part[3])
            for part in (times.groups()[:4], times.groups()[4:])
        )
        assert last <= start < end
        last = start
        assert said
        assert all(line.strip() for line in said)
        assert "-->" not in "".join(said)
        assert re.fullmatch(r"(?:[^<&]|</?[biu]>|&[a-z#0-9]+;)*", "\n".join(said))
