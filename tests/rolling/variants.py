"""Images for the tests: a service as it is, its next version, and ones that are broken in one way.

Each is a service's packaged image with another configuration on top: no layer is made, so building one
takes a second and pushing it sends nothing but the configuration. Owns how they differ; knows no cluster.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.release import SERVICES
from tests.containers.engine import DockerEngine
from tests.containers.packaged import packaged_image

BASE, NEXT = "0.3.0", "0.3.1"

# Where these tests have the machine to themselves, the services' own time-outs (5 s and 2 s) hold. Where
# others run beside them, requests that waited for a processor met those, and nothing told them from
# requests that a roll had dropped. Both end before a task that was deregistered does.
ALONE_VARIABLE = "ROLLING_ALONE"
_SHARED_MACHINE = {"REQUEST_TIMEOUT_SECONDS": "9", "BREAKER_CALL_TIMEOUT_SECONDS": "6"}

_STOPS = "import os, signal; signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
_SERVES = "import runpy; runpy.run_module('services.course_catalog', run_name='__main__')\n"


@dataclass(frozen=True)
class Variant:
    """One image of a service.

    Args:
        version: what it says that it is, as a tag, in its configuration and to whoever asks.
        program: run in the place of the service.
        variables: of its environment, without the service's prefix.
    """

    version: str
    program: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


SICK = Variant(
    "0.3.2",
    _STOPS
    + """
import http.server
class Sick(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer((os.environ["CATALOG_HOST"], 8080), Sick).serve_forever()
""",
)
"""Runs, listens, and never becomes healthy."""

CRASHING = Variant("0.3.3", "raise SystemExit('there is something missing')")
"""Ends as soon as it is started."""

MISNAMED = Variant("0.3.4", "import os; os.environ['CATALOG_VERSION'] = '9.9.9'\n" + _SERVES)
"""Well, but says that it is another version."""


def _late(version: str, seconds: float) -> Variant:
    return Variant(version, _STOPS + f"import time; time.sleep({seconds})\n" + _SERVES)


LATE_SECONDS, PUNCTUAL_SECONDS = 60.0, 4.0
LATE, PUNCTUAL = _late("0.3.5", LATE_SECONDS), _late("0.3.6", PUNCTUAL_SECONDS)
"""Listen only after so long."""

SPOT_NOTICE_SECONDS = 4.0
SPOT = Variant("0.3.8", variables={"READINESS_NOTICE_SECONDS": str(SPOT_NOTICE_SECONDS)})
"""Set up for who is stopped before the load balancer is told, as on Fargate Spot."""

DEAF = Variant(
    "0.3.7",
    """
import signal
import uvloop
class Deaf(uvloop.Loop):
    def add_signal_handler(self, *_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
uvloop.new_event_loop = Deaf
"""
    + _SERVES,
)
"""Well, but hears no SIGTERM."""


@contextmanager
def built(
    engine: DockerEngine, variants: Mapping[str, Sequence[Variant]]
) -> Iterator[dict[tuple[str, str], str]]:
    """The variants of each service: by service and version, the image's name in the engine.

    Their names are removed at the end; layers and packaged images stay.
    """
    made: dict[tuple[str, str], str] = {}
    own: list[str] = []
    # Whose names these are: what another run removes at its end is not ours.
    run = uuid.uuid4().hex[:12]
    try:
        for service, wanted in variants.items():
            source = packaged_image(engine, service)
            repository = f"lyceum-rolling/{service}"
            # A Dockerfile can't begin with an image's id.
            base = f"{repository}:of-{run}"
            engine.run("image", "tag", source, base)
            own.append(base)
            for variant in wanted:
                name = f"{repository}:{variant.version}-{run}"
                _build(engine, base, name, service, variant, content=source)
                own.append(name)
                made[service, variant.version] = name
        yield made
    finally:
        for name in reversed(own):
            engine.run("image", "rm", "--no-prune", name)


def _build(
    engine: DockerEngine, base: str, name: str, service: str, variant: Variant, *, content: str
) -> None:
    content = json.dumps([content, variant.version, variant.program, dict(variant.variables)])
    variables = {
        "VERSION": variant.version,
        # As `release build` writes it: what the service says, and what is verified.
        "IMAGE_HASH": hashlib.sha256(content.encode()).hexdigest(),
        **({} if os.environ.get(ALONE_VARIABLE) else _SHARED_MACHINE),
        **variant.variables,
    }
    prefix = SERVICES[service].prefix
    lines = [
        f"FROM {base}",
        *(f"ENV {prefix}{key}={value}" for key, value in variables.items()),
        f"LABEL org.opencontainers.image.version={variant.version}",
    ]
    if variant.program is not None:
        entry = ["/app/bin/python", "-I", "-c", variant.program]
        lines += [f"ENTRYPOINT {json.dumps(entry)}", "CMD []"]
    with tempfile.TemporaryDirectory(prefix="lyceum-variant-") as context:
        (Path(context) / "Dockerfile").write_text("\n".join(lines) + "\n", encoding="utf-8")
        engine.run("build", "--quiet", "--tag", name, context)
