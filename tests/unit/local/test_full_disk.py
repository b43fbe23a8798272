"""A disk that is full ends the command in one line that says so, and not in a traceback."""

from __future__ import annotations

import asyncio
import errno
import io
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from deploy.local import _platform, up
from deploy.local._errors import PlatformError
from deploy.local._platform import Options, Platform
from deploy.local._ports import listen
from deploy.local._report import Console
from deploy.local._state import StateFolder, write_private


def full(*_: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    monkeypatch.setattr(os, "pwrite", full)
    assert up.main(["--state", str(state), "--port", "0"]) == 1
    assert capsys.readouterr().err == f"up.py: {state}/lock: No space left on device\n"
    assert not StateFolder(state).is_in_use()


def test_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwritable(path: Path, _: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(_platform, "write_configuration", unwritable)
    folder = StateFolder(tmp_path / "state")
    options = Options(
        canaries={}, containers=None, cors_origins=[], tracing_daemon="127.0.0.1:1", verbose=False
    )

    async def run(platform: Platform) -> bool:
        return await platform.run(asyncio.Event())

    with folder.claim() as claim, listen(0) as listener:
        claim.prepare()
        said = io.StringIO()
        platform = Platform(folder, claim, listener, options, Console(said, said, as_json=False))
        with pytest.raises(PlatformError) as caught:
            asyncio.run(run(platform))
    assert str(caught.value) == f"{folder.gateway}: No space left on device"


def test_a_file_is_named_and_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "session.json"
    write_private(path, {"a": 1})
    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_private(path, {"a": 2})
    assert caught.value.filename == str(path)
    assert path.read_text() == '{"a": 1}\n'
