"""Both transports side by side: the same calls through aioboto3's client as it is and through ours.

    ./pantsw run tests/unit/aws/transport_conformance.py -- --requests 10000

Compared are the bytes on the wire but for date, signature and invocation id, and what the caller
gets: the answer, or the exception with all that it carries. Each signature is made again by botocore
from what was captured.
"""

import argparse
import asyncio
import binascii
import collections
import hmac
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import aioboto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from libs.aws import AwsSettings
from libs.aws._clock import SigningClock
from libs.aws._credentials import Credentials
from libs.aws._settings import client_config
from libs.aws._transport import direct_transport, verify_answers
from tests.unit.aws.capturing_server import Captured, CapturingServer, capturing_server
from tests.unit.aws.generated_calls import GeneratedCall, generated_call

_OWN_TO_A_REQUEST = (
    (re.compile(rb"\d{8}T\d{6}Z"), b"DATE"),
    (re.compile(rb"(?<=/)\d{8}(?=/)"), b"DAY"),
    (re.compile(rb"(?<=Signature=)[0-9a-f]{64}"), b"SIGNATURE"),
    (re.compile(rb"(?<=invocation-id: )[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"), b"ID"),
)  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """Who calls, from which region, and the path that the endpoint's URL ends in."""

    region: str
    access_key: str
    secret_key: str
    token: str | None
    path: str = ""


IDENTITIES = (
    Identity("eu-west-1", "AKIASTATIC", "secret/+key", None),
    Identity("ap-southeast-4", "ASIATEMPORARY", "another secret", "token/+=" * 40, "/prefix/%41~b"),
)


@asynccontextmanager
async def dynamodb_client(
    transport: Literal["direct", "sdk"], url: str, identity: Identity
) -> AsyncIterator[Any]:
    """aioboto3's client, as `open_clients` sets it up."""
    session = aioboto3.Session(
        aws_access_key_id=identity.access_key,
        aws_secret_access_key=identity.secret_key,
        aws_session_token=identity.token,
        region_name=identity.region,
    )
    settings = AwsSettings(region=identity.region, read_timeout_seconds=10)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            session.client(
                "dynamodb", endpoint_url=url + identity.path, config=client_config(settings)
            )
        )
        if transport == "direct":
            credentials = await Credentials.resolve(session)
            await stack.enter_async_context(
                direct_transport(client, credentials=credentials, clock=SigningClock())
            )
        else:
            verify_answers(client)
        yield client


UNREADABLE = "unreadable"
# What botocore's parser lets out, where an answer is not of the operation's shape, is a
# ResponseParserError in ours.
SDK_LEAKS = (AttributeError, TypeError, UnicodeDecodeError, binascii.Error)


async def outcome(client: Any, call: GeneratedCall, leaks: tuple[type[Exception], ...] = ()) -> Any:
    """What the caller gets, in a form that two clients' outcomes can be compared in."""
    try:
        return await getattr(client, call.method)(**call.params)
    except ClientError as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return kinds, str(error), error.response, error.operation_name
    except BotoCoreError as error:
        cause = error.kwargs.get("error")
        rest = {k: v for k, v in error.kwargs.items() if k not in ("error", "request")}
        return type(error).__name__, type(cause).__name__, str(cause), rest
    except ResponseParserError:
        return UNREADABLE
    except leaks:
        return UNREADABLE


def masked(request: Captured) -> bytes:
    """The request without what no two requests share."""
    found = request.head + b"\r\n\r\n" + request.body
    for pattern, name in _OWN_TO_A_REQUEST:
        found = pattern.sub(name, found)
    return found


def is_rightly_signed(request: Captured, identity: Identity) -> bool:
    """Whether botocore signs the captured request in the same way."""
    headers = request.headers()
    authorization = headers["authorization"]
    names = re.findall(r"SignedHeaders=([^,]+),", authorization)[0].split(";")
    credentials = BotocoreCredentials(identity.access_key, identity.secret_key, identity.token)
    auth = SigV4Auth(credentials, "dynamodb", identity.region)
    path = request.head.split(b" ", 2)[1].decode("latin-1")
    again = AWSRequest(
        method="POST",
        url=f"http://{headers['host']}{urlsplit(path).path}",
        headers={name: headers[name] for name in names},
        data=request.body,
    )
    again.context["timestamp"] = headers["x-amz-date"]
    signature = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    return hmac.compare_digest(f"Signature={signature}", authorization.rpartition(", ")[2])


@dataclass
class Compared:
    """How many calls of each kind agreed; `short`: those that botocore had no part in preparing."""

    kinds: collections.Counter[str]
    methods: collections.Counter[str]
    short: int = 0


async def compare(first: int, requests: int) -> Compared:
    """Make the calls of these numbers on both transports. Raises AssertionError at a difference."""
    compared = Compared(collections.Counter(), collections.Counter())
    async with capturing_server() as server, AsyncExitStack() as stack:
        pairs = []
        for identity in IDENTITIES:
            sdk = await stack.enter_async_context(dynamodb_client("sdk", server.url, identity))
            direct = await stack.enter_async_context(
                dynamodb_client("direct", server.url, identity)
            )
            _count_long_ways(direct, compared)
            pairs.append((identity, sdk, direct))
        for number in range(first, first + requests):
            identity, sdk, direct = pairs[number % len(pairs)]
            call = generated_call(number)
            compared.short += 1
            await _compare(server, call, identity, sdk, direct)
            compared.kinds[call.kind] += 1
            compared.methods[call.method] += 1
    return compared


def _count_long_ways(client: Any, compared: Compared) -> None:
    def count(**kwargs: object) -> None:
        compared.short -= 1

    client.meta.events.register("provide-client-params", count)


async def _compare(
    server: CapturingServer, call: GeneratedCall, identity: Identity, sdk: Any, direct: Any
) -> None:
    server.answer, server.is_cut = call.answer, call.is_cut
    server.requests.clear()
    expected, actual = await outcome(sdk, call, SDK_LEAKS), await outcome(direct, call)
    assert actual == expected, (call, actual, expected)
    theirs, ours = server.requests
    assert masked(ours) == masked(theirs), call
    assert is_rightly_signed(theirs, identity), call
    assert is_rightly_signed(ours, identity), call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER")
    options = parser.parse_args()
    started = time.monotonic()
    compared = asyncio.run(compare(options.first, options.requests))
    report = {
        "requests": options.requests,
        "withoutBotocoresPreparation": compared.short,
        "answers": compared.kinds,
        "methods": compared.methods,
        "seconds": round(time.monotonic() - started, 1),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
