"""The time that signatures are made for: this machine's, or AWS's where that is known to be another.

Owns the correction. AWS refuses what is signed for another time than its own (5 minutes off at
DynamoDB, 15 at S3) and says in the same answer what time it is; a machine that was suspended, or whose
clock was set, serves on by it until its own clock is right again.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from libs.logging import get_logger

_log = get_logger(__name__)


class SigningClock:
    """`wall_clock` gives seconds of the epoch."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._offset_seconds = 0

    def now(self) -> float:
        """Seconds of the epoch at AWS, as far as is known."""
        return self._wall_clock() + self._offset_seconds

    def at_aws(self, instant: datetime) -> datetime:
        """An instant of this machine's clock as AWS's shows it."""
        return instant + timedelta(seconds=self._offset_seconds)

    @property
    def offset_seconds(self) -> int:
        """By how much this machine's clock is behind AWS's, as far as is known."""
        return self._offset_seconds

    def correct(self, date: str) -> None:
        """Take the time of AWS's, the `Date` of a refusal, for the signatures to come. When the
        machine's clock is set right, a refusal corrects this once more. What is no date changes
        nothing, nor does a second: the same instant goes on giving the same URL."""
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        offset_seconds = round(theirs - self._wall_clock())
        if abs(offset_seconds - self._offset_seconds) > 1:
            self._offset_seconds = offset_seconds
            _log.warning("signing_clock_corrected", offsetSeconds=offset_seconds)
