"""Put on the PYTHONPATH of a process under test, so that its wall clock can be moved while it runs.

The file that `SHIFTED_CLOCK_FILE` names holds the seconds by which the clock is off; it may change at
any time. Monotonic clocks stay as they are, as they do on a machine whose time is set. Python imports
this before anything of the program: what takes `time.time` or `datetime.datetime` gets these.
"""

import datetime as datetime_module
import os
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

_PATH = Path(os.environ["SHIFTED_CLOCK_FILE"])
_time = time.time
_time_ns = time.time_ns


def _shift() -> float:
    return float(_PATH.read_text() or 0)


def _shifted_time() -> float:
    return _time() + _shift()


def _shifted_time_ns() -> int:
    return _time_ns() + int(_shift() * 1_000_000_000)


class _AnyDatetime(type):
    """Every datetime is one of the shifted kind: nobody is to notice the difference."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, datetime)


class ShiftedDatetime(datetime, metaclass=_AnyDatetime):
    """`datetime` with another idea of the present; everything that it makes is a plain datetime."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return datetime(*args, **kwargs)  # noqa: DTZ001 - whatever zone the caller gives

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.now(tz) + timedelta(seconds=_shift())

    @classmethod
    def utcnow(cls) -> Any:
        return datetime.utcnow() + timedelta(seconds=_shift())  # noqa: DTZ003 - what botocore calls


for _name in ("fromtimestamp", "utcfromtimestamp", "fromisoformat", "strptime", "combine"):
    setattr(ShiftedDatetime, _name, staticmethod(getattr(datetime, _name)))

time.time = _shifted_time
time.time_ns = _shifted_time_ns
setattr(datetime_module, "datetime", ShiftedDatetime)  # noqa: B010 - a type is not assigned to
