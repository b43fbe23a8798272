"""What our transport to DynamoDB does besides signing, sending and reading: whose time, whose credentials,
which way through the network. That it is botocore's otherwise, test_transport_conformance.py shows."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aioboto3
import pytest
from aiohttp import web
from botocore.exceptions import ClientError, SSLError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from libs.aws import AwsSettings, DependencyUnavailable, open_clients
from libs.aws._clock import SigningClock
from libs.aws._credentials import Credentials
from libs.aws._settings import client_config
from libs.aws._transport import direct_transport
from libs.logging.testing import captured_logs
from libs.resilience import PipelineRegistry
from libs.tracing.testing import recording_tracer
from tests.unit.aws.capturing_server import capturing_server
from tests.unit.aws.fault_server import Behaviour, FaultServer, answer, error, fault_server, hang

KEY: dict[str, Any] = {"TableName": "courses", "Key": {"courseId": {"S": "c1"}}}
REGION = "eu-west-1"
# What AWS's clock shows.
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
DATE = {"Date": "Wed, 04 Mar 2026 12:00:00 GMT"}
TOO_OLD = "Signature expired: 20260304T110000Z is now earlier than 20260304T115500Z"
TOO_NEW = "Signature not yet current: 20260304T130000Z is still later than 20260304T120500Z"


@asynccontextmanager
async def direct_client(clock: list[datetime] | None = None, **settings: Any) -> AsyncIterator[Any]:
    """aioboto3's client with our transport, whose wall clock shows `clock[0]`."""
    shown = clock or [NOON]
    session = aioboto3.Session(region_name=REGION)
    async with session.client(
        "dynamodb", config=client_config(AwsSettings(region=REGION, **settings))
    ) as client:
        credentials = await Credentials.resolve(session)
        signing_clock = SigningClock(lambda: shown[0].timestamp())
        async with direct_transport(client, credentials=credentials, clock=signing_clock):
            yield client


def dates(aws: FaultServer) -> list[str]:
    return [request.headers["X-Amz-Date"] for request in aws.requests]


def is_noon(date: str) -> bool:
    """Whether a signature's date is AWS's time, by a machine whose own clock goes on meanwhile."""
    signed = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return abs(signed - NOON) < timedelta(minutes=2)


@pytest.mark.parametrize(
    ("hours", "refusal"),
    [
        (-1, error("InvalidSignatureException", message=TOO_OLD, headers=DATE)),
        (1, error("InvalidSignatureException", message=TOO_NEW, headers=DATE)),
        (-1, error("RequestTimeTooSkewed", status=403, headers=DATE)),
    ],
)
async def test_a_clock_that_is_wrong_is_corrected_by_awss(
    aws: FaultServer, hours: int, refusal: Behaviour
) -> None:
    """The call that met it is made once more: what is refused has executed nothing."""
    clock = [NOON + timedelta(hours=hours)]
    aws.then(refusal, answer({"Item": {"a": {"S": "1"}}}))
    async with direct_client(clock) as client:
        with captured_logs() as events:
            assert (await client.get_item(**KEY))["Item"] == {"a": {"S": "1"}}
        clock[0] += timedelta(seconds=30)
        await client.put_item(TableName="courses", Item={})
    assert dates(aws) == [f"20260304T{12 + hours}0000Z", "20260304T120000Z", "20260304T120030Z"]
    (event,) = (event for event in events if event["event"] == "signing_clock_corrected")
    assert event["offsetSeconds"] == -3600 * hours


async def test_a_clock_that_is_set_right_again_is_followed(aws: FaultServer) -> None:
    clock = [NOON + timedelta(hours=1)]
    aws.then(error("InvalidSignatureException", message=TOO_NEW, headers=DATE), answer({}))
    aws.then(error("InvalidSignatureException", message=TOO_OLD, headers=DATE), answer({}))
    async with direct_client(clock) as client:
        await client.get_item(**KEY)
        clock[0] = NOON
        await client.get_item(**KEY)
    assert [date[9:11] for date in dates(aws)] == ["13", "12", "11", "12"]


async def test_calls_at_once_are_all_made_again_and_tell_it_once(aws: FaultServer) -> None:
    aws.then(*[error("InvalidSignatureException", message=TOO_OLD, headers=DATE)] * 8)
    async with direct_client([NOON - timedelta(hours=1)]) as client:
        with captured_logs() as events:
            await asyncio.gather(*(client.get_item(**KEY) for _ in range(8)))
    assert sorted(dates(aws)) == ["20260304T110000Z"] * 8 + ["20260304T120000Z"] * 8
    assert [event["event"] for event in events].count("signing_clock_corrected") == 1


async def test_a_second_refusal_is_the_answer(aws: FaultServer) -> None:
    aws.otherwise = error("InvalidSignatureException", message=TOO_OLD, headers=DATE)
    async with direct_client([NOON - timedelta(hours=1)]) as client:
        for requests in (2, 3):
            with pytest.raises(ClientError):
                await client.get_item(**KEY)
            assert len(aws.requests) == requests


@pytest.mark.parametrize(
    "refusal",
    [
        # A wrong key: no time makes it better.
        error("InvalidSignatureException", message="does not match", headers=DATE),
        # The service doesn't say what time it is.
        error("InvalidSignatureException", message=TOO_OLD, headers={"Date": "noon"}),
    ],
)
async def test_without_awss_word_the_clock_is_left_alone(
    aws: FaultServer, refusal: Behaviour
) -> None:
    aws.then(refusal)
    async with direct_client([NOON - timedelta(hours=1)]) as client:
        with pytest.raises(ClientError):
            await client.get_item(**KEY)
        await client.get_item(**KEY)
    assert dates(aws) == ["20260304T110000Z"] * 2


async def test_urls_are_signed_for_the_corrected_time_too(aws: FaultServer) -> None:
    aws.then(error("InvalidSignatureException", message=TOO_OLD, headers=DATE))
    tracer, _ = recording_tracer()
    async with open_clients(
        AwsSettings(region=REGION),
        registry=PipelineRegistry(random=lambda: 0.0),
        tracer=tracer,
        services=("dynamodb", "s3"),
    ) as clients:
        await clients.dynamodb.get_item(**KEY)
        issued_at = datetime.now(UTC)
        url = clients.s3.presign(
            "get_object", {"Bucket": "media", "Key": "k"}, 900, issued_at=issued_at
        )
    (date,) = parse_qs(urlsplit(url).query)["X-Amz-Date"]
    assert is_noon(date)


async def test_the_day_of_the_signature_is_the_clocks(aws: FaultServer) -> None:
    clock = [datetime(2026, 3, 4, 23, 59, 59, tzinfo=UTC)]
    async with direct_client(clock) as client:
        await client.get_item(**KEY)
        clock[0] += timedelta(seconds=1)
        await client.get_item(**KEY)
    scopes = [request.headers["Authorization"].split("/")[1] for request in aws.requests]
    assert scopes == ["20260304", "20260305"]


@pytest.mark.usefixtures("_sdk_environment")
async def test_renewed_credentials_sign_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def role(name: str, minutes: float) -> Behaviour:
        async def behave(server: FaultServer, request: web.Request) -> web.StreamResponse:
            expiration = datetime.now(UTC) + timedelta(minutes=minutes)
            body = {"AccessKeyId": f"ASIA{name}", "SecretAccessKey": name, "Token": f"token-{name}"}
            return web.json_response({**body, "Expiration": f"{expiration:%Y-%m-%dT%H:%M:%SZ}"})

        return behave

    async with fault_server() as server, fault_server() as provider:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{provider.url}/role")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        # 5 minutes: inside the SDK's mandatory window, so that it asks again at every use.
        provider.otherwise = role("OLD", 5)
        tracer, _ = recording_tracer()
        async with open_clients(
            AwsSettings(region=REGION), registry=PipelineRegistry(), tracer=tracer
        ) as clients:
            await clients.dynamodb.get_item(**KEY)
            provider.otherwise = role("NEW", 60)
            await clients.dynamodb.get_item(**KEY)
            provider.otherwise = role("NEVER", 60)
            await clients.dynamodb.get_item(**KEY)
    tokens = [request.headers["X-Amz-Security-Token"] for request in server.requests]
    keys = [request.headers["Authorization"].split("/")[0][-7:] for request in server.requests]
    assert tokens == ["token-OLD", "token-NEW", "token-NEW"]
    assert keys == ["ASIAOLD", "ASIANEW", "ASIANEW"]


async def test_silence_is_a_read_time_out(aws: FaultServer) -> None:
    aws.then(hang)
    tracer, _ = recording_tracer()
    async with open_clients(
        AwsSettings(region=REGION, read_timeout_seconds=0.2),
        registry=PipelineRegistry(),
        tracer=tracer,
    ) as clients:
        with pytest.raises(DependencyUnavailable) as caught:
            await clients.dynamodb.put_item(TableName="courses", Item={})
    assert caught.value.reason == "timeout"
    assert type(caught.value.__cause__).__name__ == "ReadTimeoutError"


async def test_exceptions_are_the_clients(aws: FaultServer) -> None:
    aws.otherwise = error("ConditionalCheckFailedException", Item={"version": {"N": "7"}})
    async with direct_client() as client:
        for _ in range(2):
            with pytest.raises(client.exceptions.ConditionalCheckFailedException) as caught:
                await client.put_item(TableName="courses", Item={})
            assert caught.value.response["Item"] == {"version": {"N": "7"}}


async def test_what_others_add_to_a_request_is_signed_and_sent(aws: FaultServer) -> None:
    def add(params: dict[str, Any], **kwargs: object) -> None:
        params["headers"]["x-of-others"] = "yes"

    async with direct_client() as client:
        client.meta.events.register("before-call.dynamodb", add)
        for _ in range(2):
            await client.get_item(**KEY)
    for request in aws.requests:
        assert request.headers["x-of-others"] == "yes"
        assert ";x-of-others," in request.headers["Authorization"]


async def test_the_trace_of_a_lambda_function_goes_along_unsigned(
    aws: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "any")
    async with direct_client() as client:
        for trace in ("Root=1-a", "Root=1-b"):
            monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
            await client.get_item(**KEY)
    assert [r.headers["X-Amzn-Trace-Id"] for r in aws.requests] == ["Root=1-a", "Root=1-b"]
    assert "trace" not in aws.requests[0].headers["Authorization"]


async def test_events_around_a_call_stay_where_botocore_prepares_it(aws: FaultServer) -> None:
    seen: list[tuple[int, bytes]] = []

    async def after_call(http_response: Any, **kwargs: object) -> None:
        seen.append((http_response.status_code, await http_response.content))

    async with direct_client() as client:
        client.meta.events.register("after-call.dynamodb", after_call)
        await client.describe_table(TableName="courses")
    assert seen == [(200, b"{}")]


async def test_outside_of_its_context_the_client_is_botocores(aws: FaultServer) -> None:
    session = aioboto3.Session(region_name=REGION)
    async with session.client(
        "dynamodb", config=client_config(AwsSettings(region=REGION))
    ) as client:
        credentials = await Credentials.resolve(session)
        async with direct_transport(client, credentials=credentials, clock=SigningClock()):
            await client.get_item(**KEY)
        seen: list[object] = []
        client.meta.events.register("request-created", lambda **kwargs: seen.append(kwargs))
        await client.get_item(**KEY)
    assert len(seen) == 1
    assert len(aws.requests) == 2


async def test_a_proxy_of_the_environment_is_used(
    aws: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with capturing_server() as proxy:
        proxy.answer = b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: P\r\nContent-Length: 2\r\n\r\n{}"
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://dynamodb.test")
        async with direct_client() as client:
            await client.get_item(**KEY)
        (request,) = proxy.requests
    assert request.head.startswith(b"POST http://dynamodb.test/ HTTP/1.1\r\n")
    assert request.headers()["host"] == "dynamodb.test"
    assert aws.requests == []


async def test_only_certificates_of_the_configured_authorities_are_taken(
    aws: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({}, headers={"x-amzn-RequestId": "T"})

    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{site.port}")
        async with direct_client() as client:
            with pytest.raises(SSLError):
                await client.get_item(**KEY)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        async with direct_client() as client:
            assert (await client.get_item(**KEY))["ResponseMetadata"]["RequestId"] == "T"
    finally:
        await runner.cleanup()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dynamodb.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = (folder / "certificate.pem", folder / "key.pem")
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


async def test_many_calls_at_once_do_not_mix(aws: FaultServer) -> None:
    async def echo(server: FaultServer, request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["Key"]
        return web.json_response({"Item": asked}, headers={"x-amzn-RequestId": "E"})

    aws.otherwise = echo
    async with direct_client(connect_timeout_seconds=30, read_timeout_seconds=30) as client:

        async def ask(number: int) -> bool:
            key = {"courseId": {"S": f"course-{number}"}}
            return bool((await client.get_item(TableName="courses", Key=key))["Item"] == key)

        assert all(await asyncio.gather(*map(ask, range(100))))
