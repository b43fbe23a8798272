"""Content's audit lines, of the monolith."""

from __future__ import annotations

import pytest

from tests.contract.content_delivery.test_content_audit_lines import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")
