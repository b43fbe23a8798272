"""How the embedded AWS starts, stops and dies, and what is there afterwards."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local._environment import (
    REPOSITORY_ROOT,
    embedded_aws_command,
    embedded_aws_python,
    embedded_aws_variables,
)
from deploy.local._provision import EmbeddedAws
from tests.backends._process import NotStartedError, Server, serving

# Starts the command in its arguments, hands its ready line on, and stays.
PARENT = """
import os, subprocess, sys
command = [*sys.argv[2:], "--parent", str(os.getpid())]
child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=sys.argv[1])
ready = child.stdout.readline().strip()
print('{"child": %d, "ready": %s}' % (child.pid, ready), flush=True)
child.wait()
"""


@contextlib.contextmanager
def embedded_aws(state: Path, port: int = 0) -> Iterator[tuple[Server, EmbeddedAws]]:
    command = embedded_aws_command(embedded_aws_python(), state=state, port=port)
    with serving(command, embedded_aws_variables()) as server:
        yield server, EmbeddedAws.from_ready_line(json.dumps(dict(server.ready)))


async def put(aws: EmbeddedAws) -> None:
    async with aws.client("dynamodb") as dynamodb, aws.client("s3") as s3:
        await dynamodb.create_table(
            TableName="Kept",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        await dynamodb.put_item(TableName="Kept", Item={"id": {"S": "kept"}})
        await s3.create_bucket(Bucket="kept")
        await s3.put_object(Bucket="kept", Key="a/b.txt", Body=b"kept", ContentType="text/plain")


async def kept(aws: EmbeddedAws) -> bool:
    """Whether all that `put` puts is there; False where nothing of it is."""
    async with aws.client("dynamodb") as dynamodb, aws.client("s3") as s3:
        if (await dynamodb.list_tables())["TableNames"] == []:
            return False
        item = await dynamodb.get_item(TableName="Kept", Key={"id": {"S": "kept"}})
        assert item["Item"] == {"id": {"S": "kept"}}
        found = await s3.get_object(Bucket="kept", Key="a/b.txt")
        assert await found["Body"].read() == b"kept"
        assert found["ContentType"] == "text/plain"
    return True


async def test_a_clean_stop_keeps_everything(tmp_path: Path) -> None:
    with embedded_aws(tmp_path) as (server, aws):
        assert (server.ready["previousStop"], server.ready["stateOf"]) == ("none", None)
        await put(aws)
        first = aws
        assert server.stop() == 0
    with embedded_aws(tmp_path) as (server, aws):
        assert server.ready["previousStop"] == "clean"
        assert server.ready["stateOf"] is not None
        assert await kept(aws)
        # The same administrator as before, on whatever port.
        assert aws.access_key_id == first.access_key_id


async def test_ctrl_c_is_a_clean_stop_too(tmp_path: Path) -> None:
    with embedded_aws(tmp_path) as (server, _):
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
    with embedded_aws(tmp_path) as (server, _):
        assert server.ready["previousStop"] == "clean"


async def test_an_unclean_stop_is_told_and_goes_back_to_the_last_clean_one(tmp_path: Path) -> None:
    with embedded_aws(tmp_path) as (server, aws):
        await put(aws)
        server.process.kill()
        server.process.wait()
    with embedded_aws(tmp_path) as (server, aws):
        assert (server.ready["previousStop"], server.ready["stateOf"]) == ("unclean", None)
        assert not await kept(aws)
        async with aws.client("s3") as s3:
            # The bytes of objects are written at once: they, and a bucket for them, come back.
            assert [bucket["Name"] for bucket in (await s3.list_buckets())["Buckets"]] == ["kept"]


def test_it_stops_cleanly_when_its_parent_is_killed(tmp_path: Path) -> None:
    command = embedded_aws_command(embedded_aws_python(), state=tmp_path / "aws")
    command = command[: command.index("--parent")]
    starter = [sys.executable, "-c", PARENT, str(REPOSITORY_ROOT), *command]
    with serving(starter, embedded_aws_variables()) as parent:
        child = int(parent.ready["child"])
        gone = os.pidfd_open(child)
        parent.process.kill()
        parent.process.wait()
    try:
        assert _ended_within(gone, 20)
    finally:
        os.close(gone)
    assert not (tmp_path / "aws" / "running").exists()
    assert (tmp_path / "aws" / "stopped.json").exists()


def _ended_within(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def test_it_does_not_start_for_a_parent_that_is_gone(tmp_path: Path) -> None:
    command = embedded_aws_command(embedded_aws_python(), state=tmp_path / "aws")
    command[command.index("--parent") + 1] = "1"
    finished = subprocess.run(
        command,
        env=embedded_aws_variables(),
        cwd=REPOSITORY_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (0, "")
    assert not (tmp_path / "aws").exists()


def test_without_an_administrator_it_does_not_serve(tmp_path: Path) -> None:
    command = embedded_aws_command(embedded_aws_python(), state=tmp_path, services=("s3",))
    with (
        pytest.raises(NotStartedError) as refused,
        serving(command, embedded_aws_variables()),
    ):
        pass
    assert refused.value.exit_code == 2
    last = refused.value.errors.splitlines()[-1]
    assert last.startswith("embedded AWS: it did not start: no administrator: ")
    with embedded_aws(tmp_path) as (server, _):
        assert server.ready["previousStop"] == "none"


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with embedded_aws(tmp_path / "one") as (server, aws):
        port = int(aws.endpoint_url.rsplit(":", 1)[1])
        with pytest.raises(NotStartedError) as refused, embedded_aws(tmp_path / "two", port=port):
            pass
    assert refused.value.exit_code == 2
    assert refused.value.errors == (
        f"embedded AWS: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )


def test_a_state_folder_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with (
        embedded_aws(tmp_path),
        pytest.raises(NotStartedError) as refused,
        embedded_aws(tmp_path),
    ):
        pass
    assert refused.value.exit_code == 2
    assert refused.value.errors == (
        f"embedded AWS: the state folder {tmp_path} is in use by another embedded AWS\n"
    )
