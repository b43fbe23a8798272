"""Which quota is met first, and by how many learners."""

from __future__ import annotations

import pytest

from deploy.rightsizing._inputs import InputError
from deploy.rightsizing._plan import Inputs, demands, make_plan, quota_uses
from tests.unit.rightsizing.inputs import committed


@pytest.fixture(scope="module")
def at_scale() -> Inputs:
    return committed().of(committed().profile.at(100_000_000))


def test_the_number_of_learners_is_where_the_demand_meets_the_limit(at_scale: Inputs) -> None:
    """At a little less the demand is within the limit, at a little more it is not."""
    for use in quota_uses(at_scale):
        if use.limit is None or use.learners is None:
            continue
        below, above = (
            demands(make_plan(at_scale.of(at_scale.profile.at(learners))))[use.name][0]
            for learners in (use.learners * 0.995, use.learners * 1.005)
        )
        if use.learners > 0:
            assert below <= use.limit, use.name
        assert above > use.limit, use.name


def test_what_is_met_first_stands_first_and_what_is_unknown_last(at_scale: Inputs) -> None:
    uses = quota_uses(at_scale)
    met = [use.learners for use in uses if use.learners is not None]
    assert met == sorted(met)
    assert [use.learners is None for use in uses] == sorted(use.learners is None for use in uses)
    unknown = [use for use in uses if use.limit is None]
    assert [use.name for use in unknown] == ["xray.segmentsPerSecond"]
    assert unknown[0].share is None
    assert unknown[0].demand > 0


def test_a_limit_of_ones_own_account_counts(at_scale: Inputs) -> None:
    own = Inputs(
        at_scale.profile,
        at_scale.measurements,
        at_scale.capacity,
        at_scale.prices,
        at_scale.quotas.with_limits({"xray.segmentsPerSecond": 1.0, "fargate.vcpu": 1e9}),
    )
    uses = {use.name: use for use in quota_uses(own)}
    assert uses["xray.segmentsPerSecond"].learners is not None
    assert uses["fargate.vcpu"].learners is None
    with pytest.raises(InputError, match="there is no quota"):
        at_scale.quotas.with_limits({"nonsense": 1.0})


def test_a_quota_that_nobody_knows_the_demand_of_is_no_quota(at_scale: Inputs) -> None:
    odd = at_scale.quotas.model_copy(
        update={"quotas": {**at_scale.quotas.quotas, "odd": at_scale.quotas.quotas["fargate.vcpu"]}}
    )
    with pytest.raises(InputError, match="odd"):
        quota_uses(
            Inputs(
                at_scale.profile,
                at_scale.measurements,
                at_scale.capacity,
                at_scale.prices,
                odd,
            )
        )


def test_learners_scale_what_they_do_and_not_what_authors_do() -> None:
    profile = committed().profile
    ten_times = profile.at(profile.learners.registered * 10)
    before, after = profile.requests_per_second(), ten_times.requests_per_second()
    assert after["recordProgress"] == pytest.approx(before["recordProgress"] * 10)
    assert after["patchCourse"] == before["patchCourse"]
    assert ten_times.stored == profile.stored
    grown = profile.after(12).learners.registered
    assert grown == pytest.approx(profile.learners.registered * 1.05**12)
