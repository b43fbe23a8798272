"""Fills a directory with 100,000 made-up courses and prints what that took, as one JSON line.

    ./pantsw run tests/bench/directory_at_scale.py

Memory is that of a process of its own; times are CPU times of one page of 100 at the beginning,
in the middle and at the end of each listing.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from services.course_catalog.api.schemas import pack_summary, unpack_summary
from services.course_catalog.domain.course import Level, Status, Summary
from services.course_catalog.domain.directory import Directory, Query, Sort, SortKey
from tests.unit.course_catalog.courses import instant

COURSES = 100_000
ROUNDS = 31
DESCRIPTION_WORDS = 120


def made_up(number: int, source: random.Random, vocabulary: list[str]) -> Summary:
    """A published course whose words are about as often used as words are (Zipf).

    It has some 25 in what is shown and up to 120 more in its description, of which one in a hundred
    stands nowhere else, as names and mistypings do.
    """
    words = [_word(source, vocabulary) for _ in range(24)]
    described = dict.fromkeys(_word(source, vocabulary) for _ in range(DESCRIPTION_WORDS))
    rare = [f"{word}{number:x}" for word in described if source.random() < 0.01]
    return Summary(
        id=f"crs-{number:08}",
        slug=f"{words[0]}-{words[1]}-{number}",
        title=" ".join(words[:6]).title(),
        short_description=" ".join(words[6:22]) + ".",
        language=source.choice(["en", "en-GB", "de", "fr", "es", "pt-BR"]),
        level=source.choice(list(Level)),
        tags=tuple({source.choice(vocabulary[200:600]) for _ in range(4)}),
        instructors=("Coastal Observatory",),
        status=Status.PUBLISHED,
        outline_version=1,
        version=1,
        created_at=instant(number),
        updated_at=instant(number + source.randrange(COURSES)),
        published_at=instant(number + source.randrange(100)),
        description_words=(*described, *rare),
    )


def _word(source: random.Random, vocabulary: list[str]) -> str:
    return vocabulary[int(len(vocabulary) ** source.random()) - 1]


def resident_bytes() -> int:
    """The resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def page_milliseconds(directory: Directory, query: Query, after: SortKey | None) -> float:
    """CPU time of one page of 100: the least of several, since other work only ever adds."""
    taken = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        directory.page(query, limit=100, after=after)
        taken.append(time.thread_time() - started)
    return min(taken) * 1000


def depths(directory: Directory, query: Query) -> Iterator[SortKey | None]:
    """The places where the first page begins, one in the middle and one near the end."""
    yield None
    after: SortKey | None = None
    keys = []
    while (after := directory.page(query, limit=1000, after=after).resume_after) is not None:
        keys.append(after)
    if keys:
        yield keys[len(keys) // 2]
        yield keys[-1]


def main() -> None:
    source = random.Random(1)  # the same courses in every run
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(source.choices(letters, k=source.randint(4, 10))) for _ in range(30_000)]
    directory = Directory(pack_summary, unpack_summary)
    gc.collect()
    before = resident_bytes()
    load_seconds = 0.0
    for first in range(0, COURSES, 100):
        batch = [made_up(number, source, vocabulary) for number in range(first, first + 100)]
        started = time.process_time()
        for summary in batch:
            directory.apply(summary)
        for _ in directory.compact():  # as a refresh does
            pass
        load_seconds += time.process_time() - started
    started = time.process_time()
    for _ in directory.settle():
        pass
    load_seconds += time.process_time() - started
    del batch, summary
    gc.collect()
    memory = resident_bytes() - before
    queries = {f"sort={sort}": Query(sort=sort) for sort in Sort}
    queries |= {
        "level": Query(level=Level.ADVANCED),
        "language": Query(language="en", sort=Sort.TITLE),
        "tag": Query(tag=vocabulary[300]),
        "level, language, tag": Query(level=Level.BEGINNER, language="de", tag=vocabulary[300]),
        "updatedSince": Query(updated_since=instant(COURSES)),
        "ids": Query(ids=frozenset(f"crs-{n:08}" for n in range(0, COURSES, COURSES // 100))),
        "q, rare": Query(q=vocabulary[20_000]),
        "q, middling": Query(q=vocabulary[300]),
        "q, common": Query(q=vocabulary[1]),
        "q, two common": Query(q=f"{vocabulary[0]} {vocabulary[1]}"),
    }
    pages = {
        name: [
            round(page_milliseconds(directory, query, after), 3)
            for after in depths(directory, query)
        ]
        for name, query in queries.items()
    }
    report = {
        "courses": len(directory),
        "megabytes": round(memory / 1e6, 1),
        "loadSeconds": round(load_seconds, 1),
        "pageMilliseconds": pages,
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
