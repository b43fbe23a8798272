"""Typed reads of one prefix of the environment that gather problems instead of stopping at the first."""

from __future__ import annotations

import difflib
import json
import math
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import NoReturn
from urllib.parse import urlsplit

_PREFIX = re.compile(r"[A-Z][A-Z0-9_]*_")
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?")
# Lone surrogates are how os.environ shows bytes that are not UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class ConfigurationError(Exception):
    """Every problem of a configuration; ``str()`` gives one problem a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(self.problems))


class Environment:
    """Reads the variables of one prefix.

    Each read names a variable without its prefix. A missing or bad variable is recorded and a
    placeholder of the right type comes back, so that reading goes on and `finish` can report all
    of them. A variable set to the empty string counts as not set: task definitions and shells
    cannot always leave one out.
    """

    def __init__(self, prefix: str, variables: Mapping[str, str]) -> None:
        """``prefix`` such as ``CATALOG_``; ``variables`` such as ``os.environ``.

        Raises ValueError for a prefix that is not upper case with a trailing underscore.
        """
        if _PREFIX.fullmatch(prefix) is None:
            raise ValueError("a prefix is upper case and ends in an underscore, such as CATALOG_")
        self._prefix = prefix
        self._variables = variables
        self._asked: set[str] = set()
        self._problems: list[str] = []

    def text(self, name: str, *, default: str | None = None, pattern: str | None = None) -> str:
        """A text without control characters, matching ``pattern`` as a whole where one is given.

        The default is returned as it is, so ``default=""`` makes the variable optional.
        """
        value = self._read(name, required=default is None)
        if value is None:
            return default or ""
        if _CONTROL.search(value):
            self.reject(name, "must not contain control characters")
        elif pattern is not None and re.fullmatch(pattern, value) is None:
            self.reject(name, f"must match {pattern}")
        else:
            return value
        return default or ""

    def integer(self, name: str, *, minimum: int, maximum: int, default: int | None = None) -> int:
        """A whole decimal number from ``minimum`` to ``maximum``, both included."""
        placeholder = minimum if default is None else default
        value = self._read(name, required=default is None)
        if value is None:
            return placeholder
        if _INTEGER.fullmatch(value) is None or not minimum <= int(value) <= maximum:
            self.reject(name, f"must be a whole number from {minimum} to {maximum}")
            return placeholder
        return int(value)

    def number(
        self, name: str, *, minimum: float, maximum: float, default: float | None = None
    ) -> float:
        """A decimal number without exponent from ``minimum`` to ``maximum``, both included."""
        placeholder = minimum if default is None else default
        value = self._read(name, required=default is None)
        if value is None:
            return placeholder
        if _NUMBER.fullmatch(value) is None or not minimum <= float(value) <= maximum:
            self.reject(name, f"must be a number from {minimum} to {maximum}")
            return placeholder
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """``true`` or ``1``, ``false`` or ``0``, in any case."""
        value = self._read(name, required=False)
        if value is None:
            return default
        if value.lower() not in _FLAGS:
            self.reject(name, "must be true or false")
            return default
        return _FLAGS[value.lower()]

    def url(self, name: str, *, default: str | None = None) -> str:
        """An absolute http or https URL without user, password or fragment.

        Trailing slashes of the path are taken off, so that joining a path to it never doubles one. The default
        is returned as it is.
        """
        value = self._read(name, required=default is None)
        placeholder = "http://unset.invalid" if default is None else default
        if value is None:
            return placeholder
        problem = _url_problem(value)
        if problem is not None:
            self.reject(name, problem)
            return placeholder
        return value if "?" in value else value.rstrip("/")

    def words(self, name: str, *, default: Iterable[str] | None = ()) -> tuple[str, ...]:
        """Comma-separated words; blanks around a word are dropped, an empty word is a problem.

        ``default=None`` makes the variable required.
        """
        value = self._read(name, required=default is None)
        if value is None:
            return tuple(default or ())
        found = tuple(word.strip() for word in value.split(","))
        if "" in found:
            self.reject(name, "must be words separated by single commas")
        elif _CONTROL.search(value):
            self.reject(name, "must not contain control characters")
        elif len(set(found)) != len(found):
            self.reject(name, "must not name a word twice")
        else:
            return found
        return tuple(default or ())

    def secret(self, name: str, *, minimum_bytes: int) -> bytes:
        """A secret as UTF-8 bytes, always required. No message ever shows it."""
        value = self._read(name, required=True)
        if value is not None and self._secret_is_fit(name, value, minimum_bytes):
            return value.encode()
        # Unpredictable: a caller who forgets `finish` must not go on with a key anyone can guess.
        return secrets.token_bytes(minimum_bytes)

    def secrets(self, name: str, *, minimum_bytes: int) -> tuple[bytes, ...]:
        """Comma-separated secrets, at least one: the first signs, the others still verify."""
        value = self._read(name, required=True)
        if value is not None:
            parts = value.split(",")
            if all(self._secret_is_fit(name, part, minimum_bytes) for part in parts):
                return tuple(part.encode() for part in parts)
        return (secrets.token_bytes(minimum_bytes),)

    def json(self, name: str, *, default: object) -> object:
        """A JSON document; duplicate keys, NaN and infinities are problems."""
        value = self._read(name, required=False)
        if value is None:
            return default
        try:
            return json.loads(
                value,
                object_pairs_hook=_unique_pairs,
                parse_constant=_refuse_constant,
                parse_float=_finite_number,
            )
        except (ValueError, RecursionError):
            # The parser's message may quote the document, which may hold what nobody should see.
            self.reject(name, "must be a JSON document without duplicate keys")
            return default

    def reject(self, name: str, problem: str) -> None:
        """Record a problem that only the caller can see, such as a JSON document's content."""
        self._problems.append(f"{self._prefix}{name} {problem}")

    def finish(self) -> None:
        """Raise ConfigurationError when anything was wrong.

        Variables that carry the prefix but were never asked for are problems too: a misspelt
        setting must not be silently without effect.
        """
        problems = list(dict.fromkeys(self._problems))
        for variable in sorted(self._variables):
            name = variable.removeprefix(self._prefix)
            if name == variable or name in self._asked:
                continue
            close = difflib.get_close_matches(name, sorted(self._asked), n=1)
            hint = f", did you mean {self._prefix}{close[0]}?" if close else ""
            problems.append(f"{_CONTROL.sub('?', variable)} is not a known variable{hint}")
        if problems:
            raise ConfigurationError(problems)

    def _read(self, name: str, *, required: bool) -> str | None:
        self._asked.add(name)
        value = self._variables.get(self._prefix + name, "")
        if value:
            return value
        if required:
            self.reject(name, "is missing")
        return None

    def _secret_is_fit(self, name: str, value: str, minimum_bytes: int) -> bool:
        try:
            length = len(value.encode())
        except UnicodeEncodeError:  # os.environ holds undecodable bytes as lone surrogates
            self.reject(name, "must be UTF-8 text")
            return False
        if value != value.strip():
            self.reject(name, "must not begin or end with a blank or line end")
        elif length < minimum_bytes:
            self.reject(name, f"must have at least {minimum_bytes} bytes")
        else:
            return True
        return False


def _url_problem(value: str) -> str | None:
    if _CONTROL.search(value) or any(character.isspace() for character in value):
        return "must not contain blanks or control characters"
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError when it is not a port
    except ValueError:
        return "must be an http or https URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must be an http or https URL"
    if "@" in parts.netloc:
        return "must not carry a user or password"
    if "#" in value:
        return "must not carry a fragment"
    return None


def _unique_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError("not a number of JSON")


def _finite_number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return value
