"""What stands in front of MiniStack and decides which requests reach it.

Pure ASGI, knows nothing of MiniStack but the ways in which it trusts too much: it serves any Host,
answers every Origin, offers admin endpoints to all, and obeys some access keys without looking at
their signature. Checking signatures and policies stays MiniStack's business.
"""

import json
import re
from typing import Protocol
from urllib.parse import parse_qsl

from ._asgi import Application, Message, Receive, RefusedError, Scope, Send
from ._containers._registry import Admission, is_registry_path
from ._forms import form_fields, may_be_form, read_form, replayed

HEALTH_PATH = "/_ministack/health"

_ALGORITHM = "AWS4-HMAC-SHA256"
# Access key ids for which MiniStack takes any secret: `test`, and twelve digits.
_UNCHECKED_KEY = re.compile(r"test|\d{12}", re.ASCII)
_POOL_DOCUMENT = re.compile(r"/[\w-]+_[0-9A-Za-z]+/\.well-known/(jwks\.json|openid-configuration)")
# What an app does for its user without a key of AWS. Not signing up and not recovering a password, which
# MiniStack allows to everybody, whatever the user pool says.
_SIGNING_IN = frozenset(
    f"AWSCognitoIdentityProviderService.{operation}"
    for operation in (
        "GetUser",
        "GlobalSignOut",
        "InitiateAuth",
        "RespondToAuthChallenge",
        "RevokeToken",
    )
)
_READS = frozenset({"GET", "HEAD"})
# In the query of a part's URL.
_PART = frozenset({"partnumber", "uploadid"})
_DISCARDED_BYTES = 1024 * 1024


class Registry(Protocol):
    """Decides over requests of Docker's registry protocol."""

    def admit(self, method: str, path: str, authorization: str | None) -> Admission:
        """Whether the request may go on."""


class _PasswordWantedError(RefusedError):
    pass


class Guard:
    """An ASGI application that lets through what a local AWS client sends, and refuses the rest."""

    def __init__(
        self,
        application: Application,
        *,
        port: int,
        services: frozenset[str],
        refused_keys: frozenset[str] = frozenset(),
        forwarding_ports: frozenset[int] = frozenset(),
        registry: Registry | None = None,
    ) -> None:
        """`services` are signing names (`dynamodb`); `refused_keys` are obeyed unchecked behind here.

        `forwarding_ports` are ports of this machine from which somebody forwards to `port`: a client
        signs the Host that it was told, so these are names of this server too, and no others.
        `registry` decides over requests of Docker's registry protocol; without one there is none.
        """
        self._application = application
        self._hosts = frozenset(
            f"{name}:{known}"
            for name in ("127.0.0.1", "localhost")
            for known in (port, *forwarding_ports)
        )
        self._services = services
        self._refused_keys = refused_keys
        self.registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            foreign_origin = self._check(scope)
        except _PasswordWantedError:
            await _discard_body(receive)
            await _answer_password_wanted(send)
            return
        except RefusedError as refusal:
            await _discard_body(receive)
            await _answer_refusal(send, str(refusal))
            return
        if _is_form(scope):
            try:
                receive = await self._checked_form(scope, receive)
            except RefusedError as refusal:
                await _answer_refusal(send, str(refusal))
                return
        await self._application(scope, receive, _CorsFilter(send, foreign_origin))

    def _check(self, scope: Scope) -> str | None:
        """The foreign Origin whose admission the bucket's CORS rules decide, if there is one."""
        headers = _Headers(scope)
        if scope.get("http_version") not in {"1.0", "1.1"}:
            raise RefusedError("HTTP/1.1 only")
        # A page of another site that had its name resolve to 127.0.0.1 still sends its own name.
        if headers.single("host") not in self._hosts:
            raise RefusedError("the Host header must name this server")
        path: str = scope["path"]
        method: str = scope["method"]
        if path == HEALTH_PATH and method in _READS:
            return self._foreign_origin(headers, bucket_decides=False)
        # MiniStack's own endpoints (reset, configuration, mail and queue inspection) all begin so;
        # no bucket and no user pool does.
        if path.startswith("/_") or path == "/health":
            raise RefusedError("this endpoint is closed")
        if self.registry is not None and is_registry_path(path):
            self._check_registry(method, path, headers)
            return self._foreign_origin(headers, bucket_decides=False)
        query = [
            (name.lower(), value)
            for name, value in parse_qsl(
                scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True
            )
        ]
        key, service, presigned = _claimed_credential(headers, query)
        intended = (
            headers.single("access-control-request-method") if method == "OPTIONS" else method
        )
        if key is None and intended == "POST" and not query and may_be_form(path, headers):
            # A form names its key in a field: `_checked_form` looks at it.
            return self._foreign_origin(headers, bucket_decides=True)
        if key is None:
            if not _is_public(method, path, headers):
                raise RefusedError("the request must be signed (Signature Version 4)")
        else:
            self._check_key(key, service)
            if presigned and service != "s3":
                raise RefusedError("only S3 requests may be pre-signed")
        # What a page of another origin may do by a pre-signed URL, if the bucket's CORS rules let
        # it: play, and upload a part.
        plays = intended in _READS
        uploads = intended == "PUT" and {name for name, _ in query} >= _PART
        return self._foreign_origin(headers, bucket_decides=presigned and (plays or uploads))

    def _check_registry(self, method: str, path: str, headers: "_Headers") -> None:
        assert self.registry is not None
        match self.registry.admit(method, path, headers.single("authorization")):
            case Admission.UNKNOWN:
                raise _PasswordWantedError("the registry wants a password of ECR's login")
            case Admission.DENIED:
                raise RefusedError("ECR's policies do not allow this")

    def _check_key(self, key: str, service: str) -> None:
        if _UNCHECKED_KEY.fullmatch(key) or key in self._refused_keys or not key:
            raise RefusedError("this access key is not accepted")
        if service not in self._services:
            raise RefusedError("this service is not available here")

    async def _checked_form(self, scope: Scope, receive: Receive) -> Receive:
        """The form again, once it is seen that it is signed by a key that MiniStack checks."""
        body = await read_form(receive)
        fields = form_fields(_Headers(scope).single("content-type") or "", body)
        parts = fields["x-amz-credential"].split("/")
        if fields["x-amz-algorithm"] != _ALGORITHM or len(parts) != 5 or parts[3] != "s3":
            raise RefusedError("only Signature Version 4 is accepted")
        self._check_key(parts[0], parts[3])
        return replayed(body, receive)

    def _foreign_origin(self, headers: "_Headers", *, bucket_decides: bool) -> str | None:
        origin = headers.single("origin")
        if origin is None or origin in {f"http://{host}" for host in self._hosts}:
            return None
        if not bucket_decides:
            raise RefusedError("requests from other origins are not accepted")
        return origin


def _is_form(scope: Scope) -> bool:
    """Whether the request is one whose key is in its body: everything else was checked already."""
    headers = _Headers(scope)
    return (
        scope["method"] == "POST"
        and headers.single("authorization") is None
        and not scope.get("query_string")
        and may_be_form(scope["path"], headers)
    )


class _Headers:
    def __init__(self, scope: Scope) -> None:
        self._pairs: list[tuple[bytes, bytes]] = list(scope["headers"])

    def names(self) -> frozenset[str]:
        """All names, in small letters."""
        return frozenset(name.decode("latin-1").lower() for name, _ in self._pairs)

    def single(self, name: str) -> str | None:
        """The value, None where absent; a header that is there twice is refused as ambiguous."""
        values = [value for key, value in self._pairs if key.lower() == name.encode()]
        if len(values) > 1:
            raise RefusedError(f"the header {name} must not be repeated")
        return values[0].decode("latin-1") if values else None


def _claimed_credential(
    headers: _Headers, query: list[tuple[str, str]]
) -> tuple[str | None, str, bool]:
    """Access key id (None: unsigned), signing name of the service, and whether it is pre-signed.

    Every way of naming a key but the two of Signature Version 4 is refused, and so are two at once:
    MiniStack would check the one and obey the other.
    """
    authorization = headers.single("authorization")
    signing = [(name, value) for name, value in query if name.startswith("x-amz-")]
    credentials = [value for name, value in signing if name == "x-amz-credential"]
    algorithms = [value for name, value in signing if name == "x-amz-algorithm"]
    if any(name in {"awsaccesskeyid", "signature"} for name, _ in query):
        raise RefusedError("only Signature Version 4 is accepted")
    if authorization is None and not credentials and not algorithms:
        return None, "", False
    if authorization is not None:
        scopes = re.findall(r"Credential=([^,\s]*)", authorization)
        if not authorization.startswith(f"{_ALGORITHM} ") or len(scopes) != 1:
            raise RefusedError("only Signature Version 4 is accepted")
        if credentials or algorithms:
            raise RefusedError("the request is signed twice")
    else:
        scopes = credentials
        if algorithms != [_ALGORITHM] or len(scopes) != 1:
            raise RefusedError("only Signature Version 4 is accepted")
    parts = scopes[0].split("/")
    if len(parts) != 5:
        raise RefusedError("the credential scope is malformed")
    return parts[0], parts[3], authorization is None


def _is_public(method: str, path: str, headers: _Headers) -> bool:
    """Whether AWS serves this without a signature: a user pool's keys, and signing in."""
    if method in _READS:
        return _POOL_DOCUMENT.fullmatch(path) is not None
    return method == "POST" and path == "/" and headers.single("x-amz-target") in _SIGNING_IN


class _CorsFilter:
    """Passes an answer on with the CORS headers that are meant, and only those.

    MiniStack says `Access-Control-Allow-Origin: *` on most answers. A foreign origin gets an answer
    only where the bucket's own CORS rules name it.
    """

    def __init__(self, send: Send, foreign_origin: str | None) -> None:
        self._send = send
        self._foreign_origin = foreign_origin
        self._refused = False

    async def __call__(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            if self._foreign_origin is None:
                kept = [pair for pair in headers if not _is_cors(pair[0])]
                message = {**message, "headers": kept}
            elif (b"access-control-allow-origin", self._foreign_origin.encode("latin-1")) not in [
                (name.lower(), value) for name, value in headers
            ]:
                self._refused = True
                await _answer_refusal(self._send, "the bucket's CORS rules do not name this origin")
                return
        await self._send(message)


def _is_cors(name: bytes) -> bool:
    return name.lower().startswith(b"access-control-")


async def _discard_body(receive: Receive) -> None:
    """Take a body of usual size off the connection: closed on unread bytes, it would lose the answer."""
    size = 0
    while size <= _DISCARDED_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


async def _answer_password_wanted(send: Send) -> None:
    body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
    await send(
        {
            "type": "http.response.start",
            "status": 401,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"docker-distribution-api-version", b"registry/2.0"),
                (b"www-authenticate", b'Basic realm="ecr",service="ecr"'),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def _answer_refusal(send: Send, reason: str) -> None:
    body = json.dumps({"__type": "AccessDeniedException", "message": reason}).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 403,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
