"""Makes the sample video and its captions: media/tides/spring-and-neap.{mp4,*.vtt}.

    ./pantsw run deploy/local/samples/make_video.py

Needs `ffmpeg` and `espeak-ng` (Debian: apt-get install ffmpeg espeak-ng). The result is
committed, so nobody has to run this; it is here so that anyone can see where it is from and
change it. The picture is computed: Earth in the middle, the Moon on its way around it, the
Sun far to the left, and two bulges of water, one for each. They add up at new and full moon
(spring tide) and work against each other at the quarters (neap tide).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

TARGET = Path(__file__).parent / "media" / "tides"
NAME = "spring-and-neap"
PAUSE_SECONDS = 0.7
ORBIT_SECONDS = 30.0
BITRATE = "420k"

NARRATION = (
    "Twice a day the sea rises and falls. Why?",
    "The Moon pulls at the water. The side that faces it is pulled most, and a bulge rises.",
    "On the far side the pull is weakest, so the water is left behind. A second bulge rises there.",
    "The Earth turns below both bulges once a day. That is why most coasts see two high waters.",
    "The Sun raises bulges too, a little less than half as high, because it is so far away.",
    "At new moon and at full moon, Sun and Moon stand in one line. Their bulges add up.",
    "High water is then very high, and low water very low. This is the spring tide.",
    "A week later the Moon stands at a right angle to the Sun, and the bulges work against "
    "each other.",
    "The sea then rises least. This is the neap tide.",
    "From spring tide to neap tide takes about seven days, and then it begins again.",
    "Look up at the Moon tonight, and you will know which tide to expect.",
)

# One sentence for each of the narration, shown for as long as it is spoken.
SUBTITLES = {
    "de": (
        "Zweimal am Tag steigt und fällt das Meer. Warum?",
        "Der Mond zieht am Wasser. Die ihm zugewandte Seite zieht er am stärksten an: Ein Flutberg "
        "entsteht.",
        "Auf der abgewandten Seite zieht er am schwächsten, das Wasser bleibt zurück. Dort entsteht "
        "ein zweiter Flutberg.",
        "Die Erde dreht sich einmal am Tag unter beiden hindurch. Darum gibt es an den meisten Küsten "
        "zweimal Hochwasser.",
        "Auch die Sonne hebt das Wasser, etwas weniger als halb so hoch, weil sie so weit weg ist.",
        "Bei Neumond und Vollmond stehen Sonne und Mond in einer Linie. Ihre Flutberge addieren sich.",
        "Das Hochwasser ist dann sehr hoch, das Niedrigwasser sehr niedrig. Das ist die Springtide.",
        "Eine Woche später steht der Mond im rechten Winkel zur Sonne, und die Flutberge wirken "
        "einander entgegen.",
        "Dann steigt das Meer am wenigsten. Das ist die Nipptide.",
        "Von der Springtide zur Nipptide dauert es etwa sieben Tage, dann beginnt alles von vorn.",
        "Schau heute Abend zum Mond, und du weißt, welche Tide dich erwartet.",
    ),
    "es": (
        "Dos veces al día el mar sube y baja. ¿Por qué?",
        "La Luna atrae el agua. La cara que mira hacia ella es la más atraída, y allí se eleva un "
        "abultamiento.",
        "En la cara opuesta la atracción es menor y el agua se queda atrás. Allí se eleva otro.",
        "La Tierra gira cada día debajo de los dos. Por eso casi todas las costas tienen dos pleamares.",
        "El Sol también eleva el agua, algo menos de la mitad, porque está muy lejos.",
        "En luna nueva y luna llena, el Sol y la Luna están en línea. Sus efectos se suman.",
        "La pleamar es entonces muy alta y la bajamar muy baja. Son las mareas vivas.",
        "Una semana después la Luna forma un ángulo recto con el Sol y los efectos se oponen.",
        "El mar sube entonces lo mínimo. Son las mareas muertas.",
        "De las mareas vivas a las muertas pasan unos siete días, y todo vuelve a empezar.",
        "Mira la Luna esta noche y sabrás qué marea esperar.",
    ),
}


def run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - fixed programs, no shell


def speak(folder: Path) -> list[tuple[float, float, str]]:
    """Speaks each sentence into `folder`; gives (start, end, sentence) in seconds."""
    cues: list[tuple[float, float, str]] = []
    start = 1.0
    silence = b""
    with wave.open(str(folder / "narration.wav"), "wb") as narration:
        for number, sentence in enumerate(NARRATION):
            file = folder / f"{number}.wav"
            run("espeak-ng", "-v", "en-gb", "-s", "145", "-w", str(file), sentence)
            with wave.open(str(file), "rb") as spoken:
                if number == 0:
                    narration.setparams(spoken.getparams())
                    silence = b"\0" * spoken.getsampwidth()
                    narration.writeframes(silence * int(spoken.getframerate() * start))
                narration.writeframes(spoken.readframes(spoken.getnframes()))
                narration.writeframes(silence * int(spoken.getframerate() * PAUSE_SECONDS))
                seconds = spoken.getnframes() / spoken.getframerate()
            cues.append((start, start + seconds, sentence))
            start += seconds + PAUSE_SECONDS
    return cues


def stamp(seconds: float) -> str:
    """A WebVTT timestamp, hh:mm:ss.mmm."""
    milliseconds = round(seconds * 1000)
    return (
        f"{milliseconds // 3_600_000:02}:{milliseconds // 60_000 % 60:02}:"
        f"{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}"
    )


def captions(cues: list[tuple[float, float, str]]) -> str:
    blocks = [f"{stamp(start)} --> {stamp(end)}\n{text}\n" for start, end, text in cues]
    return "WEBVTT\n\n" + "\n".join(blocks)


def disc(colour: str, width: int, height: int, alpha: int) -> str:
    """An ellipse that fills a picture of width × height pixels, transparent around it."""
    inside = f"lte(pow((X-{width / 2})/{width / 2},2)+pow((Y-{height / 2})/{height / 2},2),1)"
    return (
        f"color={colour}:s={width}x{height}:r=25,format=rgba,"
        f"geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='{alpha}*{inside}',loop=loop=-1:size=1:start=0"
    )


def draw(folder: Path, seconds: float) -> None:
    angle = f"2*PI*t/{ORBIT_SECONDS}"
    graph = ";".join(
        (
            "color=0x070b18:s=1280x720:r=25,noise=alls=14:allf=t[sky]",
            f"{disc('0xffd54a', 220, 220, 255)}[sun]",
            f"{disc('0x4fa3ff', 330, 250, 120)}[solar]",
            f"{disc('0x4fa3ff', 400, 236, 150)},pad=420:420:(ow-iw)/2:(oh-ih)/2:color=black@0,"
            f"rotate=a='-{angle}':c=none[lunar]",
            f"{disc('0x2c7a4b', 200, 200, 255)}[earth]",
            f"{disc('0xd9d9d9', 64, 64, 255)}[moon]",
            "[sky][sun]overlay=x=-110:y=250[a]",
            "[a][solar]overlay=x=725-w/2:y=360-h/2[b]",
            "[b][lunar]overlay=x=725-w/2:y=360-h/2[c]",
            "[c][earth]overlay=x=725-w/2:y=360-h/2[d]",
            f"[d][moon]overlay=x='725+300*cos({angle})-w/2':y='360-300*sin({angle})-h/2'[picture]",
        )
    )
    run(
        "ffmpeg", "-v", "error", "-y", "-i", str(folder / "narration.wav"),
        "-filter_complex", graph, "-map", "[picture]", "-map", "0:a", "-t", f"{seconds:.3f}",
        "-c:v", "libx264", "-preset", "slow", "-b:v", BITRATE, "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-b:a", "48k", "-ac", "1",
        # The index first: playback starts before the whole file is there.
        "-movflags", "+faststart", "-map_metadata", "-1", "-fflags", "+bitexact",
        str(folder / "video.mp4"),
    )  # fmt: skip


def main() -> int:
    missing = [name for name in ("ffmpeg", "espeak-ng") if shutil.which(name) is None]
    if missing:
        print(  # noqa: T201
            f"make_video: {' and '.join(missing)} missing; Debian: apt-get install {' '.join(missing)}",
            file=sys.stderr,
        )
        return 2
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cues = speak(folder)
        draw(folder, cues[-1][1] + 1.5)
        shutil.move(folder / "video.mp4", TARGET / f"{NAME}.mp4")
        (TARGET / f"{NAME}.en.vtt").write_text(captions(cues))
        for language, sentences in SUBTITLES.items():
            timed = [
                (start, end, sentence)
                for (start, end, _), sentence in zip(cues, sentences, strict=True)
            ]
            (TARGET / f"{NAME}.{language}.vtt").write_text(captions(timed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
