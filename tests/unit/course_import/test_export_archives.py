"""Exports as archives and folders: what is read of them, and what is refused."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.course_import._archive import ArchiveError, Limits, open_source
from tests.unit.course_import.exports import COURSE_XML, SAMPLE, archive, member


def refusal(path: Path, limits: Limits = Limits()) -> str:  # noqa: B008 - frozen
    """Why an export is refused; one line that names the file."""
    with pytest.raises(ArchiveError) as caught, open_source(path, limits):
        pass
    line = str(caught.value)
    assert path.name in line
    assert line.isprintable()
    return line


@pytest.fixture()
def packed(tmp_path: Path) -> Callable[..., Path]:
    """Writes an archive of members."""

    def write(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
        path = tmp_path / "export.tar.gz"
        path.write_bytes(archive(members, mode=mode))
        return path

    return write


@pytest.mark.parametrize("mode", ["w:gz", "w:"])
def test_files_are_named_from_the_folder_of_the_course(
    packed: Callable[..., Path], mode: str
) -> None:
    path = packed(COURSE_XML, member("course/html/a.html", b"A"), member("other", b""), mode=mode)
    with open_source(path) as source:
        assert set(source.files) == {"course.xml", "html/a.html"}
        assert source.files["html/a.html"] == 1
        assert source.read("html/a.html", limit=1) == b"A"


def test_an_archive_and_its_folder_hold_the_same(tmp_path: Path) -> None:
    path = tmp_path / "export.tar.gz"
    with tarfile.open(path, "w:gz") as writer:
        writer.add(SAMPLE, "course")
    with open_source(path) as packed, open_source(SAMPLE) as folder:
        assert packed.files == folder.files
        for name, size in packed.files.items():
            assert packed.read(name, limit=size) == folder.read(name, limit=size)


def test_the_course_may_lie_at_the_top(packed: Callable[..., Path]) -> None:
    path = packed(member("./course.xml", b"<course/>"), member("./html/a.html", b"A"))
    with open_source(path) as source:
        assert set(source.files) == {"course.xml", "html/a.html"}


def test_parts_of_files_are_read_side_by_side(packed: Callable[..., Path]) -> None:
    contents = {f"course/static/{number}": os.urandom(200_000) for number in range(4)}
    path = packed(COURSE_XML, *(member(name, content) for name, content in contents.items()))
    read: dict[str, bytes] = {}
    with open_source(path) as source:

        def drain(name: str) -> None:
            with source.open(name.removeprefix("course/")) as file:
                read[name] = b"".join(iter(lambda: file.read(1_000), b""))

        threads = [threading.Thread(target=drain, args=(name,)) for name in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert read == contents


def test_a_part_can_be_read_from_any_place(packed: Callable[..., Path]) -> None:
    path = packed(COURSE_XML, member("course/static/a", b"0123456789"), member("course/b", b"zzz"))
    with open_source(path) as source, source.open("static/a") as file:
        file.seek(-3, os.SEEK_END)
        assert file.read() == b"789"
        file.seek(4)
        assert file.read(2) == b"45"
        file.seek(100)
        assert file.read() == b""


@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        (member("../etc/passwd"), "leads out of the archive"),
        (member("course/../../etc/passwd"), "leads out of the archive"),
        (member("/etc/passwd"), "absolute name"),
        (member("C:/windows"), "absolute name"),
        (member("course\\..\\x"), "not a name of a file"),
        (member("course/a\nb"), "not a name of a file"),
        (member("course/static/x", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (member("course/static/x", type=tarfile.LNKTYPE, linkname="course.xml"), "is a link"),
        (member("course/static/x", type=tarfile.CHRTYPE), "not a plain file"),
        (member("course/static/x", type=tarfile.BLKTYPE), "not a plain file"),
        (member("course/static/x", type=tarfile.FIFOTYPE), "not a plain file"),
        (member("../course", type=tarfile.DIRTYPE), "leads out of the archive"),
        (member("course/course.xml", b"<x/>"), "stands twice"),
        (member("course/./course.xml", b"<x/>"), "stands twice"),
        (member("course/" + "d/" * 40 + "x"), "folders deep"),
        (member("course/" + "x" * 2_000), "more than 1024 bytes"),
    ],
)
def test_hostile_members_are_refused(
    packed: Callable[..., Path], hostile: tuple[tarfile.TarInfo, bytes], why: str
) -> None:
    assert why in refusal(packed(COURSE_XML, hostile))


def test_two_forms_of_one_name_are_one_name(packed: Callable[..., Path]) -> None:
    path = packed(COURSE_XML, member("course/é"), member("course/é"))
    assert "stands twice" in refusal(path)


def test_a_sparse_file_is_refused(packed: Callable[..., Path]) -> None:
    sparse = member(
        "course/static/x",
        b"",
        pax_headers={"GNU.sparse.map": "0,0", "GNU.sparse.size": "999999999"},
    )
    assert "not a plain file" in refusal(packed(COURSE_XML, sparse))


def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type = tarfile.XHDTYPE
    info.size = 4 << 30
    path = tmp_path / "export.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    assert "a header of" in refusal(path)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(files=3), "more than 3 files"),
        (Limits(file_bytes=50_000), "above 50000"),
        (Limits(total_bytes=60_000), "more than 60000 bytes"),
        (Limits(ratio=20, ratio_from_bytes=1_000), "more than 20 times its size"),
    ],
)
def test_more_than_a_course_can_need_is_refused(
    packed: Callable[..., Path], limits: Limits, why: str
) -> None:
    files = [member(f"course/static/{number}", b"\0" * 60_000) for number in range(4)]
    assert why in refusal(packed(COURSE_XML, *files), limits)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(gzip.compress(b"\0" * (80 << 20), 9))
    assert "more than 200 times its size" in refusal(path)


def test_many_empty_members_are_refused(packed: Callable[..., Path]) -> None:
    folders = (member(f"course/d{number}", type=tarfile.DIRTYPE) for number in range(50))
    assert "more than 10 files" in refusal(packed(COURSE_XML, *folders), Limits(files=10))


@pytest.mark.parametrize("keep", [0, 1, 20, 300, -30, -1])
def test_what_is_cut_short_or_damaged_is_refused(tmp_path: Path, keep: int) -> None:
    whole = archive([COURSE_XML, member("course/static/x", os.urandom(5_000))])
    path = tmp_path / "export.tar.gz"
    path.write_bytes(whole[:keep])
    refusal(path)


def test_a_tar_whose_last_file_is_cut_short_is_refused(tmp_path: Path) -> None:
    whole = archive([COURSE_XML, member("course/static/x", b"x" * 5_000)], mode="w:")
    path = tmp_path / "export.tar"
    path.write_bytes(whole[: 512 * 6])
    refusal(path)


@given(noise=st.binary(max_size=2_000))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    path = tmp_path_factory.mktemp("noise") / "export.tar.gz"
    path.write_bytes(noise)
    refusal(path)


@given(place=st.integers(0, 4_000), value=st.integers(0, 255))
def test_a_changed_byte_never_ends_in_another_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    whole = bytearray(archive([COURSE_XML, member("course/a", b"abc")], mode="w:"))
    whole[place % len(whole)] = value
    path = tmp_path_factory.mktemp("changed") / "export.tar"
    path.write_bytes(whole)
    try:
        with open_source(path) as source:
            for name, size in source.files.items():
                assert len(source.read(name, limit=size)) == size
    except ArchiveError:
        pass


def test_files_of_a_machine_are_left_alone(packed: Callable[..., Path]) -> None:
    path = packed(
        COURSE_XML, member("course/._course.xml"), member(".DS_Store"), member("course/.git/x")
    )
    with open_source(path) as source:
        assert set(source.files) == {"course.xml"}


@pytest.mark.parametrize("files", [(), ("course/other.xml",), ("a/b/course.xml",)])
def test_what_is_no_export_is_said(packed: Callable[..., Path], files: tuple[str, ...]) -> None:
    assert "no OLX export" in refusal(packed(*(member(name) for name in files)))


def test_two_courses_are_too_many(packed: Callable[..., Path]) -> None:
    path = packed(member("a/course.xml"), member("b/course.xml"))
    assert "2 courses" in refusal(path)


def test_a_folder_with_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "course.xml").write_text("<course/>")
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "x").symlink_to("/etc/passwd")
    assert "'static/x' is a link" in refusal(tmp_path)


def test_a_folder_with_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "course.xml").write_text("<course/>")
    os.mkfifo(tmp_path / "pipe")
    assert "not a plain file" in refusal(tmp_path)


def test_a_file_that_has_become_a_link_is_not_followed(tmp_path: Path) -> None:
    course = tmp_path / "course.xml"
    course.write_text("<course/>")
    with open_source(tmp_path) as source:
        course.unlink()
        course.symlink_to("/etc/hostname")
        with pytest.raises(ArchiveError, match=r"course\.xml"):
            source.open("course.xml")


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nothing.tar.gz")


def test_reading_holds_to_the_limit(packed: Callable[..., Path]) -> None:
    path = packed(COURSE_XML, member("course/a", b"12345"))
    with open_source(path) as source:
        with pytest.raises(ArchiveError, match="5 bytes, above 4"):
            source.read("a", limit=4)
        with pytest.raises(KeyError):
            source.read("b", limit=4)


def test_names_of_an_archive_never_reach_the_file_system(
    packed: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("TMPDIR", str(work))
    path = packed(COURSE_XML, member("course/static/a", b"A"))
    with open_source(path) as source:
        source.read("static/a", limit=1)
        assert list(work.iterdir()) == []


@pytest.mark.parametrize("mode", ["w:gz", "w:"])
def test_reading_tells_how_far_it_is(packed: Callable[..., Path], mode: str) -> None:
    path = packed(COURSE_XML, member("course/a", os.urandom(3 << 20)), mode=mode)
    told: list[int] = []
    with open_source(path, advance=told.append):
        assert sum(told) == path.stat().st_size
        assert len(told) > 2


def test_gzip_in_several_members_is_one_file(tmp_path: Path) -> None:
    whole = archive([COURSE_XML, member("course/a", b"abc")], mode="w:")
    path = tmp_path / "export.tar.gz"
    packed = io.BytesIO()
    packed.write(gzip.compress(whole[:700]) + gzip.compress(whole[700:]) + b"\0" * 100)
    path.write_bytes(packed.getvalue())
    with open_source(path) as source:
        assert source.read("a", limit=3) == b"abc"
