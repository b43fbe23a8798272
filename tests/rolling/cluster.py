"""The platform from its images, and releases on it, as their user runs them.

Owns the processes: `up.py --containers`, started and stopped, and `release.py`, run to its end. What is
released, and what must come of it, is the tests' own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local._provision import EmbeddedAws
from deploy.release import SERVICES, Aws, login_to, push_image
from deploy.release._credentials import find_local
from tests.containers.engine import DockerEngine
from tests.integration.service_process import python_path

ROOT = Path(__file__).parents[2]
REGION = "us-east-1"

# Far above what each takes on a busy machine.
_START_SECONDS = 300.0
_STOP_SECONDS = 120.0
_RELEASE_SECONDS = 600.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Released:
    """What `release.py` did: its exit code, what it said, and how long it took."""

    exit_code: int
    events: Sequence[Mapping[str, Any]]
    errors: str
    seconds: float

    @property
    def outcome(self) -> Mapping[str, Any]:
        """The last thing that it said: what came out."""
        assert self.events, self.errors
        return self.events[-1]

    def __str__(self) -> str:
        lines = [json.dumps(event) for event in self.events]
        return "\n".join([f"exit code {self.exit_code}", *lines, self.errors])


@dataclass(frozen=True)
class Task:
    """A task of ECS: its id, the digest of its image, and where it listens."""

    id: str
    digest: str
    address: str
    container: str


class RunningCluster:
    """The platform while it runs, by its state folder and what it said when it was ready."""

    def __init__(self, state: Path, document: Mapping[str, Any], engine: DockerEngine) -> None:
        self.state = state
        self.engine = engine
        self.bases: Mapping[str, str] = document["services"]
        self.tokens: Mapping[str, str] = {
            user: found["accessToken"] for user, found in document["users"].items()
        }
        administrator = json.loads((state / "aws" / "administrator.json").read_text())
        self._aws = EmbeddedAws(
            document["aws"],
            REGION,
            administrator["accessKeyId"],
            administrator["secretAccessKey"],
        )

    async def push(self, service: str, image: str) -> str:
        """Send an image of the engine to the platform's registry; its digest there."""
        local = find_local(self.state)
        assert local.registry is not None  # it runs containers
        login = await asyncio.to_thread(
            login_to, local.registry, Aws(lambda: local.variables), is_ecr=True
        )
        pushed = await asyncio.to_thread(
            push_image, SERVICES[service], login, root=ROOT, image=image, drafts=True
        )
        return pushed.digest

    async def release(self, *arguments: str) -> Released:
        """`release.py ARGUMENTS --local … --json`, run to its end."""
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "deploy" / "release" / "release.py"), *arguments),
            *("--local", str(self.state), "--json"),
            env={**os.environ, "PYTHONPATH": python_path()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        events = [json.loads(line) for line in output.splitlines()]
        seconds = time.monotonic() - began
        return Released(process.returncode, events, errors.decode(), seconds)

    async def deploy(self, service: str, digest: str, *options: str) -> Released:
        """`release.py deploy SERVICE --digest …`."""
        return await self.release("deploy", service, "--digest", digest, *options)

    async def tasks(self, ecs_service: str) -> dict[str, Task]:
        """The tasks of an ECS service that are to run, by their ids."""
        async with self._aws.client("ecs") as ecs:
            listed = await ecs.list_tasks(
                cluster="lyceum", serviceName=ecs_service, desiredStatus="RUNNING"
            )
            if not listed["taskArns"]:
                return {}
            described = await ecs.describe_tasks(cluster="lyceum", tasks=listed["taskArns"])
        found = {}
        for task in described["tasks"]:
            if task["lastStatus"] != "RUNNING":
                continue
            (container,) = task["containers"]
            task_id = task["taskArn"].rpartition("/")[2]
            found[task_id] = Task(
                task_id,
                container["imageDigest"],
                container["networkInterfaces"][0]["privateIpv4Address"],
                container["runtimeId"],
            )
        return found

    async def ended(self, task_id: str) -> Mapping[str, Any]:
        """The task as ECS tells of it, once it has ended."""
        async with self._aws.client("ecs") as ecs, asyncio.timeout(_STOP_SECONDS):
            while True:
                described = await ecs.describe_tasks(cluster="lyceum", tasks=[task_id])
                (task,) = described["tasks"]
                if task["lastStatus"] == "STOPPED":
                    found: Mapping[str, Any] = task
                    return found
                await asyncio.sleep(_LOOK_SECONDS)

    async def stop_task(self, task_id: str) -> None:
        """ECS's StopTask."""
        async with self._aws.client("ecs") as ecs:
            await ecs.stop_task(cluster="lyceum", task=task_id, reason="a test")

    async def signal(self, task: Task, name: str) -> None:
        """A signal to the task's container, past ECS: the load balancer is not told."""
        await asyncio.to_thread(self.engine.run, "kill", "--signal", name, task.container)

    async def allow_grace(self, ecs_service: str, seconds: int) -> int:
        """Set for how long a task of the service may be unhealthy after its start; what it was."""
        async with self._aws.client("ecs") as ecs:
            described = await ecs.describe_services(cluster="lyceum", services=[ecs_service])
            before: int = described["services"][0]["healthCheckGracePeriodSeconds"]
            await ecs.update_service(
                cluster="lyceum", service=ecs_service, healthCheckGracePeriodSeconds=seconds
            )
        return before

    async def until_steady(self, ecs_service: str, tasks: int) -> None:
        """Wait until so many tasks run, all of one deployment, and are in service."""
        async with self._aws.client("ecs") as ecs, asyncio.timeout(_STOP_SECONDS):
            while True:
                described = await ecs.describe_services(cluster="lyceum", services=[ecs_service])
                (service,) = described["services"]
                deployments = service["deployments"]
                if (
                    len(deployments) == 1
                    and deployments[0]["rolloutState"] == "COMPLETED"
                    and service["runningCount"] == tasks
                    and await self._in_service(service) == tasks
                ):
                    return
                await asyncio.sleep(_LOOK_SECONDS)

    async def _in_service(self, service: Mapping[str, Any]) -> int:
        async with self._aws.client("elbv2") as elb:
            (balancer,) = service["loadBalancers"]
            described = await elb.describe_target_health(TargetGroupArn=balancer["targetGroupArn"])
        return sum(
            target["TargetHealth"]["State"] == "healthy"
            for target in described["TargetHealthDescriptions"]
        )


@asynccontextmanager
async def running_cluster(
    engine: DockerEngine, state: Path, images: Mapping[str, str], *, tasks: int
) -> AsyncIterator[RunningCluster]:
    """`up.py --containers` on these images, ready; it must stop by itself at the end, with 0."""
    given = [
        word for service, image in images.items() for word in ("--image", f"{service}={image}")
    ]
    with (state.parent / f"{state.name}.errors").open("wb+") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "deploy" / "local" / "up.py")),
            *("--port", "0", "--state", str(state), "--json", "--containers"),
            *("--tasks", str(tasks), *given),
            env={**os.environ, "PYTHONPATH": python_path()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=1 << 20,
        )

        def said() -> str:
            errors.seek(0)
            return errors.read().decode(errors="replace")

        assert process.stdout is not None
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await process.stdout.readline()
            assert line, said()
            yield RunningCluster(state, json.loads(line), engine)
            os.kill(process.pid, signal.SIGINT)
            async with asyncio.timeout(_STOP_SECONDS):
                assert await process.wait() == 0, said()
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(_STOP_SECONDS):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()
