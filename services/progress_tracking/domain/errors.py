"""What can go wrong in progress tracking, as plain exceptions. No message holds a value."""

from __future__ import annotations


class ProgressTrackingError(Exception):
    """Base of every error that this domain raises on purpose."""


class AttemptNotStartedError(ProgressTrackingError):
    """The update names an attempt later than the current one. Updates do not begin attempts:
    one wrong number would put all that was recorded out of sight."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the current attempt is {current}")
        self.current = current


class TooManyContentsError(ProgressTrackingError):
    """The update would record more contents in one course than are kept."""


class CorruptProgressError(ProgressTrackingError):
    """A stored row breaks a rule that every row satisfies. The message names the rule."""
