"""What layers are made of: the same bytes each time, and libraries that can still be loaded."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import marshal
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, get_args

import pytest

from deploy.images import layers
from libs.aws._clients import Service


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Each path below a folder: mode, time and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (about.st_mode, int(about.st_mtime), content)
    return found


def sources_pex(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PEX-INFO", "{}")
        archive.writestr("__main__.py", "raise SystemExit('the PEX itself')")
        archive.writestr(".bootstrap/pex/__init__.py", "")
        archive.writestr("__pex__/__init__.py", "")
        archive.writestr("libs/one/__init__.py", '"""One."""\nVALUE = 1\n')
        archive.writestr("services/two/__main__.py", "import libs.one\nprint(libs.one.VALUE)\n")
        archive.writestr("services/two/openapi.yaml", "openapi: 3.0.3\n")
    return path


def test_the_sources_are_compiled_and_without_the_pex_around_them(tmp_path: Path) -> None:
    layers.sources(sources_pex(tmp_path / "srcs.pex"), tmp_path / "out")
    files = [name for name, (_, _, content) in tree(tmp_path / "out").items() if content]
    assert files == [
        f"{layers.SITE_PACKAGES}/libs/one/__init__.pyc",
        f"{layers.SITE_PACKAGES}/services/two/__main__.pyc",
        f"{layers.SITE_PACKAGES}/services/two/openapi.yaml",
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "services.two"],
        cwd=tmp_path / "out" / layers.SITE_PACKAGES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "1\n"), ran.stderr


def test_tracebacks_name_files_where_the_image_has_them(tmp_path: Path) -> None:
    layers.sources(sources_pex(tmp_path / "srcs.pex"), tmp_path / "out")
    compiled = tmp_path / "out" / layers.SITE_PACKAGES / "services/two/__main__.pyc"
    assert f"/{layers.SITE_PACKAGES}/services/two/__main__.py".encode() in compiled.read_bytes()
    assert str(tmp_path).encode() not in compiled.read_bytes()


def test_the_same_sources_give_the_same_layer(tmp_path: Path) -> None:
    for name in ("first", "second"):
        layers.sources(sources_pex(tmp_path / f"{name}.pex"), tmp_path / name / "out")
    first, second = tree(tmp_path / "first"), tree(tmp_path / "second")
    assert first == second
    assert {time for _, time, _ in first.values()} - {first["out"][1]} == set()


PROSE = '''"""What the module says."""
from __future__ import annotations
import dataclasses
def silent():
    """All that it has."""
async def told(value):
    """What a function says."""
    assert value, "an assertion stays"
    return "a text stays"
@dataclasses.dataclass
class Pair:
    """What a class says."""
    one: int = 1
    """What an attribute says."""
class Empty(Exception):
    """All that a class has."""
'''


def test_code_runs_as_before_without_what_it_says_of_itself() -> None:
    head = layers.compiled_without_prose(PROSE.encode(), Path("/app/m.py"))
    code: dict[str, Any] = {"__name__": __name__}
    flags = int.from_bytes(head[4:8], "little")
    assert (head[:4], flags) == (importlib.util.MAGIC_NUMBER, 0b01)
    assert head[8:16] == importlib.util.source_hash(PROSE.encode())
    exec(marshal.loads(head[16:]), code)
    assert b" says" not in head
    assert b"All that" not in head
    assert (code.get("__doc__"), code["silent"].__doc__, code["silent"]()) == (None, None, None)
    assert code["Pair"](2) == code["Pair"](one=2)
    assert code["Pair"].__annotations__ == {"one": "int"}
    # Not made of its signature, which takes a start's time.
    assert code["Pair"].__doc__ == "-"
    assert issubclass(code["Empty"], Exception)
    assert asyncio.run(code["told"](1)) == "a text stays"
    with pytest.raises(AssertionError, match="an assertion stays") as raised:
        asyncio.run(code["told"](0))
    last = raised.traceback[-1]
    assert (str(last.path), last.lineno) == ("/app/m.py", 7)


def test_what_can_not_be_compiled_ends_the_build(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "srcs.pex", "w") as archive:
        archive.writestr("libs/broken.py", "def (:\n")
    with pytest.raises(SystemExit, match=r"libs/broken.py could not be compiled: invalid syntax"):
        layers.sources(tmp_path / "srcs.pex", tmp_path / "out")


@pytest.mark.parametrize(
    "wheel",
    [
        "uvloop-0.23.0-cp311-cp311-macosx_11_0_arm64.whl",
        "uvloop-0.23.0-cp311-cp311-manylinux_2_17_s390x.whl",
        "uvloop-0.23.0-cp311-cp311-win_amd64.whl",
    ],
)
def test_packages_of_another_machine_end_the_build(tmp_path: Path, wheel: str) -> None:
    """Pants packages for the machine that it runs on; Docker may build for another."""
    known = {"distributions": {"six-1.17.0-py2.py3-none-any.whl": "", wheel: ""}}
    (tmp_path / "PEX-INFO").write_text(json.dumps(known))
    with pytest.raises(SystemExit, match=f"{wheel} is not for Linux"):
        layers.packages(tmp_path, tmp_path / "out")


def test_the_standard_library_gets_bytecode_beside_it_and_no_copy(tmp_path: Path) -> None:
    layers.interpreter(tmp_path / "out")
    library = tmp_path / "out" / Path(os.__file__).parent.relative_to("/")
    assert list(library.rglob("*.py")) == []
    compiled = library / "asyncio/__pycache__" / f"events.{sys.implementation.cache_tag}.pyc"
    # PEP 552: flags 1 say that it is kept by a hash, and that nobody compares it.
    assert compiled.read_bytes()[4:8] == b"\x01\0\0\0"
    assert str(Path(os.__file__).parent / "asyncio/events.py").encode() in compiled.read_bytes()
    assert not (library / "idlelib").exists()


@pytest.mark.parametrize("module", ["uvloop.loop", "yaml._yaml", "pydantic_core._pydantic_core"])
def test_a_library_without_its_debugging_information_is_loaded(tmp_path: Path, module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    whole = Path(spec.origin).read_bytes()
    part = layers.loadable_part(whole)
    assert len(part) <= len(whole)
    lean = tmp_path / "lean.so"
    lean.write_bytes(part)
    program = (
        "import importlib.util, sys\n"
        f"import {module.partition('.')[0]}\n"
        f"sys.modules.pop({module!r}, None)\n"
        f"spec = importlib.util.spec_from_file_location({module!r}, {str(lean)!r})\n"
        "importlib.util.module_from_spec(spec)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_debugging_information_is_most_of_a_library() -> None:
    spec = importlib.util.find_spec("uvloop.loop")
    assert spec is not None
    assert spec.origin is not None
    whole = Path(spec.origin).read_bytes()
    assert len(layers.loadable_part(whole)) < len(whole) / 2


def test_taken_twice_it_is_the_same() -> None:
    spec = importlib.util.find_spec("yaml._yaml")
    assert spec is not None
    assert spec.origin is not None
    once = layers.loadable_part(Path(spec.origin).read_bytes())
    assert layers.loadable_part(once) == once


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x7fELF\x02\x01" + bytes(20), id="cut short"),
        pytest.param(b"\x7fELF\x01\x01" + bytes(200), id="32 bits"),
        pytest.param(b"#!/bin/sh\n" * 20, id="a script"),
    ],
)
def test_what_is_no_library_stays_as_it_is(content: bytes) -> None:
    assert layers.loadable_part(content) == content


def test_the_aws_models_that_stay_are_those_that_libs_aws_has_clients_of() -> None:
    assert set(get_args(Service)) < layers.AWS_SERVICES
