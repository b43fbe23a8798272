"""How the services are started: by their entry points, with their own variables and no others."""

from __future__ import annotations

import sys
from pathlib import Path

import aiohttp
import pytest

from deploy.local._ports import receive
from deploy.local._services import (
    SERVICES,
    ServiceSettings,
    consumer_program,
    contract_of,
    python_environment,
    service_program,
    service_version,
    traces_program,
)

SETTINGS = ServiceSettings(
    cursor_secret="s" * 48,
    cors_origins=["http://127.0.0.1:8080", "http://localhost:8080"],
    tracing_daemon=None,
)


OWN = {
    "progress_tracking": {"OUTLINE_CACHE_SECONDS": "1"},
    "content_delivery": {"UPLOAD_SINGLE_BYTES": "8388608", "UPLOAD_PART_BYTES": "5242880"},
}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_gets_what_is_its_own(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the user's own")
    monkeypatch.setenv("PYTHONSTARTUP", "/elsewhere")
    provisioned = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    async with aiohttp.ClientSession() as session:
        program = service_program(service, SETTINGS, provisioned, session, port=4711)
    assert program.command == [sys.executable, "-m", f"services.{service}"]
    environment = program.environment
    assert {name for name in environment if name.startswith("AWS_")} == set(provisioned)
    assert "PYTHONSTARTUP" not in environment
    prefix = next(name for name in environment if name.endswith("_PORT")).removesuffix("PORT")
    own = {name.removeprefix(prefix): v for name, v in environment.items() if prefix in name}
    own.pop("VERSION", None)
    assert own == {
        "HOST": "127.0.0.1",
        "PORT": "4711",
        "CORS_ORIGINS": "http://127.0.0.1:8080,http://localhost:8080",
        "DRAIN_SECONDS": "5",
        "METRICS_FLUSH_SECONDS": "5",
        "CURSOR_SECRETS": "s" * 48,
        **OWN.get(service, {}),
    }
    assert contract_of(service).is_file()


async def test_the_consumer_has_its_services_variables_and_no_port() -> None:
    provisioned = {"AWS_REGION": "us-east-1", "PROGRESS_OUTLINE_QUEUE_URL": "http://127.0.0.1:1/q"}
    program = consumer_program(SETTINGS, provisioned)
    assert program.command == [sys.executable, "-m", "services.progress_tracking.consumer"]
    own = {name: v for name, v in program.environment.items() if name.startswith("PROGRESS_")}
    own.pop("PROGRESS_VERSION", None)
    assert own == {
        "PROGRESS_CURSOR_SECRETS": "s" * 48,
        "PROGRESS_DRAIN_SECONDS": "5",
        "PROGRESS_METRICS_FLUSH_SECONDS": "5",
        "PROGRESS_OUTLINE_QUEUE_URL": "http://127.0.0.1:1/q",
        "PROGRESS_OUTLINE_WAIT_SECONDS": "1",
    }
    assert not await program.ready("")
    assert await program.ready('{"level":"info","event":"consuming"}\n')


async def test_tracing_is_told_only_where_something_listens() -> None:
    traced = ServiceSettings(None, [], "127.0.0.1:2000")
    async with aiohttp.ClientSession() as session:
        program = service_program("course_catalog", traced, {}, session, port=1)
    assert program.environment["CATALOG_TRACING_DAEMON"] == "127.0.0.1:2000"
    assert program.environment["CATALOG_TRACING_RATE"] == "1"


async def test_the_receiver_of_traces_inherits_its_socket(tmp_path: Path) -> None:
    with receive() as source:
        program = traces_program(tmp_path, source)
        assert program.inherited == [source.fileno()]
        assert program.command[1:3] == ["-m", "deploy.local._traces"]
        assert program.environment == python_environment()
        assert not await program.ready("")
        assert await program.ready("receiving\n")


def test_python_finds_the_code_and_little_else() -> None:
    given = {"PATH": "/bin", "HOME": "/home/me", "EDITOR": "vi", "PYTHONPATH": "/elsewhere"}
    environment = python_environment(given)
    assert environment.keys() == {"PATH", "HOME", "PYTHONPATH", "PYTHONUNBUFFERED"}
    assert (Path(environment["PYTHONPATH"]) / "deploy" / "local").is_dir()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('docker_image(\n    name="image",\n    version="1.4.0",\n)', "1.4.0"),
        ('service(version = "0.1.0")', "0.1.0"),
        ("python_sources()", None),
        ('python_sources(interpreter_version="3.11")', None),
    ],
)
def test_the_version_is_the_one_of_the_build_file(
    tmp_path: Path, text: str, version: str | None
) -> None:
    (tmp_path / "BUILD").write_text(text)
    assert service_version(tmp_path / "BUILD") == version


def test_without_a_build_file_the_service_says_its_own_default(tmp_path: Path) -> None:
    assert service_version(tmp_path / "BUILD") is None
