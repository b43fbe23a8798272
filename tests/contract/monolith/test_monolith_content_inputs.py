"""Content's bad input, on the monolith."""

from __future__ import annotations

import pytest

from tests.contract.content_delivery.test_content_delivery_inputs import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")
