"""What a process loads before it is ready: nothing that it never uses, and under a collector that waits."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

from libs.service._start import imported

PROGRAMS = (
    "services.content_delivery",
    "services.course_catalog",
    "services.progress_tracking",
    "services.progress_tracking.consumer",
)
# Whose import or making once cost a start more than all that is left of it.
UNUSED = (
    "aws_xray_sdk.core",
    "boto3.s3",
    "cryptography.x509",
    "jsonschema",
    "jwt",
    "s3transfer",
    "yaml",
)


def fresh(program: str, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_process_loads_nothing_that_it_does_not_use() -> None:
    program = """
import asyncio, importlib, sys
from libs.aws import AwsSettings, open_clients
from libs.resilience import PipelineRegistry
from libs.tracing import SamplingRules, create_tracer
for name in sys.argv[1:]:
    importlib.import_module(f"{name}.__main__")
tracer = create_tracer(service="s", version="1", daemon_address="127.0.0.1:9", rules=SamplingRules(1))
async def opened():
    async with open_clients(
        AwsSettings(region="eu-west-1"), registry=PipelineRegistry(), tracer=tracer,
        services=("dynamodb", "s3", "sqs"),
    ):
        with tracer.segment("request"):
            pass
asyncio.run(opened())
print(*sys.modules)
"""
    variables = {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    loaded = set(fresh(program, *PROGRAMS, **variables).split())
    assert {"libs.tracing._xray", "services.content_delivery.app"} <= loaded
    assert loaded.isdisjoint(UNUSED)


def test_the_collector_waits_until_a_program_is_imported_and_is_on_afterwards() -> None:
    """Each program ends at once, because it has no configuration."""
    program = """
import gc, runpy, sys
for name in sys.argv[1:]:
    try:
        runpy.run_module(name, run_name="__main__")
    except SystemExit as end:
        print(name, end.code, gc.isenabled(), gc.get_freeze_count() > 50_000)
print(gc.get_stats()[2]["collections"])
"""
    told = fresh(program, *PROGRAMS).splitlines()
    assert told == [*(f"{name} 2 True True" for name in PROGRAMS), "0"]


def test_what_is_imported_is_never_looked_at_again() -> None:
    gc.disable()
    try:
        imported()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()
