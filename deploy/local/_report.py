"""What the person at the terminal is told: progress, what to do with the platform, what went wrong.

Progress and events go to standard error, what was asked for to standard output. Colours and the
line that says what is being waited for appear on terminals alone. Knows no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from deploy.local._durations import Durations
from deploy.local._state import DEFAULT_FOLDER
from libs.console import Style, Terminal

COMMAND = "./pantsw run deploy/local/up.py"

_WORTH_TELLING_SECONDS = 2.0
_REDRAWN_SECONDS = 1.0
# Where lines stay, as in a log.
_TOLD_SECONDS = 10.0

# A task's file ends in the whole of its id; people tell tasks apart by the beginning of it.
_TASK_LOG = re.compile(r"(-[0-9a-f]{8})[0-9a-f]{24}$")

_BOLD, _DIM, _GREEN, _YELLOW, _RED = (
    Style.BOLD, Style.DIM, Style.GREEN, Style.YELLOW, Style.RED,
)  # fmt: skip


@dataclass(frozen=True)
class User:
    """A demo user: the `sub` of the tokens, a token, and a file that curl takes it from."""

    subject: str
    access_token: str
    header_file: Path


@dataclass(frozen=True)
class Journey:
    """A course with a video, for the lines to copy."""

    course_id: str
    content_id: str


@dataclass(frozen=True)
class ClusterAddress:
    """Where images go, and the name of the ECS cluster."""

    registry: str
    name: str


@dataclass(frozen=True)
class MonolithAddress:
    """Where the monolith answers, the tables of a migration by the names that its commands know, and
    the queue by which progress learns outlines."""

    url: str
    tables: Mapping[str, str]
    outline_queue_url: str


@dataclass(frozen=True)
class Ready:
    """A platform that is ready. `s3` is where signed URLs lead: it may stand before `aws`."""

    gateway: str
    services: Mapping[str, str]
    aws: str
    s3: str
    users: Mapping[str, User]
    state: Path
    logs: Path
    token_seconds: int
    journey: Journey | None
    tracing_daemon: str | None = None
    cluster: ClusterAddress | None = None
    monolith: MonolithAddress | None = None

    def document(self) -> dict[str, object]:
        """What ``--json`` prints and ``platform.json`` holds."""
        cluster, monolith = self.cluster, self.monolith
        of_monolith: dict[str, object] = {}
        if monolith is not None:
            of_monolith = {
                "monolith": monolith.url,
                "tables": dict(monolith.tables),
                "outlineQueue": monolith.outline_queue_url,
            }
        return {
            "gateway": self.gateway,
            "services": dict(self.services),
            "aws": self.aws,
            "s3": self.s3,
            **({"registry": cluster.registry, "cluster": cluster.name} if cluster else {}),
            **of_monolith,
            "users": {
                name: {"sub": user.subject, "accessToken": user.access_token}
                for name, user in self.users.items()
            },
        }


class Console:
    """Writes for a person.

    Args:
        output: for what was asked for.
        errors: for progress and events.
        as_json: the ready platform is one line of JSON.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        output: TextIO,
        errors: TextIO,
        *,
        as_json: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output = Terminal(output)
        self._errors = Terminal(errors)
        self._as_json = as_json
        self._clock = clock
        self._began = clock()
        self._waiting: dict[str, float] = {}  # since when
        self._durations: Durations | None = None

    def expect(self, durations: Durations) -> None:
        """From here on, whoever waits is told for how long; see `waiting`."""
        self._durations = durations

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Says that ``what`` is being done, and how long it took."""
        began = self._clock()
        self._waiting[what] = began
        self._show_waiting()
        try:
            yield
        finally:
            self._waiting.pop(what, None)
            self._show_waiting()
        took = self._clock() - began
        if self._durations is not None:
            self._durations.took(what, took)
        self._line(f"  {self._in(_GREEN, '✓')} {what:<44}{took:6.1f} s")

    @asynccontextmanager
    async def waiting(
        self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> AsyncIterator[None]:
        """Meanwhile, says again and again what is waited for, and how long that still takes."""

        async def tell() -> None:
            while True:
                if self._errors.is_terminal:
                    await sleep(_REDRAWN_SECONDS)
                    self._show_waiting()
                else:
                    await sleep(_TOLD_SECONDS)
                    for what, since in list(self._waiting.items()):
                        if self._clock() - since >= _TOLD_SECONDS:
                            self._line(f"  … {self._with_time(what)}")

        task = asyncio.create_task(tell(), name="tell what is waited for")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def note(self, text: str) -> None:
        """Something worth knowing."""
        self._line(f"  {text}")

    def warn(self, text: str) -> None:
        """Something that did not go as it should."""
        self._line(self._in(_YELLOW, text))

    def failed(self, text: str, last_lines: Sequence[str] = ()) -> None:
        """What was asked for can not be had."""
        self._line(f"{self._in(_RED, 'up.py:')} {text}")
        self._quote(last_lines)

    def output_of(self, name: str, line: str) -> None:
        """A line of a process's or a task's log (``--verbose``)."""
        name = _TASK_LOG.sub(r"\1", name)
        self._line(f"{self._in(_DIM, f'{name:>17} |')} {line}")

    # What `Supervisor` tells.

    def died(self, name: str, how: str, last_lines: Sequence[str], again_in: float) -> None:
        """See `deploy.local._supervisor.Listener.died`."""
        self.warn(f"{name} {how}; it is started again in {again_in:g} s. Its last lines:")
        self._quote(last_lines)

    def back(self, name: str) -> None:
        """See `deploy.local._supervisor.Listener.back`."""
        self._line(f"{self._in(_GREEN, name)} is back")

    def stopped_badly(self, name: str, how: str, last_lines: Sequence[str]) -> None:
        """See `deploy.local._supervisor.Listener.stopped_badly`."""
        self.warn(f"{name} {how} when it was stopped. Its last lines:")
        self._quote(last_lines)

    def killed(self, name: str, seconds: float) -> None:
        """See `deploy.local._supervisor.Listener.killed`."""
        self.warn(f"{name} did not stop within {seconds:g} s and was killed")

    # What the watch of the cluster's tasks tells.

    def task_died(self, name: str, task: str, how: str, last_lines: Sequence[str]) -> None:
        """See `deploy.local._cluster._watch.Listener.task_died`."""
        self.warn(f"{name} (task {task}) {how}; ECS starts another one.{_announced(last_lines)}")
        self._quote(last_lines)

    def task_failed(self, name: str, task: str, reason: str, last_lines: Sequence[str]) -> None:
        """See `deploy.local._cluster._watch.Listener.task_failed`."""
        self.warn(f"{name} (task {task}) is replaced by ECS: {reason}.{_announced(last_lines)}")
        self._quote(last_lines)

    def ready(self, platform: Ready) -> None:
        """The platform can be used."""
        if self._as_json:
            self._output.line(json.dumps(platform.document()))
            return
        self._output.line(self._table(platform).removesuffix("\n"))

    def _table(self, platform: Ready) -> str:
        lines = [
            "",
            self._heading(f"Lyceum is ready after {self._clock() - self._began:.1f} s"),
            "",
        ]
        monolith = {"monolith": platform.monolith.url} if platform.monolith else {}
        addresses = {
            "gateway": platform.gateway,
            **monolith,
            **platform.services,
            "AWS": platform.aws,
        }
        lines += [f"  {name:<18} {url}" for name, url in addresses.items()]
        if (cluster := platform.cluster) is not None:
            lines += [f"  {'registry':<18} {cluster.registry}"]
            lines += [f"  {'cluster':<18} {cluster.name}; {release_on(platform.state, 'status')}"]
        lines += [f"  {'pages':<18} {platform.gateway}/  /traces  /board"]
        lines += [f"  {'logs':<18} {platform.logs}"]
        sent_to = platform.tracing_daemon
        traces = f"sent to {sent_to}" if sent_to else command_on(platform.state, "traces")
        lines += [f"  {'traces':<18} {traces}"]
        lines.append("")
        lines.append(self._heading("Demo users"))
        for name, user in platform.users.items():
            lines += ["", f"  {self._out(_BOLD, name)}  sub {user.subject}", user.access_token]
        hours = platform.token_seconds / 3600
        lines += [
            "",
            f"  A token is good for {hours:g} h; a fresh one:"
            f" {command_on(platform.state, 'token learner-a')}",
        ]
        lines += ["", self._heading("To copy"), "", *examples(platform), ""]
        lines += ["Ctrl-C stops everything and keeps its state.", "", ""]
        return "\n".join(lines)

    def _heading(self, text: str) -> str:
        return self._out(_BOLD, text)

    def _quote(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._line(self._in(_DIM, f"    {line}"))

    def _show_waiting(self) -> None:
        if self._waiting:
            self._errors.draw(f"  … {', '.join(map(self._with_time, self._waiting))}")
        else:
            self._errors.clear()

    def _with_time(self, what: str) -> str:
        elapsed = self._clock() - self._waiting[what]
        if elapsed < _WORTH_TELLING_SECONDS:
            return what
        left = None if self._durations is None else self._durations.left(what, elapsed)
        return f"{what} {elapsed:.0f} s" + (f", about {left:.0f} s left" if left else "")

    def _line(self, text: str) -> None:
        self._errors.line(text)

    def _in(self, style: Style, text: str) -> str:
        return self._errors.styled(style, text)

    def _out(self, style: Style, text: str) -> str:
        return self._output.styled(style, text)


def _announced(last_lines: Sequence[str]) -> str:
    return " Its last lines:" if last_lines else " It wrote nothing."


def examples(platform: Ready) -> list[str]:
    """Lines to paste into a shell; the last one plays the whole journey. They need curl alone."""
    reader, author = platform.users["learner-a"], platform.users["author"]
    gateway = platform.gateway
    lines = [
        f"curl -H {_from_file(reader.header_file)} '{gateway}/courses?limit=5'",
        f"curl -H {_from_file(author.header_file)} '{gateway}/courses?status=draft'",
        f"curl -H {_from_file(reader.header_file)} {gateway}/progress/me",
    ]
    if platform.journey is not None:
        lines += ["", "# The journey: list, open, play a part of the video, record, read it back."]
        lines.append(journey_line(gateway, reader.header_file, platform.journey))
    return lines


def journey_line(gateway: str, header_file: Path, journey: Journey) -> str:
    """The seed's user journey as one line for a POSIX shell."""
    course, content = journey.course_id, journey.content_id
    update = (
        r"{\"occurredAt\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\",\"deviceId\":\"shell\","
        rf"\"items\":{{\"{content}\":{{\"completed\":true}}}}}}"
    )
    steps = [
        f'G={gateway}; H={_from_file(header_file)}; curl -sSf -H "$H" "$G/courses?limit=3"',
        "echo",
        f'curl -sSf -H "$H" $G/courses/{course}',
        "echo",
        f'URL=$(curl -sSf -H "$H" $G/content/{content}'
        """ | grep -o '"url": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)""",
        'curl -sSf -r 0-1048575 -o /dev/null -w "video: HTTP %{http_code}, %{size_download} bytes\\n"'
        ' "$URL"',
        f'curl -sSf -X PUT -H "$H" -H "Content-Type: application/json" -d "{update}"'
        f" $G/progress/me/{course}",
        "echo",
        'curl -sSf -H "$H" $G/progress/me',
        "echo",
    ]
    return " && ".join(steps)


def command_on(state: Path, command: str) -> str:
    """The command for the platform on this state folder, as a line for a shell."""
    where = "" if state == DEFAULT_FOLDER else f"--state {shlex.quote(str(state))} "
    return f"{COMMAND} -- {where}{command}"


def release_on(state: Path, command: str) -> str:
    """The same for a command of `deploy/release`."""
    where = "" if state == DEFAULT_FOLDER else f" {shlex.quote(str(state))}"
    return f"./pantsw run deploy/release/release.py -- {command} --local{where}"


def _from_file(header_file: Path) -> str:
    """curl's word for a header that stands in a file."""
    return shlex.quote(f"@{header_file}")
