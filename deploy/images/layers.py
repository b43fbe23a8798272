"""Makes the layers of a service's image, inside a stage of its build.

    python3.11 layers.py interpreter OUT        the standard library's bytecode
    python3.11 layers.py packages PEX OUT       third-party packages, from a PEX without sources
    python3.11 layers.py sources PEX OUT        the service and its libraries, from a PEX of sources

OUT becomes the root of a layer. The same input gives the same bytes, times included, so that a layer
is new only where its content is. Runs on the base's own Python, without a shell, and imports nothing
but the standard library.
"""

from __future__ import annotations

import compileall
import importlib.util
import json
import marshal
import os
import platform
import py_compile
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

VENV = Path("app")
"""The environment that the services run in, below the root."""

SITE_PACKAGES = VENV / "lib/python3.11/site-packages"

PACKAGES = VENV / "packages.json"
"""What was asked for, and which wheels came: the bill of materials is made from it."""

# 2025-01-01T00:00:00Z, for every file and folder.
_TIME = 1_735_689_600

# botocore brings the models of 400 services, 25 MB compressed to nothing that runs. `libs/aws` has
# clients of three; STS is for providers of credentials. Another raises UnknownServiceError when it is
# made, which is before readiness: tests/containers starts every program.
AWS_SERVICES = frozenset({"dynamodb", "s3", "sqs", "sts"})

# Parts of packages that nothing imports: sources of compiled modules, types for checkers, and lists of
# files that would name what is left out here.
_UNUSED_FILE = re.compile(r".*\.(c|cpp|h|hpp|pxd|pxi|pyi|pyx)|RECORD")
# Parts of packages that no service imports. They stay; only no bytecode is made of them.
_UNUSED_PACKAGES = re.compile(r"/(pydantic/v1|cffi|pycparser|aioitertools/tests|boto3/examples)/")
# Parts of the standard library that need a terminal, a compiler or a test runner. They stay in the
# base; only no bytecode is made of them.
_UNUSED_STANDARD = frozenset(
    {
        "_pydecimal.py", "_pyio.py", "cgi.py", "curses", "dbm", "distutils", "doctest.py", "ensurepip",
        "idlelib", "lib2to3", "mailbox.py", "msilib", "nntplib.py", "pdb.py", "pickletools.py",
        "pydoc.py", "pydoc_data", "sqlite3", "test", "tkinter", "turtle.py", "turtledemo", "unittest",
        "venv", "wsgiref", "xmlrpc",
    }
)  # fmt: skip
_ELF_HEADER_BYTES = 64
# What a PEX is made of besides what it carries.
_PEX_ITSELF = re.compile(r"(PEX-INFO|__main__\.py|\.bootstrap/.*|\.deps/.*|__pex__/.*)")


def interpreter(out: Path) -> None:
    """Bytecode of the standard library, which Debian's packages come without: nobody could write it
    on a root file system that is read-only, and every start would compile anew."""
    library = Path(os.__file__).parent
    copied = out / library.relative_to("/")
    shutil.copytree(
        library,
        copied,
        ignore=lambda folder, names: [
            name
            for name in names
            if name in _UNUSED_STANDARD
            or name in ("__pycache__", "site-packages", "dist-packages")
            or not (name.endswith(".py") or (Path(folder) / name).is_dir())
        ],
    )
    # Tracebacks name the files where they are.
    _compile(copied, shown_as=library)
    for source in copied.rglob("*.py"):
        source.unlink()
    _finish(out)


def packages(pex: Path, out: Path) -> None:
    """A virtual environment with the packages of `pex`, without what no service uses of them."""
    info = json.loads((pex / "PEX-INFO").read_text())
    wheels = sorted(info["distributions"])
    foreign = [wheel for wheel in wheels if not _runs_here(wheel)]
    if foreign:
        raise SystemExit(
            f"layers.py: {foreign[0]} is not for Linux on {platform.machine()}: images are built on a "
            "machine of the kind that they run on"
        )
    subprocess.run(
        [sys.executable, str(pex / "__main__.py"), "venv", "--scope=deps", str(out / VENV)],  # noqa: S603 - fixed, no shell
        env={"PEX_TOOLS": "1", "PEX_ROOT": "/tmp/pex", "PATH": "/usr/bin"},  # noqa: S108 - of a stage
        check=True,
    )
    site_packages = out / SITE_PACKAGES
    for name in ("__main__.py", "pex", "PEX-INFO", "include", "lib64"):
        _remove(out / VENV / name)
    for program in (out / VENV / "bin").iterdir():
        if not program.is_symlink():
            program.unlink()
    for data in (site_packages / "botocore/data", site_packages / "boto3/data"):
        for service in data.iterdir():
            if service.is_dir() and service.name not in AWS_SERVICES:
                shutil.rmtree(service)
    for file in site_packages.rglob("*"):
        if file.is_file() and _UNUSED_FILE.fullmatch(file.name):
            file.unlink()
        elif file.suffix == ".so":
            file.write_bytes(loadable_part(file.read_bytes()))
    _compile(site_packages, shown_as=Path("/") / SITE_PACKAGES)
    asked = {"requirements": sorted(info["requirements"]), "wheels": wheels}
    (out / PACKAGES).write_text(json.dumps(asked, indent=1))
    _finish(out)


def _runs_here(wheel: str) -> bool:
    tag = wheel.rpartition("-")[2]
    return tag == "any.whl" or ("linux" in tag and platform.machine() in tag)


def sources(pex: Path, out: Path) -> None:
    """The sources of `pex`, compiled, beside the packages. Not their text: nothing reads it, for logs
    say file, line and function of an exception and never the text of a line. Nor what they say of
    themselves, which is a fifth of them."""
    site_packages = out / SITE_PACKAGES
    with zipfile.ZipFile(pex) as archive:
        for name in archive.namelist():
            if _PEX_ITSELF.fullmatch(name) is None:
                archive.extract(name, site_packages)
    for source in site_packages.rglob("*.py"):
        shown_as = Path("/") / SITE_PACKAGES / source.relative_to(site_packages)
        source.with_suffix(".pyc").write_bytes(
            compiled_without_prose(source.read_bytes(), shown_as)
        )
        source.unlink()
    _finish(out)


def compiled_without_prose(source: bytes, shown_as: Path) -> bytes:
    """The bytecode of a source, without docstrings, as a file that is never compared with its source
    (PEP 552). Assertions stay, as do the lines that an exception names."""
    # Not above: what a process has loaded shows in the bytecode that `compileall` makes of the packages.
    import ast

    try:
        tree = ast.parse(source, filename=str(shown_as))
    except SyntaxError as error:
        raise SystemExit(f"layers.py: {shown_as} could not be compiled: {error}") from error
    for node in ast.walk(tree):
        if (
            not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            or ast.get_docstring(node, clean=False) is None
        ):
            continue
        docstring = node.body[0]
        if isinstance(node, ast.ClassDef):
            # A dataclass without one would make one of its signature, at each start.
            node.body[0] = ast.copy_location(ast.Expr(ast.Constant("-")), docstring)
            ast.fix_missing_locations(node.body[0])
        elif len(node.body) == 1 and not isinstance(node, ast.Module):
            node.body[0] = ast.copy_location(ast.Pass(), docstring)
        else:
            del node.body[0]
    code = compile(tree, str(shown_as), "exec", dont_inherit=True)
    unchecked = (1).to_bytes(4, "little")
    head = importlib.util.MAGIC_NUMBER + unchecked + importlib.util.source_hash(source)
    # Format 2 has no references to what was written before: whether there is one depends on what else
    # in the process knows a text, and two builds would differ.
    return head + marshal.dumps(code, 2)


def loadable_part(library: bytes) -> bytes:
    """A shared library without what the loader never reads: debugging information and symbols that
    wheels are shipped with, a third of all that is in an image.

    What is loaded is named by the program headers; the rest lies behind it. Section headers, which
    describe the rest, go with it. What is not a 64-bit little-endian ELF file stays as it is.
    """
    if library[:6] != b"\x7fELF\x02\x01" or len(library) < _ELF_HEADER_BYTES:
        return library
    headers_at, sections_at = struct.unpack_from("<QQ", library, 0x20)
    header_size, count = struct.unpack_from("<HH", library, 0x36)
    end = headers_at + header_size * count
    for number in range(count):
        at = headers_at + header_size * number
        (offset,) = struct.unpack_from("<Q", library, at + 0x08)
        (size,) = struct.unpack_from("<Q", library, at + 0x20)
        end = max(end, offset + size)
    if sections_at < end:
        return library
    kept = bytearray(library[:end])
    struct.pack_into("<Q", kept, 0x28, 0)  # e_shoff
    struct.pack_into("<HH", kept, 0x3C, 0, 0)  # e_shnum, e_shstrndx
    return bytes(kept)


def _compile(folder: Path, *, shown_as: Path) -> None:
    # Never compared with its source, which can't change in an image, and so without its time.
    compiled = compileall.compile_dir(
        folder,
        maxlevels=32,
        quiet=1,
        force=True,
        stripdir=str(folder),
        prependdir=str(shown_as),
        rx=_UNUSED_PACKAGES,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        raise SystemExit(f"layers.py: not everything in {shown_as} could be compiled (above)")


def _finish(out: Path) -> None:
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()
            continue
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    for path in (out, *sorted(out.rglob("*"))):
        os.utime(path, (_TIME, _TIME), follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def main(arguments: list[str]) -> None:
    """One layer, named by the first of `arguments`."""
    layers: dict[str, Callable[..., None]] = {
        "interpreter": interpreter,
        "packages": packages,
        "sources": sources,
    }
    layers[arguments[0]](*map(Path, arguments[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])
