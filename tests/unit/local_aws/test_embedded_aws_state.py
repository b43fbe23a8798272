"""The state folder of the embedded AWS: private, used by one, and honest about its last stop."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local.embedded_aws._state import (
    PreviousStop,
    StateFolder,
    StateInUseError,
    write_private,
)

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture()
def folder(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "aws")
    state.create()
    return state


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_folder_is_its_owner_s_alone_also_one_that_was_there(tmp_path: Path) -> None:
    root = tmp_path / "aws"
    root.mkdir(mode=0o755)
    state = StateFolder(root)
    state.create()
    for path in (state.root, state.services, state.objects, state.temporary):
        assert mode(path) == 0o700


def test_a_new_folder_had_no_stop(folder: StateFolder) -> None:
    assert folder.previous_stop() == (PreviousStop.NONE, None)


def test_a_clean_stop_is_told_with_its_time(folder: StateFolder) -> None:
    folder.mark_running()
    folder.mark_stopped(NOON)
    assert folder.previous_stop() == (PreviousStop.CLEAN, NOON)


def test_a_run_without_a_clean_stop_is_told_with_the_time_of_the_last_clean_one(
    folder: StateFolder,
) -> None:
    folder.mark_running()
    assert folder.previous_stop() == (PreviousStop.UNCLEAN, None)
    folder.mark_stopped(NOON)
    folder.mark_running()
    assert folder.previous_stop() == (PreviousStop.UNCLEAN, NOON)


def test_a_folder_serves_one_at_a_time(folder: StateFolder) -> None:
    with folder.claimed(), pytest.raises(StateInUseError), folder.claimed():
        pass
    with folder.claimed():
        pass


def test_what_is_written_privately_is_its_owner_s_alone(folder: StateFolder) -> None:
    write_private(folder.administrator, {"a": "1"})
    write_private(folder.administrator, {"a": "2"})
    assert mode(folder.administrator) == 0o600
    assert folder.administrator.read_text(encoding="utf-8") == '{"a": "2"}'
    assert [path.name for path in folder.root.iterdir() if path.is_file()] == ["administrator.json"]
