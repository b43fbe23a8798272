"""A document whose numbers a program writes: what stands between a pair of marks is its own.

Owns the marks. It must not know what is written between them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def renewed(text: str, parts: Mapping[str, str], *, by: str = "compare") -> str:
    """The document with each part between its marks replaced. Raises ValueError where one has none."""
    for name, content in parts.items():
        mark = re.compile(
            rf"(<!-- {by} {re.escape(name)} -->\n).*?(<!-- /{by} {re.escape(name)} -->)", re.DOTALL
        )
        if mark.search(text) is None:
            raise ValueError(f"the document has no place for {name}")
        text = mark.sub(lambda found, it=content: f"{found[1]}\n{it}\n\n{found[2]}", text)  # type: ignore[misc]
    return text
