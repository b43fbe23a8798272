"""A course from Open edX on the running platform: as its author brings it, and as learners find it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.course_import._archive import open_source
from deploy.course_import._mapping import plan_course
from deploy.course_import._olx import read_course
from deploy.course_import._plan import Item, Plan
from tests.system.exchange import ask
from tests.system.platform_process import DEADLINE_SECONDS, RunningPlatform, until

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "deploy" / "course_import" / "olx.py"
SAMPLE = ROOT / "deploy" / "course_import" / "samples" / "night-sky"


@dataclass(frozen=True)
class Run:
    """One run of the command."""

    code: int
    out: str
    errors: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.errors
        return json.loads(self.out)


def command(platform: RunningPlatform, *arguments: str, user: str = "author") -> list[str]:
    """The command line of an import as a demo user."""
    where = ["--token-from", f"platform:{user}", "--state", str(platform.state)]
    return [sys.executable, str(TOOL), *arguments, *where, "--json"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def run(platform: RunningPlatform, *arguments: str, user: str = "author") -> Run:
    """Runs an import to its end."""
    done = subprocess.run(
        command(platform, *arguments, user=user),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def plan_of(export: Path) -> tuple[Plan, list[tuple[Item, bytes]]]:
    """What an export is to become, and the bytes of its items."""
    with open_source(export) as source:
        plan = plan_course(read_course(source))
        bodies = []
        for item in plan.items():
            with item.body.open() as body:
                bodies.append((item, body.read()))
    return plan, bodies


def other_course(folder: Path, number: str, *, pages: int = 0) -> Path:
    """The sample as another course, with that many units more."""
    copy = folder / f"export-{number}"
    shutil.copytree(SAMPLE, copy)
    pointer = copy / "course.xml"
    pointer.write_text(pointer.read_text().replace("SKY101", number))
    units = "".join(
        f'<vertical url_name="more-{n}" display_name="More {n}">'
        f'<html url_name="text-{n}">Page {n} of {number}.</html></vertical>'
        for n in range(pages)
    )
    sequential = copy / "sequential" / "the-turn.xml"
    text = sequential.read_text()
    sequential.write_text(text.replace("</sequential>", f"{units}</sequential>"))
    return copy


def versions(platform: RunningPlatform, course_id: str) -> dict[str, int]:
    """The version of the course and of each of its contents."""
    found = {course_id: platform.request(f"/courses/{course_id}", user="author").json["version"]}
    path = f"/content?courseId={course_id}&limit=100"
    page = platform.request(path, user="author").json
    while True:
        found |= {item["id"]: item["version"] for item in page["items"]}
        if page["nextCursor"] is None:
            return found
        page = platform.request(f"{path}&cursor={page['nextCursor']}", user="author").json


def has_captions(platform: RunningPlatform, content_id: str, captions: dict[str, bytes]) -> bool:
    """Whether a learner gets exactly these captions."""
    tracks = platform.request(f"/content/{content_id}").json["captions"]
    return {one["language"]: ask(one["url"]).body for one in tracks} == captions


def check_arrived(platform: RunningPlatform, course_id: str, export: Path) -> None:
    """A learner finds the outline, the bytes of every item and the captions."""
    plan, bodies = plan_of(export)
    course = platform.request(f"/courses/{course_id}").json
    assert (course["title"], course["description"]) == (plan.title, plan.description)
    assert [section["title"] for section in course["outline"]] == [s.title for s in plan.sections]
    shown = [item for section in course["outline"] for item in section["items"]]
    for item, (wanted, body) in zip(shown, bodies, strict=True):
        assert (item["title"], item["type"]) == (wanted.title, wanted.type)
        assert (item["required"], item["weight"]) == (wanted.required, wanted.weight)
        content = platform.request(f"/content/{item['contentId']}").json
        assert content["contentType"] == wanted.body.content_type
        fetched = ask(content["url"]).body
        assert hashlib.sha256(fetched).digest() == hashlib.sha256(body).digest()
        captions = {track.language: track.body for track in wanted.captions}
        # A process may give out for some seconds what it had read before a track was replaced.
        until(partial(has_captions, platform, item["contentId"], captions), f"{captions}")


def test_an_author_brings_a_course_and_learners_have_it(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    export = other_course(tmp_path, "SKY201")
    first = run(platform, str(export)).json
    assert first["status"] == "published"
    course_id = first["courseId"]
    check_arrived(platform, course_id, export)
    before = versions(platform, course_id)

    again = run(platform, str(export)).json
    assert (again["courseId"], again["changed"]) == (course_id, False)
    assert versions(platform, course_id) == before


def test_a_changed_course_is_updated_where_it_has_changed(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    export = other_course(tmp_path, "SKY202")
    course_id = run(platform, str(export)).json["courseId"]
    before = versions(platform, course_id)
    page = export / "html" / "dark-intro.html"
    page.write_text(page.read_text().replace("twenty minutes", "half an hour"))
    captions = export / "static" / "stars-rise-en.srt"
    captions.write_text(captions.read_text().replace("in the east", "over there"))

    would = run(platform, str(export), "--dry-run").json["changes"]
    assert (would["sends"], would["updates"]) == (["page/dark-eyes"], ["video/stars-rise"])
    assert versions(platform, course_id) == before

    updated = run(platform, str(export), "--prune").json
    assert updated["courseId"] == course_id
    assert updated["changes"]["fields"] == ["outline"]
    check_arrived(platform, course_id, export)
    after = versions(platform, course_id)
    kept = {name for name in before if after.get(name) == before[name]}
    # All but the course, the page, which is another one now, and the film with other captions.
    assert len(before) - len(kept) == 3
    assert set(updated["pruned"]) == set(before) - set(after)
    assert len(after) == len(before)


def test_an_import_that_was_killed_is_gone_on_with(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    export = other_course(tmp_path, "SKY203", pages=60)
    plan, bodies = plan_of(export)
    killed = subprocess.Popen(
        command(platform, str(export)),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    found: list[str] = []

    def is_half_way() -> bool:
        assert killed.poll() is None, "it was done before it could be killed"
        listing = platform.request(f"/courses?status=draft&tag={plan.key.tag}", user="author").json
        found[:] = [item["id"] for item in listing["items"]]
        return bool(found) and len(versions(platform, found[0])) > 20

    try:
        until(is_half_way, "some content of a draft")
    finally:
        killed.kill()
        killed.wait()
    (course_id,) = found
    # Nothing is announced: no reader sees it.
    assert platform.request(f"/courses/{course_id}").status == 404
    arrived = versions(platform, course_id)
    assert len(arrived) < len(bodies)

    gone_on = run(platform, str(export)).json
    assert gone_on["courseId"] == course_id
    check_arrived(platform, course_id, export)
    assert len(versions(platform, course_id)) == len(bodies) + 1, "nothing was announced twice"


def test_a_learner_can_not_bring_a_course(platform: RunningPlatform, tmp_path: Path) -> None:
    refused = run(platform, str(other_course(tmp_path, "SKY204")), user="learner-a")
    assert (refused.code, refused.out) == (1, "")
    assert refused.errors.startswith("olx.py: the token does not permit authoring (403)")
    assert refused.errors.count("\n") == 1


def test_every_export_that_is_there_arrives(platform: RunningPlatform) -> None:
    named = os.environ.get("LYCEUM_OLX_EXPORT", "")
    for export in (SAMPLE, *([Path(named)] if named else [])):
        course_id = run(platform, str(export)).json["courseId"]
        check_arrived(platform, course_id, export)
        assert run(platform, str(export)).json["changed"] is False
