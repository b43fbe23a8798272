"""What an image has to be, looked at one by one: sizes, times, memory, and how hardened it is.

Owns the goals and the rules. A rule is kept or broken; a goal is a number beside what was measured.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from deploy.images._container import Container, container
from deploy.images._contents import Contents, read_contents
from deploy.images._docker import inspect_image, save_image
from deploy.images._surroundings import surroundings

MEGABYTE = 1_000_000

_SHELLS = frozenset({"sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "tcsh", "zsh"})
_SETUID_OR_SETGID = 0o6000
_LABELS = ("org.opencontainers.image.title", "org.opencontainers.image.version")

# Run inside a container: what it may and what it finds, as the kernel and Python tell it.
_INSIDE = """
import importlib.util, os, ssl, sys
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
try:
    open("/written", "w")
    written = "yes"
except OSError as error:
    written = os.strerror(error.errno)
stubs = [name for name in os.listdir(sys.argv[1]) if name.startswith("types_") or "-stubs" in name]
print(os.getuid(), status["CapEff"].strip(), status["NoNewPrivs"].strip(), written,
      len(ssl.create_default_context().get_ca_certs()), stubs, sep="|")
"""
# The first start reads its files from the disk; a single one tells what else the machine did.
_STARTS = 5
_SITE_PACKAGES = "/app/lib/python3.11/site-packages"


@dataclass(frozen=True)
class Goal:
    """A number that is to be reached: at most `limit`, in bytes or, where `unit` is "s", in seconds.
    The other units say how bytes are shown."""

    name: str
    limit: float
    measured: float
    unit: str

    @property
    def reached(self) -> bool:
        return self.measured <= self.limit


@dataclass(frozen=True)
class Rule:
    """Something that has to hold; `found` says what was seen."""

    name: str
    kept: bool
    found: str


@dataclass(frozen=True)
class Report:
    """All about one image."""

    service: str
    image: str
    id: str
    goals: tuple[Goal, ...]
    rules: tuple[Rule, ...]
    notes: Mapping[str, str]

    def good(self, *, on_time: bool) -> bool:
        """Whether every rule is kept and every goal reached; goals of time only if `on_time`, since
        they tell as much of the machine as of the image."""
        return all(rule.kept for rule in self.rules) and all(
            goal.reached for goal in self.goals if on_time or goal.unit != "s"
        )


def look_at(service: str, image: str, tell: Callable[[str], None]) -> Report:
    """Look at the image of a service, and run it for some seconds. Raises DockerError."""
    known = inspect_image(image)
    tell("its layers")
    with tempfile.TemporaryDirectory(prefix="lyceum-image-") as folder:
        archive = Path(folder) / "image.tar"
        save_image(image, archive)
        contents = read_contents(archive)
    rules = [*_configuration(service, known), *_files(contents)]
    goals = [
        Goal("image", 90 * MEGABYTE, contents.size, "MB"),
        Goal("image, compressed", 30 * MEGABYTE, contents.compressed, "MB"),
        Goal("sources layer, compressed", 500_000, contents.layers[-1].compressed, "kB"),
    ]
    tell("a container of it")
    port = _free_port()
    notes = {
        "layers": " + ".join(f"{layer.size / MEGABYTE:.1f}" for layer in contents.layers) + " MB",
        "layers, compressed": " + ".join(
            f"{layer.compressed / MEGABYTE:.2f}" for layer in contents.layers
        )
        + " MB",
    }
    with (
        surroundings(service, port) as variables,
        container(image, variables, port) as running,
    ):
        starts = [running.start()]
        rules += _inside(service, known, running, notes)
        goals.append(Goal("memory, idle", 90 * MEGABYTE, running.memory(), "MB"))
        resident = running.resident()
        if resident is not None:
            notes["resident set of the process"] = f"{resident / MEGABYTE:.1f} MB"
        stops = [running.stop()]
        for _ in range(_STARTS - 1):
            starts.append(running.start())
            stops.append(running.stop())
        goals.append(Goal(f"start to ready, median of {_STARTS}", 1.0, median(starts), "s"))
        idle = median(seconds for seconds, _ in stops)
        goals.append(Goal(f"stop, idle, median of {_STARTS}", 0.5, idle, "s"))
        codes = sorted({code for _, code in stops})
        rules.append(Rule("SIGTERM ends it with 0", codes == [0], ", ".join(map(str, codes))))
    return Report(service, image, known["Id"], tuple(goals), tuple(rules), notes)


def _configuration(service: str, known: Mapping[str, Any]) -> Iterator[Rule]:
    config = known["Config"]
    labels: Mapping[str, str] = config.get("Labels") or {}
    user = str(config.get("User", ""))
    number = user.partition(":")[0]
    yield Rule("a user that is not root", number.isdigit() and int(number) > 0, user or "root")
    entrypoint = list(config.get("Entrypoint") or ())
    started = [*entrypoint, *(config.get("Cmd") or ())]
    expected = ["/app/bin/python", "-I", "-m", f"services.{service}"]
    yield Rule("entrypoint in exec form", started == expected, " ".join(started))
    check = list((config.get("Healthcheck") or {}).get("Test") or ())
    yield Rule("health check in exec form", check[:1] == ["CMD"], " ".join(check[1:]) or "none")
    yield Rule(
        "SIGTERM stops it", config.get("StopSignal") == "SIGTERM", str(config.get("StopSignal"))
    )
    absent = [name for name in _LABELS if not labels.get(name)]
    shown = ", ".join(
        f"{name.rpartition('.')[2]} {labels[name]}" for name in _LABELS if name in labels
    )
    yield Rule("labels", not absent, shown or "none")
    secrets = [entry for entry in config.get("Env", ()) if "SECRET" in entry or "KEY" in entry]
    yield Rule("no secret in its environment", not secrets, ", ".join(secrets) or "none")


def _files(contents: Contents) -> Iterator[Rule]:
    programs = {
        path: member
        for path, member in contents.files.items()
        if not member.isdir() and path.rpartition("/")[2] in _SHELLS
    }
    yield Rule("no shell", not programs, ", ".join(sorted(programs)) or "none")
    raised = [
        path
        for path, member in contents.files.items()
        if member.isreg() and member.mode & _SETUID_OR_SETGID
    ]
    yield Rule("no setuid or setgid program", not raised, ", ".join(raised) or "none")
    writable = [
        path
        for path, member in contents.files.items()
        if not member.issym() and member.mode & 0o002 and not member.mode & 0o1000
    ]
    yield Rule("nothing that everybody may write", not writable, ", ".join(writable) or "none")


def _inside(
    service: str, known: Mapping[str, Any], running: Container, notes: dict[str, str]
) -> Iterator[Rule]:
    output, code, _ = running.execute("/app/bin/python", "-I", "-c", _INSIDE, _SITE_PACKAGES)
    if code:
        yield Rule("Python runs in it", False, output)
        return
    user, capabilities, no_new_privileges, written, certificates, stubs = output.split("|")
    yield Rule("runs as the user of the image", user == "65532", user)
    yield Rule("no capabilities", int(capabilities, 16) == 0, capabilities)
    yield Rule("no new privileges", no_new_privileges == "1", no_new_privileges)
    yield Rule("its root file system is read-only", written == "Read-only file system", written)
    yield Rule("certificates of authorities", int(certificates) > 50, certificates)
    yield Rule("no types for checkers", stubs == "[]", stubs)
    check = [str(part) for part in known["Config"]["Healthcheck"]["Test"][1:]]
    said, code, seconds = running.execute(*check)
    yield Rule("its health check passes", code == 0, said or f"{seconds * 1000:.0f} ms")
    version = running.version()["version"]
    label = (known["Config"]["Labels"] or {}).get("org.opencontainers.image.version")
    yield Rule("/version says what its label says", version == label, f"{version}, {label}")
    notes["health check, with docker exec"] = f"{seconds * 1000:.0f} ms"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
