"""How long a film runs, by its own header."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.course_import._media import content_type, mp4_duration
from tests.unit.course_import.exports import SAMPLE


def box(kind: bytes, content: bytes, *, large: bool = False) -> bytes:
    """A box of ISO/IEC 14496-12."""
    if large:
        return (1).to_bytes(4, "big") + kind + (len(content) + 16).to_bytes(8, "big") + content
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def mvhd(scale: int, units: int, *, version: int = 0) -> bytes:
    """A movie header."""
    wide = 8 if version else 4
    times = bytes(2 * wide)
    return box(
        b"mvhd",
        bytes([version, 0, 0, 0])
        + times
        + scale.to_bytes(4, "big")
        + units.to_bytes(wide, "big")
        + bytes(80),
    )


def duration(content: bytes) -> float | None:
    return mp4_duration(io.BytesIO(content), len(content))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("large", [False, True])
def test_the_header_may_stand_at_either_end(version: int, large: bool) -> None:
    media = box(b"mdat", bytes(5_000), large=large)
    movie = box(b"moov", box(b"free", b"x") + mvhd(600, 1_500, version=version))
    assert duration(box(b"ftyp", b"isom") + movie + media) == 2.5
    assert duration(box(b"ftyp", b"isom") + media + movie) == 2.5


@pytest.mark.parametrize(
    "content",
    [b"", b"short", box(b"mdat", b"x" * 50), box(b"moov", mvhd(0, 5)), box(b"moov", mvhd(600, 0)),
     box(b"moov", mvhd(600, 0xFFFF_FFFF)), bytes(100), b"\0\0\0\x04moov" * 9,
     box(b"moov", b"\0\0\0\x10mvhd" + bytes(8))],
)  # fmt: skip
def test_what_does_not_say_has_none(content: bytes) -> None:
    assert duration(content) is None


@given(content=st.binary(max_size=300))
def test_any_bytes_have_a_duration_or_none(content: bytes) -> None:
    found = duration(box(b"moov", content) + content)
    assert found is None or found >= 0


def test_the_sample_runs_three_seconds() -> None:
    film = (SAMPLE / "static" / "stars-rise.mp4").read_bytes()
    assert duration(film) == pytest.approx(3, abs=0.01)


def test_types_are_the_same_on_every_machine() -> None:
    assert content_type("a/B.MP4") == "video/mp4"
    assert content_type("x.svg") == "image/svg+xml"
    assert content_type("none") == "application/octet-stream"
