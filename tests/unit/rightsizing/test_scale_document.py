"""docs/scale.md says what the tool works out from the committed files, table by table."""

from __future__ import annotations

import re
from pathlib import Path

from deploy.rightsizing._document import blocks
from deploy.rightsizing._plan import make_plan, quota_uses
from deploy.rightsizing._report import as_markdown
from deploy.rightsizing._scenarios import scenarios
from deploy.rightsizing.rightsizing import (
    MANY_LEARNERS,
    scale_sections,
    simulate_sections,
    spike_plot,
)
from tests.unit.rightsizing.inputs import committed

DOCS = Path(__file__).parents[3] / "docs"
RENEW = "renew it: ./pantsw run deploy/rightsizing/rightsizing.py -- {} --into docs/scale.md"


def page() -> str:
    return (DOCS / "scale.md").read_text(encoding="utf-8")


def test_its_tables_are_those_of_the_tool() -> None:
    inputs = committed()
    many = inputs.of(inputs.profile.at(MANY_LEARNERS))
    found = blocks(page())
    plan = make_plan(many)
    sections = scale_sections(many, plan, quota_uses(many, plan))
    for name, section in sections.items():
        if name in found:
            assert found[name] == as_markdown([section]), RENEW.format("scale")
    assert {"growth", "quotas", "largest-lines", "keys", "tables", "tasks"} <= set(found)


def test_its_spike_is_that_of_the_tool() -> None:
    inputs = committed()
    courses = list(scenarios(inputs, make_plan(inputs), "progress_tracking", 10.0))
    table = as_markdown([simulate_sections(courses)["spike"]])
    assert blocks(page())["spike"] == table, RENEW.format("simulate --svg docs/scale-spike.svg")
    plot = (DOCS / "scale-spike.svg").read_text(encoding="utf-8")
    assert plot == spike_plot(courses, "progress_tracking", 10.0)
    assert "(scale-spike.svg)" in page()


def test_it_has_no_place_that_nobody_fills() -> None:
    inputs = committed()
    known = {*scale_sections(inputs, make_plan(inputs), ()), "spike"}
    assert set(blocks(page())) <= known
    assert len(re.findall("<!-- rightsizing ", page())) == len(blocks(page()))


def test_it_speaks_of_every_quota_that_is_met() -> None:
    """What changes then stands in words, quota by quota."""
    rows = blocks(page())["quotas"].splitlines()[4:]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        name, met = cells[0], cells[4]
        if met:
            assert f"`{name}`" in page(), name
