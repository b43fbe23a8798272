"""Which courses have which words, in as few bytes as possible.

Owns the index from words to slots (the directory's numbers for its courses) and how it is searched:
by whole words, and by beginnings of words. Knows neither courses nor how text becomes words.

What is added goes into an open part of dictionaries and arrays, quick to write and large. Now and
then that is sealed: its words as one text in order, its slots as one array in the words' order, two
bytes each. A word costs 13 bytes there instead of 200, and all words with one beginning are next to
each other, so that their slots are one slice.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import reduce
from heapq import merge
from itertools import chain, groupby
from operator import and_, itemgetter, or_
from typing import Protocol

from services.course_catalog.domain.search import is_unspaced

# A query's word of at least this length is also found as the beginning of a word.
_PREFIX_LENGTH = 3
# So many parts below `large` are made one: few to search, and each slot is rewritten once or twice.
_SMALL_PARTS = 8
# So many words are sealed or purged between two other pieces of work.
_WORDS_A_STEP = 1_000
# Above every byte of UTF-8: what begins with a word sorts between it and it with this.
_AFTER_ALL = b"\xff"
_SHORT = 1 << 16


class WordIndex:
    """Slots by words.

    `few`: so many slots at most are given as a set. `common`: with more slots than this, a word of
    the open part is a bitmap. `large`: from so many slots on a sealed part stays as it is.
    """

    def __init__(self, *, few: int, common: int, large: int) -> None:
        self._few_at_most = few
        self._common_above = common
        self._large = large
        self._closed: list[_Part] = []
        self._open = _OpenPart(common)

    def add(self, slot: int, found: Iterable[str]) -> None:
        """Take in a slot that is not known, with its words."""
        self._open.add(slot, found)

    def seal(self, *, at: int) -> Iterator[None]:
        """Seal the open part if it has so many slots, in steps; slots may be added and found
        between them."""
        if self._open.count < at:
            return
        yield from self._rewrite([self._close()], frozenset())
        small = self._small()
        if len(small) >= _SMALL_PARTS:
            yield from self._rewrite(small, frozenset())

    def purge(self, retired: frozenset[int]) -> Iterator[None]:
        """Forget these slots, in steps; after the last they can be used again.

        None of them is added again meanwhile.
        """
        self._close()
        small = self._small()
        for part in [part for part in self._closed if part not in small]:
            yield from self._rewrite([part], retired)
        yield from self._rewrite(small, retired)

    def search(self, wanted: Sequence[str]) -> set[int] | Bits:
        """The slots that have every word; none for no words."""
        found = [part.search(wanted) for part in (*self._closed, self._open)] if wanted else []
        few: set[int] = set().union(*(slots for slots in found if not isinstance(slots, int)))
        many = [slots for slots in found if isinstance(slots, int)]
        if not many:
            return few
        bits = Bits(reduce(or_, many) | _as_int(_bitmap(few)))
        return set(bits.slots()) if len(bits) <= self._few_at_most else bits

    def _small(self) -> list[_Part]:
        return [part for part in self._closed if part.count < self._large]

    def _close(self) -> _Part:
        closing, self._open = self._open, _OpenPart(self._common_above)
        self._closed.append(closing)
        return closing

    def _rewrite(self, parts: Sequence[_Part], retired: frozenset[int]) -> Iterator[None]:
        builder = _Builder(parts, retired)
        yield from builder.steps()
        self._closed = [part for part in self._closed if part not in parts] + builder.sealed()


class Bits:
    """Slots as the bits of a number: to ask whether one is among them, and how many there are."""

    __slots__ = ("_bytes", "_count")

    def __init__(self, number: int) -> None:
        self._count = number.bit_count()
        self._bytes = number.to_bytes(number.bit_length() // 8 + 1, "little")

    def __len__(self) -> int:
        return self._count

    def __contains__(self, slot: int) -> bool:
        place = slot >> 3
        return place < len(self._bytes) and bool(self._bytes[place] >> (slot & 7) & 1)

    def slots(self) -> Iterator[int]:
        return _slots_of(self._bytes)


class _Part(Protocol):
    """Some of the slots. A search gives them, some perhaps twice, or a number whose bits they are."""

    count: int
    """How many slots it has."""

    def search(self, wanted: Sequence[str]) -> Collection[int] | int: ...

    def words(self) -> Iterator[tuple[str, Iterable[int]]]:
        """Every word in order, with its slots."""
        ...

    def bounds(self) -> tuple[int, int]:
        """The smallest slot and the one after the largest; (0, 0) for none."""
        ...


class _OpenPart:
    """Words in dictionaries: the slots of a rare word are an array, those of a common one bits."""

    def __init__(self, common: int) -> None:
        self.count = 0
        self._common_above = common
        self._rare: dict[str, array[int]] = {}
        self._common: dict[str, bytearray] = {}
        self._vocabulary: list[str] = []
        self._in_order = True
        self._bounds = (0, 0)

    def add(self, slot: int, found: Iterable[str]) -> None:
        low, high = self._bounds
        self._bounds = (min(low, slot), max(high, slot + 1)) if self.count else (slot, slot + 1)
        self.count += 1
        for word in found:
            bitmap = self._common.get(word)
            if bitmap is not None:
                _set_bit(bitmap, slot)
                continue
            slots = self._rare.get(word)
            if slots is None:
                slots = self._rare[word] = array("I")
                self._vocabulary.append(word)
                self._in_order = False
            slots.append(slot)
            if len(slots) > self._common_above:
                self._common[word] = _bitmap(self._rare.pop(word))

    def search(self, wanted: Sequence[str]) -> Collection[int] | int:
        return _intersection([self._find(word) for word in wanted])

    def words(self) -> Iterator[tuple[str, Iterable[int]]]:
        for word in self._ordered():
            rare = self._rare.get(word)
            yield word, _slots_of(self._common[word]) if rare is None else rare

    def bounds(self) -> tuple[int, int]:
        return self._bounds

    def _find(self, word: str) -> Collection[int] | int:
        if not _begins_others(word):
            matching = [word]
        else:
            vocabulary = self._ordered()
            begin = bisect_left(vocabulary, word)
            end = bisect_left(vocabulary, word + "\U0010ffff", begin)
            matching = vocabulary[begin:end]
        rare = [self._rare[match] for match in matching if match in self._rare]
        common = [self._common[match] for match in matching if match in self._common]
        if not common:
            return set().union(*rare)
        return reduce(or_, map(_as_int, common), _as_int(_bitmap(set().union(*rare))))

    def _ordered(self) -> list[str]:
        if not self._in_order:
            # When many are added nobody asks in between; what is nearly in order is sorted fast.
            self._vocabulary.sort()
            self._in_order = True
        return self._vocabulary


class _SealedPart:
    """Words and slots in a few arrays, never changed. Slots count from `base`."""

    __slots__ = ("_base", "_common", "_ends", "_high", "_slot_ends", "_slots", "_text", "count")

    def __init__(
        self,
        *,
        count: int,
        base: int,
        high: int,
        text: bytes,
        ends: array[int],
        slots: array[int],
        slot_ends: array[int],
        common: dict[int, bytes],
    ) -> None:
        self.count = count
        self._base = base
        self._high = high
        self._text = text
        self._ends = ends
        self._slots = slots
        self._slot_ends = slot_ends
        self._common = common

    def search(self, wanted: Sequence[str]) -> Collection[int] | int:
        found = _intersection([self._find(word) for word in wanted])
        if isinstance(found, int):
            return found << self._base
        return list(map(self._base.__add__, found)) if self._base else found

    def words(self) -> Iterator[tuple[str, Iterable[int]]]:
        for number in range(len(self._ends)):
            bitmap = self._common.get(number)
            slots = self._of(number, number + 1) if bitmap is None else _slots_of(bitmap)
            yield self._word(number).decode(), map(self._base.__add__, slots)

    def bounds(self) -> tuple[int, int]:
        return self._base, self._high

    def _find(self, word: str) -> Collection[int] | int:
        sought = word.encode()
        numbers = range(len(self._ends))
        begin = bisect_left(numbers, sought, key=self._word)
        if _begins_others(word):
            end = bisect_left(numbers, sought + _AFTER_ALL, begin, key=self._word)
        else:
            end = begin + (begin < len(numbers) and self._word(begin) == sought)
        rare = self._of(begin, end)
        if end - begin > len(self._common):
            common = [bits for number, bits in self._common.items() if begin <= number < end]
        else:
            common = [self._common[n] for n in range(begin, end) if n in self._common]
        if not common:
            return rare
        return reduce(or_, map(_as_int, common), _as_int(_bitmap(rare)))

    def _word(self, number: int) -> bytes:
        return self._text[self._ends[number - 1] if number else 0 : self._ends[number]]

    def _of(self, begin: int, end: int) -> array[int]:
        """The slots of the words from `begin` to before `end`, those of common ones left out."""
        if begin >= end:
            return self._slots[:0]
        return self._slots[self._slot_ends[begin - 1] if begin else 0 : self._slot_ends[end - 1]]


class _Builder:
    """Makes one sealed part of others, without the retired slots, a step at a time."""

    def __init__(self, parts: Sequence[_Part], retired: frozenset[int]) -> None:
        self._parts = parts
        self._retired = retired
        bounds = [part.bounds() for part in parts if part.count]
        self._base = min((low for low, _ in bounds), default=0)
        self._high = max((high for _, high in bounds), default=0)
        self._seen: set[int] = set()
        self._text = bytearray()
        self._ends = array("I")
        self._slots = array("H" if self._high - self._base <= _SHORT else "I")
        self._slot_ends = array("I")
        self._common: dict[int, bytes] = {}

    def steps(self) -> Iterator[None]:
        from_base = (-self._base).__add__
        # Where bits take less room than slots do.
        common_above = (self._high - self._base) // 8 // self._slots.itemsize
        in_order = merge(*(part.words() for part in self._parts), key=itemgetter(0))
        for number, (word, entries) in enumerate(groupby(in_order, key=itemgetter(0)), start=1):
            kept = sorted(chain.from_iterable(found for _, found in entries))
            if self._retired:
                kept = [slot for slot in kept if slot not in self._retired]
            if kept:
                self._seen.update(kept)
                if self._base:
                    kept = list(map(from_base, kept))
                if len(kept) > common_above:
                    self._common[len(self._ends)] = bytes(_bitmap(kept))
                else:
                    self._slots.extend(kept)
                self._text += word.encode()
                self._ends.append(len(self._text))
                self._slot_ends.append(len(self._slots))
            if number % _WORDS_A_STEP == 0:
                yield

    def sealed(self) -> list[_Part]:
        """The part, none where nothing is left."""
        if not self._seen:
            return []
        return [
            _SealedPart(
                count=len(self._seen),
                base=self._base,
                high=self._high,
                text=bytes(self._text),
                # Copies have no room to grow.
                ends=self._ends[:],
                slots=self._slots[:],
                slot_ends=self._slot_ends[:],
                common=self._common,
            )
        ]


def _begins_others(word: str) -> bool:
    return len(word) >= _PREFIX_LENGTH and not is_unspaced(word)


def _intersection(found: Sequence[Collection[int] | int]) -> Collection[int] | int:
    """What all have in common; a number where all of them are."""
    if len(found) == 1:  # as it is: a set would have to be made only for it
        return found[0]
    few = [slots for slots in found if not isinstance(slots, int)]
    many = [slots for slots in found if isinstance(slots, int)]
    if not few:
        return reduce(and_, many)
    common = set(few[0]).intersection(*few[1:])
    if not many:
        return common
    bits = Bits(reduce(and_, many))
    return {slot for slot in common if slot in bits}


def _bitmap(slots: Collection[int]) -> bytearray:
    bitmap = bytearray((max(slots, default=-1) >> 3) + 1)
    for slot in slots:
        bitmap[slot >> 3] |= 1 << (slot & 7)
    return bitmap


def _set_bit(bitmap: bytearray, slot: int) -> None:
    place = slot >> 3
    if place >= len(bitmap):
        bitmap.extend(bytes(place + 1 - len(bitmap)))
    bitmap[place] |= 1 << (slot & 7)


def _slots_of(bitmap: bytes | bytearray) -> Iterator[int]:
    for place, byte in enumerate(bitmap):
        if byte:
            yield from (place * 8 + bit for bit in range(8) if byte >> bit & 1)


def _as_int(bitmap: bytes | bytearray) -> int:
    return int.from_bytes(bitmap, "little")
