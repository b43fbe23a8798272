"""Loopback addresses for load balancers and tasks, which share the host's network.

127.A.B.N, with A.B the port of the embedded AWS: of two embedded AWS on one machine no two have an
address in common, and nothing listens on an address that is reachable from outside.
"""

from __future__ import annotations

_FIRST, _LAST = 1, 254


class NoAddressLeftError(Exception):
    """All addresses are in use."""


class Addresses:
    """The addresses of one embedded AWS.

    Args:
        port: where it listens, which no other one on this machine does.
    """

    def __init__(self, port: int) -> None:
        self._network = f"127.{port >> 8}.{port & 255}"
        self._used: set[int] = set()
        self._last = _FIRST - 1

    def take(self) -> str:
        """A free address; one that was given back comes again as late as possible.

        Raises:
            NoAddressLeftError: 254 are in use.
        """
        size = _LAST - _FIRST + 1
        for step in range(size):
            number = _FIRST + (self._last + 1 - _FIRST + step) % size
            if number not in self._used:
                self._used.add(number)
                self._last = number
                return f"{self._network}.{number}"
        raise NoAddressLeftError(f"all {size} addresses of {self._network}.0/24 are in use")

    def give_back(self, address: str) -> None:
        """The address may be taken again."""
        self._used.discard(int(address.rpartition(".")[2]))
