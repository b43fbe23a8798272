"""``up.py --containers`` from its start to every kind of end: what users recorded stays, no container does."""

from __future__ import annotations

import json
import os
import re
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

pytestmark = pytest.mark.timeout(900)

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


def test_nobody_loses_what_was_recorded_and_no_container_stays_however_it_ends(
    start: Start, engine: DockerEngine
) -> None:
    """One platform's life: a task dies, everything is killed, the embedded AWS dies, up.py is killed."""
    first = start("--verbose")
    assert first.document["cluster"] == "lyceum"
    assert first.document["registry"] == first.document["aws"].removeprefix("http://")
    assert runs(engine, first) == dict.fromkeys(FAMILIES, 1)
    # Every task's output is there, and shown.
    assert '"event":"listening"' in first.errors
    assert re.search(r"progress_tracking-consumer-[0-9a-f]{8} \|.*\"consuming\"", first.errors)
    # A task's program is killed; its place is taken by another one.
    victim = next(
        one for one in task_containers(engine, first.state) if one.family == "progress_tracking"
    )
    engine.run("kill", victim.id)
    died = f"progress_tracking (task {victim.task[:8]}) was ended by SIGKILL; ECS starts another"
    until(lambda: died in first.errors, "the death is told")
    until(lambda: first.request("/progress/me").status == 200, "another one serves")
    tasks = {one.task for one in task_containers(engine, first.state)}
    assert victim.task not in tasks
    assert len(tasks) == len(FAMILIES)
    # As when the machine loses its power, but for the engine.
    everything = [*first.descendants(), first.process.pid]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process_id in everything:
            os.kill(process_id, number)
    first.process.wait()
    until(lambda: not any(map(is_alive, everything)), "every process ends")
    left = set(container_ids(engine, first.state))
    assert len(left) == len(FAMILIES)

    second = start()
    assert f"removed {len(FAMILIES)} containers" in second.errors
    ours = set(container_ids(engine, second.state))
    assert len(ours) == len(FAMILIES)
    assert not left & ours
    # The embedded AWS dies: all that stood in it is made again.
    os.kill(process_of(second, "deploy.local.embedded_aws"), signal.SIGKILL)
    until(lambda: "embedded-aws is back" in second.errors, "the embedded AWS is back")
    second.document = json.loads((second.state / "platform.json").read_text())
    assert len(second.request("/courses?limit=100").json["items"]) >= 12
    record(second, "a-course")
    again = set(container_ids(engine, second.state))
    assert len(again) == len(FAMILIES)
    assert not ours & again
    # Killed alone: the embedded AWS notices, and ends its containers before it ends itself.
    children = second.descendants()
    second.process.kill()
    second.process.wait()
    until(lambda: not any(map(is_alive, children)), "every process ends")
    assert container_ids(engine, second.state) == []

    # What was recorded is there, also where the services are processes again.
    third = start(containers=False)
    assert in_progress(third) == ["a-course"]
    assert "registry" not in third.document
    assert third.signal(signal.SIGTERM) == 0
    for name in ("platform.json", "operator.env", "containers.json"):
        assert not (third.state / name).exists()


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
