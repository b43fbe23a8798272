"""A `<video>` of OLX: where its film lies, and which files hold what is said in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.course_import._olx import Block, setting_of
from deploy.course_import._reading import scheme_of

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_NO_CLIP = ("", "0", "0.0", "00:00:00")


def addresses(block: Block) -> list[str]:
    """Where a video lies: files first, then YouTube."""
    listed = setting_of(block.attributes.get("html5_sources"))
    found = [str(one) for one in listed] if isinstance(listed, list) else []
    found += [source.get("src", "") for source in block.definition.iter("source")]
    found += [block.attributes.get("source", "")]
    ids = [block.attributes.get("youtube_id_1_0", "")]
    ids += [
        entry.partition(":")[2]
        for entry in block.attributes.get("youtube", "").split(",")
        if entry.strip().startswith("1.0")
    ]
    found += [f"https://youtu.be/{one}" for one in ids if re.fullmatch(r"[\w-]{1,64}", one)]
    allowed = [one.strip() for one in found if one.strip()]
    return list(
        dict.fromkeys(
            one
            for one in allowed
            if scheme_of(one) in ("http", "https", "") and not one.startswith("javascript")
        )
    )


def transcript_files(block: Block, language: str) -> Iterator[tuple[str, list[str]]]:
    """Languages of a video's transcripts and the files that may hold each, the likeliest first."""
    for element in block.definition.iter("transcript"):
        if element.get("language") and element.get("src"):
            yield element.get("language", ""), [element.get("src", "")]
    listed = setting_of(block.attributes.get("transcripts"))
    if isinstance(listed, dict):
        for code, name in listed.items():
            yield str(code), [str(name)]
    own = block.attributes.get("edx_video_id", "")
    for element in block.definition.iter("transcript"):
        code = element.get("language_code")
        if code and own:
            yield code, [f"{own}-{code}.{element.get('file_format', 'srt')}"]
    sub = block.attributes.get("sub", "")
    if sub:
        yield language, [f"subs_{sub}.srt.sjson", f"subs_{sub}.sjson", f"{sub}.srt"]


def language_tag(said: str) -> str | None:
    """A BCP 47 tag of what Open edX calls a language (`zh_HANS`), None where it is none."""
    parts = said.strip().replace("_", "-").split("-")
    tag = "-".join([parts[0].lower(), *parts[1:]])
    return tag if len(tag) <= 35 and _LANGUAGE.fullmatch(tag) else None


def attachments(block: Block) -> list[str]:
    """What learners may save beside a video: a handout, a transcript to print."""
    found = [block.attributes.get("handout", ""), block.attributes.get("track", "")]
    found += [
        one.get("src", "") for tag in ("handout", "track") for one in block.definition.iter(tag)
    ]
    return list(dict.fromkeys(address.strip() for address in found if address.strip()))


def is_clip(block: Block) -> bool:
    """Whether Open edX plays a part of it only."""
    return any(
        block.attributes.get(name, "") not in _NO_CLIP for name in ("start_time", "end_time")
    )
