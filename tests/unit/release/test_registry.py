"""A registry is asked for what it has, over a real socket: with and without credentials."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.release._credentials import Aws, login_to
from deploy.release._errors import ReleaseError
from deploy.release._registry import (
    Login,
    Registry,
    RegistryClient,
    is_loopback,
    registry_named,
)

CONFIG = json.dumps(
    {"config": {"Env": ["CATALOG_VERSION=0.3.0"], "Labels": {"title": "course_catalog"}}}
).encode()
CONFIG_DIGEST = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
MANIFEST = json.dumps(
    {
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"digest": CONFIG_DIGEST},
        "layers": [{"size": 20_000_000}, {"size": 300_000}],
    }
).encode()
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
NAME = "lyceum/course_catalog"
BASIC = "Basic " + base64.b64encode(b"AWS:secret").decode()


class FakeRegistry:
    """Answers by path; `seen` are the requests and their credentials."""

    def __init__(self) -> None:
        self.paths: dict[str, tuple[int, dict[str, str], bytes]] = {
            f"/v2/{NAME}/manifests/0.3.0": (200, {}, MANIFEST),
            f"/v2/{NAME}/manifests/{DIGEST}": (200, {}, MANIFEST),
            f"/v2/{NAME}/blobs/{CONFIG_DIGEST}": (200, {}, CONFIG),
        }
        self.seen: list[tuple[str, str | None]] = []
        self.challenge: str | None = None
        self.accepted = BASIC
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 - the handler's own name
                credentials = self.headers.get("Authorization")
                registry.seen.append((self.path, credentials))
                status, headers, body = registry.answer(self.path, credentials)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def answer(self, path: str, credentials: str | None) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/token"):
            ok = credentials == BASIC
            return (200 if ok else 401, {}, json.dumps({"token": "abc"}).encode())
        if path.startswith("/elsewhere"):
            return (400 if credentials else 200, {}, CONFIG)
        if self.challenge and credentials != self.accepted:
            return 401, {"WWW-Authenticate": self.challenge}, b""
        return self.paths.get(path, (404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture()
def registry() -> Iterator[FakeRegistry]:
    made = FakeRegistry()
    yield made
    made.close()


@pytest.mark.parametrize("reference", ["0.3.0", DIGEST])
def test_an_image_says_its_digest_its_size_and_its_variables(
    registry: FakeRegistry, reference: str
) -> None:
    found = RegistryClient(registry.host, None).image(NAME, reference)
    assert found is not None
    assert (found.digest, found.size) == (DIGEST, 20_300_000)
    assert found.environment == {"CATALOG_VERSION": "0.3.0"}
    assert found.labels == {"title": "course_catalog"}


def test_what_is_not_there_is_none(registry: FakeRegistry) -> None:
    assert RegistryClient(registry.host, None).image(NAME, "9.9.9") is None


def test_credentials_are_given_when_they_are_asked_for(registry: FakeRegistry) -> None:
    registry.challenge = 'Basic realm="ecr"'
    assert RegistryClient(registry.host, Login("AWS", "secret")).image(NAME, "0.3.0")
    assert registry.seen[0][1] is None
    assert {credentials for _, credentials in registry.seen[1:]} == {BASIC}


def test_or_a_token_for_them(registry: FakeRegistry) -> None:
    registry.challenge = f'Bearer realm="http://{registry.host}/token",service="registry"'
    registry.accepted = "Bearer abc"
    assert RegistryClient(registry.host, Login("AWS", "secret")).image(NAME, "0.3.0")
    token = next(path for path, _ in registry.seen if path.startswith("/token"))
    assert "scope=repository%3Alyceum%2Fcourse_catalog%3Apull" in token


def test_where_blobs_are_elsewhere_no_credentials_go_there(registry: FakeRegistry) -> None:
    registry.challenge = 'Basic realm="ecr"'
    registry.paths[f"/v2/{NAME}/blobs/{CONFIG_DIGEST}"] = (
        307,
        {"Location": f"http://{registry.host}/elsewhere"},
        b"",
    )
    assert RegistryClient(registry.host, Login("AWS", "secret")).image(NAME, "0.3.0")
    assert ("/elsewhere", None) in registry.seen


def test_of_several_platforms_linux_is_taken(registry: FakeRegistry) -> None:
    index = json.dumps(
        {
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {"digest": "sha256:0", "platform": {"os": "linux", "architecture": "unknown"}},
                {"digest": DIGEST, "platform": {"os": "linux", "architecture": "amd64"}},
            ],
        }
    ).encode()
    registry.paths[f"/v2/{NAME}/manifests/0.4.0"] = (200, {}, index)
    found = RegistryClient(registry.host, None).image(NAME, "0.4.0")
    assert found is not None
    assert found.digest == f"sha256:{hashlib.sha256(index).hexdigest()}"
    assert found.environment == {"CATALOG_VERSION": "0.3.0"}


def failing(answer: tuple[int, bytes]) -> Callable[[FakeRegistry], None]:
    return lambda registry: registry.paths.update(
        {f"/v2/{NAME}/manifests/0.3.0": (answer[0], {}, answer[1])}
    )


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (failing((500, b"")), "answers 500 for lyceum/course_catalog"),
        (failing((403, b"")), "answers 403 for lyceum/course_catalog: no or wrong credentials"),
        (failing((200, b"<html>")), "does not answer as a registry"),
        (failing((200, b"[]")), "does not answer as a registry"),
        (failing((200, b"{}")), "is no image"),
        (failing((200, b" " * (4 * 2**20 + 1))), "answers too much"),
        (lambda registry: setattr(registry, "challenge", "Basic x"), "wants credentials: docker login"),
        (lambda registry: setattr(registry, "challenge", "NTLM"), "wants NTLM credentials"),
    ],
)  # fmt: skip
def test_that_it_could_not_be_asked_is_never_that_nothing_is_there(
    registry: FakeRegistry, plant: Callable[[FakeRegistry], None], message: str
) -> None:
    """A version would be overwritten on the strength of it."""
    plant(registry)
    with pytest.raises(ReleaseError, match=message):
        RegistryClient(registry.host, None).image(NAME, "0.3.0")


def test_a_manifest_that_is_not_the_one_of_the_digest_is_refused(registry: FakeRegistry) -> None:
    registry.paths[f"/v2/{NAME}/manifests/{DIGEST}"] = (200, {}, MANIFEST + b" ")
    with pytest.raises(ReleaseError, match="gives another manifest than"):
        RegistryClient(registry.host, None).image(NAME, DIGEST)


def test_a_registry_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ReleaseError, match=r"the registry 127\.0\.0\.1:1 can not be reached"):
        RegistryClient("127.0.0.1:1", None).image(NAME, "0.3.0")


@pytest.mark.parametrize(
    ("text", "repository"),
    [
        ("registry.example.org", "lyceum/x"),
        ("registry.example.org/team/a", "team/a/lyceum/x"),
        ("localhost:5000", "lyceum/x"),
    ],
)
def test_a_registry_is_a_host_and_a_prefix(text: str, repository: str) -> None:
    assert registry_named(text).repository("lyceum/x") == repository


@pytest.mark.parametrize("text", ["", "registry", "https://registry.example.org", "a.b/Upper"])
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match="is not HOST"):
        registry_named(text)


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1:5000", True), ("localhost", True), ("registry.example.org", False), ("127.evil.org", False)],
)  # fmt: skip
def test_only_this_machine_is_spoken_to_in_the_clear(host: str, here: bool) -> None:
    assert is_loopback(host) is here


# Who one is.


def test_ecr_gives_a_password_of_its_own() -> None:
    asked: list[str | None] = []

    class Ecr:
        def get_authorization_token(self) -> dict[str, Any]:
            token = base64.b64encode(b"AWS:password").decode()
            return {"authorizationData": [{"authorizationToken": token}]}

    class FakeAws(Aws):
        def client(self, service: str, *, region: str | None = None) -> Any:
            asked.append(region)
            return Ecr()

    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    found = login_to(Registry(host), FakeAws())
    assert found.login == Login("AWS", "password")
    assert asked == ["eu-west-1"]
    assert "password" not in repr(found)


@pytest.mark.parametrize("kept", ["auths", "helper", "nothing"])
def test_elsewhere_it_is_who_docker_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    host = "registry.example.org"
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\nread host\necho "{\\"Username\\":\\"AWS\\",\\"Secret\\":\\"secret\\"}"\n'
    )
    helper.chmod(0o755)
    documents: dict[str, dict[str, Any]] = {
        "auths": {"auths": {host: {"auth": base64.b64encode(b"AWS:secret").decode()}}},
        "helper": {"credHelpers": {host: "test"}},
        "nothing": {"auths": {}},
    }
    (tmp_path / "config.json").write_text(json.dumps(documents[kept]), encoding="utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = login_to(Registry(host), Aws())
    # The engine logs in by itself; only what is asked over HTTP needs to know.
    assert found.login is None
    assert found.for_queries == (None if kept == "nothing" else Login("AWS", "secret"))
