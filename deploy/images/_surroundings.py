"""The least that a service needs around it to become ready: an issuer's keys, and an empty table.

Stands in for what the check does not measure. No real AWS, no credentials.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from deploy.images._services import PREFIXES

# No secrets: nothing that they protect leaves the check.
_CURSOR_SECRET = "a-secret-of-the-check-of-images-only"  # noqa: S105


@contextmanager
def surroundings(service: str, port: int) -> Iterator[dict[str, str]]:
    """The environment of a container of `service` that is to listen on `port` of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(_key_set()))
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    here = f"http://127.0.0.1:{server.server_address[1]}"
    prefix = PREFIXES[service]
    try:
        yield {
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL": here,
            "AWS_ACCESS_KEY_ID": "AKIAIMAGECHECK000000",
            "AWS_SECRET_ACCESS_KEY": "none",
            f"{prefix}HOST": "127.0.0.1",
            f"{prefix}PORT": str(port),
            f"{prefix}AUTH_ISSUER": "https://issuer.invalid/pool",
            f"{prefix}AUTH_JWKS_URL": f"{here}/jwks.json",
            f"{prefix}AUTH_CLIENT_IDS": "image-check",
            f"{prefix}CURSOR_SECRETS": _CURSOR_SECRET,
            f"{prefix}TRACING_RATE": "0",
            **({"CONTENT_BUCKET": "lyceum-content"} if service == "content_delivery" else {}),
        }
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def _key_set() -> bytes:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048).public_key()
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True)
    return json.dumps({"keys": [{**public, "kid": "check", "use": "sig", "alg": "RS256"}]}).encode()


def _handler(keys: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: a client's kernel may wait 40 ms before it asks for a second.
        wbufsize = -1

        def do_GET(self) -> None:  # noqa: N802 - the base's name
            self._answer(keys)

        def do_POST(self) -> None:  # noqa: N802 - the base's name
            # Whatever is asked of DynamoDB: there is nothing.
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(b'{"Items":[],"Count":0,"ScannedCount":0,"Responses":{}}')

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            # `libs.aws` takes what does not name its request for an answer of somebody else.
            self.send_header("x-amzn-RequestId", "CHECK")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            pass

    return Handler
