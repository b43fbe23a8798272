"""The catalog's audit lines, of the monolith."""

from __future__ import annotations

import pytest

from tests.contract.course_catalog.test_audit_lines import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")
