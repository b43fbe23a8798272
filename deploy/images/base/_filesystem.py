"""The root file system of the base: files of Debian packages, and the few that installing would make.

There is no shell and no other program than Python in it. Reproducible: the same packages give the
same bytes, whatever the order or the machine. Knows nothing of Docker.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable
from typing import BinaryIO

from deploy.images.base._packages import BaseError, Package

NONROOT = 65532
"""The user and the group that the public base calls `nonroot`."""

# Documentation, translations and what only people or installers read. Licences stay.
_LEFT_OUT = re.compile(
    r"""
    usr/share/(man|locale|lintian|bug|binfmts|gdb|gcc|perl5|base-files|common-licenses/.*~)(/|$)
    | usr/share/doc/[^/]+/(?!copyright$).
    | usr/lib/[^/]+/(gconv|audit)(/|$)            # conversions that Python has of its own
    | lib/[^/]+/(libmvec|libpcprofile|libmemusage|libnss_(compat|hesiod)|libBrokenLocale).*
    | usr/lib/(binfmt\.d|valgrind|tmpfiles\.d)(/|$)
    | usr/lib/python3\.11/(idlelib|tkinter|turtledemo|pydoc_data|lib2to3|ensurepip|sqlite3)(/|$)
    | usr/lib/python3\.11/(turtle\.py|lib-dynload/(_curses|_dbm|_sqlite3|_test|_tkinter|nis|readline|xxlimited).*)$
    | etc/(cron[^/]*|init\.d|update-motd\.d|logrotate\.d|dpkg|apt|default|profile\.d)(/|$)
    | (usr/)?sbin/.
    | (usr/)?bin/(?!python3\.11$).
    | var/cache/. | var/backups(/|$) | (boot|media|mnt|srv|opt)(/|$)
    """,
    re.VERBOSE,
)
_CERTIFICATE = re.compile(r"usr/share/ca-certificates/mozilla/[^/]+\.crt")
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
# A list of what is installed, where scanners look for it in images without dpkg.
STATUS = "var/lib/dpkg/status.d"


def write_root(packages: Iterable[Package], to: BinaryIO, *, source_date_epoch: int) -> None:
    """Write the root file system to `to`, as a tar archive. Raises BaseError."""
    members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for package in packages:
        for member, content in _members(package):
            if _LEFT_OUT.match(member.name) is None:
                members[member.name] = (member, content)
    certificates = [
        content for name, (_, content) in sorted(members.items()) if _CERTIFICATE.fullmatch(name)
    ]
    if not certificates:
        raise BaseError("the package ca-certificates has no certificate")
    for name in [name for name in members if _CERTIFICATE.fullmatch(name)]:
        del members[name]
    made = [
        _file(CERTIFICATES, b"".join(certificates)),
        *_users(),
        _file("etc/nsswitch.conf", b"hosts: files dns\n"),
        _link("usr/bin/python", "python3.11"),
        _link("usr/bin/python3", "python3.11"),
        _folder("tmp", mode=0o1777),
        _folder("run"),
        _folder("proc"),
        _folder("sys"),
        _folder("dev"),
        *(_file(f"{STATUS}/{package.name}", package.control.encode()) for package in packages),
    ]
    members.update((member.name, (member, content)) for member, content in made)
    for name in list(members):
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            members.setdefault(parent, _folder(parent))
    with tarfile.open(fileobj=to, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for _, (member, content) in sorted(members.items()):
            member.mtime = min(int(member.mtime), source_date_epoch) or source_date_epoch
            member.uname = member.gname = ""
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)


def _members(package: Package) -> Iterable[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(package.files())) as archive:
        for member in archive:
            member.name = member.name.removeprefix("./").rstrip("/")
            if member.name in ("", "."):
                continue
            if member.islnk():
                member.linkname = member.linkname.removeprefix("./")
            content = archive.extractfile(member) if member.isreg() else None
            yield member, content.read() if content else b""


def _users() -> Iterable[tuple[tarfile.TarInfo, bytes]]:
    yield _file(
        "etc/passwd",
        b"root:x:0:0:root:/root:/sbin/nologin\n"
        b"nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
        b"nonroot:x:%d:%d:nonroot:/home/nonroot:/sbin/nologin\n" % (NONROOT, NONROOT),
    )
    yield _file(
        "etc/group",
        b"root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:%d:\n" % NONROOT,
    )
    yield _folder("root", mode=0o700)
    home, content = _folder("home/nonroot", mode=0o700)
    home.uid = home.gid = NONROOT
    yield home, content


def _file(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    return member, content


def _folder(name: str, *, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    member.mode = mode
    return member, b""


def _link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    member.linkname = target
    member.mode = 0o777
    return member, b""
