"""Patterns of key values, such as `COURSE#{course}`: matching, formatting, and what two share.

Owns the proof that a pattern reads in one way only and that two patterns have no value in common.
Knows no table and no rule.
"""

from __future__ import annotations

import re
import string
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final


class PatternError(ValueError):
    """A pattern that cannot be written like this, or that reads in more than one way."""


@dataclass(frozen=True)
class CharacterClass:
    """A set of characters, given by its members or by those it leaves out."""

    members: frozenset[str]
    negated: bool = False

    def common(self, other: CharacterClass) -> str | None:
        """A character of both, None where there is none."""
        if not self.negated:
            return min((char for char in self.members if other.has(char)), default=None)
        if not other.negated:
            return other.common(self)
        taken = self.members | other.members
        return next(char for char in _SAMPLES if char not in taken)

    def has(self, char: str) -> bool:
        return (char in self.members) != self.negated


_SAMPLES = "".join(chr(code) for code in range(ord("a"), ord("a") + 0x300))
CLASSES: Final[Mapping[str, CharacterClass]] = {
    "id": CharacterClass(frozenset(string.ascii_letters + string.digits + "_-")),
    "digits": CharacterClass(frozenset(string.digits)),
    "text": CharacterClass(frozenset("#"), negated=True),
    "rest": CharacterClass(frozenset(), negated=True),
}
"""What a field may hold: `id` letters, digits, `_` and `-`; `digits`; `text` anything without `#`;
`rest` anything, only at a pattern's end."""


@dataclass(frozen=True)
class Field:
    """A field of a pattern: one or more characters of a class."""

    name: str
    class_name: str = "id"

    @property
    def characters(self) -> CharacterClass:
        return CLASSES[self.class_name]


Token = str | Field


class KeyPattern:
    """`COURSE#{course}`, `slug#{slug:text}`: text with fields, each of a class.

    A value has at most one reading, because a field ends at a character that it cannot hold; a
    pattern of which this is not so raises PatternError.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tuple(_tokens(text))
        self._check()
        self._expression = re.compile("".join(map(_expression, self.tokens)), re.DOTALL)
        self._template = "".join(
            "%s" if isinstance(token, Field) else token.replace("%", "%%") for token in self.tokens
        )
        self.fields = tuple(token.name for token in self.tokens if isinstance(token, Field))
        """The names of the fields, in order."""

    def match(self, value: str) -> dict[str, str] | None:
        """The fields of a value, None where it is not of this pattern."""
        match = self._expression.fullmatch(value)
        return None if match is None else match.groupdict()

    def format(self, fields: Mapping[str, str]) -> str:
        """The value of these fields. Raises PatternError where it would not read back as them."""
        values = tuple([fields[name] for name in self.fields])
        value = self._template % values
        match = self._expression.fullmatch(value)
        if match is None or match.groups() != values:
            raise PatternError(f"{value!r} does not read back by the pattern {self.text!r}")
        return value

    def common(self, other: KeyPattern) -> str | None:
        """A shortest value of both patterns, None where there is none."""
        return _common(_states(self.tokens), _states(other.tokens))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyPattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"KeyPattern({self.text!r})"

    def _check(self) -> None:
        seen: set[str] = set()
        for token, following in zip(self.tokens, (*self.tokens[1:], None), strict=True):
            if not isinstance(token, Field):
                continue
            if token.name in seen:
                raise PatternError(f"{self.text!r} has the field {token.name!r} twice")
            seen.add(token.name)
            if following is None:
                continue
            if isinstance(following, Field):
                raise PatternError(
                    f"{self.text!r} reads in more than one way: nothing stands between "
                    f"{{{token.name}}} and {{{following.name}}}"
                )
            if token.characters.has(following[0]):
                raise PatternError(
                    f"{self.text!r} reads in more than one way: {{{token.name}}} can hold the "
                    f"{following[0]!r} that ends it"
                )


def _tokens(text: str) -> Iterator[Token]:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise PatternError(f"{text!r}: {error}") from None
    for literal, name, class_name, _ in parts:
        if literal:
            yield literal
        if name is None:
            continue
        if not name.isidentifier():
            raise PatternError(f"{text!r}: {name!r} is not a field's name")
        if class_name and class_name not in CLASSES:
            raise PatternError(
                f"{text!r}: {class_name!r} is none of the classes {', '.join(CLASSES)}"
            )
        yield Field(name, class_name or "id")


def _expression(token: Token) -> str:
    if isinstance(token, str):
        return re.escape(token)
    characters = token.characters
    if not characters.members:
        return f"(?P<{token.name}>.+)"
    inside = re.escape("".join(sorted(characters.members)))
    return f"(?P<{token.name}>[{'^' if characters.negated else ''}{inside}]+)"


@dataclass(frozen=True)
class _State:
    """A place in a pattern: which characters lead on, and to where."""

    steps: tuple[tuple[CharacterClass, int], ...]
    accepts: bool


def _states(tokens: tuple[Token, ...]) -> list[_State]:
    """The pattern as an automaton; a field is one character and then any number of them."""
    letters: list[tuple[CharacterClass, bool]] = []
    for token in tokens:
        if isinstance(token, Field):
            letters.append((token.characters, True))
        else:
            letters.extend((CharacterClass(frozenset(char)), False) for char in token)
    states: list[_State] = []
    for place in range(len(letters) + 1):
        steps: list[tuple[CharacterClass, int]] = []
        if place and letters[place - 1][1]:
            steps.append((letters[place - 1][0], place))
        if place < len(letters):
            steps.append((letters[place][0], place + 1))
        states.append(_State(tuple(steps), place == len(letters)))
    return states


def _common(first: list[_State], second: list[_State]) -> str | None:
    seen = {(0, 0)}
    waiting: deque[tuple[int, int, str]] = deque([(0, 0, "")])
    while waiting:
        one, two, value = waiting.popleft()
        if first[one].accepts and second[two].accepts:
            return value
        for characters, reached in first[one].steps:
            for others, other_reached in second[two].steps:
                char = characters.common(others)
                if char is not None and (reached, other_reached) not in seen:
                    seen.add((reached, other_reached))
                    waiting.append((reached, other_reached, value + char))
    return None
