"""The garbage collector around a start.

A program switches it off before it imports anything: what is imported stays, and the collector would
look at all of it again and again (docs/adr/0155).
"""

from __future__ import annotations

import gc


def imported() -> None:
    """Once everything is imported: the collector never looks at that again, and is on from here."""
    gc.freeze()
    gc.enable()
