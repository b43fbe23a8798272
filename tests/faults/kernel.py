"""What the kernel knows of a process: its open descriptors and its TCP connections."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

_LISTEN = "0A"


def open_descriptors(process_id: int) -> Counter[str]:
    """How many descriptors are open, by kind: `socket`, `pipe`, `anon_inode`, or a file's path."""
    found: Counter[str] = Counter()
    for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:  # closed meanwhile
            continue
        found[target.partition(":")[0]] += 1
    return found


def connections(process_id: int) -> int:
    """How many TCP connections the process holds, in whatever state; listeners do not count."""
    own = set()
    for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
        try:
            kind, _, inode = os.readlink(descriptor).partition(":")
        except FileNotFoundError:
            continue
        if kind == "socket":
            own.add(inode.strip("[]"))
    lines = Path(f"/proc/{process_id}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return sum(fields[3] != _LISTEN and fields[9] in own for fields in map(str.split, lines))
