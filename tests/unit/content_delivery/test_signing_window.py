"""The life of a pre-signed URL: its bounds, its credentials, and when to refresh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.content_delivery.domain.delivery import signing_window
from services.content_delivery.domain.errors import SigningUnavailableError

NOW = datetime(2026, 3, 1, 12, 0, 0, 750_000, tzinfo=UTC)
WHOLE = NOW.replace(microsecond=0)


@pytest.mark.parametrize(
    ("duration_seconds", "life"),
    [
        (None, timedelta(minutes=15)),
        (0, timedelta(minutes=15)),
        (449, timedelta(minutes=15)),
        (450, timedelta(minutes=15)),
        (451, timedelta(seconds=902)),
        (3600, timedelta(hours=2)),
        (10_800, timedelta(hours=6)),
        (10_801, timedelta(hours=6)),
        (604_800, timedelta(hours=6)),
    ],
)
def test_lives_twice_the_duration_within_its_bounds(
    duration_seconds: int | None, life: timedelta
) -> None:
    window = signing_window(now=NOW, duration_seconds=duration_seconds, credentials_expire_at=None)
    assert window.issued_at == WHOLE
    assert window.expires_at == WHOLE + life
    assert window.refresh_after == WHOLE + life * 0.8 - timedelta(
        microseconds=(life * 0.8).microseconds
    )


def test_never_outlives_the_credentials() -> None:
    end = WHOLE + timedelta(minutes=5, milliseconds=900)
    window = signing_window(now=NOW, duration_seconds=3600, credentials_expire_at=end)
    assert window.expires_at == WHOLE + timedelta(minutes=5)
    assert window.seconds == 300
    assert window.refresh_after == WHOLE + timedelta(minutes=4)


def test_credentials_that_outlive_the_url_do_not_lengthen_it() -> None:
    window = signing_window(
        now=NOW, duration_seconds=3600, credentials_expire_at=NOW + timedelta(hours=12)
    )
    assert window.seconds == 7200


@pytest.mark.parametrize("left", [-3600.0, -0.001, 0.0, 1.0, 59.0, 59.999])
def test_credentials_with_less_than_a_minute_left_sign_nothing(left: float) -> None:
    with pytest.raises(SigningUnavailableError):
        signing_window(
            now=NOW, duration_seconds=60, credentials_expire_at=NOW + timedelta(seconds=left)
        )


def test_a_minute_is_enough() -> None:
    window = signing_window(
        now=NOW, duration_seconds=60, credentials_expire_at=NOW + timedelta(seconds=60)
    )
    assert window.seconds == 60


@given(
    now=st.datetimes(
        min_value=datetime(2020, 1, 1),  # noqa: DTZ001  # the strategy adds the zone
        max_value=datetime(2090, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    duration=st.one_of(st.none(), st.integers(0, 604_800)),
    left=st.one_of(
        st.none(), st.timedeltas(min_value=timedelta(seconds=60), max_value=timedelta(days=2))
    ),
)
def test_every_window_is_usable_and_bounded(
    now: datetime, duration: int | None, left: timedelta | None
) -> None:
    end = None if left is None else now + left
    window = signing_window(now=now, duration_seconds=duration, credentials_expire_at=end)
    assert window.issued_at <= now < window.issued_at + timedelta(seconds=1)
    assert window.issued_at < window.refresh_after < window.expires_at
    assert 60 <= window.seconds <= 6 * 3600
    assert end is None or window.expires_at <= end
    assert all(
        instant.microsecond == 0
        for instant in (window.issued_at, window.refresh_after, window.expires_at)
    )
