"""The Docker engine by its API: what is asked of it, and what its refusals become."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from deploy.local._cluster._engine import (
    DEFAULT_HOST,
    Container,
    Engine,
    EngineError,
    engine_host,
    socket_of,
)
from tests.unit.local.fake_engine import FakeEngine


def test_the_engine_is_the_one_that_the_environment_names() -> None:
    assert engine_host({"DOCKER_HOST": "unix:///run/mine.sock"}) == "unix:///run/mine.sock"
    assert engine_host({}) == engine_host({"DOCKER_HOST": ""}) == DEFAULT_HOST
    assert socket_of("unix:///run/mine.sock") == Path("/run/mine.sock")


@pytest.mark.parametrize(
    "host", ["tcp://127.0.0.1:2375", "ssh://somewhere", "/run/docker.sock", "unix://", "unix:x"]
)
def test_an_engine_that_is_not_on_this_machine_is_refused(host: str) -> None:
    with pytest.raises(EngineError, match="is not like unix:"):
        socket_of(host)


async def test_containers_are_found_by_their_label_and_removed(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path).serving() as fake, Engine.open(fake.host) as engine:
        fake.containers = {"a": {"of": "me"}, "b": {"of": "them"}, "c": {"of": "me"}}
        found = await engine.containers("of=me")
        assert found == [Container("a", "name-of-a"), Container("c", "name-of-c")]
        for container in found:
            await engine.remove(container.id)
        assert fake.containers.keys() == {"b"}
        await engine.remove("a")  # what is gone already is no error


async def test_an_image_is_there_or_not(tmp_path: Path) -> None:
    async with FakeEngine(tmp_path).serving() as fake, Engine.open(fake.host) as engine:
        fake.images = {"lyceum/course_catalog:0.3.0"}
        assert await engine.has_image("lyceum/course_catalog:0.3.0")
        assert not await engine.has_image("lyceum/course_catalog:0.4.0")


async def test_an_engine_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/none.sock"
    async with Engine.open(host) as engine:
        with pytest.raises(EngineError) as caught:
            await engine.info()
    assert str(caught.value).startswith(f"no engine answers at {host}: ")
    assert "\n" not in str(caught.value)


async def test_a_refusal_says_what_the_engine_says(tmp_path: Path) -> None:
    class Refusing(FakeEngine):
        async def _info(self, _: web.Request) -> web.Response:
            return web.json_response({"message": "client version is\ntoo old"}, status=400)

    async with Refusing(tmp_path).serving() as fake, Engine.open(fake.host) as engine:
        with pytest.raises(EngineError, match="client version is too old"):
            await engine.info()
