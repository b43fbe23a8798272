"""The life of a pre-signed URL: its bounds, its credentials, its window, and when to refresh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.content_delivery.domain.delivery import SigningWindow, signing_window
from services.content_delivery.domain.errors import SigningUnavailableError

# Two minutes and a fraction into a window of five.
NOW = datetime(2026, 3, 1, 12, 2, 0, 750_000, tzinfo=UTC)
WHOLE = NOW.replace(microsecond=0)
BEGINNING = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WINDOW = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("duration_seconds", "life"),
    [
        (None, timedelta(minutes=15)),
        (0, timedelta(minutes=15)),
        (449, timedelta(minutes=15)),
        (450, timedelta(minutes=15)),
        (451, timedelta(seconds=902)),
        (3600, timedelta(hours=2)),
        (10_500, timedelta(hours=5, minutes=50)),
    ],
)
def test_whoever_asks_has_twice_the_duration_ahead(
    duration_seconds: int | None, life: timedelta
) -> None:
    window = signing_window(now=NOW, duration_seconds=duration_seconds, credentials_expire_at=None)
    assert window.issued_at == BEGINNING
    # Also who asks in the last moment of the window.
    assert window.expires_at == BEGINNING + WINDOW + life
    assert window.expires_at - NOW >= life


@pytest.mark.parametrize("duration_seconds", [10_651, 10_800, 10_801, 604_800])
def test_no_signature_lives_longer_than_six_hours(duration_seconds: int) -> None:
    window = signing_window(now=NOW, duration_seconds=duration_seconds, credentials_expire_at=None)
    assert window.seconds == 6 * 3600


def test_within_a_window_the_same_is_signed() -> None:
    windows = [
        signing_window(
            now=BEGINNING + timedelta(seconds=second),
            duration_seconds=600,
            credentials_expire_at=BEGINNING + timedelta(hours=1),
        )
        for second in (0, 1, 150, 299, 300)
    ]
    signed = [(window.issued_at, window.seconds) for window in windows]
    assert len(set(signed[:4])) == 1
    assert signed[4] != signed[3]
    # When to ask again counts from now; it is no part of the URL.
    refreshes = [window.refresh_after for window in windows[:4]]
    assert refreshes == sorted(refreshes)


def test_never_outlives_the_credentials() -> None:
    end = WHOLE + timedelta(minutes=5, milliseconds=900)
    window = signing_window(now=NOW, duration_seconds=3600, credentials_expire_at=end)
    assert window.expires_at == WHOLE + timedelta(minutes=5)
    assert window.seconds == 7 * 60
    assert window.refresh_after == WHOLE + timedelta(minutes=4)


def test_credentials_that_outlive_the_url_do_not_lengthen_it() -> None:
    window = signing_window(
        now=NOW, duration_seconds=3600, credentials_expire_at=NOW + timedelta(hours=12)
    )
    assert window.seconds == 7500


@pytest.mark.parametrize("left", [-3600.0, -0.001, 0.0, 1.0, 59.0, 59.999])
def test_credentials_with_less_than_a_minute_left_sign_nothing(left: float) -> None:
    with pytest.raises(SigningUnavailableError):
        signing_window(
            now=NOW, duration_seconds=60, credentials_expire_at=NOW + timedelta(seconds=left)
        )


def test_a_minute_is_enough() -> None:
    end = NOW + timedelta(seconds=60)
    window = signing_window(now=NOW, duration_seconds=60, credentials_expire_at=end)
    assert window.expires_at == end.replace(microsecond=0)
    assert NOW < window.refresh_after < window.expires_at


instants = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001  # the strategy adds the zone
    max_value=datetime(2090, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
durations = st.one_of(st.none(), st.integers(0, 604_800))


@given(
    now=instants,
    duration=durations,
    left=st.one_of(
        st.none(), st.timedeltas(min_value=timedelta(seconds=60), max_value=timedelta(days=2))
    ),
)
def test_every_window_is_usable_and_bounded(
    now: datetime, duration: int | None, left: timedelta | None
) -> None:
    end = None if left is None else now + left
    window = signing_window(now=now, duration_seconds=duration, credentials_expire_at=end)
    assert window.issued_at <= now < window.issued_at + WINDOW
    assert now - timedelta(seconds=1) < window.refresh_after < window.expires_at
    assert 60 <= window.seconds <= 6 * 3600
    assert window.expires_at - now > timedelta(seconds=59)
    assert end is None or window.expires_at <= end
    promised = timedelta(seconds=min(max(2 * (duration or 0), 900), 6 * 3600 - 300))
    assert window.expires_at - now >= min(promised, left or promised) - timedelta(seconds=1)
    assert all(
        instant.microsecond == 0
        for instant in (window.issued_at, window.refresh_after, window.expires_at)
    )


@given(now=instants, later=st.timedeltas(timedelta(0), timedelta(minutes=20)), duration=durations)
def test_two_who_ask_in_one_window_get_the_same(
    now: datetime, later: timedelta, duration: int | None
) -> None:
    def at(moment: datetime) -> SigningWindow:
        return signing_window(now=moment, duration_seconds=duration, credentials_expire_at=None)

    first, second = at(now), at(now + later)
    same = (first.issued_at, first.seconds) == (second.issued_at, second.seconds)
    assert same == (now + later < first.issued_at + WINDOW)
