"""The platform in the state before a migration: the monolith, its table, and what it may do.

The gateway leads all three APIs to it, and the services' own tables are empty. The services run as they
always do, so that a canary can lead requests to them once a module was switched. Knows nothing of what
the monolith's items are like: it is a program, and so is what fills its table.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._errors import PlatformError
from deploy.local._iam import ensure_role, filled_statements
from deploy.local._operator import AccessKey, ensure_user
from deploy.local._provision import EmbeddedAws, Resources
from deploy.local._services import (
    DRAIN_SECONDS,
    ServiceSettings,
    answers,
    python_environment,
)
from deploy.local._supervisor import Program
from deploy.local._tables import ensure_table, read_table

MONOLITH = "monolith"

DEFAULT_ITEMS = 20_000
FEWEST_ITEMS, MOST_ITEMS = 200, 2_000_000

_FOLDER = REPOSITORY_ROOT / "tests/monolith"
_CONTROL_TABLE = REPOSITORY_ROOT / "deploy/migration/control_table.json"
_MIGRATION_POLICY = REPOSITORY_ROOT / "deploy/migration/policy.json"
_MIGRATES = "lyceum-migration"
_PREFIX = "MONOLITH_"
# The longest that a request may take: it waits in the gate while a module changes hands, and users are
# to see latency and no errors. API Gateway gives up after 29 s.
_REQUEST_SECONDS = 25

SERVICE_VARIABLES: Mapping[str, Mapping[str, str]] = {
    # Courses that arrive by a migration are older than what a refresh asks for.
    "course_catalog": {"CATALOG_DIRECTORY_RELOAD_SECONDS": "10"},
}
"""What a service is told that runs while its table is being filled."""


@dataclass(frozen=True)
class MonolithTables:
    """The names of the one table, and of the table that says which store owns a module."""

    table: str
    control: str

    def named(self, resources: Resources) -> dict[str, str]:
        """Every table of a migration, as its mapping and its commands call them."""
        return {"source": self.table, "control": self.control, **resources.tables}


async def provision_monolith(
    aws: EmbeddedAws, resources: Resources
) -> tuple[MonolithTables, Resources]:
    """Make, or bring in line, what the monolith needs besides; gives the resources with its role.

    Raises PlatformError where the services' tables hold what the monolith never had.
    """
    definitions = [read_table(file) for file in (_FOLDER / "table.json", _CONTROL_TABLE)]
    async with aws.client("dynamodb") as dynamodb:
        known = (await dynamodb.list_tables())["TableNames"]
        for definition in definitions:
            if definition["TableName"] not in known:
                await _require_empty(dynamodb, resources.tables.values())
            await ensure_table(dynamodb, definition, definition["TableName"])
    tables = MonolithTables(*(definition["TableName"] for definition in definitions))
    async with aws.client("sts") as sts, aws.client("iam") as iam:
        identity = await sts.get_caller_identity()
        policy = _policy(aws.region, identity["Account"], tables, resources)
        role = await ensure_role(iam, MONOLITH, policy, assumed_by=identity["Arn"])
    roles = {**resources.role_arns, MONOLITH: role}
    return tables, dataclasses.replace(resources, role_arns=roles)


async def ensure_migration_user(
    aws: EmbeddedAws, tables: MonolithTables, resources: Resources
) -> AccessKey:
    """Who migrates: a user with the rights of the migration's policy and no others."""
    async with aws.client("sts") as sts:
        account = (await sts.get_caller_identity())["Account"]

    def arn(table: str) -> str:
        return f"arn:aws:dynamodb:{aws.region}:{account}:table/{table}"

    statements = []
    for table in (tables.table, *resources.tables.values()):
        for statement in filled_statements(
            _MIGRATION_POLICY, {"table_arn": arn(table), "control_arn": arn(tables.control)}
        ):
            if str(statement["Resource"]).endswith("/stream/*"):
                # The embedded AWS asks for what is done with streams, not with which.
                statement["Resource"] = "*"
            statements.append({**statement, "Sid": f"{statement['Sid']}Of{table.replace('-', '')}"})
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    async with aws.client("iam") as iam:
        return await ensure_user(iam, _MIGRATES, "migration", policy)


async def has_monolith(aws: EmbeddedAws) -> bool:
    """Whether the state is of a platform with a monolith."""
    table = read_table(_FOLDER / "table.json")["TableName"]
    async with aws.client("dynamodb") as dynamodb:
        return table in (await dynamodb.list_tables())["TableNames"]


def seed_arguments(
    tables: MonolithTables, resources: Resources, items: int, learners: Sequence[str]
) -> list[str]:
    """What Python is told to fill the table; the administrator does it."""
    return [
        *("-m", "tests.monolith.seed"),
        *("--region", resources.region, "--bucket", resources.bucket),
        *("--table", tables.table, "--control-table", tables.control),
        *("--items", str(items)),
        *(word for learner in learners for word in ("--learner", learner)),
    ]


def monolith_program(
    settings: ServiceSettings,
    tables: MonolithTables,
    resources: Resources,
    credentials: Mapping[str, str],
    session: aiohttp.ClientSession,
    *,
    port: int,
) -> Program:
    """The monolith: ``python -m tests.monolith``. The arguments are those of `service_program`."""
    own = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
        "CORS_ORIGINS": ",".join(settings.cors_origins),
        "REQUEST_TIMEOUT_SECONDS": str(_REQUEST_SECONDS),
        "AUTH_ISSUER": resources.pool.issuer,
        "AUTH_JWKS_URL": resources.pool.jwks_url,
        "AUTH_CLIENT_IDS": resources.pool.client_id,
        "BUCKET": resources.bucket,
        "TABLE": tables.table,
        "CONTROL_TABLE": tables.control,
        "CATALOG_TABLE": resources.tables["course_catalog"],
        "CONTENT_TABLE": resources.tables["content_delivery"],
        "PROGRESS_TABLE": resources.tables["progress_tracking"],
        # Who tries things out wants to see a changed outline at once.
        "OUTLINE_CACHE_SECONDS": "1",
    }
    if settings.cursor_secret is not None:
        own["CURSOR_SECRETS"] = settings.cursor_secret
    if settings.tracing_daemon is not None:
        own |= {"TRACING_DAEMON": settings.tracing_daemon, "TRACING_RATE": "1"}
    return Program(
        name=MONOLITH,
        command=[sys.executable, "-m", "tests.monolith"],
        environment={
            **python_environment(),
            **credentials,
            "AWS_ENDPOINT_URL": resources.endpoint_url,
            "AWS_REGION": resources.region,
            "AWS_DEFAULT_REGION": resources.region,
            **{f"{_PREFIX}{name}": value for name, value in own.items()},
        },
        ready=answers(session, f"http://127.0.0.1:{port}/readyz"),
        stop_seconds=DRAIN_SECONDS + 10,
    )


def _policy(
    region: str, account: str, tables: MonolithTables, resources: Resources
) -> dict[str, Any]:
    """Its own table and the control table; and, once a module was switched, what its service may."""

    def arn(table: str) -> str:
        return f"arn:aws:dynamodb:{region}:{account}:table/{table}"

    statements = filled_statements(
        _FOLDER / "policy.json",
        {"table_arn": arn(tables.table), "control_table_arn": arn(tables.control)},
    )
    for service, table in resources.tables.items():
        statements += filled_statements(
            REPOSITORY_ROOT / "services" / service / "policy.json",
            {"table_arn": arn(table), "bucket_arn": f"arn:aws:s3:::{resources.bucket}"},
        )
    return {"Version": "2012-10-17", "Statement": statements}


async def _require_empty(dynamodb: Any, tables: Iterable[str]) -> None:
    for table in tables:
        if (await dynamodb.scan(TableName=table, Limit=1))["Items"]:
            raise PlatformError(
                f"the table {table} is not empty: this state is of a platform without a monolith;"
                " --state names another folder, --fresh forgets this one"
            )
