"""The state folder: private, one platform at a time, emptied with care."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local._state import StateError, StateFolder, write_private


@pytest.fixture()
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_it_is_private(folder: StateFolder) -> None:
    folder.root.mkdir(mode=0o755)
    with folder.claim() as claim:
        claim.prepare()
        claim.cursor_secret("course_catalog")
        folder.write_header("author", "t")
        write_private(folder.platform, {})
        assert mode(folder.root) == 0o700
        for name in ("secrets.json", "platform.json", "lock", "headers/author"):
            assert mode(folder.root / name) == 0o600, name
        for name in ("logs", "aws", "headers", "traces"):
            assert mode(folder.root / name) == 0o700, name


def test_a_second_claim_is_refused_in_one_line(folder: StateFolder) -> None:
    assert not folder.is_in_use()
    with folder.claim():
        assert folder.is_in_use()
        with pytest.raises(StateError) as caught:
            folder.claim()
    assert str(caught.value) == (
        f"the platform runs already on {folder.root} (process {os.getpid()})"
    )
    assert not folder.is_in_use()
    with folder.claim():
        pass


def test_what_a_killed_platform_still_has_running_is_waited_for(folder: StateFolder) -> None:
    """The embedded AWS inherits the lock, and writes its state after its platform was killed."""
    survivor = """
        import os, subprocess, sys
        from pathlib import Path
        from deploy.local._state import StateFolder
        claim = StateFolder(Path(sys.argv[1])).claim()
        code = "import sys; print('holding', flush=True); sys.stdin.read()"
        subprocess.Popen([sys.executable, "-c", code], pass_fds=[claim.descriptor])
        os._exit(9)
    """
    root = Path(__file__).parents[3]
    lines = "\n".join(line.strip() for line in survivor.splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", lines, str(folder.root)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"holding\n"
    assert process.wait() == 9
    assert folder.is_in_use()
    process.stdin.close()  # now the survivor ends
    with folder.claim():
        assert folder.is_in_use()
    process.stdout.close()


def test_a_folder_of_something_else_is_left_alone(folder: StateFolder) -> None:
    folder.root.mkdir()
    (folder.root / "thesis.txt").write_text("years of work")
    with pytest.raises(StateError, match="holds what is not ours"):
        folder.claim()
    assert (folder.root / "thesis.txt").read_text() == "years of work"


def test_a_path_that_can_not_be_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="can not be used"):
        StateFolder(tmp_path / "file").claim()


def test_a_fresh_start_forgets_everything(folder: StateFolder) -> None:
    with folder.claim() as claim:
        claim.prepare()
        before = claim.cursor_secret("course_catalog")
        assert claim.cursor_secret("course_catalog") == before
        assert len(before) >= 32
        (folder.aws / "tables.json").write_text("{}")
        folder.samples.write_text("digest")
        (folder.traces / "segments.jsonl").write_text("")
        claim.clear()
        assert [path.name for path in folder.root.iterdir()] == ["lock"]
        claim.prepare()
        assert claim.cursor_secret("course_catalog") != before


def test_what_only_a_running_platform_has_goes_with_it(folder: StateFolder) -> None:
    with folder.claim() as claim:
        claim.prepare()
        write_private(folder.platform, {"gateway": "http://127.0.0.1:1"})
        write_private(folder.session, {})
        (folder.traces / "segments.jsonl").write_text("")
    assert (folder.traces / "segments.jsonl").exists()  # also after a stop they can be looked at
    assert not folder.platform.exists()
    assert not folder.session.exists()
