"""Each hardening point of the embedded AWS, shown on the running process and over the wire."""

import base64
import hashlib
import json
import os
import re
import stat
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aioboto3
import aiohttp
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from yarl import URL

from deploy.local._environment import (
    embedded_aws_command,
    embedded_aws_python,
    embedded_aws_variables,
)
from deploy.local._provision import EmbeddedAws
from tests.backends._process import Server, serving

OUTSIDE_ORIGIN = "http://outside.example"
PLAYER_ORIGIN = "http://player.example"


@dataclass(frozen=True)
class Running:
    """A started embedded AWS: its process, its state folder, and the administrator's access."""

    server: Server
    state: Path
    aws: EmbeddedAws


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Started in an environment that tries to soften it."""
    state = tmp_path_factory.mktemp("hardening") / "aws"
    softening = {
        "AUTH": "false",
        "AWS_ACCESS_KEY_ID": "known",
        "BIND_HOST": "0.0.0.0",
        "IOT_MTLS_ENABLED": "1",
        "SERVICES": "",
        "SFTP_ENABLED": "1",
        "STATE_DIR": str(state.parent / "elsewhere"),
    }
    command = embedded_aws_command(embedded_aws_python(), state=state)
    with serving(command, embedded_aws_variables() | softening) as server:
        line = json.dumps(dict(server.ready))
        yield Running(server, state, EmbeddedAws.from_ready_line(line))


@pytest.fixture()
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture()
async def bucket(running: Running) -> str:
    """A bucket with one object, whose CORS rules name one player."""
    name = f"b-{uuid.uuid4()}"
    async with running.aws.client("s3") as s3:
        await s3.create_bucket(Bucket=name)
        await s3.put_object(
            Bucket=name, Key="video.mp4", Body=b"0123456789", ContentType="video/mp4"
        )
        await s3.put_bucket_cors(
            Bucket=name,
            CORSConfiguration={
                "CORSRules": [{"AllowedOrigins": [PLAYER_ORIGIN], "AllowedMethods": ["GET"]}]
            },
        )
    return name


async def presigned(
    running: Running, bucket: str, *, method: str = "get_object", seconds: int = 60, **extra: str
) -> str:
    async with running.aws.client("s3") as s3:
        url: str = await s3.generate_presigned_url(
            method, Params={"Bucket": bucket, "Key": "video.mp4", **extra}, ExpiresIn=seconds
        )
    return url


# --- the process -----------------------------------------------------------------------------------


def listening_addresses(pid: int) -> set[str]:
    """Local addresses (hexadecimal, as in /proc/net) on which the process takes connections."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(descriptor)
        if found := re.fullmatch(r"socket:\[(\d+)\]", target):
            sockets.add(found[1])
    addresses = set()
    for table, listening in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        lines = Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]
        for fields in (line.split() for line in lines):
            if fields[3] == listening and fields[9] in sockets:
                addresses.add(fields[1])
    return addresses


def test_it_listens_on_loopback_only_and_on_one_port_only(running: Running) -> None:
    port = int(running.aws.endpoint_url.rsplit(":", 1)[1])
    # No MQTT listener on 0.0.0.0:8883 and no SFTP either, though the environment asks for them.
    assert listening_addresses(running.server.process.pid) == {f"0100007F:{port:04X}"}


async def test_only_the_named_services_run(running: Running, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{running.aws.endpoint_url}/_ministack/health") as response:
        health = await response.json()
    assert sorted(health["services"]) == [
        "apigateway",
        "cognito-idp",
        "dynamodb",
        "dynamodbstreams",
        "iam",
        "monitoring",
        "pipes",
        "s3",
        "sns",
        "sqs",
        "sts",
    ]
    assert health["auth"] == "enabled"
    for service, call in (("events", "list_rules"), ("lambda", "list_functions")):
        async with running.aws.client(service) as client:
            with pytest.raises(ClientError, match="not available"):
                await getattr(client, call)()


def test_its_state_is_its_owner_s_alone(running: Running) -> None:
    paths = [running.state, *running.state.rglob("*")]
    assert len(paths) > 5
    loose = {
        str(path): oct(stat.S_IMODE(path.stat().st_mode))
        for path in paths
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    }
    assert loose == {}


async def test_it_keeps_everything_in_its_state_folder(running: Running, bucket: str) -> None:
    assert list((running.state / "objects").rglob("*video.mp4*"))
    assert not (running.state.parent / "elsewhere").exists()
    assert not os.path.exists(f"/tmp/ministack-{running.aws.endpoint_url.rsplit(':', 1)[1]}.pid")
    opened = {
        os.readlink(descriptor)
        for descriptor in Path(f"/proc/{running.server.process.pid}/fd").iterdir()
    }
    assert not {path for path in opened if path.startswith("/tmp/ministack")}


def test_the_administrator_s_key_is_random_and_not_on_the_command_line(running: Running) -> None:
    pid = running.server.process.pid
    told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert running.aws.secret_access_key.encode() not in told
    assert running.aws.access_key_id.encode() not in told
    assert len(running.aws.secret_access_key) >= 40


# --- signatures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("test", "test"),
        ("known", "any"),
        ("000000000000", "any"),
        ("123456789012", "any"),
        ("AKIAUNKNOWNUNKNOWN00", "any"),
    ],
)
async def test_no_key_is_root_by_its_name(running: Running, key: str, secret: str) -> None:
    intruder = EmbeddedAws(running.aws.endpoint_url, running.aws.region, key, secret)
    async with intruder.client("dynamodb") as dynamodb, intruder.client("s3") as s3:
        with pytest.raises(ClientError) as refused:
            await dynamodb.list_tables()
        assert refused.value.response["Error"]["Code"] in {
            "AccessDeniedException",
            "UnrecognizedClientException",
        }
        with pytest.raises(ClientError):
            await s3.list_buckets()


async def test_the_administrator_needs_the_secret(running: Running) -> None:
    forger = EmbeddedAws(
        running.aws.endpoint_url, running.aws.region, running.aws.access_key_id, "guess"
    )
    for service, call in (
        ("dynamodb", "list_tables"),
        ("s3", "list_buckets"),
        ("iam", "list_users"),
    ):
        async with forger.client(service) as client:
            with pytest.raises(ClientError) as refused:
                await getattr(client, call)()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 403}
        assert "Signature" in refused.value.response["Error"]["Code"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST"])
async def test_without_a_signature_nothing_is_read_or_written(
    running: Running, bucket: str, http: aiohttp.ClientSession, method: str
) -> None:
    url = f"{running.aws.endpoint_url}/{bucket}/video.mp4"
    async with http.request(method, url) as response:
        assert response.status == 403
    async with running.aws.client("s3") as s3:
        head = await s3.head_object(Bucket=bucket, Key="video.mp4")
    assert head["ContentLength"] == 10


async def test_a_form_upload_without_a_policy_is_refused(
    running: Running, bucket: str, http: aiohttp.ClientSession
) -> None:
    form = aiohttp.MultipartWriter("form-data")
    for name, value in (("key", "planted"), ("file", "bytes")):
        form.append(value).set_content_disposition("form-data", name=name)
    async with http.post(f"{running.aws.endpoint_url}/{bucket}", data=form) as response:
        assert response.status == 403


FORM_TYPE = "video/mp4"


async def signed_form(running: Running, bucket: str, *, size: int = 5) -> dict[str, str]:
    """The fields of a form for one object of `size` bytes, signed by the administrator."""
    async with running.aws.client("s3") as s3:
        signed = await s3.generate_presigned_post(
            bucket,
            "uploaded.mp4",
            Fields={"Content-Type": FORM_TYPE},
            Conditions=[{"Content-Type": FORM_TYPE}, ["content-length-range", size, size]],
            ExpiresIn=60,
        )
    fields: dict[str, str] = signed["fields"]
    return fields


async def send_form(
    running: Running,
    bucket: str,
    http: aiohttp.ClientSession,
    fields: Mapping[str, str],
    *,
    body: bytes = b"01234",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Mapping[str, str]]:
    form = aiohttp.MultipartWriter("form-data")
    for name, value in fields.items():
        form.append(value).set_content_disposition("form-data", name=name)
    form.append(body).set_content_disposition("form-data", name="file", filename="a.mp4")
    url = f"{running.aws.endpoint_url}/{bucket}"
    async with http.post(url, data=form, headers=headers) as response:
        return response.status, response.headers


async def uploaded(running: Running, bucket: str) -> bytes | None:
    async with running.aws.client("s3") as s3:
        try:
            answer = await s3.get_object(Bucket=bucket, Key="uploaded.mp4")
        except ClientError:
            return None
        content: bytes = await answer["Body"].read()
        return content


async def test_a_signed_form_uploads_what_its_policy_says(
    running: Running, bucket: str, http: aiohttp.ClientSession
) -> None:
    status, _ = await send_form(running, bucket, http, await signed_form(running, bucket))
    assert status == 204
    assert await uploaded(running, bucket) == b"01234"


async def test_a_form_with_another_size_type_key_policy_or_signature_is_refused(
    running: Running, bucket: str, http: aiohttp.ClientSession
) -> None:
    fields = await signed_form(running, bucket)
    wider = await signed_form(running, bucket, size=6)
    attempts: list[tuple[dict[str, str], bytes]] = [
        (fields, b"0123"),
        (fields, b"012345"),
        (fields, b""),
        (fields | {"Content-Type": "text/html"}, b"01234"),
        (fields | {"key": "other.mp4"}, b"01234"),
        (fields | {"policy": wider["policy"]}, b"012345"),
        (fields | {"x-amz-signature": "0" * 64}, b"01234"),
        (fields | {"x-amz-date": "20200101T000000Z"}, b"01234"),
    ]
    for name in ("Content-Type", "key", "policy", "x-amz-signature", "x-amz-credential"):
        attempts.append(({key: fields[key] for key in fields if key != name}, b"01234"))
    for attempted, body in attempts:
        status, _ = await send_form(running, bucket, http, attempted, body=body)
        assert status in {400, 403}, attempted
    assert await uploaded(running, bucket) is None


@pytest.mark.parametrize("key", ["test", "known", "000000000000", "123456789012", ""])
async def test_no_key_is_root_by_its_name_in_a_form(
    running: Running, bucket: str, http: aiohttp.ClientSession, key: str
) -> None:
    fields = await signed_form(running, bucket)
    credential = fields["x-amz-credential"].partition("/")[2]
    forged = fields | {"x-amz-credential": f"{key}/{credential}"}
    status, _ = await send_form(running, bucket, http, forged)
    assert status == 403
    assert await uploaded(running, bucket) is None


async def allow_uploads(running: Running, bucket: str) -> None:
    async with running.aws.client("s3") as s3:
        await s3.put_bucket_cors(
            Bucket=bucket,
            CORSConfiguration={
                "CORSRules": [
                    {
                        "AllowedOrigins": [PLAYER_ORIGIN],
                        "AllowedMethods": ["GET", "PUT", "POST"],
                        "AllowedHeaders": ["Content-MD5", "Content-Type"],
                    }
                ]
            },
        )


async def test_the_bucket_s_cors_rules_decide_which_page_may_send_a_form(
    running: Running, bucket: str, http: aiohttp.ClientSession
) -> None:
    fields = await signed_form(running, bucket)
    url = f"{running.aws.endpoint_url}/{bucket}"
    preflight = {"Origin": PLAYER_ORIGIN, "Access-Control-Request-Method": "POST"}
    # So far its rules are for playing only.
    async with http.options(url, headers=preflight) as response:
        assert response.status == 403
    await allow_uploads(running, bucket)
    async with http.options(url, headers=preflight) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == PLAYER_ORIGIN
    for origin in (OUTSIDE_ORIGIN, "null"):
        async with http.options(url, headers=preflight | {"Origin": origin}) as response:
            assert response.status == 403
        status, headers = await send_form(running, bucket, http, fields, headers={"Origin": origin})
        assert status == 403
        assert "Access-Control-Allow-Origin" not in headers
    status, headers = await send_form(
        running, bucket, http, fields, headers={"Origin": PLAYER_ORIGIN}
    )
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, PLAYER_ORIGIN)


async def test_a_part_s_url_takes_exactly_its_part(
    running: Running, bucket: str, http: aiohttp.ClientSession
) -> None:
    async with running.aws.client("s3") as s3:
        begun = await s3.create_multipart_upload(Bucket=bucket, Key="uploaded.mp4")
        upload = {"Bucket": bucket, "Key": "uploaded.mp4", "UploadId": begun["UploadId"]}
        url = URL(
            await s3.generate_presigned_url(
                "upload_part",
                Params={**upload, "PartNumber": 1, "ContentLength": 5},
                ExpiresIn=60,
            ),
            encoded=True,
        )
        good = base64.b64encode(hashlib.md5(b"01234", usedforsecurity=False).digest()).decode()
        attempts: list[tuple[URL, bytes, dict[str, str]]] = [
            (url, b"0123", {}),
            (url, b"012345", {}),
            (URL(str(url).replace("partNumber=1", "partNumber=2"), encoded=True), b"01234", {}),
            (url, b"damag", {"Content-MD5": good}),
            (url, b"01234", {"Origin": PLAYER_ORIGIN}),  # its rules are for playing only
        ]
        for attempted, body, headers in attempts:
            async with http.put(attempted, data=body, headers=headers) as response:
                assert response.status in {400, 403}, (attempted, body)
        async with http.get(url) as response:
            assert response.status == 403
        preflight = {"Origin": PLAYER_ORIGIN, "Access-Control-Request-Method": "PUT"}
        async with http.options(url, headers=preflight) as response:
            assert response.status == 403
        await allow_uploads(running, bucket)
        async with http.options(url, headers=preflight) as response:
            assert response.status == 200
        page = {"Origin": PLAYER_ORIGIN, "Content-MD5": good}
        async with http.put(url, data=b"01234", headers=page) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == PLAYER_ORIGIN
        (part,) = (await s3.list_parts(**upload))["Parts"]
    assert (part["PartNumber"], part["Size"]) == (1, 5)


async def test_a_pre_signed_url_reads_its_object_and_ranges_of_it(
    running: Running, bucket: str, http: aiohttp.ClientSession
) -> None:
    url = await presigned(running, bucket)
    async with http.get(url, headers={"Range": "bytes=2-4"}) as response:
        assert (response.status, await response.read()) == (206, b"234")
        assert response.headers["Content-Range"] == "bytes 2-4/10"


async def test_a_tampered_expired_or_otherwise_used_url_is_refused(
    running: Running, bucket: str, http: aiohttp.ClientSession
) -> None:
    url = await presigned(running, bucket)
    typed = await presigned(running, bucket, method="put_object", ContentType="video/mp4")
    attempts: list[tuple[str, str, dict[str, str]]] = [
        ("GET", url.replace("video.mp4", "other.mp4"), {}),
        ("GET", url[:-1] + ("0" if url[-1] != "0" else "1"), {}),
        ("GET", url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), {}),
        ("PUT", url, {}),
        ("DELETE", url, {}),
        ("HEAD", url, {}),
        ("PUT", typed, {"Content-Type": "text/html"}),
        ("GET", url.split("?")[0], {}),
    ]
    for method, attempted, headers in attempts:
        async with http.request(method, attempted, headers=headers) as response:
            assert response.status == 403, (method, attempted)


async def test_an_expired_url_is_refused(
    running: Running, bucket: str, http: aiohttp.ClientSession
) -> None:
    async with http.get(_signed_an_hour_ago(running, bucket)) as response:
        assert response.status == 403
        assert "expired" in (await response.text()).lower()


def _signed_an_hour_ago(running: Running, bucket: str) -> str:
    """A URL that was good for a minute, so that nobody has to wait until it is not."""
    credentials = Credentials(running.aws.access_key_id, running.aws.secret_access_key)
    request = AWSRequest("GET", f"{running.aws.endpoint_url}/{bucket}/video.mp4")
    _EarlierSigner(credentials, "s3", running.aws.region, expires=60).add_auth(request)
    return str(request.url)


class _EarlierSigner(S3SigV4QueryAuth):
    """Signs as of an hour ago: botocore's own steps (its stubs lack two) with another timestamp."""

    def add_auth(self, request: AWSRequest) -> None:
        then = datetime.now(UTC) - timedelta(hours=1)
        request.context["timestamp"] = then.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)  # type: ignore[attr-defined]
        canonical = self.canonical_request(request)
        signature = self.signature(self.string_to_sign(request, canonical), request)
        self._inject_signature_to_request(request, signature)  # type: ignore[attr-defined]


# --- who may talk to it ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["rebound.example", "localhost", "169.254.169.254"])
async def test_another_host_name_is_refused(
    running: Running, bucket: str, http: aiohttp.ClientSession, host: str
) -> None:
    url = await presigned(running, bucket)
    for attempted in (url, f"{running.aws.endpoint_url}/_ministack/health"):
        async with http.get(attempted, headers={"Host": host}) as response:
            assert response.status == 403
            assert "Host" in await response.text()


async def test_localhost_with_the_port_is_its_name_too(
    running: Running, http: aiohttp.ClientSession
) -> None:
    port = running.aws.endpoint_url.rsplit(":", 1)[1]
    url = f"{running.aws.endpoint_url}/_ministack/health"
    async with http.get(url, headers={"Host": f"localhost:{port}"}) as response:
        assert response.status == 200


async def test_the_bucket_s_cors_rules_decide_which_page_may_read(
    running: Running, bucket: str, http: aiohttp.ClientSession
) -> None:
    url = await presigned(running, bucket)
    async with http.get(url, headers={"Origin": PLAYER_ORIGIN}) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == PLAYER_ORIGIN
    preflight = {"Origin": PLAYER_ORIGIN, "Access-Control-Request-Method": "GET"}
    async with http.options(url, headers=preflight) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == PLAYER_ORIGIN
    for origin in (OUTSIDE_ORIGIN, "null"):
        async with http.get(url, headers={"Origin": origin}) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers
        async with http.options(url, headers=preflight | {"Origin": origin}) as response:
            assert response.status == 403


async def test_a_page_of_another_origin_reaches_no_other_api(
    running: Running, http: aiohttp.ClientSession
) -> None:
    headers = {
        "Origin": PLAYER_ORIGIN,
        "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
        "Content-Type": "application/x-amz-json-1.1",
    }
    async with http.post(running.aws.endpoint_url, headers=headers, data="{}") as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ministack/reset"),
        ("POST", "/_ministack/reset?init=1"),
        ("POST", "/%5Fministack/reset"),
        ("POST", "/_ministack/config"),
        ("GET", "/_aws/ses"),
        ("GET", "/_localstack/health"),
        ("GET", "/_ministack/lambda-code/name"),
    ],
)
async def test_its_admin_endpoints_are_closed(
    running: Running, bucket: str, http: aiohttp.ClientSession, method: str, path: str
) -> None:
    url = URL(f"{running.aws.endpoint_url}{path}", encoded=True)
    async with http.request(method, url) as response:
        assert response.status == 403
        assert "closed" in await response.text()
    async with running.aws.client("s3") as s3:
        await s3.head_object(Bucket=bucket, Key="video.mp4")


async def test_web_sockets_are_refused(running: Running, http: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{running.aws.endpoint_url}/_aws/execute-api/id/stage")
    assert refused.value.status == 403


async def test_signature_version_2_is_refused(running: Running, bucket: str) -> None:
    session = aioboto3.Session("test", "test", region_name=running.aws.region)
    async with session.client(
        "s3", endpoint_url=running.aws.endpoint_url, config=Config(signature_version="s3")
    ) as s3:
        with pytest.raises(ClientError) as refused:
            await s3.get_object(Bucket=bucket, Key="video.mp4")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
