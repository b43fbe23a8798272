"""The command line: what is refused, all of it at once, and with which exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.session import Session

from deploy.local._iam import OPERATOR_POLICY
from deploy.release import release
from deploy.release._credentials import find_local
from deploy.release._ecs import _REGISTERED, ACTIONS, REGISTRY_ACTIONS
from deploy.release._errors import ReleaseError
from deploy.release._services import SERVICES
from deploy.release._stages import TRAFFIC_ACTIONS

README = Path(release.__file__).with_name("README.md")


@pytest.fixture(autouse=True)
def _signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own handlers stay."""
    monkeypatch.setattr("signal.signal", lambda *_: None)


def platform(folder: Path, **changed: object) -> Path:
    document = {
        "registry": "127.0.0.1:4566",
        "cluster": "lyceum",
        "services": {"course_catalog": "http://127.0.0.1:8081"},
        **changed,
    }
    (folder / "platform.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "operator.env").write_text(
        "AWS_ENDPOINT_URL=http://127.0.0.1:1\nexport AWS_REGION='us-east-1'\n"
        "AWS_ACCESS_KEY_ID=AKIA\nAWS_SECRET_ACCESS_KEY=secret\n\n# no variable\n",
        encoding="utf-8",
    )
    return folder


def test_all_that_is_wrong_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    code = release.main(
        ["deploy", "catalog", "--version", "1", "--timeout", "soon", "--answers", "0"]
    )
    assert code == 2
    assert capsys.readouterr().err.splitlines() == [
        "release.py: --version '1' is not MAJOR.MINOR.PATCH",
        "release.py: --timeout 'soon' is not 1 to 7200 seconds",
        "release.py: --answers '0' is not 1 to 1000",
        "release.py: there is no service 'catalog'; there are course_catalog, content_delivery,"
        " progress_tracking",
    ]


def test_so_it_is_of_a_canary(capsys: pytest.CaptureFixture[str]) -> None:
    code = release.main(
        [
            *("canary", "catalog", "--steps", "1,1,200", "--watch-for", "soon"),
            *("--min-requests", "0", "--error-margin", "-1", "--slowdown", "0.5"),
            *("--tasks", "many"),
        ]
    )
    assert code == 2
    assert capsys.readouterr().err.splitlines() == [
        "release.py: --steps '1,1,200' is not a percentage above 0, up to 100",
        "release.py: --watch-for 'soon' is not 1 to 86400 seconds",
        "release.py: --min-requests '0' is not 1 to 9999999",
        "release.py: --error-margin '-1' is not 0 to 99.999 percentage points",
        "release.py: --slowdown '0.5' is not 1 to 100 times",
        "release.py: --tasks 'many' is not 1 to 1000",
        "release.py: there is no service 'catalog'; there are course_catalog, content_delivery,"
        " progress_tracking",
    ]
    assert release.main(["canary", "course_catalog", "--steps", "50,10"]) == 2
    assert "is not rising percentages" in capsys.readouterr().err
    assert release.main(["canary", "course_catalog", "--percent", "10", "--promote"]) == 2
    assert "--promote: the last step is to be 100" in capsys.readouterr().err


def test_so_is_what_is_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["deploy", "course_catalog", "--version", "1.0.0", "--registry", "nowhere"]
    assert release.main(arguments) == 2
    assert capsys.readouterr().err.splitlines() == [
        "release.py: --url is missing: where the service answers from outside (--no-verify goes"
        " without)",
        "release.py: --registry 'nowhere' is not HOST[:PORT][/PREFIX]",
    ]
    assert release.main([*arguments, "--local", str(tmp_path)]) == 2
    assert "no platform runs on" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["publish"],
        ["build"],
        ["build", "course_catalog", "--changed"],
        ["push"],
        ["deploy", "course_catalog"],
        ["deploy", "course_catalog", "--version", "1.0.0", "--digest", "sha256:" + "0" * 64],
    ],
)
def test_what_can_not_be_meant_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as found:
        release.main(arguments)
    assert found.value.code == 2


@pytest.mark.parametrize(
    "command",
    ["changed", "build", "push", "deploy", "status", "rollback", "canary", "promote", "abort"],
)
def test_each_command_explains_itself_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as found:
        release.main([command, "--help"])
    assert found.value.code == 0
    told = capsys.readouterr().out
    assert f"release.py -- {command} " in told.split("examples:")[1]
    assert "exit codes:" in told


def test_a_platform_that_does_not_answer_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert release.main(["status", "course_catalog", "--local", str(platform(tmp_path))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("release.py: describe_services: ")


def test_stopped_before_anything_it_says_that_nothing_was_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "changes", stops(2))
    assert release.main(["changed"]) == 130
    monkeypatch.setattr(release, "changes", stops(15))
    assert release.main(["changed"]) == 143
    assert "stopped; nothing that runs was changed" in capsys.readouterr().err


def stops(number: int) -> Callable[..., None]:
    def stop(*_: object, **__: object) -> None:
        raise release.Stopped(number)

    return stop


def test_a_defect_is_not_taken_for_a_deployment_that_was_taken_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defect(*_: object, **__: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(release, "changes", defect)
    assert release.main(["changed"]) == 3
    assert "RuntimeError" in capsys.readouterr().err


def test_revisions_to_go_back_to() -> None:
    catalog, _, progress = SERVICES.values()
    assert release._revisions(["7"], catalog) == {"course_catalog": 7}
    assert release._revisions(["progress_tracking-consumer:5"], progress) == {
        "progress_tracking-consumer": 5
    }
    for given in ("7", "progress_tracking:x", "course_catalog:7"):
        with pytest.raises(ReleaseError, match="is no revision of progress_tracking"):
            release._revisions([given], progress)


# The platform on this machine.


def test_a_platform_says_where_things_are(tmp_path: Path) -> None:
    found = find_local(platform(tmp_path, registry="127.0.0.1:4566"))
    assert found.registry is not None
    assert found.registry.host == "127.0.0.1:4566"
    assert found.services == {"course_catalog": "http://127.0.0.1:8081"}
    assert found.variables["AWS_REGION"] == "us-east-1"
    assert "secret" not in repr(found)


def test_a_platform_without_containers_is_told_apart(tmp_path: Path) -> None:
    platform(tmp_path)
    (tmp_path / "platform.json").write_text('{"services": {}}', encoding="utf-8")
    with pytest.raises(ReleaseError, match="start it with --containers"):
        find_local(tmp_path)
    found = find_local(tmp_path, with_containers=False)  # its traffic can be led all the same
    assert (found.registry, found.cluster, found.services) == (None, None, {})


# What an operator needs to be allowed.


def allowed(policy: str) -> set[str]:
    statements = json.loads(policy)["Statement"]
    return {
        action
        for one in statements
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }


def test_the_operator_of_the_local_platform_may_do_exactly_what_is_needed() -> None:
    policy = OPERATOR_POLICY.read_text(encoding="utf-8")
    assert allowed(policy) == ACTIONS | REGISTRY_ACTIONS | TRAFFIC_ACTIONS


def test_the_readme_names_exactly_these_actions() -> None:
    services = "apigateway|ecs|ecr|elasticloadbalancing|cloudwatch|iam"
    named = set(re.findall(rf"`((?:{services}):\w+)`", README.read_text(encoding="utf-8")))
    assert named == ACTIONS | REGISTRY_ACTIONS | TRAFFIC_ACTIONS


def test_the_readme_names_every_event() -> None:
    told = set()
    for path in README.parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        told |= set(
            re.findall(
                r'(?:goes_on|came_out|warn|quietly|_goes_on_by_itself|_tell_of_standing)\(\s*"(\w+)"',
                text,
            )
        )
    named = set(re.findall(r"^\| `(\w+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert told <= named
    assert {"verified", "verificationFailed", "stepPassed", "canaryPassed"} <= named


def test_a_task_definition_is_copied_with_all_that_can_be_registered() -> None:
    """The SDK knows the fields: one that is new in it would be lost silently."""
    model = Session().get_service_model("ecs").operation_model("RegisterTaskDefinition")
    assert model.input_shape is not None
    assert set(_REGISTERED) == set(model.input_shape.members) - {"tags"}
