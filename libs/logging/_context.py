"""Values that every event of one request carries, kept apart between concurrent tasks.

One ContextVar holds one immutable mapping, so a child task sees what its parent had bound when it
started, and nothing that it binds itself shows up in its parent or siblings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_NOTHING: Mapping[str, object] = MappingProxyType({})
_BOUND: ContextVar[Mapping[str, object]] = ContextVar("lyceum_log_context", default=_NOTHING)


def bound() -> Mapping[str, object]:
    """What is bound in the current context."""
    return _BOUND.get()


def bind(**values: object) -> None:
    """Add values to every later event of the current context; a name bound before is replaced."""
    _BOUND.set({**_BOUND.get(), **values})


def clear() -> None:
    """Forget all that is bound in the current context."""
    _BOUND.set(_NOTHING)


@contextmanager
def request_context(**values: object) -> Iterator[None]:
    """Bind values for the length of a block, then restore exactly what was bound before it.

    What `bind` adds inside the block goes with it: an HTTP server handles the requests of one
    connection in one task, so whatever stayed bound would show up in the next request.
    """
    before = _BOUND.get()
    _BOUND.set({**before, **values})
    try:
        yield
    finally:
        # Setting cannot fail; ContextVar.reset raises when the block ends in another context, as
        # a generator closed by the garbage collector does.
        _BOUND.set(before)
