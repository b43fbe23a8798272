"""Keeps the tables inside a document those of the tool.

A table stands between `<!-- rightsizing NAME -->` and `<!-- /rightsizing NAME -->`, on lines of their
own; all else belongs to who writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deploy.rightsizing._inputs import InputError

_BLOCK = re.compile(
    r"^<!-- rightsizing (?P<name>[a-z-]+) -->\n(?P<body>.*?)^<!-- /rightsizing (?P=name) -->$",
    re.DOTALL | re.MULTILINE,
)


def blocks(document: str) -> dict[str, str]:
    """What stands between the marks, by name."""
    return {found["name"]: found["body"].strip("\n") + "\n" for found in _BLOCK.finditer(document)}


def renewed(document: str, tables: Mapping[str, str]) -> str:
    """The document with these tables; those that it has no place for are left out.

    Raises InputError where it has a place for none of them.
    """
    if not set(tables) & set(blocks(document)):
        raise InputError(f"the document has no place for {', '.join(sorted(tables))}")

    def block(found: re.Match[str]) -> str:
        name = found["name"]
        body = tables[name] if name in tables else found["body"].strip("\n") + "\n"
        return f"<!-- rightsizing {name} -->\n\n{body}\n<!-- /rightsizing {name} -->"

    return _BLOCK.sub(block, document)
