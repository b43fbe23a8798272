"""The small parts: task definitions, addresses, log files, passwords, and what policies are asked."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from deploy.local.embedded_aws._containers._addresses import Addresses, NoAddressLeftError
from deploy.local.embedded_aws._containers._authorization import (
    conditions,
    passed_roles,
    resources,
)
from deploy.local.embedded_aws._containers._definition import (
    DefinitionError,
    engine_configuration,
    read_definition,
    refuse,
)
from deploy.local.embedded_aws._containers._registry import Admission, RegistryLogin
from deploy.local.embedded_aws._containers._task_logs import TaskLogs


def test_addresses_are_of_the_port_and_come_again_as_late_as_possible() -> None:
    addresses = Addresses(0x1234)
    first = addresses.take()
    assert first == "127.18.52.1"
    addresses.give_back(first)
    taken = [addresses.take() for _ in range(254)]
    assert taken[-1] == first
    assert len(set(taken)) == 254
    with pytest.raises(NoAddressLeftError):
        addresses.take()


def test_two_ports_have_no_address_in_common() -> None:
    one, other = Addresses(40000), Addresses(40001)
    assert not {one.take() for _ in range(254)} & {other.take() for _ in range(254)}


DOCUMENT: dict[str, Any] = {
    "taskDefinitionArn": "arn:td/web:3",
    "family": "web",
    "revision": 3,
    "cpu": "256",
    "memory": "512",
    "volumes": [{"name": "scratch"}],
    "containerDefinitions": [
        {
            "name": "web",
            "image": "127.0.0.1:1/web@sha256:0",
            "entryPoint": ["/app"],
            "command": ["serve"],
            "user": "65532",
            "readonlyRootFilesystem": True,
            "stopTimeout": 40,
            "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
            "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/tmp"}],
            "environment": [{"name": "WEB_HOST", "value": "0.0.0.0"}],
        }
    ],
}


def test_a_container_is_configured_as_its_definition_says() -> None:
    refuse(DOCUMENT)
    definition = read_definition(DOCUMENT)
    assert definition.stop_seconds == 40
    configuration = engine_configuration(
        definition,
        definition.containers[0],
        image="web@sha256:0",
        image_environment={"WEB_HOST": "127.0.0.1", "ADMIN_HOST": "0.0.0.0", "PATH": "/bin"},
        address="127.1.2.3",
    )
    assert configuration["Entrypoint"] == ["/app"]
    assert configuration["Cmd"] == ["serve"]
    assert sorted(configuration["Env"]) == [
        "ADMIN_HOST=127.1.2.3",
        "PATH=/bin",
        "WEB_HOST=127.1.2.3",
    ]
    assert configuration["Healthcheck"] == {"Test": ["NONE"]}
    host = configuration["HostConfig"]
    assert host["NetworkMode"] == "host"
    assert host["Memory"] == 512 * 2**20
    assert host["Init"] is True
    assert list(host["Tmpfs"]) == ["/tmp"]
    assert not host["Privileged"]


def test_every_reason_against_a_definition_is_told_at_once() -> None:
    with pytest.raises(DefinitionError) as raised:
        refuse(
            {
                "family": "a b",
                "networkMode": "bridge",
                "volumes": [{"name": "v", "host": {"sourcePath": "/"}}],
                "containerDefinitions": [
                    {"name": "c", "privileged": True, "secrets": [{}], "stopTimeout": 500}
                ],
            }
        )
    text = str(raised.value)
    for part in ("family", "networkMode", "volume v", "privileged", "secrets", "stopTimeout"):
        assert part in text


def basic(password: str, user: str = "AWS") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_password_allows_what_its_key_is_allowed() -> None:
    asked: list[tuple[str, str, str]] = []

    def permitted(key: str, action: str, repository: str) -> bool:
        asked.append((key, action, repository))
        return repository == "lyceum/web"

    login = RegistryLogin(permitted, now=Clock())
    password, _ = login.issue("AKIA1")
    assert login.admit("GET", "/v2/", basic(password)) is Admission.ADMITTED
    for method, path, action in (
        ("HEAD", "/v2/lyceum/web/blobs/sha256:0", "ecr:BatchCheckLayerAvailability"),
        ("GET", "/v2/lyceum/web/blobs/sha256:0", "ecr:GetDownloadUrlForLayer"),
        ("POST", "/v2/lyceum/web/blobs/uploads/", "ecr:UploadLayerPart"),
        ("PATCH", "/v2/lyceum/web/blobs/uploads/1", "ecr:UploadLayerPart"),
        ("PUT", "/v2/lyceum/web/manifests/1.0", "ecr:PutImage"),
        ("GET", "/v2/lyceum/web/manifests/1.0", "ecr:BatchGetImage"),
    ):
        asked.clear()
        assert login.admit(method, path, basic(password)) is Admission.ADMITTED
        assert asked == [("AKIA1", action, "lyceum/web")]
    other = "/v2/other/web/manifests/1.0"
    assert login.admit("PUT", other, basic(password)) is Admission.DENIED
    deleted = "/v2/lyceum/web/manifests/sha256:0"
    assert login.admit("DELETE", deleted, basic(password)) is Admission.DENIED


def test_who_has_no_password_is_asked_for_one() -> None:
    clock = Clock()
    login = RegistryLogin(lambda *_: True, now=clock)
    password, expires_at = login.issue("AKIA1")
    for authorization in (
        None,
        "",
        "Bearer x",
        "Basic !!",
        basic("guessed"),
        basic(password, user="root"),
    ):
        assert login.admit("GET", "/v2/", authorization) is Admission.UNKNOWN
    clock.now = expires_at
    assert login.admit("GET", "/v2/", basic(password)) is Admission.UNKNOWN


def test_the_password_of_the_tasks_pulls_and_does_not_push() -> None:
    login = RegistryLogin(lambda *_: False, now=Clock())
    own = basic(login.own_password)
    assert login.admit("GET", "/v2/lyceum/web/manifests/1", own) is Admission.ADMITTED
    assert login.admit("PUT", "/v2/lyceum/web/manifests/1", own) is Admission.DENIED


@pytest.mark.parametrize("path", ["/v2/apis/x", "/v2/email/identities", "/v2/../blobs/x", "/v2x"])
def test_nothing_else_is_behind_the_registrys_prefix(path: str) -> None:
    login = RegistryLogin(lambda *_: True, now=Clock())
    password, _ = login.issue("AKIA1")
    assert login.admit("GET", path, basic(password)) is Admission.DENIED


def test_logs_of_the_last_run_are_kept_and_older_ones_removed(tmp_path: Path) -> None:
    ids = [f"{number:032x}" for number in range(4)]
    other = tmp_path / "gateway.log"
    other.write_text("not a task's")
    for task in ids[:2]:
        (tmp_path / f"web-{task}.log").write_text("last run\n")
    (tmp_path / f"web-{ids[2]}.log.1").write_text("the run before\n")
    logs = TaskLogs(tmp_path)
    logs.begin()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "gateway.log",
        f"web-{ids[0]}.log.1",
        f"web-{ids[1]}.log.1",
    ]
    assert logs.last_line("web", ids[3]) is None


def test_no_more_than_so_many_logs_are_kept_of_a_run(tmp_path: Path) -> None:
    import os

    logs = TaskLogs(tmp_path, kept=2)
    logs.begin()
    for number in range(5):
        descriptor = logs.open("web", f"{number:032x}")
        os.write(descriptor, b"first\nlast\n\n")
        os.close(descriptor)
        os.utime(tmp_path / f"web-{number:032x}.log", (number, number))
    assert len(list(tmp_path.iterdir())) == 3
    assert logs.last_line("web", f"{4:032x}") == "last"
    assert (tmp_path / f"web-{4:032x}.log").stat().st_mode & 0o777 == 0o600


PLACE = {"region": "r", "account": "1"}


@pytest.mark.parametrize(
    ("operation", "document", "expected"),
    [
        ("UpdateService", {"cluster": "c", "service": "s"}, ["arn:aws:ecs:r:1:service/c/s"]),
        (
            "UpdateService",
            {"cluster": "arn:aws:ecs:r:1:cluster/c", "service": "arn:aws:ecs:r:1:service/c/s"},
            ["arn:aws:ecs:r:1:service/c/s"],
        ),
        (
            "DescribeServices",
            {"cluster": "c", "services": ["a", "b"]},
            ["arn:aws:ecs:r:1:service/c/a", "arn:aws:ecs:r:1:service/c/b"],
        ),
        ("StopTask", {"cluster": "c", "task": "t"}, ["arn:aws:ecs:r:1:task/c/t"]),
        ("RunTask", {"taskDefinition": "web:3"}, ["arn:aws:ecs:r:1:task-definition/web:3"]),
        ("ListTasks", {"cluster": "c"}, ["*"]),
        ("RegisterTaskDefinition", {"family": "web"}, ["*"]),
    ],
)
def test_policies_are_asked_for_what_aws_asks(
    operation: str, document: dict[str, Any], expected: list[str]
) -> None:
    assert resources(operation, document, **PLACE) == expected


def test_the_conditions_of_a_call() -> None:
    assert conditions({"cluster": "c"}, **PLACE) == {"ecs:cluster": "arn:aws:ecs:r:1:cluster/c"}
    assert conditions({}, **PLACE) == {}
    roles = {"taskRoleArn": "arn:role/a", "executionRoleArn": "arn:role/b"}
    assert passed_roles("RegisterTaskDefinition", roles) == [
        ("arn:role/a", {"iam:PassedToService": "ecs-tasks.amazonaws.com"}),
        ("arn:role/b", {"iam:PassedToService": "ecs-tasks.amazonaws.com"}),
    ]
    assert passed_roles("UpdateService", roles) == []
