"""The catalog's bad input, on the monolith."""

from __future__ import annotations

import pytest

from tests.contract.course_catalog.test_bad_input import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")
