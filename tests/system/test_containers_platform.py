"""``up.py --containers`` from its start to every kind of end: what users recorded stays, no container does."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.containers.engine import DockerEngine, docker_engine
from tests.containers.releasable import releasable_images
from tests.system.container_tasks import container_ids, task_containers
from tests.system.platform_process import RunningPlatform, is_alive, run_up, until
from tests.system.test_platform_start_and_stop import in_progress, process_of, record

pytestmark = pytest.mark.timeout(600)

FAMILIES = {
    "course_catalog",
    "content_delivery",
    "progress_tracking",
    "progress_tracking-consumer",
}
Start = Callable[..., RunningPlatform]


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return docker_engine("starting and stopping the platform with containers is not run")


@pytest.fixture(scope="module")
def images(engine: DockerEngine) -> Iterator[list[str]]:
    with releasable_images(engine) as found:
        yield [word for pair in found.items() for word in ("--image", "=".join(pair))]


@pytest.fixture()
def start(engine: DockerEngine, images: list[str], tmp_path: Path) -> Iterator[Start]:
    """Starts a platform on this test's state folder; whatever runs at the end is ended."""
    started: list[RunningPlatform] = []

    def start(*arguments: str, containers: bool = True) -> RunningPlatform:
        options = ["--containers", "--tasks", "1", *images] if containers else []
        running = RunningPlatform(tmp_path, tmp_path / "state", "--port", "0", *options, *arguments)
        started.append(running)
        return running

    yield start
    for running in started:
        running.end()
    for container in container_ids(engine, tmp_path / "state"):
        engine.remove_container(container)


def runs(engine: DockerEngine, platform: RunningPlatform) -> Counter[str]:
    return Counter(one.family for one in task_containers(engine, platform.state))


def test_what_dies_is_replaced_and_a_stop_leaves_nothing_but_what_was_recorded(
    start: Start, engine: DockerEngine
) -> None:
    platform = start("--verbose")
    document = platform.document
    assert document["cluster"] == "lyceum"
    assert document["registry"] == document["aws"].removeprefix("http://")
    assert runs(engine, platform) == dict.fromkeys(FAMILIES, 1)
    # Every task's output is there, and shown.
    assert "course_catalog" in platform.errors
    assert '"event":"listening"' in platform.errors
    record(platform, "a-course")
    # A task's program is killed; its place is taken by another one.
    victim = next(
        one for one in task_containers(engine, platform.state) if one.family == "progress_tracking"
    )
    engine.run("kill", victim.id)
    died = f"progress_tracking (task {victim.task[:8]}) was ended by SIGKILL; ECS starts another"
    until(lambda: died in platform.errors, "the death is told")
    until(lambda: platform.request("/progress/me").status == 200, "another one serves")
    assert in_progress(platform) == ["a-course"]
    tasks = {one.task for one in task_containers(engine, platform.state)}
    assert victim.task not in tasks
    assert len(tasks) == len(FAMILIES)

    children = platform.descendants()
    assert platform.signal(signal.SIGTERM) == 0, platform.errors
    assert container_ids(engine, platform.state) == []
    assert not any(map(is_alive, children))
    assert "killed" not in platform.errors.replace(died, "")
    for name in ("platform.json", "operator.env", "containers.json"):
        assert not (platform.state / name).exists()

    # What was recorded is there again, also where the services then are processes.
    after = start(containers=False)
    assert in_progress(after) == ["a-course"]
    assert "registry" not in after.document
    assert after.signal(signal.SIGTERM) == 0


def test_an_embedded_aws_that_dies_has_the_cluster_made_again_and_a_killed_platform_leaves_nothing(
    start: Start, engine: DockerEngine
) -> None:
    platform = start()
    before = set(container_ids(engine, platform.state))
    os.kill(process_of(platform, "deploy.local.embedded_aws"), signal.SIGKILL)
    until(lambda: "embedded-aws is back" in platform.errors, "the embedded AWS is back")
    platform.document = json.loads((platform.state / "platform.json").read_text())
    assert len(platform.request("/courses?limit=100").json["items"]) >= 12
    record(platform, "a-course")
    after = set(container_ids(engine, platform.state))
    assert len(after) == len(FAMILIES)
    assert not before & after

    # Killed alone: the embedded AWS notices, and ends its containers before it ends itself.
    children = platform.descendants()
    platform.process.kill()
    platform.process.wait()
    until(lambda: not any(map(is_alive, children)), "every process ends")
    assert container_ids(engine, platform.state) == []


def test_what_was_killed_with_everything_else_is_removed_by_the_next_start(
    start: Start, engine: DockerEngine
) -> None:
    platform = start()
    # As when the machine loses its power, but for the engine.
    everything = [*platform.descendants(), platform.process.pid]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process_id in everything:
            os.kill(process_id, number)
    platform.process.wait()
    until(lambda: not any(map(is_alive, everything)), "every process ends")
    assert len(container_ids(engine, platform.state)) == len(FAMILIES)

    # A start of any kind will do.
    after = start(containers=False)
    assert f"removed {len(FAMILIES)} containers" in after.errors
    assert container_ids(engine, platform.state) == []
    assert after.signal(signal.SIGTERM) == 0


def test_an_image_that_does_not_run_ends_the_start_with_what_it_said(
    engine: DockerEngine, images: list[str], tmp_path: Path
) -> None:
    """The catalog's image in the place of progress's: without its variables it ends with 2."""
    given = dict(word.split("=", 1) for word in images[1::2])
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "Dockerfile").write_text(
        f"FROM {given['content_delivery']}\nENV CONTENT_DRAIN_SECONDS=x CONTENT_IMAGE_HASH={'0' * 64}\n"
        'CMD ["services.no_such_service"]\n'
    )
    name = "lyceum-test/broken:1"
    engine.run("build", "--quiet", "--tag", name, str(broken))
    try:
        options = [word.replace(given["content_delivery"], name) for word in images]
        ended = run_up(
            *("--port", "0", "--state", "state", "--containers", "--tasks", "1", *options),
            directory=tmp_path,
        )
    finally:
        engine.run("image", "rm", "--no-prune", name)
    assert ended.returncode == 1
    last = ended.stderr[ended.stderr.index("up.py: ") :]
    assert last.startswith("up.py: content_delivery ended with exit code 1\n")
    assert "No module named services.no_such_service" in last
    assert container_ids(engine, tmp_path / "state") == []
