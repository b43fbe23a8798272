"""What can go wrong in content delivery, as plain exceptions.

No message carries an object key or a signed URL: exceptions end in logs.
"""

from __future__ import annotations


class ContentDeliveryError(Exception):
    """Base of every error that this domain raises on purpose."""


class ContentNotFoundError(ContentDeliveryError):
    """There is no such content, or it has been deleted: the two are not told apart outside."""

    def __init__(self, content_id: str) -> None:
        super().__init__(f"there is no content {content_id}")
        self.content_id = content_id


class ContentNotReadyError(ContentDeliveryError):
    """The content exists but has nothing to deliver: its upload is pending or has failed."""

    def __init__(self, content_id: str) -> None:
        super().__init__(f"content {content_id} is not ready")
        self.content_id = content_id


class RenditionNotFoundError(ContentDeliveryError):
    """The content is ready but has no rendition of that name."""

    def __init__(self, content_id: str, rendition: str) -> None:
        super().__init__(f"content {content_id} has no rendition {rendition}")
        self.content_id = content_id
        self.rendition = rendition


class ContentExistsError(ContentDeliveryError):
    """Content of this id has been created before, in whatever status it is now."""

    def __init__(self, content_id: str) -> None:
        super().__init__(f"content {content_id} exists already")
        self.content_id = content_id


class IllegalTransitionError(ContentDeliveryError):
    """The status machine has no such step from where the content is. Names are status values."""

    def __init__(self, content_id: str, current: str, wanted: str) -> None:
        super().__init__(f"content {content_id} is {current} and cannot become {wanted}")
        self.content_id = content_id
        self.current = current
        self.wanted = wanted


class VersionConflictError(ContentDeliveryError):
    """Somebody else changed the content since the caller read it."""

    def __init__(self, content_id: str) -> None:
        super().__init__(f"content {content_id} was changed by somebody else")
        self.content_id = content_id


class CorruptContentError(ContentDeliveryError):
    """A stored row breaks a rule that every row satisfies. ``problem`` names the rule, no value."""

    def __init__(self, content_id: str, problem: str) -> None:
        super().__init__(f"the stored row of content {content_id} is not valid: {problem}")
        self.content_id = content_id
        self.problem = problem


class SigningUnavailableError(ContentDeliveryError):
    """The credentials at hand expire too soon to sign a URL that anybody could use."""

    def __init__(self) -> None:
        super().__init__("the signing credentials expire in less than the least useful life")
