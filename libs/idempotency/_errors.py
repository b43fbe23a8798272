"""Why a request with a key is not carried out. Plain exceptions; `_http` gives them their status."""

from __future__ import annotations


class IdempotencyKeyReusedError(Exception):
    """The key was sent before with another request."""

    def __init__(self) -> None:
        super().__init__("the key belongs to another request")


class IdempotencyInProgressError(Exception):
    """A request with this key is being carried out."""

    def __init__(self) -> None:
        super().__init__("a request with this key is being carried out")
