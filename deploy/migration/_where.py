"""Where the tables are, as whom AWS is asked, and which mapping is meant.

The SDK's own environment, or the state folder of the platform that runs on this machine (`--local`):
`platform.json` says where AWS is, `migration.env` who migrates there.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aioboto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoCredentialsError

from deploy.migration._dynamodb import DynamoDBDatabase
from deploy.migration.commands import BadInputError
from deploy.migration.mapping import SplitMapping, Table
from libs.aws import DependencyUnavailable, direct_calls

LOCAL_STATE = Path(".lyceum")
CONTROL = "lyceum-migration"

_LOCAL_TABLES = {"source": "lyceum-monolith"}
_LINE = re.compile(r"(?:export\s+)?([A-Z][A-Z0-9_]*)=(.*)")
_TABLE = re.compile(r"([a-z_][a-z0-9_]*)=([A-Za-z0-9_.-]{3,255})")
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=20,
    # Whether an answer was lost is the engine's business: it repeats, and writes it down.
    retries={"total_max_attempts": 1},
    max_pool_connections=128,
    tcp_keepalive=True,
)


@dataclass(frozen=True)
class Aws:
    """Whom to ask. `variables` None: the SDK's own environment. `tables` by the mapping's names."""

    is_local: bool = False
    tables: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """For a person."""
        variables = self.variables or os.environ
        return (
            variables.get("AWS_ENDPOINT_URL_DYNAMODB")
            or variables.get("AWS_ENDPOINT_URL")
            or f"AWS in {_region(variables) or 'no region'}"
        )

    @asynccontextmanager
    async def database(self, trouble: Callable[[str], None]) -> AsyncIterator[DynamoDBDatabase]:
        """Its tables. Raises BotoCoreError where there are no credentials or no region."""
        own = self.variables
        keys: dict[str, str | None] = {}
        if own is not None:
            keys = {
                "aws_access_key_id": own.get("AWS_ACCESS_KEY_ID"),
                "aws_secret_access_key": own.get("AWS_SECRET_ACCESS_KEY"),
                "aws_session_token": own.get("AWS_SESSION_TOKEN"),
            }
        session = aioboto3.Session(region_name=_region(os.environ if own is None else own), **keys)
        endpoint = None if own is None else own.get("AWS_ENDPOINT_URL")
        async with (
            session.client("dynamodb", config=_CONFIG, endpoint_url=endpoint) as dynamodb,
            session.client("dynamodbstreams", config=_CONFIG, endpoint_url=endpoint) as streams,
            AsyncExitStack() as stack,
        ):
            try:
                await stack.enter_async_context(direct_calls(session, dynamodb, streams))
            except DependencyUnavailable as error:
                cause = error.__cause__
                raise cause if isinstance(cause, BotoCoreError) else NoCredentialsError() from error
            yield DynamoDBDatabase(dynamodb, streams, trouble)


def find_aws(state: Path | None) -> Aws:
    """The SDK's environment, or the platform on a state folder. Raises BadInputError."""
    if state is None:
        return Aws()
    try:
        running = json.loads((state / "platform.json").read_text(encoding="utf-8"))
        endpoint = str(running["aws"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInputError(
            f"--local: no platform runs on {state} (./pantsw run deploy/local/up.py -- --monolith"
            " starts one)"
        ) from None
    return Aws(
        is_local=True,
        tables=_LOCAL_TABLES | dict(running.get("tables", {})),
        variables={
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            **_credentials(state),
        },
    )


def _credentials(state: Path) -> Mapping[str, str]:
    """Of who migrates; of the administrator where the platform has made nobody for it."""
    try:
        lines = (state / "migration.env").read_text(encoding="utf-8").splitlines()
    except OSError:
        try:
            path = state / "aws/administrator.json"
            administrator = json.loads(path.read_text(encoding="utf-8"))
            return {
                "AWS_ACCESS_KEY_ID": administrator["accessKeyId"],
                "AWS_SECRET_ACCESS_KEY": administrator["secretAccessKey"],
            }
        except (OSError, ValueError, KeyError):
            raise BadInputError(
                f"--local: there are no credentials in {state}/migration.env"
            ) from None
    found = (_LINE.fullmatch(line.strip()) for line in lines)
    return {line[1]: line[2].strip("\"'") for line in found if line}


def _region(variables: Mapping[str, str]) -> str | None:
    # The SDK itself reads AWS_DEFAULT_REGION alone; containers on AWS have the other one.
    return variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or None


def find_mapping(name: str, given: Sequence[str], aws: Aws) -> tuple[SplitMapping, Table]:
    """The mapping of a module (`deploy.migration.mappings.lyceum`) or a file (`mine.py`), for tables
    of the names that were given, and the control table. Raises BadInputError with all that is wrong.
    """
    tables, problems = dict(aws.tables), []
    for one in given:
        found = _TABLE.fullmatch(one)
        if found is None:
            problems.append(f"--table {one!r} is not NAME=TABLE, such as source=monolith")
        else:
            tables[found[1]] = found[2]
    control = Table(tables.pop("control", CONTROL), "pk", "sk")
    try:
        module = _module(name)
    except BadInputError as error:
        raise BadInputError(*problems, *error.reasons) from error.__cause__
    make = getattr(module, "mapping", None)
    if not callable(make):
        raise BadInputError(*problems, f"--mapping {name}: has no function `mapping`")
    known = inspect.signature(make).parameters
    said = {found[1] for one in given if (found := _TABLE.fullmatch(one))}
    for unknown in sorted(said - {*known, "control"}):
        names = ", ".join(["control", *known])
        problems.append(f"--table {unknown}=…: the mapping has no such table; it has {names}")
    if problems:
        raise BadInputError(*problems)
    try:
        mapping = make(**{table: tables[table] for table in tables.keys() & known.keys()})
    except Exception as error:
        raise BadInputError(f"--mapping {name}: {type(error).__name__}: {error}") from error
    if not isinstance(mapping, SplitMapping):
        raise BadInputError(f"--mapping {name}: `mapping` gives no SplitMapping")
    return mapping, control


def _module(name: str) -> object:
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(f"_mapping_{Path(name).stem}", name)
        if spec is None or spec.loader is None:
            raise ImportError(f"{name} is no Python module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    except Exception as error:
        # Whatever a user's module raises while it is read is their mistake, and one line.
        raise BadInputError(f"--mapping {name}: {type(error).__name__}: {error}") from error
