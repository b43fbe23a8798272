"""Every response that content's contract documents, of the monolith."""

from __future__ import annotations

import pytest

from tests.contract.content_delivery.test_content_delivery_contract import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")

# It serves the three contracts as one: tests/unit/monolith.
del test_the_served_contract_is_the_file  # noqa: F821
