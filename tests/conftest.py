"""Fixtures that every kind of test may ask for. A backend starts only when a test asks for it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# The fixtures import for themselves: the SDK takes half a second, which most tests need not wait for. And
# no test depends on the backends through this file: those that use them import from tests.backends.
if TYPE_CHECKING:
    from tests.backends import Backend  # pants: no-infer-dep


@pytest.fixture(scope="session")
def ministack_backend() -> "Iterator[Backend]":
    """A MiniStack for the whole session: name tables and buckets so that tests don't meet in one."""
    from tests.backends import running_ministack  # pants: no-infer-dep

    with running_ministack() as backend:
        yield backend


@pytest.fixture(scope="session")
def moto_backend() -> "Iterator[Backend]":
    """A moto for the whole session: name tables and buckets so that tests don't meet in one."""
    from tests.backends import running_moto  # pants: no-infer-dep

    with running_moto() as backend:
        yield backend
