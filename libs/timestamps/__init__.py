"""The one wire form of an instant: RFC 3339 in UTC, with milliseconds, and the clock that is passed in.

Owns reading and writing of timestamps and nothing else: it knows no JSON, no schema and no table.
Every timestamp that is written has the same width, so comparing two of them as strings (as a
DynamoDB sort key or condition does) orders them as comparing the instants would.
"""

from __future__ import annotations

from libs.timestamps._rfc3339 import Clock, format_timestamp, parse_timestamp, utc_now

__all__ = ["Clock", "format_timestamp", "parse_timestamp", "utc_now"]
