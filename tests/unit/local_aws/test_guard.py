"""The guard in front of MiniStack: which requests reach it, decided on the request alone."""

from collections.abc import Sequence
from typing import Any

import pytest

from deploy.local.embedded_aws._asgi import Message, Receive, Scope, Send
from deploy.local.embedded_aws._guard import Guard

PORT = 4566
HOST = "127.0.0.1:4566"
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260102/us-east-1/dynamodb/aws4_request,"
    " SignedHeaders=host, Signature=0"
)
PRESIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"
    "&X-Amz-Credential=AKIAEXAMPLE%2F20260102%2Fus-east-1%2Fs3%2Faws4_request"
)


class Application:
    """Stands where MiniStack stands: notes what reaches it and answers as it does, open to everybody."""

    def __init__(self, allowed_origin: str = "*") -> None:
        self.reached: list[str] = []
        self._allowed_origin = allowed_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached.append(scope["type"])
        if scope["type"] != "http":
            return
        headers = [
            (b"Access-Control-Allow-Origin", self._allowed_origin.encode()),
            (b"ETag", b'"1"'),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"served"})


class Answer:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def take(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        status: int = self.messages[0]["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        return {
            name.decode().lower(): value.decode() for name, value in self.messages[0]["headers"]
        }

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def ask(
    *,
    application: Application | None = None,
    method: str = "POST",
    path: str = "/",
    query: str = "",
    host: str | None = HOST,
    authorization: str | None = SIGNED,
    headers: Sequence[tuple[str, str]] = (),
    http_version: str = "1.1",
    forwarding_ports: frozenset[int] = frozenset(),
    body: Sequence[bytes] = (b"",),
) -> Answer:
    application = application or Application()
    guard = Guard(
        application,
        port=PORT,
        services=frozenset({"dynamodb", "s3", "cognito-idp"}),
        refused_keys=frozenset({"ROOTKEY"}),
        forwarding_ports=forwarding_ports,
    )
    sent = list(headers)
    if host is not None:
        sent.append(("Host", host))
    if authorization is not None:
        sent.append(("Authorization", authorization))
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": http_version,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent],
    }
    answer = Answer()
    chunks = list(body)

    async def receive() -> Message:
        chunk = chunks.pop(0) if chunks else b""
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    await guard(scope, receive, answer.take)
    return answer


def with_key(key: str, service: str = "dynamodb") -> str:
    return SIGNED.replace("AKIAEXAMPLE", key).replace("dynamodb", service)


@pytest.mark.parametrize("host", [HOST, "localhost:4566"])
async def test_a_signed_request_to_its_own_name_is_served(host: str) -> None:
    assert (await ask(host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",
        "rebound.example:4566",
        "127.0.0.1",
        "127.0.0.1:80",
        "bucket.localhost:4566",
        "127.0.0.1:4566.rebound.example",
        "0.0.0.0:4566",
        "",
        None,
    ],
)
async def test_another_host_name_is_refused(host: str | None) -> None:
    assert (await ask(host=host)).status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (HOST, 200),
        ("127.0.0.1:5001", 200),
        ("localhost:5001", 200),
        ("127.0.0.1:5002", 403),
        ("rebound.example:5001", 403),
    ],
)
async def test_a_forwarding_port_is_one_more_name_and_the_only_one(host: str, status: int) -> None:
    assert (await ask(host=host, forwarding_ports=frozenset({5001}))).status == status


async def test_two_host_headers_are_refused() -> None:
    assert (await ask(headers=[("Host", HOST)])).status == 403


@pytest.mark.parametrize("version", ["2", "3"])
async def test_other_versions_of_http_are_refused(version: str) -> None:
    assert (await ask(http_version=version)).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/_ministack/reset",
        "/_ministack/config",
        "/_ministack/rds/iam-auth",
        "/_ministack/health/../reset",
        "/_localstack/health",
        "/_aws/sqs/messages",
        "/_aws/execute-api/id/stage",
        "/_alb/name",
        "/health",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_admin_endpoints_are_closed_even_to_the_signed(path: str, method: str) -> None:
    assert (await ask(path=path, method=method)).status == 403


async def test_health_is_open_to_reads_alone() -> None:
    path = "/_ministack/health"
    assert (await ask(method="GET", path=path, authorization=None)).status == 200
    assert (await ask(method="POST", path=path, authorization=None)).status == 403


@pytest.mark.parametrize("key", ["test", "123456789012", "000000000000", "ROOTKEY", ""])
async def test_keys_obeyed_without_a_look_at_the_signature_are_refused(key: str) -> None:
    assert (await ask(authorization=with_key(key))).status == 403
    query = PRESIGNED.replace("AKIAEXAMPLE", key)
    assert (await ask(method="GET", path="/b/k", query=query, authorization=None)).status == 403


@pytest.mark.parametrize(
    "authorization",
    [
        "AWS AKIAEXAMPLE:signature",
        "Bearer token",
        "AWS4-ECDSA-P256-SHA256 Credential=AKIAEXAMPLE/20260102/s3/aws4_request",
        "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260102/dynamodb, Signature=0",
        f"{SIGNED}, Credential=test/20260102/us-east-1/dynamodb/aws4_request",
        "",
    ],
)
async def test_only_signature_version_4_is_accepted(authorization: str) -> None:
    assert (await ask(authorization=authorization)).status == 403


@pytest.mark.parametrize(
    "query",
    [
        PRESIGNED,
        "X-Amz-Credential=test/20260102/us-east-1/s3/aws4_request",
        "x-amz-credential=test/20260102/us-east-1/s3/aws4_request",
        "AWSAccessKeyId=test",
        "awsaccesskeyid=test&Signature=0",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
    ],
)
async def test_a_second_credential_beside_the_header_is_refused(query: str) -> None:
    assert (await ask(query=query)).status == 403


@pytest.mark.parametrize(
    "query",
    [
        f"{PRESIGNED}&x-amz-credential=test%2F20260102%2Fus-east-1%2Fs3%2Faws4_request",
        PRESIGNED.replace("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""),
        PRESIGNED.replace("HMAC", "ECDSA"),
        PRESIGNED.replace("s3", "dynamodb"),
        "AWSAccessKeyId=AKIAEXAMPLE&Signature=0&Expires=1",
    ],
)
async def test_only_whole_pre_signed_s3_requests_are_accepted(query: str) -> None:
    answer = await ask(method="GET", path="/b/k", query=query, authorization=None)
    assert answer.status == 403


async def test_a_service_that_is_not_meant_to_run_is_refused() -> None:
    assert (await ask(authorization=with_key("AKIAEXAMPLE", "lambda"))).status == 403


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "/bucket/key", ""),
        ("PUT", "/bucket/key", ""),
        ("POST", "/", "DynamoDB_20120810.GetItem"),
        ("POST", "/", ""),
        ("POST", "/", "AWSCognitoIdentityProviderService.SignUp"),
        ("POST", "/", "AWSCognitoIdentityProviderService.ConfirmForgotPassword"),
        ("POST", "/", "AWSCognitoIdentityProviderService.AdminCreateUser"),
        ("POST", "/bucket", "AWSCognitoIdentityProviderService.InitiateAuth"),
        ("OPTIONS", "/bucket/key", ""),
        ("POST", "/oauth2/token", ""),
        ("GET", "/oauth2/userInfo", ""),
        ("GET", "/latest/meta-data/iam/security-credentials/", ""),
        ("GET", "/bucket/.well-known/jwks.json", ""),
        ("POST", "/us-east-1_aB3/.well-known/jwks.json", ""),
    ],
)
async def test_an_unsigned_request_is_refused(method: str, path: str, target: str) -> None:
    headers = [("X-Amz-Target", target)] if target else []
    answer = await ask(method=method, path=path, headers=headers, authorization=None)
    assert answer.status == 403


@pytest.mark.parametrize("document", ["jwks.json", "openid-configuration"])
async def test_the_documents_of_a_user_pool_are_public(document: str) -> None:
    path = f"/us-east-1_aB3/.well-known/{document}"
    assert (await ask(method="GET", path=path, authorization=None)).status == 200


async def test_signing_in_needs_no_signature() -> None:
    target = [("X-Amz-Target", "AWSCognitoIdentityProviderService.InitiateAuth")]
    assert (await ask(headers=target, authorization=None)).status == 200


@pytest.mark.parametrize("origin", ["http://other.example", "null", "https://127.0.0.1:4566", ""])
async def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    assert (await ask(headers=[("Origin", origin)])).status == 403
    health = await ask(
        method="GET", path="/_ministack/health", headers=[("Origin", origin)], authorization=None
    )
    assert health.status == 403


async def test_its_own_origin_is_served() -> None:
    assert (await ask(headers=[("Origin", f"http://{HOST}")])).status == 200


async def test_no_answer_is_readable_to_every_origin() -> None:
    answer = await ask()
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["etag"] == '"1"'


@pytest.mark.parametrize(
    ("method", "intended"), [("GET", None), ("HEAD", None), ("OPTIONS", "GET")]
)
async def test_a_page_that_the_bucket_names_may_read_by_a_pre_signed_url(
    method: str, intended: str | None
) -> None:
    origin = "http://player.example"
    headers = [("Origin", origin)]
    if intended:
        headers.append(("Access-Control-Request-Method", intended))
    application = Application(allowed_origin=origin)
    answer = await ask(
        application=application,
        method=method,
        path="/b/k",
        query=PRESIGNED,
        headers=headers,
        authorization=None,
    )
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize("allowed", ["*", "http://another.example"])
async def test_a_page_that_the_bucket_does_not_name_gets_nothing(allowed: str) -> None:
    answer = await ask(
        application=Application(allowed_origin=allowed),
        method="GET",
        path="/b/k",
        query=PRESIGNED,
        headers=[("Origin", "http://player.example")],
        authorization=None,
    )
    assert answer.status == 403
    assert b"served" not in answer.body


@pytest.mark.parametrize(("method", "intended"), [("PUT", None), ("OPTIONS", "PUT")])
async def test_a_page_of_another_origin_may_not_write(method: str, intended: str | None) -> None:
    origin = "http://player.example"
    headers = [("Origin", origin)]
    if intended:
        headers.append(("Access-Control-Request-Method", intended))
    application = Application(allowed_origin=origin)
    answer = await ask(
        application=application,
        method=method,
        path="/b/k",
        query=PRESIGNED,
        headers=headers,
        authorization=None,
    )
    assert answer.status == 403
    assert application.reached == []


PART = f"{PRESIGNED}&partNumber=1&uploadId=u"


@pytest.mark.parametrize(("method", "intended"), [("PUT", None), ("OPTIONS", "PUT")])
async def test_a_page_that_the_bucket_names_may_upload_a_part(
    method: str, intended: str | None
) -> None:
    origin = "http://studio.example"
    headers = [("Origin", origin)]
    if intended:
        headers.append(("Access-Control-Request-Method", intended))
    for allowed, status in ((origin, 200), ("http://another.example", 403)):
        answer = await ask(
            application=Application(allowed_origin=allowed),
            method=method,
            path="/b/k",
            query=PART,
            headers=headers,
            authorization=None,
        )
        assert answer.status == status


# --- forms ------------------------------------------------------------------------------------------

FIELDS = (
    ("Content-Type", "video/mp4"),
    ("key", "content/c/1"),
    ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
    ("x-amz-credential", "AKIAEXAMPLE/20260102/us-east-1/s3/aws4_request"),
    ("x-amz-date", "20260102T030405Z"),
    ("policy", "e30="),
    ("x-amz-signature", "0" * 64),
    ("file", "bytes"),
)
IS_FORM = ("Content-Type", "multipart/form-data; boundary=frontier")


def form(fields: Sequence[tuple[str, str]]) -> bytes:
    parts = [
        f'--frontier\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    return ("".join(parts) + "--frontier--\r\n").encode()


async def send_form(
    fields: Sequence[tuple[str, str]] = FIELDS,
    *,
    path: str = "/bucket",
    query: str = "",
    headers: Sequence[tuple[str, str]] = (IS_FORM,),
    application: Application | None = None,
    body: Sequence[bytes] | None = None,
) -> Answer:
    return await ask(
        application=application,
        path=path,
        query=query,
        headers=headers,
        authorization=None,
        body=[form(fields)] if body is None else body,
    )


def changed(**values: str | None) -> list[tuple[str, str]]:
    """The fields with others in the place of some, in the same order; None leaves a field out."""
    names = {name.replace("_", "-"): value for name, value in values.items()}
    return [(name, value) for name, old in FIELDS if (value := names.get(name, old)) is not None]


async def test_a_signed_form_reaches_the_bucket_whole() -> None:
    class Reader(Application):
        def __init__(self) -> None:
            super().__init__()
            self.body = b""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            more = True
            while more:
                message = await receive()
                self.body += message["body"]
                more = message["more_body"]
            await super().__call__(scope, receive, send)

    whole = form(FIELDS)
    application = Reader()
    pieces = [whole[:100], whole[100:101], whole[101:]]
    answer = await send_form(application=application, body=pieces)
    assert answer.status == 200
    assert application.body == whole


def key_of(key: str) -> str:
    return f"{key}/20260102/us-east-1/s3/aws4_request"


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS[-1:],  # no key at all
        [("key", "planted"), ("file", "bytes")],
        *([entry for entry in FIELDS if entry[0] != name] for name, _ in FIELDS[1:]),
        changed(x_amz_credential=key_of("test")),
        changed(x_amz_credential=key_of("000000000000")),
        changed(x_amz_credential=key_of("ROOTKEY")),
        changed(x_amz_credential=key_of("")),
        changed(x_amz_credential="AKIAEXAMPLE/20260102/us-east-1/dynamodb/aws4_request"),
        changed(x_amz_credential="AKIAEXAMPLE"),
        changed(x_amz_credential=key_of("te${filename}")),
        changed(key="content/${filename}"),
        changed(x_amz_algorithm="AWS4-ECDSA-P256-SHA256"),
        # MiniStack obeys the last of several, wherever it stands.
        [*FIELDS[:-1], ("x-amz-credential", key_of("test")), FIELDS[-1]],
        [*FIELDS, ("x-amz-credential", key_of("test"))],
        [*FIELDS, ("X-AMZ-CREDENTIAL", key_of("test"))],
        [("AWSAccessKeyId", "test"), *FIELDS],
        [("signature", "0"), *FIELDS],
        [("acl", "public-read"), *FIELDS],
        [("success_action_redirect", "http://outside.example"), *FIELDS],
        [("x-amz-meta-a", "b"), *FIELDS],
        [*FIELDS[:-1], ("file", "one"), ("file", "two")],
    ],
    ids=lambda fields: "&".join(f"{name}={value[:12]}" for name, value in fields)[-60:],
)
async def test_a_form_that_is_not_plain_is_refused(fields: Sequence[tuple[str, str]]) -> None:
    application = Application()
    answer = await send_form(fields, application=application)
    assert answer.status == 403
    assert application.reached == []


@pytest.mark.parametrize(
    ("path", "query", "headers"),
    [
        ("/bucket/key", "", [IS_FORM]),
        ("/", "", [IS_FORM]),
        ("/Bucket", "", [IS_FORM]),
        ("/_ministack/reset", "", [IS_FORM]),
        ("/bucket", "delete", [IS_FORM]),
        ("/bucket", "", [IS_FORM, ("X-Amz-Target", "DynamoDB_20120810.Scan")]),
        ("/bucket", "", [("Content-Type", "application/x-www-form-urlencoded")]),
        ("/bucket", "", [("Content-Type", "multipart/form-data")]),
        ("/bucket", "", [IS_FORM, ("Content-Type", "text/plain")]),
        ("/bucket", "", []),
    ],
)
async def test_a_form_elsewhere_or_of_another_kind_is_refused(
    path: str, query: str, headers: Sequence[tuple[str, str]]
) -> None:
    application = Application()
    answer = await send_form(path=path, query=query, headers=headers, application=application)
    assert answer.status == 403
    assert application.reached == []


async def test_a_form_without_end_is_refused() -> None:
    application = Application()
    piece = b"x" * (1 << 20)
    answer = await send_form(application=application, body=[piece] * 129)
    assert answer.status == 403
    assert application.reached == []


@pytest.mark.parametrize(("method", "intended"), [("POST", None), ("OPTIONS", "POST")])
async def test_a_page_that_the_bucket_names_may_send_a_form(
    method: str, intended: str | None
) -> None:
    origin = "http://studio.example"
    headers = [("Origin", origin), IS_FORM]
    if intended:
        headers = [("Origin", origin), ("Access-Control-Request-Method", intended)]
    for allowed, status in ((origin, 200), ("*", 403), ("http://another.example", 403)):
        answer = await ask(
            application=Application(allowed_origin=allowed),
            method=method,
            path="/bucket",
            headers=headers,
            authorization=None,
            body=[form(FIELDS)],
        )
        assert answer.status == status


@pytest.mark.parametrize("intended", ["PUT", "DELETE", "GET"])
async def test_no_other_preflight_needs_no_key(intended: str) -> None:
    answer = await ask(
        method="OPTIONS",
        path="/bucket",
        headers=[
            ("Origin", "http://studio.example"),
            ("Access-Control-Request-Method", intended),
        ],
        authorization=None,
    )
    assert answer.status == 403


async def test_web_sockets_are_refused() -> None:
    application = Application()
    guard = Guard(application, port=PORT, services=frozenset({"s3"}))
    answer = Answer()
    await guard({"type": "websocket"}, _receive, answer.take)
    assert [message["type"] for message in answer.messages] == ["websocket.close"]
    assert application.reached == []


async def test_the_server_s_start_and_stop_pass_through() -> None:
    application = Application()
    guard = Guard(application, port=PORT, services=frozenset({"s3"}))
    await guard({"type": "lifespan"}, _receive, Answer().take)
    assert application.reached == ["lifespan"]
