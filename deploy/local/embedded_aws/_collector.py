"""Keeps the garbage collector from standing still over everything that is stored.

What the embedded AWS stores are Python objects, none of them garbage. A full collection looks at each
of them: with 80,000 rows and their stream for half a second, in which nobody is answered
(docs/adr/0171-the-embedded-aws-does-not-stand-still.md).
"""

import gc
from collections.abc import Mapping


def leave_out_what_lasts() -> None:
    """From now on a full collection looks at what is new since the one before. Garbage that is a cycle
    and outlived one is kept; what has no cycle, as rows, goes when nobody refers to it, as ever."""
    if _after_a_collection not in gc.callbacks:
        gc.callbacks.append(_after_a_collection)


# https://docs.python.org/3.11/library/gc.html#gc.callbacks
def _after_a_collection(phase: str, info: Mapping[str, int]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()
