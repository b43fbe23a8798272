"""Holds the services' images against their goals and rules. See README.md beside this file.

Exit codes: 0 all is as it should be; 1 something is not (the table says what), where goals of time
count only with --strict; 2 it was called wrongly, or there is no engine or no such image.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TextIO

from deploy.images._checks import MEGABYTE, Goal, Report, look_at
from deploy.images._docker import DockerError
from deploy.images._services import add_service_arguments, image_of, parse_with_services

COMMAND = "./pantsw run deploy/images/check.py"

_EXAMPLES = f"""examples:
  ./pantsw package ::
        builds them; then
  {COMMAND}
        all services, at the versions of their BUILD files
  {COMMAND} -- course_catalog --json
        one of them, for scripts
  {COMMAND} -- course_catalog --image registry.example.org/lyceum/course_catalog:0.3.0
        an image of another name
"""


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    reports: list[Report] = []
    for number, service in enumerate(options.services, start=1):

        def tell(what: str, service: str = service, number: int = number) -> None:
            if not options.json:
                sys.stderr.write(f"[{number}/{len(options.services)}] {service}: {what}\n")

        image = options.image or image_of(service)
        try:
            reports.append(look_at(service, image, tell))
        except DockerError as error:
            sys.stderr.write(
                f"check.py: {image}: {error}\n"
                f"  build it with ./pantsw package services/{service}:image (deploy/images/README.md)\n"
            )
            return 2
    if options.json:
        sys.stdout.write(json.dumps([document(report) for report in reports]) + "\n")
    else:
        for report in reports:
            show(report, sys.stdout)
    return 0 if all(report.good(on_time=options.strict) for report in reports) else 1


def document(report: Report) -> dict[str, object]:
    """A report as JSON: sizes in bytes, times in seconds."""
    return {
        "service": report.service,
        "image": report.image,
        "id": report.id,
        "good": report.good(on_time=True),
        "goals": [
            {
                "name": goal.name,
                "goal": goal.limit,
                "measured": round(goal.measured, 3),
                "reached": goal.reached,
            }
            for goal in report.goals
        ],
        "rules": [
            {"name": rule.name, "kept": rule.kept, "found": rule.found} for rule in report.rules
        ],
        "notes": dict(report.notes),
    }


def show(report: Report, output: TextIO) -> None:
    """A report as a table."""
    output.write(f"\n{report.image}\n  {report.id}\n")
    output.write(f"  {'goal':<34}{'at most':>12}{'measured':>12}\n")
    for goal in report.goals:
        mark = "" if goal.reached else "   not reached"
        output.write(
            f"  {goal.name:<34}{_number(goal, goal.limit):>12}{_number(goal, goal.measured):>12}{mark}\n"
        )
    for rule in report.rules:
        output.write(f"  {rule.name:<34}{'kept' if rule.kept else 'BROKEN':>12}   {rule.found}\n")
    for name, text in report.notes.items():
        output.write(f"  {name:<34}{'':>12}   {text}\n")


def _number(goal: Goal, value: float) -> str:
    if goal.unit == "s":
        return f"{value:.2f} s"
    return f"{value / MEGABYTE:.1f} MB" if goal.unit == "MB" else f"{value / 1000:.0f} kB"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="check",
        usage=f"{COMMAND} -- [SERVICE …] [options]",
        description="Looks into the image of each service and runs it for some seconds, with the least"
        " around it that it needs to become ready. Prints goals beside what was measured, and rules.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_service_arguments(parser)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail for goals of time too: for a machine that is idle",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON, and no progress")
    return parse_with_services(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
