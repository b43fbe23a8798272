"""From measured loads to task sizes, counts, capacity modes and a monthly bill. See README.md.

Exit codes: 0 done; 2 it was called wrongly, or a file can not be used: one line says what.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.rightsizing._document import renewed
from deploy.rightsizing._inputs import (
    SERVICES,
    InputError,
    read_capacity,
    read_measurements,
    read_prices,
    read_profile,
    read_quotas,
)
from deploy.rightsizing._plan import Inputs, Plan, QuotaUse, make_plan, quota_uses
from deploy.rightsizing._plot import draw
from deploy.rightsizing._report import (
    Section,
    as_markdown,
    as_text,
    assumptions_section,
    bill_section,
    courses_document,
    courses_section,
    growth_section,
    keys_section,
    largest_lines_section,
    plan_document,
    plan_sections,
    prices_sections,
    quotas_document,
    quotas_section,
    services_section,
    tables_section,
)
from deploy.rightsizing._scenarios import scenarios
from deploy.rightsizing._spike import Course
from libs.picture import write_picture

COMMAND = "./pantsw run deploy/rightsizing/rightsizing.py"
HERE = Path(__file__).parent
MANY_LEARNERS = 100_000_000.0
LARGEST_LINES = 10

_EXAMPLES = f"""examples:
  {COMMAND} -- plan
        the plan and the bill of the load profile beside this program, lyceum.yaml
  {COMMAND} -- plan --profile ours.yaml --after-months 12
        of one of your own, after a year of its growth
  {COMMAND} -- scale --learners 100000000
        which quota, key or line of the bill is met first
  {COMMAND} -- simulate --factor 10 --svg spike.svg
        a ten-fold spike, on dependencies that scale at different speeds
  {COMMAND} -- scale --into docs/scale.md
        renew the tables of a document (simulate has --into as well)
  {COMMAND} -- prices
        every price and quota with its page and date, and those that you must bring
"""


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    try:
        inputs = _inputs(options)
        match options.command:
            case "plan":
                _plan(options, inputs)
            case "scale":
                _scale(options, inputs)
            case "simulate":
                _simulate(options, inputs)
            case _:
                prices, quotas = prices_sections(inputs.prices, inputs.quotas)
                _show(
                    options,
                    {"prices": prices, "quotas": quotas},
                    {
                        "prices": json.loads(inputs.prices.model_dump_json(by_alias=True)),
                        "quotas": json.loads(inputs.quotas.model_dump_json(by_alias=True)),
                    },
                )
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _inputs(options: argparse.Namespace) -> Inputs:
    profile = read_profile(options.profile)
    learners = options.learners
    if learners is None and options.command == "scale":
        learners = MANY_LEARNERS
    if learners is not None:
        profile = profile.at(learners)
    if options.after_months:
        profile = profile.after(options.after_months)
    return Inputs(
        profile=profile,
        measurements=read_measurements(options.measurements),
        capacity=read_capacity(options.capacity),
        prices=read_prices(options.prices).with_prices(_given(options.price, "--price")),
        quotas=read_quotas(options.quotas).with_limits(_given(options.quota, "--quota")),
    )


def _given(words: Sequence[str], option: str) -> dict[str, float]:
    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not sign or not 0 <= number < float("inf"):
            raise InputError(f"{option} {word}: must be like NAME=1.5")
        found[name] = number
    return found


def _plan(options: argparse.Namespace, inputs: Inputs) -> None:
    plan = make_plan(inputs)
    sections = {str(place): one for place, one in enumerate(plan_sections(plan, inputs))}
    _show(options, sections, plan_document(plan, inputs))


def _scale(options: argparse.Namespace, inputs: Inputs) -> None:
    plan = make_plan(inputs)
    uses = quota_uses(inputs, plan)
    document = {"plan": plan_document(plan, inputs), "quotas": quotas_document(uses)}
    _show(options, scale_sections(inputs, plan, uses), document)


def scale_sections(inputs: Inputs, plan: Plan, uses: Sequence[QuotaUse]) -> dict[str, Section]:
    """The tables of `scale`, by the names of their places in a document."""
    registered = inputs.profile.learners.registered
    steps = [registered / factor for factor in (1000, 100, 10)]
    plans = [make_plan(inputs.of(inputs.profile.at(step))) for step in steps]
    return {
        "growth": growth_section([*plans, plan]),
        "quotas": quotas_section(uses, plan),
        "tasks": services_section(plan),
        "tables": tables_section(plan),
        "keys": keys_section(plan, inputs.quotas),
        "largest-lines": largest_lines_section(plan, LARGEST_LINES),
        "bill": bill_section(plan),
        "assumptions": assumptions_section(inputs),
    }


def _simulate(options: argparse.Namespace, inputs: Inputs) -> None:
    plan = make_plan(inputs)
    courses = list(scenarios(inputs, plan, options.service, options.factor))
    if options.svg is not None:
        _draw(options.svg, spike_plot(courses, options.service, options.factor))
    _show(options, simulate_sections(courses), {"courses": courses_document(courses)})


def simulate_sections(courses: Sequence[Course]) -> dict[str, Section]:
    """As `scale_sections`."""
    return {"spike": courses_section(courses)}


def spike_plot(courses: Sequence[Course], service: str, factor: float) -> str:
    """The plot of `simulate`."""
    return draw(courses, title=f"{service}: a load that becomes {factor:g} times as much")


def _show(options: argparse.Namespace, named: Mapping[str, Section], document: object) -> None:
    sections = list(named.values())
    if options.into is not None:
        tables = {name: as_markdown([section]) for name, section in named.items()}
        _write(options.into, renewed(_text_of(options.into), tables))
    elif options.json:
        sys.stdout.write(json.dumps(document) + "\n")
    elif options.markdown:
        sys.stdout.write(as_markdown(sections))
    else:
        sys.stdout.write(as_text(sections))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _draw(path: Path, drawing: str) -> None:
    if path.suffix == ".png":
        raise InputError(f"{path}: name the .svg; the .png is written beside it")
    try:
        write_picture(path, drawing)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="rightsizing",
        usage=f"{COMMAND} -- COMMAND [options]",
        description="Works out what a load needs on AWS and what it costs, from measured requests,"
        " consumed capacity and a dated file of prices. Every number says where it is from.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = _Parser(add_help=False)
    files = common.add_argument_group("files")
    for name, default, what in (
        ("profile", "lyceum.yaml", "the load profile"),
        ("measurements", "measurements.json", "what requests cost a service"),
        ("capacity", "capacity.json", "which units of DynamoDB they consume"),
        ("prices", "prices.yaml", "prices"),
        ("quotas", "quotas.yaml", "quotas"),
    ):
        files.add_argument(
            f"--{name}",
            metavar="FILE",
            type=Path,
            default=HERE / default,
            help=f"{what} ({default} beside this program)",
        )
    common.add_argument(
        "--learners", metavar="N", type=_learners, help="so many learners, who behave the same"
    )
    common.add_argument(
        "--after-months", metavar="N", type=int, default=0, help="after so much of its growth"
    )
    common.add_argument(
        "--price", metavar="NAME=USD", action="append", default=[], help="a price of your own"
    )
    common.add_argument(
        "--quota", metavar="NAME=N", action="append", default=[], help="a quota of your account"
    )
    form = common.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one line of JSON")
    form.add_argument("--markdown", action="store_true", help="tables for a document")
    form.add_argument(
        "--into", metavar="FILE", type=Path, help="renew the tables that stand in a document"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("plan", parents=[common], help="sizes, counts, modes and the bill")
    commands.add_parser(
        "scale",
        parents=[common],
        help=f"what is met first, and the bill; of {MANY_LEARNERS:,.0f} learners unless told",
    )
    spike = commands.add_parser("simulate", parents=[common], help="a spike of the load")
    spike.add_argument(
        "--service", choices=SERVICES, default="progress_tracking", help="whose load rises"
    )
    spike.add_argument(
        "--factor", metavar="N", type=_factor, default=10.0, help="how many times as much"
    )
    spike.add_argument(
        "--svg",
        metavar="FILE",
        type=Path,
        help="where to leave the plot; a PNG of it is left beside it",
    )
    commands.add_parser("prices", parents=[common], help="prices and quotas with their pages")
    options = parser.parse_args(arguments)
    if not 0 <= options.after_months <= 120:
        parser.error("--after-months must be from 0 to 120")
    return options


class _Parser(argparse.ArgumentParser):
    """What is wrong in one line, without the usage before it."""

    def error(self, message: str) -> None:  # type: ignore[override]
        sys.stderr.write(f"{message}\n")
        raise SystemExit(2)


def _learners(text: str) -> float:
    return _number(text, least=1, most=1e12)


def _factor(text: str) -> float:
    return _number(text, least=1, most=1000)


def _number(text: str, *, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"must be a number from {least:g} to {most:g}")
    return number


if __name__ == "__main__":
    sys.exit(main())
