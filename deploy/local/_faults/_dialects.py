"""How a dependency says that it can not: the answers of DynamoDB, of S3 and of a plain web server.

Owns the error bodies, as AWS documents them. Knows no socket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import MappingProxyType
from typing import Protocol

from deploy.local._faults._message import Head


class Dialect(Protocol):
    """One service's way of refusing; each method gives a whole HTTP answer."""

    def error(self) -> bytes:
        """An internal error."""

    def throttle(self) -> bytes:
        """Too many requests."""

    def refusal_of_date(self, request: Head, now: datetime) -> bytes | None:
        """What it says to a signature from another time; None where it takes the request."""


class DynamoDBDialect:
    """https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html

    `says_when`: whether a refusal of a date says, as AWS's does, what time it is.
    """

    def __init__(self) -> None:
        self.says_when = True

    def error(self) -> bytes:
        return self._answer(500, "InternalServerError", "The request could not be processed.")

    def throttle(self) -> bytes:
        return self._answer(
            400,
            "ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded.",
        )

    def refusal_of_date(self, request: Head, now: datetime) -> bytes | None:
        signed = _signed_at(request)
        if signed is None or abs(now - signed) <= timedelta(minutes=5):
            return None
        then, text = (f"{moment:%Y%m%dT%H%M%SZ}" for moment in (signed, now))
        side = "expired" if signed < now else "not yet current"
        order = "earlier" if signed < now else "later"
        return self._answer(
            400,
            "InvalidSignatureException",
            f"Signature {side}: {then} is now {order} than {text}",
            {"Date": format_datetime(now, usegmt=True)} if self.says_when else {},
        )

    def _answer(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
        return _answer(
            status,
            json.dumps(body).encode(),
            {
                "Content-Type": "application/x-amz-json-1.0",
                "x-amzn-RequestId": "FAULT",
                **headers,
            },
        )


class S3Dialect:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""

    def error(self) -> bytes:
        return self._answer(500, "InternalError", "We encountered an internal error.")

    def throttle(self) -> bytes:
        return self._answer(503, "SlowDown", "Please reduce your request rate.")

    def refusal_of_date(self, request: Head, now: datetime) -> bytes | None:
        signed = _signed_at(request)
        if signed is None or abs(now - signed) <= timedelta(minutes=15):
            return None
        return self._answer(
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        )

    def _answer(self, status: int, code: str, message: str) -> bytes:
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>{message}</Message>"
            "<RequestId>FAULT</RequestId></Error>"
        )
        return _answer(
            status,
            body.encode(),
            {"Content-Type": "application/xml", "x-amz-request-id": "FAULT"},
        )


class WebDialect:
    """A server without a protocol of its own."""

    def error(self) -> bytes:
        return _answer(500, b"Internal Server Error", {"Content-Type": "text/plain"})

    def throttle(self) -> bytes:
        return _answer(429, b"Too Many Requests", {"Content-Type": "text/plain"})

    def refusal_of_date(self, request: Head, now: datetime) -> bytes | None:
        return None


def _signed_at(request: Head) -> datetime | None:
    """When a request with a signature in its header was signed; those in a URL live on purpose."""
    value = request.header("x-amz-date")
    if value is None:
        return None
    return datetime.strptime(value, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _answer(status: int, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Fault", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
