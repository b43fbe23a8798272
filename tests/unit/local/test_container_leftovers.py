"""Containers of a run that was killed are removed by the next start, and no others."""

from __future__ import annotations

import io
import json
from pathlib import Path

from deploy.local._cluster import remove_leftovers
from deploy.local._cluster._leftovers import PLATFORM_LABEL, remember
from deploy.local._report import Console
from deploy.local._state import StateFolder
from tests.unit.local.fake_engine import FakeEngine


def prepared(tmp_path: Path) -> tuple[StateFolder, io.StringIO, Console]:
    folder, said = StateFolder(tmp_path / "state"), io.StringIO()
    folder.root.mkdir()
    return folder, said, Console(said, said, as_json=False)


def test_a_folder_has_one_id_by_whatever_path_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "state")
    for root in (tmp_path / "state", tmp_path / "link", tmp_path / "state" / ".." / "state"):
        folder = StateFolder(root)
        assert folder.id == StateFolder(tmp_path / "state").id
    assert StateFolder(tmp_path / "other").id != StateFolder(tmp_path / "state").id


async def test_its_own_containers_are_removed_once(tmp_path: Path) -> None:
    folder, said, console = prepared(tmp_path)
    async with FakeEngine(tmp_path).serving() as fake:
        fake.containers = {
            "a": {PLATFORM_LABEL: folder.id},
            "b": {PLATFORM_LABEL: "another"},
            "c": {PLATFORM_LABEL: folder.id},
            "d": {},
        }
        remember(folder, fake.host)
        assert folder.containers.stat().st_mode & 0o777 == 0o600
        await remove_leftovers(folder, console)
        assert fake.removals == ["a", "c"]
        assert said.getvalue() == "  removed 2 containers\n"
        assert not folder.containers.exists()
        fake.containers["e"] = {PLATFORM_LABEL: folder.id}
        await remove_leftovers(folder, console)  # who has run none looks for none
        assert "e" in fake.containers


async def test_an_engine_that_is_away_is_asked_again_at_the_next_start(tmp_path: Path) -> None:
    folder, said, console = prepared(tmp_path)
    remember(folder, f"unix://{tmp_path}/none.sock")
    await remove_leftovers(folder, console)
    assert "Containers of this platform may be left: no engine answers at" in said.getvalue()
    assert folder.containers.exists()


async def test_a_file_that_was_written_half_is_no_reason_to_stop(tmp_path: Path) -> None:
    folder, said, console = prepared(tmp_path)
    for text in ("", "{", json.dumps({}), json.dumps([])):
        folder.containers.write_text(text)
        await remove_leftovers(folder, console)
        assert not folder.containers.exists()
    assert said.getvalue() == ""


def test_a_fresh_start_forgets_all_but_what_is_needed_to_remove_them(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    with folder.claim() as claim:
        claim.prepare()
        remember(folder, "unix:///run/engine.sock")
        folder.write_operator({"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"})
        assert folder.operator.read_text() == "AWS_ACCESS_KEY_ID=AKIA\nAWS_SECRET_ACCESS_KEY=s\n"
        assert folder.operator.stat().st_mode & 0o777 == 0o600
        claim.clear()
        assert folder.containers.exists()
        assert not folder.operator.exists()
