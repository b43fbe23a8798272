"""What is found in an image's archive: its layers, and the files that are there at the end."""

from __future__ import annotations

import gzip
import hashlib
import random
from pathlib import Path

from deploy.images._contents import read_contents
from tests.unit.images.archives import image, layer


def test_a_layer_is_as_large_as_its_files_and_is_named_by_its_bytes(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(100_000)
    lower, upper = layer(("a", noise), ("b", None)), layer(("c", bytes(50_000)))
    contents = read_contents(image(tmp_path / "i.tar", [lower, upper]))
    assert [one.size for one in contents.layers] == [100_000, 50_000]
    assert [one.diff_id for one in contents.layers] == [
        f"sha256:{hashlib.sha256(one).hexdigest()}" for one in (lower, upper)
    ]
    for one, raw in zip(contents.layers, (lower, upper), strict=True):
        # gzip's header may hold a name and a time.
        assert abs(one.compressed - len(gzip.compress(raw, 6))) < 64
    assert contents.size == 150_000
    assert contents.compressed == sum(one.compressed for one in contents.layers)


def test_the_upper_layer_decides(tmp_path: Path) -> None:
    archive = image(
        tmp_path / "i.tar",
        [
            layer(
                ("./etc/", None), ("etc/kept", b"1"), ("etc/changed", b"old"), ("etc/gone", b"x")
            ),
            layer(("etc/changed", b"new"), ("etc/.wh.gone", b"")),
        ],
    )
    contents = read_contents(archive, keep=lambda path: path.startswith("/etc/"))
    assert set(contents.files) == {"/etc", "/etc/kept", "/etc/changed"}
    assert contents.texts["/etc/changed"] == b"new"


def test_folders_that_were_removed_or_replaced_take_what_was_in_them_along(tmp_path: Path) -> None:
    archive = image(
        tmp_path / "i.tar",
        [
            layer(("a/b/c", b"1"), ("a/b2", b"2"), ("d/e", b"3"), ("f", b"4")),
            layer(("a/.wh.b", b""), ("d/.wh..wh..opq", b""), ("d/new", b"5")),
        ],
    )
    assert set(read_contents(archive).files) == {"/a/b2", "/d/new", "/f"}


def test_nothing_is_kept_unless_it_is_asked_for(tmp_path: Path) -> None:
    archive = image(tmp_path / "i.tar", [layer(("a", b"1"))])
    contents = read_contents(archive, compress=False)
    assert contents.texts == {}
    assert contents.compressed == 0
