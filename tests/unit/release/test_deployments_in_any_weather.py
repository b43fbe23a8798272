"""Whatever becomes of the tasks, of the API and of others: what the exit code says is so.

Hypothesis chooses how the new image fares, what ECS is configured to do, when calls fail, when an
alarm goes off and whether somebody else deploys meanwhile.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import Phase, event, given, note, settings
from hypothesis import strategies as st

from deploy.release._deploy import Limits
from deploy.release._errors import ReleaseError
from tests.unit.release.simulated_ecs import (
    Image,
    SimulatedCloud,
    SimulatedRegistry,
    SimulatedTime,
    refused,
    unreachable,
)
from tests.unit.release.test_deployments import Operator

CATALOG = "course_catalog"
OLD, OTHER = Image(CATALOG, "0.3.0"), Image(CATALOG, "0.4.0")
FATES = {
    "good": Image(CATALOG, "0.3.1"),
    "slow": Image(CATALOG, "0.3.1", starts_within=25),
    "never": Image(CATALOG, "0.3.1", starts_within=10_000),
    "crashes": Image(CATALOG, "0.3.1", crashes=True),
    "sick": Image(CATALOG, "0.3.1", is_sick=True),
    "wrong": Image(CATALOG, "0.3.1", says="0.2.9"),
}


@dataclass(frozen=True)
class Weather:
    """What happens. Times are seconds after the tool began; None: it does not."""

    fate: str
    breaker: bool
    rolls_back: bool
    alarm_at: float | None
    other_at: float | None
    outage: tuple[float, float]
    throttled: frozenset[int]  # calls by their number
    disorder: bool


times = st.none() | st.floats(0.5, 60)
weathers = st.builds(
    Weather,
    fate=st.sampled_from(sorted(FATES)),
    breaker=st.booleans(),
    rolls_back=st.booleans(),
    alarm_at=times,
    other_at=times,
    outage=st.tuples(st.floats(0, 80), st.floats(0, 40)),
    throttled=st.frozensets(st.integers(0, 60), max_size=12),
    disorder=st.booleans(),
)


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(weathers)
def test_what_the_exit_code_says_is_so(weather: Weather) -> None:
    new = FATES[weather.fate]
    time = SimulatedTime()
    cloud = SimulatedCloud(
        time,
        SimulatedRegistry(OLD, new, OTHER),
        breaker=weather.breaker,
        rolls_back=weather.rolls_back,
    )
    cloud.run(CATALOG, OLD)
    cloud.calls.clear()
    cloud.alarms["errors"] = "OK"
    cloud.duplicate_events = weather.disorder
    began = time.now
    deployed_by_others: list[str] = []

    def trouble(operation: str) -> None:
        # The call that begins it, and those before, are other tests' business.
        if "ecs:update_service" not in cloud.calls[:-1]:
            return
        number = len(cloud.calls) - cloud.calls.index("ecs:update_service")
        if number in weather.throttled:
            raise refused("ThrottlingException")
        start, length = weather.outage
        if began + start <= time.now < began + start + length:
            raise unreachable()

    cloud.faults.append(trouble)
    if weather.alarm_at is not None:
        time.after(weather.alarm_at, lambda: cloud.alarms.update(errors="ALARM"))
    if weather.other_at is not None:
        time.after(
            weather.other_at,
            lambda: deployed_by_others.append(cloud.deploy_by_somebody_else(CATALOG, OTHER)),
        )
    me = Operator(cloud, io.StringIO(), io.StringIO())
    limits = Limits(timeout=90, verify_within=20)
    try:
        code = me.release(limits=limits, alarms=("errors",)).deploy("0.3.1")
    except ReleaseError:
        assert "ecs:update_service" not in cloud.calls
        return
    except (ClientError, EndpointConnectionError) as error:
        raise AssertionError(f"it came out of the tool: {error!r}") from error
    event(f"{weather.fate}: {code}")
    note(f"{weather!r}: {code}, {me.last()}")
    running, primary = cloud.running_images(CATALOG), cloud.image_of(CATALOG)
    updates = cloud.calls.count("ecs:update_service")
    if code == 0:
        assert weather.fate in ("good", "slow")
        assert deployed_by_others or (running, primary) == ({new.reference}, new.reference)
        assert me.told("verified")[-1]["whose"] == "expected"
    elif code == 1:
        assert deployed_by_others or (running, primary) == ({OLD.reference}, OLD.reference)
        assert me.last()["event"] == "rolledBack"
        assert me.told("verified")[-1]["whose"] == "previous"
    else:
        assert code == 3
        assert me.last()["event"] in ("rollbackFailed", "leftAsItIs", "lostSight")
        # It is not said lightly: somebody interfered, nothing could be seen, or there was no way.
        assert deployed_by_others or weather.outage[1] > 0 or weather.throttled
    # Forward once and back once, each perhaps repeated.
    assert updates <= 2 * 6
    if deployed_by_others:
        # What others began later is never replaced.
        time.sleep(60)
        assert cloud.services[CATALOG].primary.definition.arn == deployed_by_others[0]
    ids = [told["id"] for told in me.told("ecsEvent")]
    assert len(ids) == len(set(ids))
