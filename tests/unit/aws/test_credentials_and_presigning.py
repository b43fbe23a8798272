"""Who signs, until when, and that our pre-signed URLs are botocore's, byte for byte."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aioboto3
import pytest
from aiohttp import web

from libs.aws import (
    AwsSettings,
    Clients,
    DependencyUnavailable,
    PresignedMethod,
    S3Endpoint,
    Signer,
    open_clients,
    presign,
    presign_post,
)
from libs.aws._credentials import Credentials
from libs.aws._settings import s3_config
from libs.logging.testing import captured_logs
from libs.resilience import PipelineRegistry
from libs.tracing.testing import recording_tracer
from tests.unit.aws.conftest import ACCESS_KEY, SECRET_KEY
from tests.unit.aws.fault_server import Behaviour, FaultServer, fault_server, s3_answer

SETTINGS = AwsSettings(region="eu-west-1", credentials_check_seconds=3600)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@asynccontextmanager
async def clients() -> AsyncIterator[Clients]:
    tracer, _ = recording_tracer()
    async with open_clients(
        SETTINGS,
        registry=PipelineRegistry(),
        tracer=tracer,
        services=("dynamodb", "s3"),
        now=lambda: NOW,
    ) as opened:
        yield opened


def task_credentials(name: str, *, minutes: float) -> Behaviour:
    """The answer of the credentials endpoint of ECS."""
    expiration = datetime.now(UTC) + timedelta(minutes=minutes)
    body = {
        "AccessKeyId": f"ASIA{name}",
        "SecretAccessKey": f"secret-{name}",
        "Token": f"token/+= {name}",
        "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }

    async def behave(server: FaultServer, request: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    return behave


@pytest.fixture()
async def ecs(
    _sdk_environment: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FaultServer]:
    """A credentials endpoint as a task on ECS has one, which also serves as AWS itself."""
    async with fault_server() as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/role")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


async def test_static_credentials_do_not_end(aws: FaultServer) -> None:
    async with clients() as opened:
        assert opened.s3.credentials_expire_at() is None
        url = opened.s3.presign("get_object", {"Bucket": "media", "Key": "a b.mp4"}, 900)
    query = parse_qs(urlsplit(url).query)
    assert url.startswith(f"{aws.url}/media/a%20b.mp4?")
    assert query["X-Amz-Date"] == ["20260102T030405Z"]
    assert query["X-Amz-Expires"] == ["900"]
    assert query["X-Amz-Credential"] == [f"{ACCESS_KEY}/20260102/eu-west-1/s3/aws4_request"]
    assert "X-Amz-Security-Token" not in query
    # Pre-signing is local.
    assert aws.requests == []


async def test_task_credentials_come_from_the_container_provider(ecs: FaultServer) -> None:
    ecs.then(task_credentials("one", minutes=60))
    async with clients() as opened:
        expires_at = opened.s3.credentials_expire_at()
        url = opened.s3.presign("get_object", {"Bucket": "media", "Key": "k"}, 900)
        ecs.then(s3_answer())
        await opened.s3.head_object(Bucket="media", Key="k")
    assert expires_at is not None
    assert timedelta(minutes=59) < expires_at - datetime.now(UTC) <= timedelta(minutes=60)
    assert parse_qs(urlsplit(url).query)["X-Amz-Security-Token"] == ["token/+= one"]
    fetched, called = ecs.requests
    assert (fetched.path, fetched.headers["Authorization"]) == ("/role", "task-token")
    assert called.headers["X-Amz-Security-Token"] == "token/+= one"


async def test_what_is_near_its_end_is_renewed_and_signs_from_then_on(ecs: FaultServer) -> None:
    # 5 minutes: inside the SDK's mandatory window, so that it asks again at every use.
    ecs.otherwise = task_credentials("old", minutes=5)
    credentials = await Credentials.resolve(aioboto3.Session(region_name="eu-west-1"))
    assert credentials.signer().access_key == "ASIAold"
    ecs.otherwise = task_credentials("new", minutes=60)
    await credentials.ensure()
    signer = credentials.signer()
    assert signer.access_key == "ASIAnew"
    assert signer.expires_at == credentials.expire_at()
    assert signer.expires_at is not None
    assert signer.expires_at - datetime.now(UTC) > timedelta(minutes=59)


async def test_the_background_renewal_runs_by_itself(ecs: FaultServer) -> None:
    ecs.then(task_credentials("old", minutes=5), task_credentials("old", minutes=5))
    ecs.otherwise = task_credentials("new", minutes=60)
    tracer, _ = recording_tracer()
    settings = AwsSettings(region="eu-west-1", credentials_check_seconds=0.001)
    async with open_clients(
        settings, registry=PipelineRegistry(), tracer=tracer, services=("s3",)
    ) as opened:
        await _until(
            lambda: "ASIAnew"
            in opened.s3.presign("get_object", {"Bucket": "media", "Key": "k"}, 60)
        )


async def test_a_failed_renewal_leaves_what_still_lives(ecs: FaultServer) -> None:
    ecs.otherwise = task_credentials("old", minutes=5)
    credentials = await Credentials.resolve(aioboto3.Session(region_name="eu-west-1"))
    ecs.otherwise = s3_answer(b"no", status=500)
    with captured_logs() as events:
        await credentials.refresh()
        with pytest.raises(DependencyUnavailable) as caught:
            await credentials.ensure()
    assert caught.value.reason == "credentials"
    assert credentials.signer().access_key == "ASIAold"
    assert [event["event"] for event in events].count("credentials_refresh_failed") == 1


async def test_ended_credentials_sign_nothing(ecs: FaultServer) -> None:
    ecs.otherwise = task_credentials("old", minutes=5)
    credentials = await Credentials.resolve(aioboto3.Session(region_name="eu-west-1"))
    credentials._credentials._expiry_time = datetime.now(UTC) - timedelta(seconds=1)
    with pytest.raises(DependencyUnavailable) as caught:
        credentials.signer()
    assert caught.value.dependency == "credentials"


async def test_a_call_without_credentials_is_a_dependencys_failure(ecs: FaultServer) -> None:
    ecs.otherwise = task_credentials("old", minutes=5)
    async with clients() as opened:
        ecs.otherwise = s3_answer(b"{}")
        with pytest.raises(DependencyUnavailable) as caught:
            await opened.dynamodb.get_item(TableName="courses", Key={})
    assert (caught.value.dependency, caught.value.reason) == ("credentials", "credentials")


@pytest.mark.usefixtures("_sdk_environment")
async def test_no_credentials_at_all_is_said_at_once() -> None:
    with pytest.raises(DependencyUnavailable) as caught:
        async with clients():
            pass
    assert caught.value.reason == "credentials"


async def test_an_endpoint_that_refuses_is_said_at_once(ecs: FaultServer) -> None:
    ecs.otherwise = s3_answer(json.dumps({"code": "denied"}).encode(), status=403)
    with pytest.raises(DependencyUnavailable) as caught:
        async with clients():
            pass
    assert caught.value.reason == "credentials"


@pytest.mark.parametrize(
    ("endpoint", "bucket"),
    [
        (None, "media"),
        (None, "media.with.dots"),
        ("http://127.0.0.1:4566", "media"),
        ("http://storage.test:9000", "media"),
        ("http://storage.test:9000", "media.with.dots"),
        ("https://storage.test", "media.with.dots"),
    ],
)
@pytest.mark.parametrize("token", [None, "session/token+="])
@pytest.mark.usefixtures("_sdk_environment")
async def test_urls_are_botocores(endpoint: str | None, bucket: str, token: str | None) -> None:
    session = aioboto3.Session(
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        aws_session_token=token,
        region_name="eu-west-1",
    )
    calls: list[tuple[PresignedMethod, dict[str, str | int]]] = [
        ("get_object", {"Key": "plain.mp4"}),
        ("head_object", {"Key": "plain.mp4"}),
        ("get_object", {"Key": "a/b c/ä+=&?#%~.mp4"}),
        (
            "get_object",
            {
                "Key": "k",
                "ResponseContentType": "video/mp4",
                "ResponseContentDisposition": "attachment; filename=\"ü 'x' (1).mp4\"",
                "ResponseCacheControl": "no-store",
            },
        ),
        ("get_object", {"Key": "k", "VersionId": "v/1+="}),
        ("head_object", {"Key": "k", "VersionId": "v/1+="}),
        ("upload_part", {"Key": "a b/ü", "UploadId": "u/1+=~ ", "PartNumber": 10_000}),
        ("upload_part", {"Key": "k", "PartNumber": 1, "UploadId": "u", "ContentLength": 5_242_880}),
    ]
    async with session.client("s3", config=s3_config(SETTINGS), endpoint_url=endpoint) as client:
        for method, params in calls:
            theirs = await client.generate_presigned_url(
                method, Params={"Bucket": bucket, **params}, ExpiresIn=777
            )
            signed_at = parse_qs(urlsplit(theirs).query)["X-Amz-Date"][0]
            ours = presign(
                method,
                {"Bucket": bucket, **{name: str(value) for name, value in params.items()}},
                expires_seconds=777,
                endpoint=S3Endpoint(client.meta.endpoint_url, client.meta.region_name),
                signer=Signer(ACCESS_KEY, SECRET_KEY, token, None),
                now=datetime.strptime(signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
            )
            assert ours == theirs


@pytest.mark.parametrize(
    ("endpoint", "bucket"),
    [
        (None, "media"),
        (None, "media.with.dots"),
        ("http://127.0.0.1:4566", "media"),
        ("http://storage.test:9000", "media"),
        ("https://storage.test", "media.with.dots"),
    ],
)
@pytest.mark.parametrize("token", [None, "session/token+="])
@pytest.mark.usefixtures("_sdk_environment")
async def test_forms_are_botocores(endpoint: str | None, bucket: str, token: str | None) -> None:
    session = aioboto3.Session(
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        aws_session_token=token,
        region_name="eu-west-1",
    )
    fields = {
        "Content-Type": "video/mp4",
        "x-amz-checksum-algorithm": "SHA256",
        "x-amz-checksum-sha256": "A" * 43 + "=",
    }
    conditions = [*({name: value} for name, value in fields.items())]
    ranged = ["content-length-range", 7, 7]
    async with session.client("s3", config=s3_config(SETTINGS), endpoint_url=endpoint) as client:
        for key in ("plain.mp4", "a/b c/ä+=&?#%~\"'.mp4"):
            theirs: dict[str, Any] = {}
            while not _of_one_second(theirs, seconds=777):
                theirs = await client.generate_presigned_post(
                    bucket,
                    key,
                    Fields=dict(fields),
                    Conditions=[*conditions, ranged],
                    ExpiresIn=777,
                )
            ours = presign_post(
                bucket,
                key,
                fields=fields,
                conditions=[*conditions, ["content-length-range", 7, 7]],
                expires_seconds=777,
                endpoint=S3Endpoint(client.meta.endpoint_url, client.meta.region_name),
                signer=Signer(ACCESS_KEY, SECRET_KEY, token, None),
                now=datetime.strptime(theirs["fields"]["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(
                    tzinfo=UTC
                ),
            )
            assert (ours.url, ours.fields) == (theirs["url"], theirs["fields"])
            assert ours.fields["policy"] not in repr(ours)


def _of_one_second(form: dict[str, Any], *, seconds: int) -> bool:
    """botocore asks the clock twice, for the signature and for the end: whether a second began in
    between, it isn't comparable."""
    if not form:
        return False
    signed = datetime.fromisoformat(form["fields"]["x-amz-date"])
    ends = json.loads(base64.b64decode(form["fields"]["policy"]))["expiration"]
    return datetime.fromisoformat(ends) - signed == timedelta(seconds=seconds)


async def test_the_same_instant_gives_the_same_url(aws: FaultServer) -> None:
    async with clients() as opened:
        earlier = NOW - timedelta(minutes=3)
        first, second = (
            opened.s3.presign("get_object", {"Bucket": "b", "Key": "k"}, 60, issued_at=earlier)
            for _ in range(2)
        )
        form = opened.s3.presign_post(
            "b", "k", fields={}, conditions=[], expires_seconds=60, issued_at=earlier
        )
    assert first == second
    assert parse_qs(urlsplit(first).query)["X-Amz-Date"] == ["20260102T030105Z"]
    assert form.fields["x-amz-date"] == "20260102T030105Z"


@pytest.mark.parametrize("seconds", [0, -1, 604_801])
async def test_a_form_s_life_that_s3_would_refuse(aws: FaultServer, seconds: int) -> None:
    async with clients() as opened:
        with pytest.raises(ValueError, match="lives"):
            opened.s3.presign_post("b", "k", fields={}, conditions=[], expires_seconds=seconds)


@pytest.mark.parametrize("seconds", [0, -1, 604_801])
async def test_a_life_that_s3_would_refuse(aws: FaultServer, seconds: int) -> None:
    async with clients() as opened:
        with pytest.raises(ValueError, match="lives"):
            opened.s3.presign("get_object", {"Bucket": "b", "Key": "k"}, seconds)


async def test_unknown_parameters_are_refused(aws: FaultServer) -> None:
    async with clients() as opened:
        with pytest.raises(ValueError, match="Range"):
            opened.s3.presign("get_object", {"Bucket": "b", "Key": "k", "Range": "0-1"}, 60)


async def _until(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
