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


class RenditionExistsError(ContentDeliveryError):
    """The content has a rendition of that name, or one is on its way."""

    def __init__(self, content_id: str, rendition: str) -> None:
        super().__init__(f"content {content_id} has a rendition {rendition} already")
        self.content_id = content_id
        self.rendition = rendition


class TooManyMediaError(ContentDeliveryError):
    """The content has as many renditions or captions as it may have. ``what`` names them."""

    def __init__(self, content_id: str, what: str, maximum: int) -> None:
        super().__init__(f"content {content_id} has {maximum} {what} already")
        self.content_id = content_id
        self.what = what
        self.maximum = maximum


class NotRestorableError(ContentDeliveryError):
    """The deleted content was never ready, or its time to be restored has run out."""

    def __init__(self, content_id: str) -> None:
        super().__init__(f"content {content_id} cannot be restored")
        self.content_id = content_id


class UploadTooLargeError(ContentDeliveryError):
    """The announced object is larger than this service takes."""

    def __init__(self, maximum_bytes: int) -> None:
        super().__init__(f"an object may have at most {maximum_bytes} bytes")
        self.maximum_bytes = maximum_bytes


class NotUploadingError(ContentDeliveryError):
    """The upload is over, well or badly: there is nothing to send any more. ``state`` says which."""

    def __init__(self, content_id: str, state: str) -> None:
        super().__init__(f"the upload of content {content_id} is {state}")
        self.content_id = content_id
        self.state = state


class UnknownPartsError(ContentDeliveryError):
    """The upload has no parts of these numbers. ``parts`` is how many it has."""

    def __init__(self, content_id: str, parts: int) -> None:
        super().__init__(f"the upload of content {content_id} has parts 1 to {parts}")
        self.content_id = content_id
        self.parts = parts


class UploadIncompleteError(ContentDeliveryError):
    """Bytes are missing; once they have arrived, the upload can be completed.

    ``missing`` are the first and last numbers of each run of missing parts, none for a form.
    """

    def __init__(self, content_id: str, missing: tuple[tuple[int, int], ...] = ()) -> None:
        super().__init__(f"the upload of content {content_id} is not complete")
        self.content_id = content_id
        self.missing = missing


class UploadFailedError(ContentDeliveryError):
    """The upload was refused or aborted; ``reason`` is for its author."""

    def __init__(self, content_id: str, reason: str) -> None:
        super().__init__(f"the upload of content {content_id} has failed")
        self.content_id = content_id
        self.reason = reason


class InvalidCaptionError(ContentDeliveryError):
    """The text is not a WebVTT file. ``problem`` says why, without the text."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"not a WebVTT file: {problem}")
        self.problem = problem


class ObjectChangedError(ContentDeliveryError):
    """The object was replaced or removed while it was read."""

    def __init__(self) -> None:
        super().__init__("the object changed while it was read")
