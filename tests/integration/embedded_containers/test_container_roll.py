"""Rolling a service of real containers under load: nothing fails, and what is broken goes back."""

import asyncio

import pytest

from tests.integration.embedded_containers.cluster import CLUSTER, Service, until


async def test_a_roll_forward_and_back_fails_no_request(service: Service) -> None:
    one, two = await service.define(APP_VERSION="1"), await service.define(APP_VERSION="2")
    await service.create(one)
    async with service.under_load() as load:
        forward = await service.deploy(two)
        assert load.answers["2"]
        back = await service.deploy(one)
    assert load.failures == []
    assert forward["rolloutState"] == back["rolloutState"] == "COMPLETED"
    assert set(load.answers) == {"1", "2"}
    tasks = await service.tasks()
    assert {task["taskDefinitionArn"] for task in tasks} == {one}
    assert len(tasks) == 2
    # Each of the old tasks was told to stop only when it was out of the load balancer, and ended well.
    stopped = await service.tasks("STOPPED")
    assert [task["containers"][0]["exitCode"] for task in stopped] == [0, 0, 0, 0]
    assert {task["stopCode"] for task in stopped} == {"ServiceSchedulerInitiated"}


async def test_the_events_are_told_in_the_words_of_ecs(service: Service) -> None:
    await service.create(await service.define(APP_VERSION="1"), count=1)
    await service.deploy(await service.define(APP_VERSION="2"))
    told = [text.partition(") ")[2].partition(" (t")[0] for text in await service.messages()]
    deployment = (await service.describe())["deployments"][0]["id"]
    first = told.index("has reached a steady state.")
    assert told[first + 1 :] == [
        "has started 1 tasks:",
        "registered 1 targets in",
        "has begun draining connections on 1 tasks.",
        "deregistered 1 targets in",
        "has stopped 1 running tasks:",
        f"(deployment {deployment}) deployment completed.",
        "has reached a steady state.",
    ]


BROKEN = {
    "sick": {"APP_SICK": "1"},
    "crashing": {"APP_CRASH": "1"},
    "late": {"APP_LATE": "60"},
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_revision_goes_back(service: Service, fault: str) -> None:
    await service.create(await service.define(APP_VERSION="good"))
    async with service.under_load() as load:
        failed = await service.deploy(
            await service.define(APP_VERSION="bad", **BROKEN[fault]),
            healthCheckGracePeriodSeconds=2,
        )
    assert load.failures == []
    assert set(load.answers) == {"good"}
    assert failed["rolloutState"] == "FAILED"
    assert failed["rolloutStateReason"] == (
        "ECS deployment circuit breaker: tasks failed to start."
    )
    assert failed["failedTasks"] >= 3
    now = (await service.describe())["deployments"]
    assert [one["rolloutState"] for one in now] == ["COMPLETED"]
    told = await service.messages()
    assert any(
        f"(deployment {failed['id']}) deployment failed: tasks failed to start." in text
        for text in told
    )
    assert any(f"rolling back to (deployment {now[0]['id']})." in text for text in told)


async def test_the_waiter_of_the_sdk_ends_after_a_deployment_has_gone_back(
    service: Service,
) -> None:
    await service.create(await service.define(), count=1)
    await service.ecs.update_service(
        cluster=CLUSTER,
        service=service.name,
        taskDefinition=await service.define(APP_CRASH="1"),
    )
    waiter = service.ecs.get_waiter("services_stable")
    await waiter.wait(
        cluster=CLUSTER, services=[service.name], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    (deployment,) = (await service.describe())["deployments"]
    assert deployment["rolloutState"] == "COMPLETED"
    # Why, is there to be read: the exit code, and the program's last line.
    crashed = [
        task["containers"][0]
        for task in await service.tasks("STOPPED")
        if task["stopCode"] == "EssentialContainerExited"
    ]
    assert {(one["exitCode"], one["reason"]) for one in crashed} == {
        (3, "there is no way to start")
    }


async def test_a_stop_waits_for_what_is_under_way(service: Service) -> None:
    """The request takes longer than the drain: it is the program that finishes it after SIGTERM."""
    await service.create(await service.define(APP_VERSION="old"), count=1)
    async with service.under_load("/slow/3", clients=2) as load:
        await asyncio.sleep(0.5)  # the requests are under way
        await service.deploy(await service.define(APP_VERSION="new"))
    assert load.failures == []
    assert load.answers["old"] >= 2


async def test_a_deaf_task_is_killed_after_its_stop_time_out(service: Service) -> None:
    await service.create(await service.define(APP_DEAF="1"), count=1)
    (task,) = await service.tasks()
    await service.deploy(await service.define())
    (stopped,) = await service.tasks("STOPPED")
    assert stopped["taskArn"] == task["taskArn"]
    assert stopped["containers"][0]["exitCode"] == 137
    took = stopped["stoppedAt"] - stopped["stoppingAt"]
    assert took.total_seconds() >= 1 + 5  # the drain, then the stop time-out


async def test_a_task_that_dies_is_replaced(service: Service) -> None:
    await service.create(await service.define(APP_VERSION="1"))
    victim = (await service.tasks())[0]
    (container,) = (
        one
        for one in service.aws.containers()
        if one.startswith(victim["containers"][0]["runtimeId"])
    )
    service.aws.engine.run("kill", "--signal", "KILL", container)

    async def replaced() -> bool:
        return victim["taskArn"] not in [one["taskArn"] for one in await service.tasks()]

    await until(replaced, "the killed task is known to be dead")
    await service.settled()
    assert len(await service.tasks()) == 2
    (dead,) = await service.tasks("STOPPED")
    assert dead["stopCode"] == "EssentialContainerExited"
    assert dead["stoppedReason"] == "Essential container in task exited"
    assert dead["containers"][0]["exitCode"] == 137


async def test_scaling_in_keeps_serving(service: Service) -> None:
    await service.create(await service.define(APP_VERSION="1"), count=3)
    async with service.under_load() as load:
        await service.ecs.update_service(cluster=CLUSTER, service=service.name, desiredCount=1)
        await service.settled()
    assert load.failures == []
    assert len(await service.tasks()) == 1


async def test_a_service_of_full_tasks_only_makes_room_first(service: Service) -> None:
    """maximumPercent 100: never more than two tasks, and by minimumHealthyPercent never less than one."""
    await service.create(
        await service.define(APP_VERSION="1"),
        deploymentConfiguration={"minimumHealthyPercent": 50, "maximumPercent": 100},
    )
    definition = await service.define(APP_VERSION="2")
    most = 0
    async with service.under_load() as load:
        await service.ecs.update_service(
            cluster=CLUSTER, service=service.name, taskDefinition=definition
        )

        async def ended() -> bool:
            nonlocal most
            shown = await service.describe()
            running = [
                task
                for task in await service.tasks()
                if task["lastStatus"] in ("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING")
            ]
            most = max(most, len(running))
            return [one["rolloutState"] for one in shown["deployments"]] == ["COMPLETED"]

        await until(ended, "the deployment has ended")
    assert load.failures == []
    assert most == 2
