"""The command line as a user runs it: processes on the embedded AWS, with the rights of its policy.

Operators and workers are processes of their own, and some are killed. The commands' words are held by
`tests/unit/migration/test_migrate_command.py`; here it is that they do what they say.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deploy.local._environment import REPOSITORY_ROOT
from deploy.migration._items import MARK, Item
from deploy.migration.mapping import SplitMapping, Table
from deploy.migration.mappings.lyceum import CONTENT, mapping
from libs.aws import marshal, unmarshal
from tests.backends import Backend

POLICY = REPOSITORY_ROOT / "deploy/migration/policy.json"
SETTINGS = (
    "settle=0.5", "lease=8", "gate_lease=0.2", "longest_request=0.3", "poll=0.1", "discover=1",
    "max_lag_to_switch=10", "page=20", "scan_page=20",
)  # fmt: skip
ITEMS = 120
_runs = count(1)


@dataclass
class Shell:
    """Where commands are given, for one migration on its own tables."""

    backend: Backend
    state: Path
    split: SplitMapping
    control: Table
    dynamodb: Any
    user: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def begin(self, command: str, *more: str) -> subprocess.Popen[str]:
        """Start a command."""
        names = {
            "source": self.split.source.name,
            "control": self.control.name,
            **{target.module: target.table.name for target in self.split.targets},
        }
        variables = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
        variables["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY_ROOT), *filter(None, sys.path)])
        process = subprocess.Popen(
            [
                sys.executable, "-m", "deploy.migration.migrate", *command.split(), *more,
                "--mapping", "deploy.migration.mappings.lyceum", "--local", str(self.state),
                *(part for name, table in names.items() for part in ("--table", f"{name}={table}")),
            ],
            cwd=REPOSITORY_ROOT, env=variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, command: str, *more: str) -> tuple[int, str]:
        """Give a command; its exit code, and what it said."""
        return ended(self.begin(command, *more))

    def must(self, command: str, *more: str) -> str:
        """Give a command that works."""
        code, said = self.run(command, *more)
        assert code == 0, said
        return said

    @contextmanager
    def workers(self, number: int) -> Iterator[list[subprocess.Popen[str]]]:
        """So many workers, until the block ends."""
        running = [self.begin("worker", "--name", f"w{one}") for one in range(number)]
        yield running
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                code, said = ended(process)
                assert code == 0, said

    async def row(self, key: str) -> dict[str, Any] | None:
        """A row of the control table."""
        found = await self.dynamodb.get_item(
            TableName=self.control.name,
            Key=marshal({"pk": self.split.source.name, "sk": key}),
            ConsistentRead=True,
        )
        return unmarshal(found["Item"])["values"] if "Item" in found else None

    async def until(self, key: str, name: str, *values: object) -> None:
        """Wait until a row says so, as long as its processes may take to begin."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            row = await self.row(key)
            if row is not None and row.get(name) in values:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{key} never had {name} of {values}")

    async def items(self, table: Table) -> dict[str, Item]:
        """Everything that stands in a table but the migration's own, by partition key."""
        found = await self.dynamodb.scan(TableName=table.name, ConsistentRead=True)
        return {
            item[table.partition]["S"]: item
            for item in found["Items"]
            if not item[table.partition]["S"].startswith("~migration#")
        }


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code of a process, and all that it said."""
    output, errors = process.communicate(timeout=300)
    return process.returncode, output + errors


@pytest.fixture()
async def shell(ministack_backend: Backend, tmp_path: Path) -> AsyncIterator[Shell]:
    number = next(_runs)
    split = mapping(
        source=f"monolith{number}", course_catalog=f"Catalog{number}",
        content_delivery=f"Content{number}", progress_tracking=f"Progress{number}",
    )  # fmt: skip
    control = Table(f"migration{number}", "pk", "sk")
    async with (
        ministack_backend.client("dynamodb") as dynamodb,
        ministack_backend.client("iam") as iam,
    ):
        tables = [split.source, *(target.table for target in split.targets)]
        for table in tables:
            await _create(dynamodb, table, stream=True)
        await _create(dynamodb, control, stream=False)
        for item in range(ITEMS):
            await dynamodb.put_item(TableName=split.source.name, Item=content(item))
        user = f"migrates{number}"
        made = Shell(ministack_backend, tmp_path, split, control, dynamodb, user)
        await iam.create_user(UserName=user)
        await allow(iam, made)
        key = (await iam.create_access_key(UserName=user))["AccessKey"]
        (tmp_path / "platform.json").write_text(
            json.dumps({"aws": ministack_backend.endpoint_url}), encoding="utf-8"
        )
        (tmp_path / "migration.env").write_text(
            f"AWS_REGION={ministack_backend.region}\nAWS_ACCESS_KEY_ID={key['AccessKeyId']}\n"
            f"AWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}\n",
            encoding="utf-8",
        )
        try:
            yield made
        finally:
            for process in made.started:
                if process.poll() is None:
                    process.kill()
                process.communicate()


async def allow(iam: Any, made: Shell, *without: tuple[str, str]) -> None:
    """The policy of the README, less some actions on some tables."""
    statements = json.loads(POLICY.read_text(encoding="utf-8"))["Statement"]
    arn = f"arn:aws:dynamodb:{made.backend.region}:000000000000:table"
    tables = [made.split.source, *(target.table for target in made.split.targets)]
    document = []
    for statement in statements:
        for table in tables if "${table_arn}" in statement["Resource"] else [made.control]:
            resource = statement["Resource"]
            for name in ("${table_arn}", "${control_arn}"):
                resource = resource.replace(name, f"{arn}/{table.name}")
            if statement["Sid"] == "TheirStreams":
                resource = (
                    "*"  # the embedded AWS asks for what is done with streams, not with which
                )
            actions = [one for one in statement["Action"] if (table.name, one) not in without]
            document.append({"Effect": "Allow", "Action": actions, "Resource": resource})
    await iam.put_user_policy(
        UserName=made.user,
        PolicyName="migration",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": document}),
    )


async def _create(dynamodb: Any, table: Table, *, stream: bool) -> None:
    keys = [("HASH", table.partition), *([("RANGE", table.sort)] if table.sort else [])]
    streams = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    await dynamodb.create_table(
        TableName=table.name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for kind, name in keys],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for _, n in keys],
        **({"StreamSpecification": streams} if stream else {}),
    )


def content(number: int, title: str = "a title") -> Item:
    return marshal(
        {
            "pk": f"CONTENT#c{number}", "sk": "META", "course": "k", "title": title,
            "state": "pending", "s3Key": "content/x", "mime": "video/mp4", "bytes": 1,
        }
    )  # fmt: skip


async def test_a_table_is_split_given_back_given_up_and_split_for_good(shell: Shell) -> None:
    target = shell.split.target(CONTENT.module).table
    name = CONTENT.module
    said = shell.must("plan")
    assert f"  content {ITEMS:>15}  → {name}" in said
    shell.must("start", *(part for one in SETTINGS for part in ("--set", one)))
    with shell.workers(2) as (one, _):
        shell.must("copy")
        rows = await shell.items(target)
        assert rows.keys() == {f"c{number}" for number in range(ITEMS)}
        # Replication goes on, also where a worker is killed.
        one.kill()
        await shell.dynamodb.put_item(TableName=shell.split.source.name, Item=content(500))
        await shell.dynamodb.delete_item(
            TableName=shell.split.source.name,
            Key={part: content(3)[part] for part in ("pk", "sk")},
        )
        said = shell.must(f"verify {name}")
        assert f"{ITEMS} items against {ITEMS} rows: nothing differs" in said
        said = shell.must(f"switch {name}")
        assert f"{target.name} is its owner now" in said
        # The new owner writes.
        row = unmarshal((await shell.items(target))["c7"])
        own = {key: value for key, value in row.items() if key != MARK} | {"title": "of the owner"}
        await shell.dynamodb.put_item(TableName=target.name, Item=marshal(own))
        shell.must(f"verify {name}")
        shell.must(f"reverse {name}")
        source = await shell.items(shell.split.source)
        assert source["CONTENT#c7"]["title"] == {"S": "of the owner"}
        # Given up, and begun anew: what the way back wrote is the source's own again.
        assert MARK in source["CONTENT#c7"]
        shell.must("cancel")
        source = await shell.items(shell.split.source)
        assert not [key for key, item in source.items() if MARK in item]
        assert await shell.items(target) == {}
        shell.must("plan")
        shell.must("start", *(part for one in SETTINGS for part in ("--set", one)))
        shell.must("copy")
        shell.must(f"verify {name}")
        shell.must(f"switch {name}")
        said = shell.must(f"complete {name}")
        assert f"{name} is completed" in said
        code, said = shell.run(f"reverse {name}")
        assert (code, f"migrate.py: {name} is completed: there is no way back" in said) == (1, True)
    log = [json.loads(line) for line in shell.must("audit", "--json").splitlines()]
    flips = [entry["details"]["to"] for entry in log if entry["what"] == "flipped"]
    assert flips == ["target", "source", "target"]


async def test_two_operators_and_one_that_is_killed(shell: Shell) -> None:
    name = CONTENT.module
    # Killed while it plans, and while it waits for workers: run again, each goes on.
    starting = shell.begin("start", *(part for one in SETTINGS for part in ("--set", one)))
    starting.kill()
    ended(starting)
    shell.must("start", *(part for one in SETTINGS for part in ("--set", one)))
    copying = shell.begin("copy")
    await shell.until("operator", "command", "copy")
    code, said = shell.run(f"verify {name}")
    assert code == 1
    assert " is at work with `copy` since 2" in said
    assert "--wait waits for it" in said
    waiting = shell.begin("copy", "--wait")
    copying.kill()
    ended(copying)
    with shell.workers(1):
        code, said = ended(waiting)
        assert (code, f"copied: {ITEMS} items" in said) == (0, True), said
        verifying = shell.begin(f"verify {name}")
        await shell.until("operator", "command", f"verify {name}")
        verifying.kill()
        ended(verifying)
        shell.must(f"verify {name}")
        # Killed behind the fence: the switch that follows takes the fence away and makes its own.
        switching = shell.begin(f"switch {name}")
        await shell.until(f"state#module#{name}", "phase", "DRAINING", "SWITCHED")
        switching.kill()
        ended(switching)
        shell.must(f"switch {name}")
        row = await shell.row(f"state#module#{name}")
        assert row is not None
        assert (row["owner"], row["fence"]) == ("target", "")
        # Ctrl-C leaves nothing behind that the next one would wait for.
        verifying = shell.begin(f"verify {name}")
        await shell.until("operator", "command", f"verify {name}")
        verifying.send_signal(signal.SIGINT)
        code, said = ended(verifying)
        assert code in (0, 130), said
        await shell.until("operator", "owner", "")


async def test_a_right_that_is_missing_is_told_before_anything_is_changed(
    shell: Shell, ministack_backend: Backend
) -> None:
    source, target = shell.split.source.name, shell.split.target(CONTENT.module).table.name
    targets = [each.table.name for each in shell.split.targets]
    catalog, _, progress = targets
    without = [
        (target, "dynamodb:PutItem"), (target, "dynamodb:BatchGetItem"),
        (source, "dynamodb:Scan"), (shell.control.name, "dynamodb:DeleteItem"),
        *((table, "dynamodb:GetRecords") for table in (source, *targets)),
    ]  # fmt: skip
    async with ministack_backend.client("iam") as iam:
        await allow(iam, shell, *without)
    lines = [
        f"migrate.py: {table}: no right to {actions}: whoever runs a command or a worker needs them"
        " (deploy/migration/policy.json)"
        for table, actions in (
            (shell.control.name, "dynamodb:DeleteItem"),
            (source, "dynamodb:Scan, dynamodb:GetRecords"),
            (catalog, "dynamodb:GetRecords"),
            (target, "dynamodb:PutItem, dynamodb:BatchGetItem, dynamodb:GetRecords"),
            (progress, "dynamodb:GetRecords"),
        )
    ]
    for command in ("plan", "start", "worker"):
        code, said = shell.run(command)
        assert code == 2
        assert [line for line in said.splitlines() if line.startswith("migrate.py:")] == lines
    found = await shell.dynamodb.scan(TableName=shell.control.name, ConsistentRead=True)
    assert {item["sk"]["S"] for item in found["Items"]} <= {"doing#"}
    assert await shell.items(shell.split.target(CONTENT.module).table) == {}
