"""RFC 3339 section 5.6, as this platform reads and writes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
"""Gives the present instant, always with a zone."""

# ASCII digits only: \d would let other scripts' digits through. The fraction is bounded so that
# no input makes the pattern or the conversion do unbounded work.
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]"
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,32}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
# As `format_timestamp` writes it, which is nearly all that is ever read.
_OWN_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_TWO_DIGITS = tuple(f"{number:02}" for number in range(60))
_THREE_DIGITS = tuple(f"{number:03}" for number in range(1000))


def utc_now() -> datetime:
    """The present instant in UTC, by the machine's clock."""
    return datetime.now(UTC)


def format_timestamp(instant: datetime) -> str:
    """Write an instant as ``2026-01-02T03:04:05.678Z``.

    The form is always UTC with three digits of milliseconds; what is finer is cut off, never
    rounded up, so that a timestamp does not lie in the future of the instant it stands for.

    Raises ValueError when the instant has no zone or its UTC form is outside the years 1 to 9999.
    """
    if instant.tzinfo is not UTC:
        if instant.utcoffset() is None:
            raise ValueError("a timestamp needs a zone")
        try:
            instant = instant.astimezone(UTC)
        except OverflowError:
            raise ValueError("the instant is outside the years 1 to 9999 in UTC") from None
    # By tables: `isoformat` would write an offset, too, and takes twice as long.
    return (
        f"{instant.year:04}-{_TWO_DIGITS[instant.month]}-{_TWO_DIGITS[instant.day]}"
        f"T{_TWO_DIGITS[instant.hour]}:{_TWO_DIGITS[instant.minute]}:{_TWO_DIGITS[instant.second]}"
        f".{_THREE_DIGITS[instant.microsecond // 1000]}Z"
    )


def parse_timestamp(text: str) -> datetime:
    """Read an RFC 3339 timestamp and give the instant in UTC, to the microsecond.

    A zone (``Z`` or a numeric offset) is required; lower-case ``t`` and ``z`` are allowed, as
    RFC 3339 section 5.6 says; digits finer than a microsecond are cut off. A leap second (``:60``)
    is refused because ``datetime`` cannot hold it.

    Raises ValueError otherwise. The message never repeats the text.
    """
    if _OWN_FORM.fullmatch(text):
        return datetime.fromisoformat(text)
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 timestamp with a zone: YYYY-MM-DDThh:mm:ss[.sss]Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    microsecond = int((fraction or "").ljust(6, "0")[:6])
    zone = UTC
    if sign is not None:
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            raise ValueError("the offset from UTC must lie between -23:59 and +23:59")
        offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
        zone = timezone(-offset if sign == "-" else offset)
    try:
        return datetime(
            year, month, day, hour, minute, second, microsecond, tzinfo=zone
        ).astimezone(UTC)
    except OverflowError:
        raise ValueError("the instant is outside the years 1 to 9999 in UTC") from None
