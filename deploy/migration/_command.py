"""The command line: what can be said, with examples for each command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.migration._report import COMMAND
from deploy.migration._where import CONTROL, LOCAL_STATE
from deploy.migration.commands import BadInputError

_EXIT_CODES = """\
exit codes:
  0    done
  1    refused, or it failed and the owners are as before; `verify`: something differs; `audit`: the
       log was changed
  2    bad input: the mapping, the tables, the rights, the stream; nothing was changed
  3    it is not known how far it came: look at `status`
  130  stopped by Ctrl-C (143: by SIGTERM); the same command goes on
"""

_WHERE = """\
AWS is found by the SDK's own environment (profile, variables, role); --local takes the platform that
runs on this machine (./pantsw run deploy/local/up.py -- --monolith).
"""

_EXAMPLE = "--mapping deploy.migration.mappings.lyceum --local"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Raises BadInputError with all that is wrong with their values."""
    parser = argparse.ArgumentParser(
        prog="migrate.py",
        usage=f"{COMMAND} COMMAND --mapping MODULE [options]",
        description="Splits a live DynamoDB table into one table for each service, and back.",
        epilog=f"{_EXIT_CODES}\n{COMMAND} COMMAND --help has examples. A migration, in order:\n"
        f"  {COMMAND} plan {_EXAMPLE}\n"
        "  … start, … worker (several may run), … copy,\n"
        "  and for each module … verify MODULE, … switch MODULE, … complete MODULE",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    common, waiting, working, settings = _common(), _waiting(), _working(), _settings()

    def command(
        name: str, summary: str, detail: str, examples: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            prog=f"migrate.py {name}",
            help=summary,
            usage=f"{COMMAND} {name} --mapping MODULE [options]",
            description=detail,
            epilog=f"examples:\n{examples}\n{_WHERE}\n{_EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common, *parents],
        )

    def line(name: str, more: str = "") -> str:
        return f"  {COMMAND} {name}{more} {_EXAMPLE}\n"

    plan = command(
        "plan", "what the mapping means for the data, and what it takes; changes nothing",
        "Reads the whole source: which rule each item is of, what no rule is for, what collides or is\n"
        "too large. Looks at the tables, their streams and the rights, each of which is tried. Says\n"
        "what the copy takes in capacity, time and money. All problems are told at once.",
        line("plan") + line("plan", " --workers 4 --set units_per_second=4000")
        + f"  {COMMAND} plan --mapping mine.py --table source=monolith --table orders=orders-prod\n",
        settings,
    )  # fmt: skip
    plan.add_argument(
        "--workers", metavar="N", default="1", help="how many workers there will be (default 1)"
    )
    command(
        "start", "begin: streams are read from now on, then the copy",
        "Plans, and refuses with all problems. Keeps the settings for all workers and commands.",
        line("start") + line("start", " --set segments=32 --set lease=30") + line("start", " --dry-run"),
        waiting, settings,
    )  # fmt: skip
    command(
        "copy", "wait until the copy is done",
        "Workers copy; this shows how far they are, and ends the copy. Ctrl-C ends the waiting alone.",
        line("copy") + line("copy", " --work") + "        with a worker in this process\n",
        waiting, working,
    )  # fmt: skip
    command(
        "pause", "hold the copy; replication goes on", "The copy waits from its next page on.",
        line("pause"),
    )  # fmt: skip
    command("resume", "let the copy go on", "After pause.", line("resume"))
    throttle = command(
        "throttle", "how much the copy may take of the tables",
        "Units a second, of all workers together; what replication consumes counts too. Takes effect\n"
        "with the next page. Replication itself is never held up.",
        line("throttle", " --capacity 500") + line("throttle", " --write 200 --max-lag 10")
        + line("throttle", " --off"),
    )  # fmt: skip
    throttle.add_argument("--read", metavar="N", help="read units of the source")
    throttle.add_argument("--write", metavar="N", help="write units of each target")
    throttle.add_argument("--capacity", metavar="N", help="both")
    throttle.add_argument(
        "--max-lag", metavar="SECONDS", help="the copy waits while replication is further behind"
    )
    throttle.add_argument("--off", action="store_true", help="as the settings of `start` say")
    verify = command(
        "verify", "compare a module's rows with the source, in both directions",
        "Needs no snapshot and holds up nobody. What lag explains is no difference; what moves while\n"
        "it is looked at is compared again behind the fence of the switch.",
        line("verify", " course_catalog") + line("verify", " course_catalog --repair"),
        waiting, working,
    )  # fmt: skip
    verify.add_argument("module", metavar="MODULE", help="as the mapping names it")
    verify.add_argument("--repair", action="store_true", help="write what differs, and look again")
    for name, summary, detail in (
        (
            "switch", "make the module's own table its owner",
            "Refused, with all reasons, unless it was verified, replication keeps up and nothing is\n"
            "in quarantine. Requests wait in the application's gate for a moment; a switch that is\n"
            "given up, or killed, leaves the owner as it was. --dry-run tells the reasons.",
        ),
        (
            "reverse", "make the source its owner again",
            "As switch, the other way round: nothing that the new owner wrote is lost.",
        ),
    ):  # fmt: skip
        changing = command(
            name, summary, detail,
            line(name, " course_catalog") + line(name, " course_catalog --dry-run"),
            waiting, working,
        )  # fmt: skip
        changing.add_argument("module", metavar="MODULE", help="as the mapping names it")
    complete = command(
        "complete", "give up the way back of a module",
        "The one step that can not be taken back: the source is no longer kept up.",
        line("complete", " course_catalog"), waiting,
    )  # fmt: skip
    complete.add_argument("module", metavar="MODULE", help="as the mapping names it")
    command(
        "cancel", "end the migration and remove what it wrote",
        "Refused while a module is switched. The targets' rows go, and the marks that a way back left"
        " in the\nsource; rows of nobody of ours stay. `start` may begin again.",
        line("cancel") + line("cancel", " --dry-run"), waiting,
    )  # fmt: skip
    command(
        "resync", "after a lost position: copy again what was missed",
        "Streams keep records for 24 hours. What was trimmed unread is lost to replication, never\n"
        "skipped: the source is read again, and what is gone from it goes from the targets.",
        line("resync"), waiting, working,
    )  # fmt: skip
    command(
        "rehearse", "copy and verify, fence nothing, remove what was written",
        "A whole migration but its switches, on the real data. Says how long it took and what\n"
        "differs. Targets must be empty, and are left empty.",
        line("rehearse", " --work") + line("rehearse", " --dry-run"),
        waiting, working, settings,
    )  # fmt: skip
    forgive = command(
        "forgive", "take a key out of quarantine",
        "Once it is known what became of it. Verify the module again afterwards.",
        line("forgive", " 'Lyceum COURSE#1 / META'"),
    )  # fmt: skip
    forgive.add_argument("key", metavar="KEY", help="as status names it")
    status = command(
        "status", "how far it is, what holds it up, and what is to be done next",
        "Copy, lag and verification with rates and an estimate, the state of each module, who works.",
        line("status") + line("status", " --watch") + line("status", " --json"),
    )  # fmt: skip
    status.add_argument(
        "--watch", action="store_true", help="until it is over or Ctrl-C, renewed each second"
    )
    command(
        "audit", "who did what when; whether somebody changed the log",
        "Each entry has the hash of the one before. It is in the control table and stays there.",
        line("audit") + line("audit", " --json"),
    )  # fmt: skip
    worker = command(
        "worker", "work until stopped: copy and replicate",
        "Any number may run, on any machine: they share the work by leases in the control table. One\n"
        "that is killed is made up for by the others. SIGTERM and Ctrl-C give its work back first.",
        line("worker") + line("worker", " --name left --json"),
    )  # fmt: skip
    worker.add_argument("--name", metavar="N", help="how status names it (default: the process)")
    options = parser.parse_args(arguments)
    _check(options)
    return options


def _common() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--mapping", metavar="MODULE", required=True,
        help="a Python module with a function `mapping`, or a file of one",
    )  # fmt: skip
    parser.add_argument(
        "--table", metavar="NAME=TABLE", action="append", default=[],
        help="a table by the name that `mapping` has for it (source, …); control:"
        f" {CONTROL} unless given; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--local", metavar="DIR", nargs="?", type=Path, const=LOCAL_STATE,
        help=f"the platform on this machine, by its state folder (default {LOCAL_STATE})",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="a line of JSON for each event, and no progress"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only tell what would be done; nothing is changed"
    )
    return parser


def _waiting() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--wait", action="store_true", help="for another operator at work, instead of refusing"
    )
    return parser


def _working() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--work", action="store_true", help="with a worker in this process, for as long as it takes"
    )
    return parser


def _settings() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[],
        help="a setting of the migration, such as segments, lease, settle, fence, units_per_second"
        " (README.md); may be repeated",
    )  # fmt: skip
    return parser


def _check(options: argparse.Namespace) -> None:
    problems = []
    for name, read in _VALUES.items():
        given = getattr(options, name, None)
        if isinstance(given, str):
            try:
                setattr(options, name, read(given))
            except ValueError as error:
                problems.append(f"--{name.replace('_', '-')} {given!r} is not {error}")
    if options.command == "throttle":
        problems += _throttle_problems(options)
    if problems:
        raise BadInputError(*problems)


def _throttle_problems(options: argparse.Namespace) -> list[str]:
    given = [
        name
        for name in ("read", "write", "capacity", "max_lag", "off")
        if getattr(options, name) not in (None, False)
    ]
    if not given:
        return ["throttle: say --capacity, --read, --write or --max-lag, or --off"]
    if "off" in given and len(given) > 1:
        return ["throttle: --off goes with nothing else"]
    if "capacity" in given and ("read" in given or "write" in given):
        return ["throttle: --capacity is both --read and --write: say the one or the others"]
    return []


def _units(text: str) -> float:
    if not re.fullmatch(r"\d{1,7}", text) or int(text) < 1:
        raise ValueError("1 to 9999999 units a second")
    return float(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,5}(\.\d+)?", text) or not 1 <= float(text) <= 36_000:
        raise ValueError("1 to 36000 seconds")
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text) or int(text) < 1:
        raise ValueError("1 to 999")
    return int(text)


def _worker_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ValueError("1 to 64 letters, digits, dots, dashes and underscores")
    return text


_VALUES: dict[str, Callable[[str], object]] = {
    "read": _units,
    "write": _units,
    "capacity": _units,
    "max_lag": _seconds,
    "workers": _count,
    "name": _worker_name,
}
