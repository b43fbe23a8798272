"""Calls of AWS, tried again while it is worth it. Owns when; knows nothing of what is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)

from deploy.release._credentials import Aws

_THROTTLED = frozenset({
    "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException", "PriorRequestNotComplete",
    "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "SlowDown",
    "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException",
    "TransactionInProgressException",
})  # fmt: skip
_EXPIRED = frozenset({
    "ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId",
    "UnrecognizedClientException",
})  # fmt: skip

_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0


class AwsError(Exception):
    """AWS said no, or nothing.

    Args:
        operation: what was asked.
        code: AWS's word for why; "" where it said nothing.
        detail: a line.
    """

    def __init__(self, operation: str, code: str, detail: str) -> None:
        super().__init__(f"{operation}: {code + ': ' if code else ''}{detail}")
        self.operation = operation
        self.code = code

    @property
    def is_expired(self) -> bool:
        """Whether the credentials are not good any more."""
        return self.code in _EXPIRED


class TransientAwsError(AwsError):
    """It may be different in a moment: throttled, unavailable, not reached."""

    @property
    def may_have_been_done(self) -> bool:
        """Whether AWS may have done it all the same: what is throttled was not begun."""
        return self.code not in _THROTTLED


class Calls:
    """Calls operations of AWS.

    Throttled and failed calls are repeated after growing pauses with full jitter. Each of our calls
    may be: those that change something say what is to be, not what is to be added, but for a task
    definition, of which one more does no harm.

    Args:
        aws: the clients; asked for new ones once when credentials have expired.
        sleep: pauses for seconds.
        chance: a number of [0, 1).
    """

    def __init__(
        self, aws: Aws, *, sleep: Callable[[float], None], chance: Callable[[], float]
    ) -> None:
        self._aws = aws
        self._sleep = sleep
        self._chance = chance

    def __call__(self, service: str, operation: str, /, **parameters: object) -> dict[str, Any]:
        """The answer. Raises AwsError, and TransientAwsError when it was tried often enough."""
        renewed = False
        attempt = 1
        while True:
            try:
                return self._once(service, operation, parameters)
            except TransientAwsError:
                if attempt == _ATTEMPTS:
                    raise
                longest = min(_FIRST_PAUSE_SECONDS * 2**attempt, _LONGEST_PAUSE_SECONDS)
                self._sleep(longest * self._chance())
                attempt += 1
            except AwsError as error:
                if not error.is_expired or renewed:
                    raise
                renewed = True
                self._aws.renew()

    def _once(self, service: str, operation: str, parameters: dict[str, object]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self._aws.client(service), operation)(**parameters)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            detail = str(error.response.get("Error", {}).get("Message", "") or "no reason given")
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            is_transient = code in _THROTTLED or status >= 500 or status == 429
            kind = TransientAwsError if is_transient else AwsError
            raise kind(operation, code, detail) from None
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise AwsError(operation, "", f"no credentials of AWS ({error})") from None
        except (BotoConnectionError, HTTPClientError) as error:
            raise TransientAwsError(operation, "", str(error)) from None
        except BotoCoreError as error:
            raise AwsError(operation, "", str(error)) from None
        return answer
