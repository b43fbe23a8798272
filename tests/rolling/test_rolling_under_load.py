"""Releases of well images, under a steady load of reads and progress writes: nothing is dropped."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from pathlib import Path

import pytest

from deploy.release import SERVICES
from tests.load.steady import SteadyLoad
from tests.rolling.cluster import Released, RunningCluster
from tests.rolling.conftest import Digests
from tests.rolling.variants import BASE, NEXT

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(1400)]

ROLLS = 10
REPORT_VARIABLE = "ROLLING_REPORT"
"""Names a folder that is left the table of rolls, as `rolls.json`."""


async def test_releasing_one_service_touches_no_other(
    cluster: RunningCluster, digests: Digests, load: SteadyLoad
) -> None:
    names = [name for service in SERVICES.values() for name in service.rollouts]
    before = {name: await cluster.tasks(name) for name in names}
    async with load.running():
        forward = await cluster.deploy("course_catalog", digests["course_catalog", NEXT])
        assert forward.exit_code == 0, forward
        after = {name: await cluster.tasks(name) for name in names}
        back = await cluster.release("rollback", "course_catalog")
        assert back.exit_code == 0, back
    assert {task.digest for task in after["course_catalog"].values()} == {
        digests["course_catalog", NEXT]
    }
    assert not after.pop("course_catalog").keys() & before.pop("course_catalog").keys()
    assert after == before
    assert [str(failure) for failure in load.failures] == []
    assert await load.lost_writes() == []


async def test_ten_rolls_of_each_service_forward_and_back_drop_nothing(
    cluster: RunningCluster, digests: Digests, load: SteadyLoad
) -> None:
    """All three at once: each has tasks of its own, and a client may need any of them at any time."""
    rolls: dict[str, list[Released]] = {service: [] for service in SERVICES}

    async def roll(service: str) -> None:
        for _ in range(ROLLS):
            forward = await cluster.deploy(service, digests[service, NEXT])
            assert forward.exit_code == 0, forward
            assert await _digests(cluster, service) == {digests[service, NEXT]}
            back = await cluster.release("rollback", service)
            assert back.exit_code == 0, back
            assert await _digests(cluster, service) == {digests[service, BASE]}
            rolls[service] += [forward, back]

    async with load.running(), asyncio.TaskGroup() as group:
        for service in SERVICES:
            group.create_task(roll(service))
    lost = await load.lost_writes()
    _tell(rolls, load, lost)
    assert [str(failure) for failure in load.failures] == []
    assert lost == []
    # It went on through all of it.
    assert load.acknowledged_writes > 10 * ROLLS
    assert all(counts.requests > 50 * ROLLS for counts in load.counts.values())


async def _digests(cluster: RunningCluster, service: str) -> set[str]:
    return {
        task.digest
        for name in SERVICES[service].rollouts
        for task in (await cluster.tasks(name)).values()
    }


def _tell(rolls: dict[str, list[Released]], load: SteadyLoad, lost: list[str]) -> None:
    rows = []
    for service, done in rolls.items():
        counts, seconds = load.counts[service], [one.seconds for one in done]
        rows.append(
            {
                "service": service,
                "rolls": len(done),
                "requests": counts.requests,
                "failures": len(counts.failures),
                "rollSecondsMedian": round(statistics.median(seconds), 1),
                "rollSecondsMost": round(max(seconds), 1),
                "answerMillisecondsMedian": round(1000 * statistics.median(counts.seconds), 1),
                "answerMillisecondsMost": round(1000 * max(counts.seconds), 1),
            }
        )
    report = {
        "rolls": rows,
        "writesAcknowledged": load.acknowledged_writes,
        "writesLost": len(lost),
    }
    sys.stdout.write(f"\n{json.dumps(report, indent=1)}\n{load}\n")
    if folder := os.environ.get(REPORT_VARIABLE):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "rolls.json").write_text(json.dumps(report, indent=1) + "\n")
