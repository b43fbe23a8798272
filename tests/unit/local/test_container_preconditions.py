"""What a machine lacks for containers is told before anything starts: all of it, a line each."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.local import up
from deploy.local._cluster import Containers, problems
from deploy.local._ports import listen, port_of
from tests.unit.local.fake_engine import FIT, FakeEngine

IMAGES = {
    "course_catalog": "lyceum/course_catalog:0.3.0",
    "content_delivery": "lyceum/content_delivery:0.3.0",
    "progress_tracking": "lyceum/progress_tracking:0.3.0",
}


@pytest.fixture()
def no_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BASE_IMAGE", raising=False)


async def told(fake: FakeEngine, images: Mapping[str, str] = IMAGES, *, port: int = 0) -> list[str]:
    found = await problems(Containers(fake.host, 2, images), port=port)
    assert all("\n" not in line for line in found)
    return found


async def test_a_fit_machine_lacks_nothing(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path).serving() as fake:
        fake.images = set(IMAGES.values())
        assert await told(fake) == []


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"Plugins": {"Network": ["bridge", "null"]}}, "has no host network"),
        ({"KernelVersion": "6.6.87.2-microsoft-standard-WSL2"}, "it runs elsewhere"),
        ({"OSType": "windows"}, "it runs elsewhere"),
        ({"SecurityOptions": ["name=seccomp", "name=rootless"]}, "it is rootless"),
    ],
)
async def test_an_engine_whose_containers_are_not_on_this_network_is_refused(
    tmp_path: Path, info: Mapping[str, Any], said: str
) -> None:
    async with FakeEngine(tmp_path).serving() as fake:
        fake.images = set(IMAGES.values())
        fake.info = {**FIT, **info}
        (line,) = await told(fake)
    assert said in line
    assert fake.host in line


async def test_images_that_are_not_there_are_named(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path).serving() as fake:
        fake.images = {IMAGES["content_delivery"]}
        assert await told(fake) == [
            "the engine has no image lyceum/course_catalog:0.3.0 (--image course_catalog=…)",
            "the engine has no image lyceum/progress_tracking:0.3.0 (--image progress_tracking=…)",
        ]


@pytest.mark.usefixtures("no_base")
async def test_what_is_built_needs_a_base_and_the_command_that_makes_one_is_said(
    tmp_path: Path,
) -> None:
    async with FakeEngine(tmp_path).serving() as fake:
        (line,) = await told(fake, {})
        assert "no base image" in line
        assert "docker pull gcr.io/" in line
        assert "./pantsw run deploy/images/base/build.py" in line
        fake.images = {"lyceum/base:debian12"}
        assert await told(fake, {}) == []


async def test_a_base_that_is_named_is_the_one_that_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE_IMAGE", "registry.example/base:1")
    async with FakeEngine(tmp_path).serving() as fake:
        fake.images = {"lyceum/base:debian12"}
        (line,) = await told(fake, {})
        assert line.startswith("the engine has no image registry.example/base:1 (BASE_IMAGE)")
        fake.images.add("registry.example/base:1")
        assert await told(fake, {}) == []


async def test_everything_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with listen(0) as taken:
        port = port_of(taken)
        containers = Containers(f"unix://{tmp_path}/none.sock", 2, {})
        linux, engine, gateway = await problems(containers, port=port)
    assert linux.startswith("--containers needs Linux")
    assert engine.startswith(f"no engine answers at unix://{tmp_path}/none.sock: ")
    assert engine.endswith("; DOCKER_HOST names one, Debian's is in the package docker.io")
    assert gateway.startswith(f"port {port} of 127.0.0.1 is taken")


async def test_a_port_that_somebody_has_on_every_address_is_taken_from_containers_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.255.255.254", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("deploy.local._cluster._preconditions.CONTAINER_PORT", port)
        async with FakeEngine(tmp_path).serving() as fake:
            fake.images = set(IMAGES.values())
            (line,) = await told(fake)
    assert line.startswith(f"port {port} is taken on every address")


def test_the_command_ends_with_2_and_has_touched_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    state = tmp_path / "state"
    assert up.main(["--state", str(state), "--port", "0", "--containers"]) == 2
    assert not state.exists()
    said = capsys.readouterr().err
    assert said.startswith("up.py: tcp://127.0.0.1:2375 is not like unix:///var/run/docker.sock")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "3"], "--tasks and --image go with --containers"),
        (["--image", "course_catalog=a:1"], "--tasks and --image go with --containers"),
        (["--containers", "--tasks", "0"], "is not a number of tasks (1 to 8)"),
        (["--containers", "--tasks", "9"], "is not a number of tasks (1 to 8)"),
        (["--containers", "--tasks", "two"], "is not a number of tasks"),
        (["--containers", "--image", "catalog=a:1"], "is none of course_catalog"),
        (["--containers", "--image", "course_catalog"], "is not like lyceum/course_catalog:0.3.0"),
        (["--containers", "--image", "course_catalog=--privileged"], "is not like lyceum/"),
    ],
)
def test_what_is_called_wrongly_is_said(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        up.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
