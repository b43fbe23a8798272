"""Every response that progress's contract documents, of the monolith."""

from __future__ import annotations

import pytest

from tests.contract.progress_tracking.test_progress_documented_responses import *  # noqa: F403 - the suite

pytestmark = pytest.mark.usefixtures("on_the_monolith")
