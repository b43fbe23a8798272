"""What the consumers were promised, kept by the monolith."""

from __future__ import annotations

import pytest

from tests.contract.consumers.test_pacts_of_providers import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")
