"""Carries out what the scheduler decides: every task's life, from its image to its removal.

All of it runs on one event loop, of a thread of its own, so nothing here needs a lock, and MiniStack's
work never delays a health check or a stop.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ._addresses import Addresses
from ._definition import ContainerDefinition, TaskDefinition, engine_configuration
from ._engine import Engine, EngineError, Exit
from ._model import Container, Deployment, Service, Task, TaskStatus
from ._scheduler import Scheduler, Start, Stop
from ._targets import Endpoint, TargetGroups, TargetState
from ._task_logs import TaskLogs

_TICK_SECONDS = 1.0
_HEALTH_EVERY_SECONDS = 1.0
_OUTPUT_AFTER_END_SECONDS = 2.0
# A task of which nothing is checked counts as healthy once it has run for so long: a program that can
# not work has ended by then.
_UNCHECKED_HEALTHY_SECONDS = 3.0
_REASON_CHARACTERS = 255  # ECS's bound of a container's reason
_KEPT_STOPPED_TASKS = 200

_log = logging.getLogger("lyceum.ecs")


class Registry(Protocol):
    """The registry of this embedded AWS: the only one that images are pulled from."""

    prefix: str

    async def digest(self, repository: str, tag: str) -> str | None:
        """The digest that a tag stands for now."""

    def credentials(self) -> tuple[str, str]:
        """User and password for a pull."""


@dataclass(frozen=True)
class Names:
    """What ARNs are made with."""

    region: str
    account: str

    def arn(self, kind: str, *parts: str) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:{kind}/{'/'.join(parts)}"


class _StartError(Exception):
    """A task can not be started; the text is its stoppedReason."""


class _Life:
    """What belongs to a task while it lives."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.coroutine: asyncio.Task[None] | None = None
        self.exits: dict[int, asyncio.Task[Exit]] = {}
        self.outputs: list[asyncio.Task[None]] = []
        self.health: asyncio.Task[None] | None = None
        self.registered: list[tuple[str, Endpoint]] = []
        self.running_since: float | None = None
        self.hurry = asyncio.Event()  # nothing is waited for but the task itself


class Cluster:
    """Services and tasks.

    Args:
        now: Unix time; `clock`: monotonic seconds; `new_id`: 32 random hex digits.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        addresses: Addresses,
        registry: Registry,
        logs: TaskLogs,
        names: Names,
        now: Callable[[], float],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._addresses = addresses
        self._registry = registry
        self._logs = logs
        self.names = names
        self.now = now
        self._clock = clock
        self.new_id = new_id
        self._sleep = sleep
        self.scheduler = Scheduler(now=now, clock=clock, new_id=new_id)
        self.services: dict[tuple[str, str], Service] = {}  # by cluster's and own name
        self.tasks: dict[str, Task] = {}
        self._lives: dict[Task, _Life] = {}
        # Names in a registry that ends with this process; a push leaves them at the engine too.
        self._own_images: set[str] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._closing = False

    def start(self, groups: TargetGroups) -> None:
        """From here on services are looked after."""
        self.groups = groups
        self._ticking = asyncio.create_task(self._tick())

    # What the API asks for.

    def add_service(self, cluster: str, service: Service, definition: TaskDefinition) -> None:
        """Takes a new service and begins its first deployment."""
        self.services[cluster, service.name] = service
        self.scheduler.deploy(service, self._new_deployment(service, definition))
        self._step(service)

    def update_service(
        self, service: Service, *, desired: int | None, definition: TaskDefinition | None
    ) -> None:
        """Scales the service, and deploys `definition` where one is given."""
        if desired is not None:
            service.desired = desired
            service.primary.desired = desired
        if definition is not None:
            self.scheduler.deploy(service, self._new_deployment(service, definition))
        self._step(service)

    def delete_service(self, service: Service) -> None:
        """Stops all its tasks; it becomes INACTIVE when they have ended."""
        service.status = "DRAINING"
        service.desired = 0
        service.primary.desired = 0
        for task in service.tasks:
            self.stop_task(task, "Service deleted", "ServiceSchedulerInitiated")
        self._step(service)

    def run_task(
        self,
        cluster_arn: str,
        cluster: str,
        definition: TaskDefinition,
        *,
        group: str,
        started_by: str,
        launch_type: str,
        deployment: Deployment | None = None,
        service: Service | None = None,
    ) -> Task:
        """Starts one task."""
        number = self.new_id()
        task = Task(
            arn=self.names.arn("task", cluster, number),
            cluster_arn=cluster_arn,
            definition=definition,
            group=group,
            started_by=started_by,
            launch_type=launch_type,
            created_at=self.now(),
            deployment_id=deployment.id if deployment else None,
            containers=[
                Container(self.names.arn("container", cluster, self.new_id()), one.name, one.image)
                for one in definition.containers
            ],
        )
        self.tasks[task.arn] = task
        self._forget_old_tasks()
        if service is not None:
            service.tasks.append(task)
        life = self._lives[task] = _Life()
        life.coroutine = asyncio.create_task(
            self._live(task, life, service, deployment), name=f"task {task.id}"
        )
        return task

    def stop_task(self, task: Task, reason: str, code: str) -> None:
        """Has a task stopped in order; what has begun to stop goes on as it was."""
        if task.desired_status == "STOPPED":
            return
        task.desired_status = "STOPPED"
        task.stopping_at = self.now()
        task.stop_code, task.stopped_reason = code, reason
        task.version += 1
        self._lives[task].stop.set()

    def target_changed(self, group: str, endpoint: Endpoint) -> None:
        """A target's health is another now."""
        for service in self.services.values():
            if any(target.group_arn == group for target in service.targets):
                self._tell_unhealthy(service, group, endpoint)
                self._step(service)

    async def close(self, seconds: float) -> None:
        """Stops every task at once, each within its stop time-out but no longer than `seconds`."""
        self._closing = True
        if self._ticking is not None:
            self._ticking.cancel()
        lives = list(self._lives.items())
        for task, life in lives:
            life.hurry.set()
            self.stop_task(task, "The platform stops", "ServiceSchedulerInitiated")
            life.stop.set()
        waiting = [life.coroutine for _, life in lives if life.coroutine is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
        await self._remove_all()
        for reference in self._own_images:
            await self._engine.forget_image(reference)

    async def remove_leftovers(self) -> int:
        """Removes the containers that an earlier run left; gives how many there were."""
        return await self._remove_all()

    async def _remove_all(self) -> int:
        try:
            left = await self._engine.containers()
        except EngineError as error:
            _log.error("containers may be left: %s", error)
            return 0
        results = await asyncio.gather(
            *(self._engine.remove(container) for container in left), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                _log.error("a container is left: %s", result)
        return len(left)

    # Scheduling.

    async def _tick(self) -> None:
        while True:
            await self._sleep(_TICK_SECONDS)
            for service in list(self.services.values()):
                self._step(service)

    def _step(self, service: Service) -> None:
        if self._closing:
            return
        for task in service.tasks:
            self._assess(service, task)
        actions = self.scheduler.step(service)
        started: list[Task] = []
        draining = 0
        for action in actions:
            match action:
                case Stop(task, reason):
                    draining += bool(self._lives[task].registered)
                    self.stop_task(task, reason, "ServiceSchedulerInitiated")
                case Start(deployment, count):
                    cluster = service.cluster_arn.rpartition("/")[2]
                    started += [
                        self.run_task(
                            service.cluster_arn,
                            cluster,
                            deployment.definition,
                            group=f"service:{service.name}",
                            started_by=deployment.id,
                            launch_type=service.launch_type,
                            deployment=deployment,
                            service=service,
                        )
                        for _ in range(count)
                    ]
        if draining:
            self.scheduler.tell(service, f"has begun draining connections on {draining} tasks.")
        if started:
            named = " ".join(f"(task {task.id})" for task in started)
            self.scheduler.tell(service, f"has started {len(started)} tasks: {named}.")
        if service.status == "DRAINING" and all(task.ended for task in service.tasks):
            service.status = "INACTIVE"

    def _assess(self, service: Service, task: Task) -> None:
        """Whether a task is healthy, and whether it has had its chance to become so."""
        life = self._lives.get(task)
        if life is None or not task.running or life.running_since is None:
            task.healthy = False
            return
        age = self._clock() - life.running_since
        states = [self.groups.health_of(group, endpoint) for group, endpoint in life.registered]
        checked = {one.health for one in task.containers if one.health != "UNKNOWN"} | (
            {"STARTING"} if self._unchecked(task) else set()
        )
        task.healthy = (
            len(states) == len(service.targets)
            and all(state is not None and state.state is TargetState.HEALTHY for state in states)
            and checked <= {"HEALTHY"}
            and (bool(states or checked) or age >= _UNCHECKED_HEALTHY_SECONDS)
        )
        task.verdict = None
        if age < service.grace_seconds:
            return
        if "UNHEALTHY" in checked:
            task.verdict = "Task failed container health checks"
        for (group, _), state in zip(life.registered, states, strict=True):
            if state is not None and state.state is TargetState.UNHEALTHY:
                task.verdict = f"Task failed ELB health checks in (target-group {group})"

    def _unchecked(self, task: Task) -> bool:
        return any(
            definition.health_check is not None and container.health == "UNKNOWN"
            for definition, container in zip(
                task.definition.containers, task.containers, strict=True
            )
        )

    def _tell_unhealthy(self, service: Service, group: str, endpoint: Endpoint) -> None:
        state = self.groups.health_of(group, endpoint)
        if state is not None and state.state is TargetState.UNHEALTHY:
            self.scheduler.tell(
                service,
                f"(port {endpoint.port}) is unhealthy in (target-group {group})"
                f" due to (reason {state.description}).",
            )

    def _new_deployment(self, service: Service, definition: TaskDefinition) -> Deployment:
        number = f"ecs-svc/{int(self.new_id()[:16], 16)}"
        now = self.now()
        return Deployment(
            number,
            definition,
            service.desired,
            now,
            now,
            rollout_reason=f"ECS deployment {number} in progress.",
        )

    def _forget_old_tasks(self) -> None:
        ended = [arn for arn, task in self.tasks.items() if task.ended]
        for arn in ended[: max(0, len(ended) - _KEPT_STOPPED_TASKS)]:
            del self.tasks[arn]

    # A task's life.

    async def _live(
        self, task: Task, life: _Life, service: Service | None, deployment: Deployment | None
    ) -> None:
        try:
            await self._bring_up_unless_stopped(task, life, service, deployment)
            if not life.stop.is_set():
                await self._until_end(task, life)
        except (_StartError, EngineError) as error:
            self._ends(task, str(error), "TaskFailedToStart")
        except Exception as error:
            _log.exception("task %s", task.id)
            self._ends(task, f"the embedded AWS failed: {error}", "TaskFailedToStart")
        try:
            await self._bring_down(task, life, service)
        finally:
            self._lives.pop(task, None)
            if service is not None:
                self._step(service)

    def _ends(self, task: Task, reason: str, code: str) -> None:
        if task.desired_status == "RUNNING":
            task.desired_status = "STOPPED"
            task.stopping_at = self.now()
            task.stop_code, task.stopped_reason = code, reason
            task.version += 1

    async def _bring_up_unless_stopped(
        self, task: Task, life: _Life, service: Service | None, deployment: Deployment | None
    ) -> None:
        bringing = asyncio.create_task(self._bring_up(task, life, service, deployment))
        stopping = asyncio.create_task(life.stop.wait())
        try:
            await asyncio.wait({bringing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not bringing.done():
                bringing.cancel()
            with suppress(asyncio.CancelledError):
                await bringing

    async def _bring_up(
        self, task: Task, life: _Life, service: Service | None, deployment: Deployment | None
    ) -> None:
        task.address = self._addresses.take()
        task.status = TaskStatus.PENDING
        images = [
            await self._image(container, shown, deployment)
            for container, shown in zip(task.definition.containers, task.containers, strict=True)
        ]
        task.status = TaskStatus.ACTIVATING
        for index, (container, (image, variables)) in enumerate(
            zip(task.definition.containers, images, strict=True)
        ):
            await self._start_container(task, life, index, container, image, variables)
        for target in service.targets if service else ():
            endpoint = Endpoint(task.address, target.port)
            if self.groups.settings(target.group_arn) is None:
                raise _StartError(f"the target group {target.group_arn} is gone")
            life.registered.append((target.group_arn, endpoint))
            await self.groups.register(target.group_arn, endpoint)
            assert service is not None
            self.scheduler.tell(
                service, f"registered 1 targets in (target-group {target.group_arn})."
            )
        task.status = TaskStatus.RUNNING
        task.started_at = self.now()
        life.running_since = self._clock()
        task.version += 1
        if any(one.health_check for one in task.definition.containers):
            life.health = asyncio.create_task(self._watch_health(task, service))
        if service is not None:
            self._step(service)

    async def _start_container(
        self,
        task: Task,
        life: _Life,
        index: int,
        container: ContainerDefinition,
        image: str,
        variables: Mapping[str, str],
    ) -> None:
        assert task.address is not None
        configuration = engine_configuration(
            task.definition,
            container,
            image=image,
            image_environment=variables,
            address=task.address,
        )
        name = f"lyceum-{task.definition.family}-{task.id}-{container.name}"
        starting = asyncio.create_task(self._engine.start(name, task.id, configuration))
        try:
            engine_id = await asyncio.shield(starting)
        except EngineError as error:
            raise _StartError(f"CannotStartContainerError: {error}") from error
        except asyncio.CancelledError:
            # Broken off in between, a container would be there that nobody knows.
            with suppress(EngineError):
                await self._engine.remove(await starting)
            raise
        shown = task.containers[index]
        shown.engine_id, shown.status = engine_id, "RUNNING"
        life.exits[index] = asyncio.create_task(self._engine.wait(engine_id))
        life.outputs.append(asyncio.create_task(self._keep_output(task, engine_id)))

    async def _image(
        self, container: ContainerDefinition, shown: Container, deployment: Deployment | None
    ) -> tuple[str, Mapping[str, str]]:
        """The reference that is run, at the engine, and the variables that the image sets."""
        reference = container.image
        own = reference.startswith(self._registry.prefix)
        if own and "@" not in reference:
            reference = await self._by_digest(container, deployment)
        if "@" in reference:
            shown.digest = reference.partition("@")[2]
        variables = await self._engine.image_environment(reference)
        if own:
            self._own_images.add(reference)
        if variables is None and own:
            user, password = self._registry.credentials()
            try:
                await self._engine.pull(reference, user=user, password=password)
            except EngineError as error:
                raise _StartError(f"CannotPullContainerError: {error}") from error
            variables = await self._engine.image_environment(reference)
        if variables is None:
            raise _StartError(
                f"CannotPullContainerError: {reference} is not here, and images are pulled from"
                f" {self._registry.prefix} only"
            )
        return reference, variables

    async def _by_digest(
        self, container: ContainerDefinition, deployment: Deployment | None
    ) -> str:
        known = deployment.digests if deployment else {}
        path = container.image.removeprefix(self._registry.prefix)
        repository, _, tag = path.partition(":")
        if container.name not in known:
            digest = await self._registry.digest(repository, tag or "latest")
            if digest is None:
                raise _StartError(f"CannotPullContainerError: {container.image}: not found")
            known[container.name] = digest
        return f"{self._registry.prefix}{repository}@{known[container.name]}"

    async def _until_end(self, task: Task, life: _Life) -> None:
        """Until it is to stop, or an essential container has ended."""
        stopping = asyncio.create_task(life.stop.wait())
        try:
            while not life.stop.is_set():
                running = {one for one in life.exits.values() if not one.done()}
                await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
                ended = [index for index, one in life.exits.items() if one.done()]
                for index in ended:
                    self._show_exit(task, life, index)
                essential = any(task.definition.containers[index].essential for index in ended)
                if essential or len(ended) == len(life.exits):
                    self._ends(
                        task, "Essential container in task exited", "EssentialContainerExited"
                    )
                    return
        finally:
            stopping.cancel()

    async def _bring_down(self, task: Task, life: _Life, service: Service | None) -> None:
        if life.health is not None:
            life.health.cancel()
        if task.status is TaskStatus.RUNNING:
            task.status = TaskStatus.DEACTIVATING
        if service is not None:
            self._step(service)
        await self._drain(task, life, service)
        task.status = TaskStatus.STOPPING
        await asyncio.gather(
            *(
                self._stop_container(task, index)
                for index, one in life.exits.items()
                if not one.done()
            )
        )
        for index, one in life.exits.items():
            if not one.done():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_OUTPUT_AFTER_END_SECONDS):
                        await asyncio.wait({one})
            self._show_exit(task, life, index)
        if life.outputs:
            await asyncio.wait(life.outputs, timeout=_OUTPUT_AFTER_END_SECONDS)
            for output in life.outputs:
                output.cancel()
        self._say_why(task)
        task.status = TaskStatus.DEPROVISIONING
        task.version += 1
        for shown in task.containers:
            if shown.engine_id is not None:
                try:
                    await self._engine.remove(shown.engine_id)
                except EngineError as error:
                    _log.error("a container is left: %s", error)
        if task.address is not None:
            self._addresses.give_back(task.address)
        for shown in task.containers:
            shown.status = "STOPPED"
        task.status = TaskStatus.STOPPED
        task.stopped_at = self.now()
        task.version += 1
        if service is not None and task.stop_code == "ServiceSchedulerInitiated":
            self.scheduler.tell(service, f"has stopped 1 running tasks: (task {task.id}).")

    async def _drain(self, task: Task, life: _Life, service: Service | None) -> None:
        """Takes the task out of its target groups and waits until their delay is over: only then may
        it be told to stop. A task that has ended has nothing to wait for."""
        delay = 0.0
        for group, endpoint in life.registered:
            routed = await self.groups.deregister(group, endpoint)
            settings = self.groups.settings(group)
            if routed and settings is not None:
                delay = max(delay, settings.deregistration_seconds)
        if delay:
            await self._wait_unless_over(life, delay)
        for group, endpoint in life.registered:
            self.groups.forget(group, endpoint)
            if service is not None:
                self.scheduler.tell(service, f"deregistered 1 targets in (target-group {group}).")
        life.registered.clear()

    async def _wait_unless_over(self, life: _Life, seconds: float) -> None:
        if not life.exits:
            return
        hurried = asyncio.create_task(life.hurry.wait())
        ended = asyncio.create_task(asyncio.wait(life.exits.values()))
        try:
            await asyncio.wait(
                {hurried, ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            hurried.cancel()
            ended.cancel()

    async def _stop_container(self, task: Task, index: int) -> None:
        engine_id = task.containers[index].engine_id
        assert engine_id is not None
        try:
            await self._engine.stop(engine_id, task.definition.containers[index].stop_seconds)
        except EngineError as error:
            _log.error("task %s: %s", task.id, error)

    def _show_exit(self, task: Task, life: _Life, index: int) -> None:
        one = life.exits[index]
        shown = task.containers[index]
        if not one.done() or one.cancelled():
            return
        shown.status = "STOPPED"
        if error := one.exception():
            shown.reason = str(error)[:_REASON_CHARACTERS]
            return
        ended = one.result()
        shown.exit_code = ended.code
        if ended.out_of_memory:
            shown.reason = "OutOfMemoryError: Container killed due to memory usage"

    def _say_why(self, task: Task) -> None:
        """ECS leaves this empty where a program ended by itself; here it has its last line."""
        if task.stop_code != "EssentialContainerExited":
            return
        line = self._logs.last_line(task.definition.family, task.id)
        for shown in task.containers:
            if line and shown.exit_code and shown.reason is None:
                shown.reason = line[:_REASON_CHARACTERS]

    async def _keep_output(self, task: Task, engine_id: str) -> None:
        try:
            descriptor = self._logs.open(task.definition.family, task.id)
        except OSError as error:
            _log.error("task %s has no log: %s", task.id, error)
            return
        try:
            async for chunk in self._engine.output(engine_id):
                os.write(descriptor, chunk)
        except (EngineError, OSError) as error:
            _log.warning("the log of task %s ends early: %s", task.id, error)
        finally:
            os.close(descriptor)

    async def _watch_health(self, task: Task, service: Service | None) -> None:
        checked: Sequence[tuple[ContainerDefinition, Container]] = [
            (definition, shown)
            for definition, shown in zip(task.definition.containers, task.containers, strict=True)
            if definition.health_check is not None
        ]
        while True:
            await self._sleep(_HEALTH_EVERY_SECONDS)
            for _, shown in checked:
                if shown.engine_id is None or shown.status == "STOPPED":
                    continue
                with suppress(EngineError):  # the engine's trouble is not the task's
                    health = (await self._engine.health(shown.engine_id)).upper()
                    before, shown.health = (
                        shown.health,
                        health if health != "STARTING" else "UNKNOWN",
                    )
                    if before != shown.health and service is not None:
                        self._step(service)
