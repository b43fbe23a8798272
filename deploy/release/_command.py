"""The command line: what can be said, with examples for each command."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.release._credentials import LOCAL_STATE
from deploy.release._errors import ReleaseError, raise_all
from deploy.release._report import COMMAND
from deploy.release._services import SERVICES, services_named

_EXIT_CODES = """\
exit codes:
  0    done
  1    the deployment failed and was rolled back, and the old version answers; the canary failed and
       was taken back; `changed`: a version must be bumped; `status`: a roll-out has failed
  2    bad input or configuration; nothing that runs was changed
  3    it is not known what runs now, or the roll-back failed: look at `status`
  130  stopped by Ctrl-C (143: by SIGTERM); a roll-out that had begun goes on by itself, a canary stays
"""

_WHERE = """\
AWS is found by the SDK's own environment (profile, variables, role); --local takes the platform that
runs on this machine (./pantsw run deploy/local/up.py -- --containers).
"""


_LEADING_WHERE = """\
AWS is found by the SDK's own environment (profile, variables, role); --local takes the platform that
runs on this machine (./pantsw run deploy/local/up.py).
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; ends the program with 2 and all that is wrong."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", help="a line of JSON for each event, and no progress"
    )
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--local",
        metavar="DIR",
        nargs="?",
        type=Path,
        const=LOCAL_STATE,
        help=f"the platform on this machine, by its state folder (default {LOCAL_STATE})",
    )
    rolling = _rolling()
    parser = argparse.ArgumentParser(
        prog="release.py",
        usage=f"{COMMAND} -- COMMAND [options]",
        description="Releases services, each by itself.",
        epilog=f"{_EXIT_CODES}\n{COMMAND} -- COMMAND --help has examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, summary: str, detail: str, examples: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            prog=f"release.py {name}",
            help=summary,
            usage=f"{COMMAND} -- {name} [options]",
            description=detail,
            epilog=f"examples:\n{examples}\n{_EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common, *parents],
        )

    _changed(command(
        "changed",
        "what was changed, and what must be released",
        "Compares what each image is made of with a revision: files, BUILD fields after macros,\n"
        "third-party packages, what pants.toml says. By default with the service's last release:\n"
        "the first commit that has both its version in BUILD and a heading of it in CHANGELOG.md\n"
        "without (unreleased).",
        f"  {COMMAND} -- changed\n        since each service's last release\n"
        f"  {COMMAND} -- changed --since main --json\n        since another revision, for a script\n",
    ))  # fmt: skip
    _build(command(
        "build",
        "builds images",
        "Packages the images with Pants, and writes into them which commit they are made of.\n"
        "BASE_IMAGE names another base than the public one (see deploy/images/README.md).",
        f"  {COMMAND} -- build course_catalog\n"
        f"  {COMMAND} -- build --changed\n        what was changed since its last release\n",
    ))  # fmt: skip
    _push(command(
        "push",
        "sends images to a registry",
        "Sends the images that `build` made, under their versions. What is there already is not\n"
        "sent again; a version that is there with other content is refused.\n" + _WHERE,
        f"  {COMMAND} -- push course_catalog \\\n"
        "      --registry 123456789012.dkr.ecr.eu-west-1.amazonaws.com\n"
        f"  {COMMAND} -- push course_catalog content_delivery --local\n",
        where,
    ))  # fmt: skip
    _deploy(command(
        "deploy",
        "rolls a service to an image",
        "Registers the running task definition with the image replaced by its digest, and nothing\n"
        "else changed; tells ECS to run it; watches; asks /version from outside; and goes back to\n"
        "what was before where ECS gives up, the time is over, the wrong version answers or an\n"
        "alarm goes off. progress_tracking has two ECS services, which go together.\n" + _WHERE,
        f"  {COMMAND} -- deploy course_catalog --version 0.3.1 \\\n"
        "      --url https://api.example.org/catalog --alarm course-catalog-errors\n"
        f"  {COMMAND} -- deploy course_catalog --digest sha256:… --local --dry-run\n"
        "        what would be changed, on the platform that runs on this machine\n",
        where,
        rolling,
    ))  # fmt: skip
    _status(command(
        "status",
        "what runs now",
        "Tells of each ECS service its version, image, deployments, targets and last events.\n"
        + _WHERE,
        f"  {COMMAND} -- status --local\n"
        f"  {COMMAND} -- status course_catalog --watch\n        until no roll-out is in progress\n",
        where,
    ))  # fmt: skip
    _rollback(command(
        "rollback",
        "rolls a service back",
        "Tells ECS to run the task definition that the running one took the place of, watches and\n"
        "asks /version. Where it fails it is left as it is.\n" + _WHERE,
        f"  {COMMAND} -- rollback course_catalog --url https://api.example.org/catalog\n"
        f"  {COMMAND} -- rollback course_catalog --to 7 --local\n"
        f"  {COMMAND} -- rollback progress_tracking --local \\\n"
        "      --to progress_tracking:7 --to progress_tracking-consumer:5\n",
        where,
        rolling,
    ))  # fmt: skip
    leading = _leading()
    _canary(command(
        "canary",
        "leads a share of the requests somewhere else",
        "Gives the ECS service behind the canary the tasks for its share, leads that share of the\n"
        "requests to it, watches errors and p99 of both sides, and takes it back by itself where the\n"
        "canary is worse. Where it has passed, it stays, or the next step is taken. Targets are those\n"
        "that the service's stage names: service, monolith, candidate.\n" + _LEADING_WHERE,
        f"  {COMMAND} -- canary course_catalog --percent 1\n"
        f"  {COMMAND} -- canary course_catalog --steps 1,10,50,100 --promote\n"
        "        all the way, each step watched for ten minutes, and for good\n"
        f"  {COMMAND} -- canary course_catalog --percent 10 --to monolith --local --watch-for 60\n"
        f"  {COMMAND} -- canary course_catalog --steps 10,100 --dry-run --json\n",
        leading,
    ))  # fmt: skip
    _promote(command(
        "promote",
        "leads all requests where the canary's go, for good",
        "Only a canary that gets all requests already; --force takes any.\n" + _LEADING_WHERE,
        f"  {COMMAND} -- promote course_catalog\n",
        leading,
    ))  # fmt: skip
    command(
        "abort",
        "takes a canary back",
        "Leads all requests where the stable ones go. Where there is no canary, that is said.\n"
        + _LEADING_WHERE,
        f"  {COMMAND} -- abort course_catalog\n",
        leading,
    )
    options = parser.parse_args(arguments)
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    """Makes values of what was given. Raises ReleaseError with all that is wrong."""
    problems = []
    for name, read in _VALUES.items():
        given = getattr(options, name, None)
        if isinstance(given, str):
            try:
                setattr(options, name, read(given))
            except ValueError as error:
                problems.append(f"--{name.replace('_', '-')} {given!r} is not {error}")
    if options.command == "canary" and options.promote:
        last = options.steps[-1] if isinstance(options.steps, list) else options.percent
        if isinstance(last, float) and last < 100:
            problems.append("--promote: the last step is to be 100: what has passed it is promoted")
    names = [*getattr(options, "services", ()), getattr(options, "service", None)]
    try:
        services_named([name for name in names if name is not None])
    except ReleaseError as error:
        problems.extend(error.problems)
    raise_all(problems)


def _changed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="REV", help="a revision; default: each last release")


def _build(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("services", metavar="SERVICE", nargs="*", default=[], help=_SERVICE_HELP)
    which.add_argument("--changed", action="store_true", help="those that must be released")
    parser.add_argument("--since", metavar="REV", help="with --changed: changed since a revision")


def _push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("services", metavar="SERVICE", nargs="+", help=_SERVICE_HELP)
    parser.add_argument(
        "--registry", metavar="HOST[/PREFIX]", help="an OCI registry; ECR is logged in to"
    )
    parser.add_argument(
        "--allow-dirty", action="store_true", help="images of what no commit has, too"
    )


def _rolling() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--cluster", metavar="NAME", help="of ECS (default lyceum)")
    parser.add_argument("--url", metavar="URL", help="where the service answers from outside")
    parser.add_argument("--no-verify", action="store_true", help="do not ask /version")
    parser.add_argument(
        "--answers", metavar="N", default="10",
        help="so many right answers in a row convince (default 10)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", metavar="SECONDS", default="900",
        help="of the roll-out, and of rolling back (default 900)",
    )  # fmt: skip
    parser.add_argument(
        "--verify-timeout", metavar="SECONDS", default="60",
        help="of asking /version (default 60)",
    )  # fmt: skip
    parser.add_argument(
        "--alarm", metavar="NAME", action="append", default=[],
        help="a CloudWatch alarm that ends the roll-out; may be repeated",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be changed")
    return parser


def _deploy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("service", metavar="SERVICE", help=_SERVICE_HELP)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--digest", metavar="sha256:…", help="of the image, as push tells")
    which.add_argument("--version", metavar="X.Y.Z", help="of the image")
    parser.add_argument(
        "--registry", metavar="HOST[/PREFIX]",
        help="where the image is; default: where the running one is from",
    )  # fmt: skip
    parser.add_argument(
        "--wait", action="store_true", help="for a roll-out in progress, instead of refusing"
    )


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "service", metavar="SERVICE", nargs="?", help=f"{_SERVICE_HELP}; default: all"
    )
    parser.add_argument("--watch", action="store_true", help="until no roll-out is in progress")
    parser.add_argument("--cluster", metavar="NAME", help="of ECS (default lyceum)")


def _rollback(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("service", metavar="SERVICE", help=_SERVICE_HELP)
    parser.add_argument(
        "--to", metavar="[FAMILY:]REVISION", action="append", default=[],
        help="another revision of the task definition than the one before",
    )  # fmt: skip


def _leading() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("service", metavar="SERVICE", help=_SERVICE_HELP)
    parser.add_argument(
        "--local",
        metavar="DIR",
        nargs="?",
        type=Path,
        const=LOCAL_STATE,
        help=f"the platform on this machine, by its state folder (default {LOCAL_STATE})",
    )
    parser.add_argument("--cluster", metavar="NAME", help="of ECS (default lyceum)")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be changed")
    return parser


def _canary(parser: argparse.ArgumentParser) -> None:
    how_many = parser.add_mutually_exclusive_group(required=True)
    how_many.add_argument("--percent", metavar="N", help="of the requests: 1, 10, 50, 100")
    how_many.add_argument("--steps", metavar="N,N,…", help="one after another, such as 1,10,50,100")
    parser.add_argument(
        "--to", metavar="TARGET",
        help="default: service; candidate where the stage leads to the service already",
    )  # fmt: skip
    parser.add_argument(
        "--promote", action="store_true", help="once the last step has passed, which is 100"
    )
    parser.add_argument(
        "--watch-for", metavar="SECONDS", default="600",
        help="of each step (default 600); on AWS it is known 150 s later",
    )  # fmt: skip
    parser.add_argument(
        "--no-watch", action="store_true", help="lead the requests there and look at nothing"
    )
    parser.add_argument(
        "--min-requests", metavar="N", default="100",
        help="fewer than that decide nothing (default 100)",
    )  # fmt: skip
    parser.add_argument(
        "--error-margin", metavar="PERCENT", default="1",
        help="so many more of a hundred requests may fail than of the stable side (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--slowdown", metavar="TIMES", default="1.5",
        help="of the stable side's p99, and 50 ms, is the most that its p99 may be (default 1.5)",
    )  # fmt: skip
    parser.add_argument(
        "--tasks", metavar="N",
        help="that it would need for all requests; default: as many as the stable side has",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", metavar="SECONDS", default="900",
        help="within which its tasks are healthy (default 900)",
    )  # fmt: skip


def _promote(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--force", action="store_true", help="though the canary gets fewer than all requests"
    )


def _digest(text: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        raise ValueError("sha256: and 64 hexadecimal digits")
    return text


def _version(text: str) -> str:
    if not re.fullmatch(r"\d+\.\d+\.\d+", text):
        raise ValueError("MAJOR.MINOR.PATCH")
    return text


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d+)?", text) or not 1 <= float(text) <= 7_200:
        raise ValueError("1 to 7200 seconds")
    return float(text)


def _long(text: str) -> float:
    if not re.fullmatch(r"\d{1,5}", text) or not 1 <= int(text) <= 86_400:
        raise ValueError("1 to 86400 seconds")
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text) or not 1 <= int(text) <= 1_000:
        raise ValueError("1 to 1000")
    return int(text)


def _percent(text: str) -> float:
    if not re.fullmatch(r"\d{1,3}(\.\d{1,2})?", text) or not 0 < float(text) <= 100:
        raise ValueError("a percentage above 0, up to 100")
    return float(text)


def _steps(text: str) -> list[float]:
    steps = [_percent(one) for one in text.split(",")]
    if any(after <= before for before, after in itertools.pairwise(steps)):
        raise ValueError("rising percentages")
    return steps


def _margin(text: str) -> float:
    if not re.fullmatch(r"\d{1,2}(\.\d{1,3})?", text):
        raise ValueError("0 to 99.999 percentage points")
    return float(text)


def _times(text: str) -> float:
    if not re.fullmatch(r"\d{1,3}(\.\d{1,3})?", text) or not 1 <= float(text) <= 100:
        raise ValueError("1 to 100 times")
    return float(text)


def _requests(text: str) -> int:
    if not re.fullmatch(r"\d{1,7}", text) or int(text) < 1:
        raise ValueError("1 to 9999999")
    return int(text)


_VALUES: dict[str, Callable[[str], object]] = {
    "digest": _digest,
    "version": _version,
    "timeout": _seconds,
    "verify_timeout": _seconds,
    "answers": _count,
    "percent": _percent,
    "steps": _steps,
    "watch_for": _long,
    "min_requests": _requests,
    "error_margin": _margin,
    "slowdown": _times,
    "tasks": _count,
}

_SERVICE_HELP = ", ".join(SERVICES)
