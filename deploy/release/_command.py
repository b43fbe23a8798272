"""The command line: what can be said, with examples for each command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from deploy.release._credentials import LOCAL_STATE
from deploy.release._report import COMMAND
from deploy.release._services import SERVICES

_EXIT_CODES = """\
exit codes:
  0    done
  1    the deployment failed and was rolled back, and the old version answers; `changed`: a version
       must be bumped; `status`: a roll-out has failed
  2    bad input or configuration; nothing that runs was changed
  3    it is not known what runs now, or the roll-back failed: look at `status`
  130  stopped by Ctrl-C (143: by SIGTERM); a roll-out that had begun goes on by itself
"""

_WHERE = """\
AWS is found by the SDK's own environment (profile, variables, role); --local takes the platform that
runs on this machine (./pantsw run deploy/local/up.py -- --containers).
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
    return parser.parse_args(arguments)


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


_SERVICE_HELP = ", ".join(SERVICES)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
