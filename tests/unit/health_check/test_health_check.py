"""The health check of a container: whom it asks, what it takes for healthy, and that it is light."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from libs.health_check import Unhealthy, address_of, probe
from libs.health_check.__main__ import main

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def server(answer: Callable[[bytes], bytes | None]) -> Iterator[tuple[int, list[bytes]]]:
    """Answers connections one after the other; its port, and the requests that came. None: says
    nothing until the client goes."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    request = connection.recv(4096)
                    asked.append(request)
                    said = answer(request)
                    if said is None:
                        connection.recv(1)
                    else:
                        with suppress(OSError):  # who has heard enough hangs up
                            connection.sendall(said)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield listener.getsockname()[1], asked
        finally:
            # A blocked accept ends by this, and not by closing alone.
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_who_answers_200_is_healthy() -> None:
    with server(lambda _: OK) as (port, asked):
        probe("127.0.0.1", port, "/healthz", timeout_seconds=5)
    assert asked[0].startswith(b"GET /healthz HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(UNAVAILABLE, "/healthz: 503", id="503"),
        pytest.param(b"HTTP/1.1 404 Not Found\r\n\r\n", "/healthz: 404", id="404"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", "/healthz: that is not HTTP", id="status"),
        pytest.param(
            b"SSH-2.0-OpenSSH_9.2\r\n", "/healthz: that is not HTTP", id="another protocol"
        ),
        pytest.param(b"x" * 100_000, "/healthz: that is not HTTP", id="noise without an end"),
        pytest.param(b"", "/healthz: that is not HTTP", id="nothing"),
    ],
)
def test_who_answers_something_else_is_not(answer: bytes, told: str) -> None:
    with (
        server(lambda _: answer) as (port, _),
        pytest.raises(Unhealthy, match=f"^{told}$"),
    ):
        probe("127.0.0.1", port, "/healthz", timeout_seconds=5)


def test_who_hangs_is_not() -> None:
    with (
        server(lambda _: None) as (port, _),
        pytest.raises(Unhealthy, match=r"^/healthz: no answer within 0\.05 s$"),
    ):
        probe("127.0.0.1", port, "/healthz", timeout_seconds=0.05)


def test_who_does_not_listen_is_not() -> None:
    with pytest.raises(Unhealthy, match="^/healthz: Connection refused$"):
        probe("127.0.0.1", closed_port(), "/healthz", timeout_seconds=5)


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        pytest.param({}, ("127.0.0.1", 8080), id="what libs.service listens on by default"),
        pytest.param({"CATALOG_HOST": "0.0.0.0"}, ("127.0.0.1", 8080), id="every IPv4 address"),
        pytest.param({"CATALOG_HOST": "::"}, ("::1", 8080), id="every IPv6 address"),
        pytest.param({"CATALOG_HOST": "127.1.2.3"}, ("127.1.2.3", 8080), id="one address"),
        pytest.param({"CATALOG_PORT": "9000"}, ("127.0.0.1", 9000), id="a port"),
        pytest.param({"CATALOG_HOST": "", "CATALOG_PORT": ""}, ("127.0.0.1", 8080), id="empty"),
        pytest.param({"CONTENT_PORT": "9000"}, ("127.0.0.1", 8080), id="another prefix"),
    ],
)
def test_it_asks_where_the_service_listens(
    variables: dict[str, str], address: tuple[str, int]
) -> None:
    assert address_of("CATALOG_", variables) == address


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "٣"])
def test_a_port_that_can_not_be_asked_is_told(port: str) -> None:
    with pytest.raises(ValueError, match="CATALOG_PORT"):
        address_of("CATALOG_", {"CATALOG_PORT": port})


def only_alive(request: bytes) -> bytes:
    return OK if request.startswith(b"GET /healthz ") else UNAVAILABLE


def test_alive_is_healthy_although_it_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    """A restart helps neither who drains nor who waits for keys; the load balancer asks /readyz."""
    with server(only_alive) as (port, _):
        variables = {"CATALOG_PORT": str(port)}
        assert main(["CATALOG_"], variables) == 0
        assert main(["--ready", "CATALOG_"], variables) == 1
    assert capsys.readouterr().out == "/readyz: 503\n"


@pytest.mark.parametrize("arguments", [[], ["A_", "B_"], ["--live", "A_"], ["--ready"]])
def test_a_wrong_call_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments, {}) == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_as_a_program_it_imports_nothing_of_what_a_service_is_made_of() -> None:
    """It is started every few seconds, beside the service and on its share of the processor."""
    program = (
        "import runpy, sys\n"
        "sys.argv = ['health_check', 'CATALOG_']\n"
        "try:\n"
        "    runpy.run_module('libs.health_check', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n"
        "    print(end.code, sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    with server(only_alive) as (port, _):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CATALOG_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    code, _, modules = done.stdout.partition(" ")
    assert code == "0"
    heavy = {"aiohttp", "asyncio", "botocore", "email", "http", "json", "logging", "ssl", "urllib"}
    assert heavy & set(eval(modules)) == set()
