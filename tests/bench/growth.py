"""How the cost of the services grows: CPU a request, memory and start, against what gets more.

Each size is a process of its own, by the service's own entry point, over a fake DynamoDB that answers
canned rows; all sizes of a curve are asked in turns, several rounds. The exponent of each cost is
fitted: sub-linear, linear or worse than linear, which needs a reason beside the curve
(tests/bench/growing/curves.py). What an operation consumes of DynamoDB is
deploy/rightsizing/capacity.json, which tests/bench/consumed_capacity.py measures and a plan reads.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.rightsizing._inputs import InputError, read_capacity
from libs.console import Terminal
from tests.bench.comparison.ending import exit_code, run
from tests.bench.comparison.environments import ROOT
from tests.bench.growing import report, terminal
from tests.bench.growing.curves import CURVES, Curve
from tests.bench.growing.measure import FULL, QUICK, Size, measure, seconds_of
from tests.bench.request_costs import machine

COMMAND = "./pantsw run tests/bench/growth.py"
BY = "growth"
CAPACITY = ROOT / "deploy" / "rightsizing" / "capacity.json"

_EXAMPLES = f"""examples:
  {COMMAND} -- --quick
        a look at every curve, of a minute or two
  {COMMAND} -- --only items --only learner
        two curves, in full
  {COMMAND} -- --into docs/performance-growth.md
        every curve, into the document, with its plots beside it
  {COMMAND} -- --only courses --json
        one curve's numbers, for programs

exit codes: 0 measured; 1 a service failed, or something that is worse than linear has no reason;
2 called wrongly; 130 interrupted
"""


async def measured(
    curves: Sequence[Curve], *, quick: bool, told: Terminal
) -> dict[str, list[Size]]:
    """Each curve's sizes. Raises RuntimeError."""
    extent = QUICK if quick else FULL
    seconds = sum(seconds_of(curve, extent, quick=quick) for curve in curves)
    found = {}
    with tempfile.TemporaryDirectory(prefix="lyceum-growth-") as folder:
        async with terminal.ticking(terminal.progress(told, seconds)) as shown:
            for curve in curves:
                found[curve.name] = await measure(
                    curve,
                    extent,
                    quick=quick,
                    folder=Path(folder),
                    advance=shown.advance,
                    doing=shown.doing,
                )
    return found


def parts(
    curves: Sequence[Curve], found: Mapping[str, Sequence[Size]], *, document: Path | None
) -> dict[str, str]:
    """The parts of the document, by the names of their marks. Raises InputError."""
    capacity = read_capacity(CAPACITY)
    names = {
        curve.name: None if document is None else terminal.picture_of(document, curve.name).name
        for curve in curves
    }
    return {
        "machine": report.machine_line(machine()),
        **{
            curve.name: report.section(curve, found[curve.name], picture=names[curve.name])
            for curve in curves
        },
        "capacity": f"{report.capacity_table(capacity)}\n\n{report.capacity_line(capacity)}",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    told = Terminal(sys.stderr)
    return exit_code(
        "growth",
        told.line,
        lambda: _carry_out(options, told),
        wrongly=(terminal.DocumentError, InputError),
    )


def _carry_out(options: argparse.Namespace, told: Terminal) -> int:
    curves = [curve for curve in CURVES if not options.only or curve.name in options.only]
    if options.into is not None:
        names = ["machine", "capacity", *(curve.name for curve in curves)]
        terminal.require_places(options.into, names, by=BY)
    read_capacity(CAPACITY)
    found = run(measured(curves, quick=options.quick, told=told))
    texts = parts(curves, found, document=options.into)
    if options.into is not None:
        pictures = {curve.name: report.plot(curve, found[curve.name]) for curve in curves}
        for path in terminal.write(options.into, texts, pictures, by=BY):
            told.line(f"wrote {path}")
    if options.json:
        document = {
            "version": 1,
            "by": "tests/bench/growth.py",
            "machine": machine(),
            "quick": options.quick,
            "curves": {curve.name: report.as_json(curve, found[curve.name]) for curve in curves},
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif options.into is None:
        for name, text in texts.items():
            sys.stdout.write(f"\n{name}\n\n{text}\n")
    code = 0
    for curve in curves:
        for name in report.unexplained(curve, found[curve.name]):
            told.line(f"growth: {curve.name}, {name} is worse than linear, and nothing says why")
            code = 0 if options.quick else 1  # a look is too short for a verdict
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [curve.name for curve in CURVES]
    parser = terminal.Parser(
        prog="growth",
        usage=f"{COMMAND} -- [options]",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="three sizes, two short rounds")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument(
        "--only",
        metavar="CURVE",
        action="append",
        choices=names,
        default=[],
        help=f"only this curve; may be repeated. One of {', '.join(names)}",
    )
    parser.add_argument(
        "--into", metavar="FILE", type=Path, help="renew these curves in a document"
    )
    options = parser.parse_args(arguments)
    if options.quick and options.into is not None:
        parser.error("what --quick measures is too little to be kept: --into takes full runs")
    return options


if __name__ == "__main__":
    sys.exit(main())
