"""The embedded AWS's environment: made once from the lock, by whoever comes first, or one clear line."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local._environment import (
    LOCK,
    PYTHON_VARIABLE,
    REPOSITORY_ROOT,
    EnvironmentBuildError,
    embedded_aws_command,
    embedded_aws_python,
    embedded_aws_variables,
)

BUILD = """
import sys
from pathlib import Path
from deploy.local._environment import embedded_aws_python
print(embedded_aws_python(lock=Path(sys.argv[1])))
"""


@pytest.fixture()
def empty_lock(tmp_path: Path) -> Path:
    """A lock without packages: an environment from it needs no index."""
    path = tmp_path / "empty.lock"
    path.write_text("# nothing\n", encoding="utf-8")
    return path


def cached_in(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != PYTHON_VARIABLE}
    return kept | {"XDG_CACHE_HOME": str(folder)}


def test_the_lock_s_environment_has_ministack() -> None:
    found = subprocess.run(
        [embedded_aws_python(), "-c", "import ministack, hypercorn, cryptography; print('all')"],
        env=embedded_aws_variables(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "all\n", found.stderr


def test_it_is_made_once(tmp_path: Path, empty_lock: Path) -> None:
    variables = cached_in(tmp_path)
    python = embedded_aws_python(variables, lock=empty_lock)
    made = python.stat().st_ctime_ns
    marker = python.parent / "untouched"
    marker.touch()

    assert embedded_aws_python(variables, lock=empty_lock) == python
    assert python.stat().st_ctime_ns == made
    assert marker.exists()
    assert python.is_relative_to(tmp_path / "lyceum")


def test_another_lock_has_another_environment(tmp_path: Path, empty_lock: Path) -> None:
    variables = cached_in(tmp_path)
    first = embedded_aws_python(variables, lock=empty_lock)
    empty_lock.write_text("# nothing either\n", encoding="utf-8")
    assert embedded_aws_python(variables, lock=empty_lock) != first


def test_builders_at_once_get_the_same_whole_environment(tmp_path: Path, empty_lock: Path) -> None:
    variables = cached_in(tmp_path) | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY_ROOT), *sys.path])
    }
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(empty_lock)],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    answers = [builder.communicate() for builder in builders]
    assert [builder.returncode for builder in builders] == [0] * 4, answers
    pythons = {told.strip() for told, _ in answers}
    assert len(pythons) == 1
    cache = Path(pythons.pop()).parents[2]
    assert not list(cache.glob("*.draft"))
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


def test_an_environment_whose_interpreter_is_gone_is_made_again(
    tmp_path: Path, empty_lock: Path
) -> None:
    variables = cached_in(tmp_path)
    python = embedded_aws_python(variables, lock=empty_lock)
    python.unlink()
    python.symlink_to(tmp_path / "uninstalled")
    assert embedded_aws_python(variables, lock=empty_lock) == python
    assert python.exists()


def test_what_a_killed_builder_left_is_no_hindrance(tmp_path: Path, empty_lock: Path) -> None:
    variables = cached_in(tmp_path)
    environment = embedded_aws_python(variables, lock=empty_lock).parents[1]
    environment.rename(environment.with_suffix(".draft"))
    assert embedded_aws_python(variables, lock=empty_lock).parents[1] == environment
    assert not environment.with_suffix(".draft").exists()


def test_an_index_out_of_reach_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    digest = hashlib.sha256(b"").hexdigest()
    lock.write_text(f"six==1.17.0 --hash=sha256:{digest}\n", encoding="utf-8")
    variables = cached_in(tmp_path) | {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_CACHE_DIR": str(tmp_path / "uv"),
        "UV_HTTP_RETRIES": "0",
    }
    with pytest.raises(EnvironmentBuildError) as failure:
        embedded_aws_python(variables, lock=lock)
    assert "the package index is out of reach" in str(failure.value)
    assert "\n" not in str(failure.value)
    assert not [path for path in (tmp_path / "lyceum" / "embedded_aws").iterdir() if path.is_dir()]


def test_a_package_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "wrong.lock"
    lock.write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    with pytest.raises(EnvironmentBuildError) as failure:
        embedded_aws_python(cached_in(tmp_path), lock=lock)
    assert "hash" in str(failure.value).lower()
    assert "\n" not in str(failure.value)


def test_a_ready_environment_can_be_named(tmp_path: Path) -> None:
    variables = {PYTHON_VARIABLE: sys.executable, "XDG_CACHE_HOME": str(tmp_path)}
    assert embedded_aws_python(variables) == Path(sys.executable)
    assert not list(tmp_path.iterdir())
    with pytest.raises(EnvironmentBuildError, match=PYTHON_VARIABLE):
        embedded_aws_python({PYTHON_VARIABLE: str(tmp_path / "missing")})


def test_without_a_home_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(EnvironmentBuildError) as failure:
        embedded_aws_python({"PATH": "/bin"})
    assert str(failure.value).endswith("HOME is not set; XDG_CACHE_HOME names one")


def test_a_cache_that_can_not_be_written_is_one_line(tmp_path: Path, empty_lock: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentBuildError) as failure:
        embedded_aws_python(cached_in(tmp_path / "file"), lock=empty_lock)
    said = str(failure.value)
    assert "(Not a directory); XDG_CACHE_HOME names another folder" in said
    assert "\n" not in said


def test_every_package_of_the_lock_is_held_by_a_hash() -> None:
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if line and line[0] not in "# "]
    assert packages
    assert all("==" in package and package.endswith("\\") for package in packages)


def test_the_command_carries_no_secret_and_names_its_parent(tmp_path: Path) -> None:
    command = embedded_aws_command(Path("python"), state=tmp_path, services=("s3", "sqs"))
    assert command[1:3] == ["-m", "deploy.local.embedded_aws"]
    assert command[command.index("--parent") + 1] == str(os.getpid())
    assert command[command.index("--services") + 1] == "s3,sqs"


def test_the_caller_s_python_does_not_leak_in() -> None:
    variables = embedded_aws_variables({"PYTHONPATH": "/else", "PYTHONHOME": "/x", "PATH": "/bin"})
    assert variables["PYTHONPATH"] == str(REPOSITORY_ROOT)
    assert "PYTHONHOME" not in variables
    assert variables["PATH"] == "/bin"
