"""What is derived of the names that Open edX gives: always the same for one, never for two.

A course is known by organisation, number and run; its slug and its tag are made of them. The ids of
sections, which are the author's to choose, are made of url_names: an id keeps the url_name where that
has the characters of an id, and carries a hash of it where not.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

MAX_LENGTH = 64
MAX_SLUG = 100

_ALLOWED = re.compile(r"[A-Za-z0-9_-]+")
_DIGITS = 10
_NAME_DIGITS = 16
_HASHED = re.compile(rf".*-[0-9a-f]{{{_NAME_DIGITS}}}")


@dataclass(frozen=True)
class CourseKey:
    """What Open edX knows a course by."""

    org: str
    course: str
    run: str

    def __str__(self) -> str:
        return f"{self.org}/{self.course}/{self.run}"

    @property
    def digest(self) -> str:
        """Of all three, each with its length, so that `a/bc` is not `ab/c`."""
        parts = "".join(f"{len(part)}:{part}" for part in (self.org, self.course, self.run))
        return hashlib.sha256(parts.encode()).hexdigest()[:_DIGITS]

    @property
    def slug(self) -> str:
        """A slug: words of ASCII joined by hyphens; the digest where no such word is left."""
        plain = unicodedata.normalize("NFKD", f"{self.org} {self.course} {self.run}").lower()
        words = "-".join(re.findall(r"[a-z0-9]+", plain.encode("ascii", "ignore").decode()))
        if plain.isascii() and len(words) <= MAX_SLUG:
            return words
        # Something was left out, so that two courses may have the same words.
        return f"{words[: MAX_SLUG - _DIGITS - 1].strip('-')}-{self.digest}".lstrip("-")

    @property
    def tag(self) -> str:
        """The tag by which a course that was imported is found again."""
        return f"olx-{self.digest}"


def identifier(key: CourseKey, category: str, name: str) -> str:
    """The id of what `category` (letters only) and `name` stand for in this course.

    Two names never share one: what is kept as it is never looks like what carries a hash.
    """
    prefix = f"{key.digest}-{category}-"
    fits = len(prefix) + len(name) <= MAX_LENGTH
    if fits and _ALLOWED.fullmatch(name) and not _HASHED.fullmatch(name):
        return prefix + name
    digits = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_NAME_DIGITS]
    kept = "_".join(_ALLOWED.findall(name))[: MAX_LENGTH - len(prefix) - _NAME_DIGITS - 1]
    return f"{prefix}{kept}-{digits}"
