"""Timestamps are written in one fixed form and read strictly by RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.timestamps import Clock, format_timestamp, parse_timestamp, utc_now

# Far enough from the ends of datetime's range that no offset leaves it.
_LOCAL = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29))  # noqa: DTZ001 - zone follows
_OFFSETS = st.integers(min_value=-(24 * 60 - 1), max_value=24 * 60 - 1)
INSTANTS = st.builds(
    lambda local, minutes: local.replace(tzinfo=timezone(timedelta(minutes=minutes))),
    _LOCAL,
    _OFFSETS,
)


@settings(deadline=None)  # a busy machine is not a failure
@given(INSTANTS)
def test_what_is_written_is_read_back_to_the_millisecond(instant: datetime) -> None:
    read = parse_timestamp(format_timestamp(instant))
    assert timedelta(0) <= instant - read < timedelta(milliseconds=1)
    assert read.tzinfo is UTC


@settings(deadline=None)  # a busy machine is not a failure
@given(INSTANTS)
def test_writing_is_idempotent_and_of_one_width(instant: datetime) -> None:
    text = format_timestamp(instant)
    assert len(text) == len("2026-01-02T03:04:05.678Z")
    assert format_timestamp(parse_timestamp(text)) == text


@settings(deadline=None)  # a busy machine is not a failure
@given(INSTANTS, INSTANTS)
def test_the_order_of_texts_is_the_order_of_instants(one: datetime, other: datetime) -> None:
    first, second = sorted((one, other))
    assert format_timestamp(first) <= format_timestamp(second)


@settings(deadline=None)  # a busy machine is not a failure
@given(INSTANTS)
def test_every_offset_names_the_same_instant(instant: datetime) -> None:
    assert parse_timestamp(instant.isoformat()) == instant
    assert format_timestamp(instant) == format_timestamp(instant.astimezone(UTC))


@settings(deadline=None)  # a busy machine is not a failure
@given(st.text())
def test_any_text_is_either_an_instant_in_utc_or_a_value_error(text: str) -> None:
    try:
        instant = parse_timestamp(text)
    except ValueError:
        return
    assert instant.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05-00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.5+05:30", datetime(2026, 1, 1, 21, 34, 5, 500000, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1234567899Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2024-02-29T23:59:59-23:59", datetime(2024, 3, 1, 23, 58, 59, tzinfo=UTC)),
    ],
)
def test_forms_of_rfc_3339_are_read(text: str, instant: datetime) -> None:
    assert parse_timestamp(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02",
        "2026-01-02T03:04:05",  # no zone
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05+0530",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+05:60",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-02T24:00:00Z",
        "2016-12-31T23:59:60Z",  # a leap second
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",  # before year 1 in UTC
        "9999-12-31T23:59:59-00:01",  # after year 9999 in UTC
        "20260102T030405Z",
        "2026-W01-5T03:04:05Z",
        "+2026-01-02T03:04:05Z",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
        "2026-01-02T03:04:05Z[UTC]",
        "٢٠٢٦-01-02T03:04:05Z",
        "2026-01-02T03:04:05." + "1" * 100_000 + "Z",
    ],
)
def test_all_else_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refusal:
        parse_timestamp(text)
    assert not text or text not in str(refusal.value)


def test_what_is_finer_than_a_millisecond_is_cut_off_not_rounded() -> None:
    assert format_timestamp(datetime(2026, 1, 2, 3, 4, 59, 999_999, tzinfo=UTC)).endswith(
        ":59.999Z"
    )


def test_early_years_keep_four_digits() -> None:
    assert format_timestamp(datetime(7, 1, 1, tzinfo=UTC)) == "0007-01-01T00:00:00.000Z"


def test_an_instant_without_zone_is_not_written() -> None:
    with pytest.raises(ValueError, match="zone"):
        format_timestamp(datetime(2026, 1, 2))  # noqa: DTZ001 - the point of the test


def test_an_instant_outside_the_range_in_utc_is_not_written() -> None:
    with pytest.raises(ValueError, match="years"):
        format_timestamp(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))))


def test_the_clock_gives_instants_in_utc() -> None:
    clock: Clock = utc_now
    assert clock().tzinfo is UTC
