"""Makes the media of the sample course: static/{stars-rise.mp4,star-chart.png,Observing list.pdf}.

    ./pantsw run deploy/course_import/samples/make_media.py

Needs `ffmpeg` (Debian: apt-get install ffmpeg; or FFMPEG names one). The result is committed, so
nobody has to run this; it is here so that anyone can see where it is from and change it. The sky is
computed: stars from a fixed seed, turning around the pole.
"""

from __future__ import annotations

import math
import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

TARGET = Path(__file__).parent / "night-sky" / "static"
WIDTH, HEIGHT = 320, 180
FRAMES_PER_SECOND = 15
SECONDS = 3
DEGREES_A_SECOND = 15.0
POLE = (WIDTH / 2, HEIGHT / 3)

LIST = (
    "Observing list",
    "1. The Plough",
    "2. Polaris",
    "3. Vega, Deneb, Altair",
    "4. The Milky Way",
)


def stars() -> list[tuple[float, float, int]]:
    """Distance from the pole, angle, brightness."""
    # A picture is no secret; it must be the same at every run.
    numbers = random.Random(12)  # noqa: S311
    return [
        (
            numbers.uniform(4, 230),
            numbers.uniform(0, 2 * math.pi),
            int(70 + 185 * numbers.random() ** 3),
        )
        for _ in range(260)
    ]


def frame(turn_degrees: float) -> bytes:
    """One picture in grey, a byte a pixel."""
    pixels = bytearray(
        int(14 + 26 * (row / HEIGHT) ** 2) for row in range(HEIGHT) for _ in range(WIDTH)
    )
    for distance, angle, brightness in stars():
        turned = angle - math.radians(turn_degrees)
        x = int(POLE[0] + distance * math.cos(turned))
        y = int(POLE[1] + distance * math.sin(turned))
        if 0 <= x < WIDTH - 1 and 0 <= y < HEIGHT - 1:
            for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
                place = (y + dy) * WIDTH + x + dx
                pixels[place] = max(pixels[place], brightness if dx + dy < 2 else brightness // 2)
    for row in range(HEIGHT - 14, HEIGHT):  # the horizon
        pixels[row * WIDTH : (row + 1) * WIDTH] = bytes(WIDTH)
    return bytes(pixels)


def png(pixels: bytes) -> bytes:
    """A grey PNG."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + pixels[row * WIDTH : (row + 1) * WIDTH] for row in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def pdf(lines: tuple[str, ...]) -> bytes:
    """A PDF of one page of text."""
    text = "BT /F 18 Tf 72 760 Td 28 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    objects = (
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R"
        "/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>",
        f"<</Length {len(text)}>>stream\n{text}\nendstream",
    )
    document = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(document))
        document += f"{number} 0 obj{content}endobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    return (
        document
        + (
            f"xref\n0 {count}\n0000000000 65535 f \n{table}"
            f"trailer<</Size {count}/Root 1 0 R>>\nstartxref\n{len(document)}\n%%EOF\n"
        ).encode()
    )


def film(path: Path) -> None:
    """The turning sky as H.264 in MP4, its header first."""
    command = [
        os.environ.get("FFMPEG", "ffmpeg"), "-y", "-loglevel", "error",
        "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FRAMES_PER_SECOND),
        "-i", "-", "-an", "-c:v", "libx264", "-preset", "veryslow", "-crf", "34",
        "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-fflags", "+bitexact", str(path),
    ]  # fmt: skip
    frames = b"".join(
        frame(number * DEGREES_A_SECOND / FRAMES_PER_SECOND)
        for number in range(SECONDS * FRAMES_PER_SECOND)
    )
    subprocess.run(command, input=frames, check=True)  # noqa: S603 - fixed, no shell


def main() -> int:
    """Writes the three files."""
    (TARGET / "star-chart.png").write_bytes(png(frame(0)))
    (TARGET / "Observing list.pdf").write_bytes(pdf(LIST))
    try:
        film(TARGET / "stars-rise.mp4")
    except FileNotFoundError:
        sys.stderr.write("make_media.py: there is no ffmpeg; FFMPEG may name one\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
