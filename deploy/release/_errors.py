"""What can not be done, said in lines that a person can act on."""

from __future__ import annotations

from collections.abc import Iterable


class ReleaseError(Exception):
    """It can not be begun, or not be told: bad input, bad configuration, a tool that is missing.

    Nothing that runs was changed. `problems` are all that is wrong, a line each.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def raise_all(problems: Iterable[str]) -> None:
    """Raises ReleaseError with every problem, if there is one."""
    found = tuple(problems)
    if found:
        raise ReleaseError(*found)
