"""Asks the service in the same container whether it is alive: `python -m libs.health_check CATALOG_`.

`--ready` asks whether it is ready instead. Exit codes: 0 yes, 1 no (one line says why), 2 it was
called wrongly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from libs.health_check._probe import Unhealthy, address_of, probe

# A service answers these two without input or output: what takes longer hangs.
TIMEOUT_SECONDS = 3.0


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """The command; gives its exit code."""
    options = [argument for argument in arguments if argument.startswith("-")]
    prefixes = [argument for argument in arguments if not argument.startswith("-")]
    if len(prefixes) != 1 or options not in ([], ["--ready"]):
        sys.stderr.write("usage: python -m libs.health_check [--ready] PREFIX\n")
        return 2
    path = "/readyz" if options else "/healthz"
    try:
        host, port = address_of(prefixes[0], variables)
        probe(host, port, path, timeout_seconds=TIMEOUT_SECONDS)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except Unhealthy as error:
        # Docker and ECS keep what a check writes.
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
