"""What went wrong at AWS, in the few words that callers, breakers and the HTTP layer act on.

Owns the classification of botocore's exceptions. Nothing above this module reads an AWS error
code. None of these classes has a metaclass: pybreaker would call it as a predicate.
"""

import enum
import math
import socket
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientConnectorError
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from libs.circuit_breaker import Outcome
from libs.resilience import FailureKind

THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        # Contention between transactions: as with a throttle, the same call may succeed later.
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
# Reasons inside a cancelled transaction, spelt otherwise than the exceptions of the same name.
_TRANSIENT_REASONS = frozenset(
    {"ThrottlingError", "ProvisionedThroughputExceeded", "TransactionConflict"}
)
_SERVER_CODES = frozenset(
    {"InternalServerError", "InternalError", "InternalFailure", "ServiceUnavailable"}
)
# The signature's keys have ended: DynamoDB's spelling and S3's. Renewed ones are served.
_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException"})
# The signature is from another time than AWS's, because this machine's clock was moved. Served again
# when the clock is right. Where the code says no more than that the signature is not accepted (a
# wrong key does that too), the message tells.
_SKEWED_CODES = frozenset({"RequestExpired", "RequestTimeTooSkewed"})
_SIGNATURE_CODES = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
_SKEWED_MESSAGES = ("Signature expired", "Signature not yet current")
_NOT_FOUND_CODES = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})


class ConditionFailed(Exception):  # noqa: N818 - the name that DynamoDB's users know
    """A condition of a write was not met: an answer, not a failure.

    item: what is stored, in wire form, where the call asked for it with
    ReturnValuesOnConditionCheckFailure=ALL_OLD; else None.
    reasons: for a transaction, one code or None per action in its order; else empty.
    items: for a transaction, the stored item or None per action; else empty.
    """

    def __init__(
        self,
        *,
        item: Mapping[str, Any] | None = None,
        reasons: tuple[str | None, ...] = (),
        items: tuple[Mapping[str, Any] | None, ...] = (),
    ) -> None:
        super().__init__("a condition was not met" + (f": {reasons}" if reasons else ""))
        self.item = item
        self.reasons = reasons
        self.items = items


class RequestRejected(Exception):  # noqa: N818 - as above
    """The dependency is well and refuses the call itself: a mistake of ours, or a missing right.

    dependency: "dynamodb", "s3" or "sqs"; operation: as AWS spells it; code: AWS's error code.
    """

    def __init__(self, dependency: str, operation: str, code: str, status: int) -> None:
        super().__init__(f"{dependency} {operation} was refused: {code} ({status})")
        self.dependency = dependency
        self.operation = operation
        self.code = code
        self.status = status


class NotFound(RequestRejected):
    """The object or multipart upload asked for does not exist (S3's 404); a table or bucket that
    is missing is no such case."""


class Executed(enum.Enum):
    """What is known of the effect of a call that failed."""

    NO = "no"
    """None: it was never sent, or was refused before it began."""
    MAYBE = "maybe"
    """No answer tells: its effect may be there already, or may come yet."""


class DependencyError(Exception):
    """The dependency could not serve the call; another try later may be served.

    dependency: "dynamodb", "s3", "sqs" or "credentials"; operation: as AWS spells it; reason: a stable
    word ("throttled", "timeout", "connection", "server_error", "malformed_response",
    "credentials", "clock"); executed: whether the call may have had its effect;
    retry_after_seconds: what the dependency asked for, if it did.
    """

    def __init__(
        self,
        dependency: str,
        operation: str,
        *,
        reason: str,
        executed: Executed = Executed.MAYBE,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{dependency} {operation}: {reason}")
        self.dependency = dependency
        self.operation = operation
        self.reason = reason
        self.executed = executed
        self.retry_after_seconds = retry_after_seconds


class Throttled(DependencyError):  # noqa: N818 - as above
    """The dependency takes no more for now."""


class DependencyUnavailable(DependencyError):  # noqa: N818 - as above
    """No answer, none in time, or one that says the dependency is unwell."""


def classify(error: BaseException) -> Outcome:
    """What a call's exception says about its dependency's health, for a circuit breaker.

    An unmet condition and an object that is not there are healthy answers. A refusal of the call
    itself tells nothing. Everything unknown counts against the dependency.
    """
    if isinstance(error, ConditionFailed | NotFound):
        return Outcome.SUCCESS
    if isinstance(error, RequestRejected):
        return Outcome.IGNORE
    return Outcome.FAILURE


def classify_failure(error: Exception) -> FailureKind:
    """What an attempt's exception says about another attempt, for a resilience pipeline."""
    if isinstance(error, DependencyError):
        if error.executed is Executed.NO:
            return FailureKind.NOT_EXECUTED
        return FailureKind.MAYBE_EXECUTED
    if isinstance(error, TimeoutError):
        return FailureKind.MAYBE_EXECUTED
    return FailureKind.FINAL


def is_clock_skew(code: str, message: str) -> bool:
    """Whether an error of AWS's says that a signature is from another time than its own."""
    return code in _SKEWED_CODES or (
        code in _SIGNATURE_CODES and message.startswith(_SKEWED_MESSAGES)
    )


def translate(error: Exception, *, dependency: str, operation: str) -> Exception:
    """The exception above that a botocore exception or a time-out is; others are given back."""
    if isinstance(error, ClientError):
        return _translate_client_error(error, dependency, operation)
    if isinstance(error, TimeoutError | ConnectTimeoutError | ReadTimeoutError):
        # Until there is a connection nothing can have been sent.
        never_sent = isinstance(error, ConnectTimeoutError)
        return DependencyUnavailable(
            dependency, operation, reason="timeout", executed=_executed(never_sent)
        )
    if isinstance(error, BotoCoreError):
        reason = _BOTOCORE_REASONS.get(type(error).__name__)
        if reason is not None:
            never_sent = reason == "credentials" or _never_connected(error)
            return DependencyUnavailable(
                dependency, operation, reason=reason, executed=_executed(never_sent)
            )
    if isinstance(error, OSError):
        return DependencyUnavailable(dependency, operation, reason="connection")
    if isinstance(error, ResponseParserError | UnicodeDecodeError):
        return DependencyUnavailable(dependency, operation, reason="malformed_response")
    return error


def _executed(never_sent: bool) -> Executed:
    return Executed.NO if never_sent else Executed.MAYBE


def _never_connected(error: BotoCoreError) -> bool:
    """Whether no connection was made at all: aiobotocore raises the same EndpointConnectionError
    for a connection that was reset in the middle of a call."""
    cause = error.kwargs.get("error")
    return isinstance(cause, ClientConnectorError | socket.gaierror)


# By name: some of these are defined in botocore's modules that drag others in.
_BOTOCORE_REASONS = {
    "ChecksumError": "malformed_response",
    "ConnectionClosedError": "connection",
    "ConnectionError": "connection",
    "CredentialRetrievalError": "credentials",
    "EndpointConnectionError": "connection",
    "FlexibleChecksumError": "malformed_response",
    "HTTPClientError": "connection",
    "IncompleteReadError": "malformed_response",
    "MetadataRetrievalError": "credentials",
    "NoCredentialsError": "credentials",
    "PartialCredentialsError": "credentials",
    "ProxyConnectionError": "connection",
    "ResponseStreamingError": "malformed_response",
    "SSLError": "connection",
}


def _translate_client_error(error: ClientError, dependency: str, operation: str) -> Exception:
    response: Mapping[str, Any] = error.response
    code = str(response.get("Error", {}).get("Code", "Unknown"))
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    retry_after = _seconds(metadata.get("HTTPHeaders", {}).get("retry-after"))
    if code == "ConditionalCheckFailedException":
        return ConditionFailed(item=response.get("Item"))
    if code == "TransactionCanceledException":
        return _translate_cancellation(response, dependency, operation, status)
    if code in THROTTLING_CODES or status == 429:
        return Throttled(
            dependency,
            operation,
            reason="throttled",
            # The transaction with the same token is still under way; it may yet succeed.
            executed=_executed(code != "TransactionInProgressException"),
            retry_after_seconds=retry_after,
        )
    if status >= 500 or code in _SERVER_CODES:
        return DependencyUnavailable(
            dependency, operation, reason="server_error", retry_after_seconds=retry_after
        )
    if code in _EXPIRED_CODES:
        return DependencyUnavailable(
            dependency, operation, reason="credentials", executed=Executed.NO
        )
    if is_clock_skew(code, str(response.get("Error", {}).get("Message", ""))):
        return DependencyUnavailable(dependency, operation, reason="clock", executed=Executed.NO)
    if code in _NOT_FOUND_CODES:
        return NotFound(dependency, operation, code, status)
    return RequestRejected(dependency, operation, code, status)


def _translate_cancellation(
    response: Mapping[str, Any], dependency: str, operation: str, status: int
) -> Exception:
    """A transaction names a reason for each of its actions; an unmet condition decides."""
    entries = [
        entry if isinstance(entry, Mapping) else {}
        for entry in response.get("CancellationReasons", ())
    ]
    reasons = tuple(
        None if entry.get("Code") in (None, "None") else str(entry["Code"]) for entry in entries
    )
    if "ConditionalCheckFailed" in reasons:
        return ConditionFailed(reasons=reasons, items=tuple(entry.get("Item") for entry in entries))
    if any(reason in _TRANSIENT_REASONS for reason in reasons):
        return Throttled(dependency, operation, reason="throttled", executed=Executed.NO)
    code = next((reason for reason in reasons if reason), "TransactionCanceledException")
    return RequestRejected(dependency, operation, code, status)


def _seconds(text: object) -> float | None:
    try:
        seconds = float(str(text))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
