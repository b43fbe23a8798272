"""Bad input of content's authors, on the monolith."""

from __future__ import annotations

import pytest

from tests.contract.content_delivery.test_authoring_inputs import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")
