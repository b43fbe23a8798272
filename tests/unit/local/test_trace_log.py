"""The file of the last traces: bounded, private, whole lines alone, readable while it is written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deploy.local._traces._log import NAME, Limits, TraceLog, read_log
from tests.unit.local.trace_documents import segment, trace_id

SMALL = Limits(traces=3, file_bytes=1_000_000, documents=4)


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    return tmp_path / "traces"


def ids(folder: Path) -> list[str]:
    return list(read_log(folder))


def test_where_nothing_was_written_there_are_no_traces(folder: Path) -> None:
    assert read_log(folder) == {}


def test_what_is_written_can_be_read_at_once_and_by_its_owner_alone(folder: Path) -> None:
    log = TraceLog(folder)
    document = segment(metadata={"text": "two\nlines \u2028 \ud800 ж"})
    assert log.add(document)
    (line,) = read_log(folder)[trace_id(1)]
    read = json.loads(line)
    assert read["metadata"]["text"] == "two\nlines \u2028 ? ж"
    assert {**read, "metadata": 0} == {**document, "metadata": 0}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600
    log.close()


def test_the_trace_that_was_heard_of_last_is_the_last(folder: Path) -> None:
    log = TraceLog(folder)
    for number in (1, 2, 1):
        log.add(segment(trace=number))
    assert ids(folder) == [trace_id(2), trace_id(1)]
    assert len(read_log(folder)[trace_id(1)]) == 2
    log.close()


def test_the_last_traces_are_kept_and_no_more_than_twice_as_many(folder: Path) -> None:
    log = TraceLog(folder, SMALL)
    for number in range(100):
        log.add(segment(trace=number))
        kept = ids(folder)
        assert kept[-3:] == [trace_id(n) for n in range(max(0, number - 2), number + 1)]
        assert len(kept) <= 6
    assert sorted(path.name for path in folder.iterdir()) == [NAME, NAME + ".1"]
    log.close()


def test_one_trace_can_not_take_all_the_room(folder: Path) -> None:
    log = TraceLog(folder, SMALL)
    assert [log.add(segment(number)) for number in range(6)] == [True] * 4 + [False] * 2
    assert log.add(segment(trace=2))
    log.close()


def test_a_file_that_is_long_enough_is_the_older_one(folder: Path) -> None:
    log = TraceLog(folder, Limits(traces=1_000, file_bytes=5_000, documents=1_000))
    for number in range(200):
        log.add(segment(number, trace=number % 5))
        assert all(path.stat().st_size < 6_000 for path in folder.iterdir())
    assert len(ids(folder)) == 5
    log.close()


def test_it_is_continued_with_its_counts(folder: Path) -> None:
    for number in range(4):
        log = TraceLog(folder, SMALL)
        assert log.add(segment(number))
        log.close()
    log = TraceLog(folder, SMALL)
    assert not log.add(segment(5))
    assert not (folder / f"{NAME}.1").exists()
    log.close()


def test_a_line_that_is_torn_costs_itself_alone(folder: Path) -> None:
    log = TraceLog(folder)
    log.add(segment(trace=1))
    log.close()
    whole = (folder / NAME).read_bytes()
    with (folder / NAME).open("ab") as file:
        file.write(whole.replace(trace_id(1).encode(), trace_id(2).encode())[:-40])
    assert ids(folder) == [trace_id(1)]  # also while it is being written
    log = TraceLog(folder)
    log.add(segment(trace=3))
    assert ids(folder) == [trace_id(1), trace_id(3)]
    log.close()


def test_a_full_disk_costs_what_does_not_fit_and_nothing_after(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TraceLog(folder)
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda to, data: write(to, data[:50]))
        with pytest.raises(OSError, match="in part"):
            log.add(segment(trace=1))
    log.add(segment(trace=2))
    assert ids(folder) == [trace_id(2)]
    log.close()


def test_no_new_file_can_be_made_and_then_it_can(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TraceLog(folder, SMALL)
    for number in range(3):
        log.add(segment(trace=number))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                log.add(segment(trace=3))
    assert log.add(segment(trace=3))
    assert ids(folder) == [trace_id(number) for number in range(4)]
    log.close()


def test_a_folder_that_somebody_removed_is_made_again(folder: Path) -> None:
    log = TraceLog(folder)
    log.add(segment(trace=1))
    (folder / NAME).unlink()
    folder.rmdir()
    log.add(segment(trace=2))
    assert ids(folder) == [trace_id(2)]
    log.close()


def test_a_reader_that_meets_the_change_of_files_misses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TraceLog(folder, SMALL)
    for number in range(3):
        log.add(segment(trace=number))
    import deploy.local._traces._log as module

    read = module._read
    moved: list[Path] = []

    def read_and_move(path: Path) -> tuple[int | None, bytes]:
        content = read(path)
        if not moved:  # between the two files
            moved.append(path)
            log.add(segment(trace=3))
        return content

    monkeypatch.setattr(module, "_read", read_and_move)
    assert ids(folder) == [trace_id(number) for number in range(4)]
    log.close()


def test_no_link_is_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        TraceLog(folder)
