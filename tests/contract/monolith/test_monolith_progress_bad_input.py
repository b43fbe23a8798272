"""Progress's bad input, on the monolith."""

from __future__ import annotations

import pytest

from tests.contract.progress_tracking.test_progress_bad_input import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")
