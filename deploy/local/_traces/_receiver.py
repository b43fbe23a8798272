"""Takes what the services send and keeps it. Anybody on this machine may send anything.

Keeps nothing in memory but a count for each reason to drop and for each trace of the current file.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

from deploy.local._traces._document import MalformedError, parse_datagram
from deploy.local._traces._log import TraceLog

_LARGEST_DATAGRAM: Final = 65_536  # IPv4 carries 65,507 bytes
_AT_ONCE: Final = 64
# More than a socket's buffer holds: who goes on sending does not keep this from ending.
_LAST: Final = 4_096


class Receiver:
    """Reads a non-blocking UDP socket.

    Args:
        report: told in one line what was dropped; of a kind at the first, second, fourth, eighth …
            time, so that a flood does not fill a log.
    """

    def __init__(self, source: socket.socket, log: TraceLog, report: Callable[[str], None]) -> None:
        self._source = source
        self._log = log
        self._report = report
        self.kept = 0
        self.dropped: Counter[str] = Counter()

    def read(self) -> None:
        """Takes what is there, but not for ever: others have their turn."""
        self._take(_AT_ONCE)

    def drain(self) -> None:
        """Takes what was sent before now."""
        self._take(_LAST)

    def _take(self, count: int) -> None:
        for _ in range(count):
            try:
                datagram = self._source.recv(_LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            self._keep(datagram)

    def _keep(self, datagram: bytes) -> None:
        try:
            if self._log.add(parse_datagram(datagram)):
                self.kept += 1
            else:
                self._drop("more than is kept of one trace")
        except MalformedError as error:
            self._drop(error.reason)
        except (ValueError, RecursionError):  # JSON that can be read and not be written
            self._drop("not JSON")
        except OSError as error:
            self._drop(f"not written: {error.strerror or error}")

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1
        count = self.dropped[reason]
        if count & (count - 1) == 0:
            self._report(f"dropped {count} so far, {reason}")
