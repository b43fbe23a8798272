"""Whether the right version answers, asked from outside as everybody asks.

ECS says that tasks run; only an answer says what runs, and that requests get there.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

from deploy.release._errors import ReleaseError
from deploy.release._registry import is_loopback

_ANSWER_SECONDS = 5.0
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Said:
    """What `/version` says. `trouble`: why there was no answer that says it."""

    version: str = ""
    image_hash: str = ""
    trouble: str = ""

    def __str__(self) -> str:
        if self.trouble:
            return self.trouble
        return f"{self.version} ({self.image_hash[:12] or 'no hash'})"


@dataclass(frozen=True)
class Identity:
    """Of an image: what its service says when it runs."""

    version: str
    image_hash: str

    def is_said_by(self, said: Said) -> bool:
        return (
            not said.trouble and said.version == self.version and said.image_hash == self.image_hash
        )

    def __str__(self) -> str:
        return f"{self.version} ({self.image_hash[:12]})"


@dataclass(frozen=True)
class Verification:
    """How it ended. `unexpected`: answers of anything else, by what they said."""

    is_right: bool
    answers: int
    reason: str
    unexpected: dict[str, int]


def version_url(address: str) -> str:
    """Where a service says its version. Raises ReleaseError for what is no address."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ReleaseError(f"--url {address!r} is not like https://api.example.org/progress")
    path = parts.path.rstrip("/")
    if not path.endswith("/version"):
        path += "/version"
    return f"{parts.scheme}://{parts.netloc}{path}"


class VersionPage:
    """Asks one address, each time by a connection of its own, so that any task may answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        host = urlsplit(url).netloc.rpartition("@")[2]
        self._opener = urllib.request.build_opener(
            *([urllib.request.ProxyHandler({})] if is_loopback(host) else [])
        )

    def __call__(self) -> Said:
        request = urllib.request.Request(self.url, headers={"Cache-Control": "no-cache"})  # noqa: S310 - http(s) only, see version_url
        try:
            with self._opener.open(request, timeout=_ANSWER_SECONDS) as answer:
                found = json.loads(answer.read(_MAX_BYTES))
            return Said(str(found["version"]), str(found["imageHash"]))
        except urllib.error.HTTPError as error:
            with error:
                return Said(trouble=f"{error.code}")
        except (OSError, HTTPException) as error:
            return Said(trouble=f"no answer ({getattr(error, 'reason', None) or error})")
        except (ValueError, KeyError, TypeError):
            return Said(trouble="an answer that is no version")


def verify(
    ask: Callable[[], Said],
    expected: Identity | None,
    *,
    outgoing: Identity | None,
    consecutive: int,
    within: float,
    pause: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Verification:
    """Asks until enough answers in a row are the expected ones.

    An answer of anything else begins the row anew. Where a third version answers as often in a row,
    it is given up at once: time will not make another one of it.

    Args:
        ask: one answer.
        expected: who is to answer; None where that is not known: anybody but `outgoing`.
        outgoing: who answered before, and may still for a moment.
        consecutive: how many answers in a row are enough.
        within: seconds, after which it is given up.
        pause: seconds between two.
        clock: monotonic seconds.
        sleep: pauses for seconds.
    """
    deadline = clock() + within
    unexpected: dict[str, int] = {}
    answers = row = 0
    last: Said | None = None
    while True:
        said = ask()
        answers += 1
        row = row + 1 if said == last else 1
        last = said
        is_outgoing = outgoing is not None and outgoing.is_said_by(said)
        is_right = expected.is_said_by(said) if expected else not said.trouble and not is_outgoing
        if not is_right:
            unexpected[str(said)] = unexpected.get(str(said), 0) + 1
        if row >= consecutive and is_right:
            return Verification(True, answers, f"{row} answers in a row of {said}", unexpected)
        if row >= consecutive and not said.trouble and not is_outgoing:
            return Verification(False, answers, f"{said} answers, not {expected}", unexpected)
        if clock() + pause > deadline:
            return Verification(
                False,
                answers,
                f"within {within:g} s there were no {consecutive} answers in a row of"
                f" {expected or 'another version'}; the last one: {said}",
                unexpected,
            )
        sleep(pause)
