"""What became of every read and write, held against what may be seen.

Each key has one writer, whose writes follow one another; anybody reads. So a read may give what was
last written before it began, or what was being written while it lasted, and nothing that is older
than what an earlier read gave. A write that was not answered may have been carried out or not. Owns
the judgement alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Key = tuple[str, int]


@dataclass(frozen=True)
class Write:
    """A write: of None where the item was deleted. `ended` is infinite where no answer came."""

    key: Key
    value: str | None
    began: float
    ended: float


@dataclass(frozen=True)
class Read:
    """A read, and what it gave."""

    key: Key
    value: str | None
    began: float
    ended: float


def violations(
    initial: Mapping[Key, str | None], writes: Iterable[Write], reads: Iterable[Read]
) -> list[str]:
    """Every read that gave what it may not, in the words LOST, STALE and RESURRECTED."""
    written: dict[Key, list[Write]] = defaultdict(list)
    for key, value in initial.items():
        written[key].append(Write(key, value, float("-inf"), float("-inf")))
    for write in sorted(writes, key=lambda write: write.began):
        written[write.key].append(write)
    by_key: dict[Key, list[Read]] = defaultdict(list)
    for read in sorted(reads, key=lambda read: read.began):
        by_key[read.key].append(read)
    return [line for key, some in by_key.items() for line in _of_key(written.get(key, ()), some)]


def last_values(
    initial: Mapping[Key, str | None], writes: Iterable[Write]
) -> dict[Key, frozenset[str | None]]:
    """What each key may have in the end: more than one value only where an answer never came."""
    found: dict[Key, frozenset[str | None]] = {
        key: frozenset({value}) for key, value in initial.items()
    }
    for write in sorted(writes, key=lambda write: write.began):
        before = found.get(write.key, frozenset({None}))
        known = write.ended != float("inf")
        found[write.key] = frozenset({write.value}) if known else before | {write.value}
    return found


def verdict(value: str | None, allowed: Iterable[str | None]) -> str:
    """The word for a value that should be another."""
    if value is None:
        return "LOST"
    return "RESURRECTED" if set(allowed) == {None} else "STALE"


def _of_key(writes: Sequence[Write], reads: Iterable[Read]) -> Iterator[str]:
    seen: list[tuple[float, int]] = []
    """The ends of reads so far and the write that each is known to have seen."""
    for read in reads:
        newest_before = max(
            (number for number, write in enumerate(writes) if write.ended < read.began), default=-1
        )
        # What an earlier read has seen is no more to be unseen.
        floor = max((number for ended, number in seen if ended < read.began), default=-1)
        first = max(newest_before, floor)
        allowed = [
            number
            for number, write in enumerate(writes)
            if number >= first and write.began < read.ended
        ]
        values = [writes[number].value for number in allowed] if writes else [None]
        if first < 0:
            values.append(None)
        if read.value not in values:
            word = verdict(read.value, values)
            yield f"{word} {read.key}: read {read.value!r}, may be {sorted(map(str, values))}"
            continue
        matching = [number for number in allowed if writes[number].value == read.value]
        if len(matching) == 1:
            seen.append((read.ended, matching[0]))
