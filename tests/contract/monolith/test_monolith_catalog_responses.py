"""Every response that the catalog's contract documents, of the monolith."""

from __future__ import annotations

import pytest

from tests.contract.course_catalog.test_documented_responses import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")

# It serves the three contracts as one: tests/unit/monolith.
del test_what_is_served_as_the_contract_is_the_contract  # noqa: F821
