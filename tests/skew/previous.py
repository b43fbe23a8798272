"""The previous release of a service, built from this repository's history as an image.

A service's previous release is the last commit whose version literal is not today's. Owns finding it and
building it; what is asked of it is others' business. The sources and packages of an image are those of
that commit, packaged by its own build files; where it has no image of its own yet, today's Dockerfile
makes one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.release._git import Git
from deploy.release._services import Service, required_version, version_in
from tests.containers.engine import DockerEngine
from tests.containers.packaged import content_tag

ROOT_VARIABLE = "LYCEUM_REPOSITORY"
"""Names the repository's folder, for tests that run in a copy of its files; `pantsw` sets it."""

_PREPARE_SECONDS = 900.0


class NoHistoryError(Exception):
    """This clone does not know the previous release; the text says what was looked for."""


@dataclass(frozen=True)
class Release:
    """A service as it was: at `commit`, the last one with `version`."""

    service: Service
    version: str
    commit: str


def repository() -> Path:
    """The repository's folder; raises NoHistoryError where there is none."""
    root = Path(os.environ.get(ROOT_VARIABLE) or Path(__file__).parents[2])
    if not (root / ".git").exists():
        raise NoHistoryError(f"{root} is no git repository; {ROOT_VARIABLE} names it")
    return root


def previous_release(git: Git, root: Path, service: Service) -> Release:
    """The release before the version that the files have; raises NoHistoryError."""
    current = required_version(service, (root / service.build).read_text(encoding="utf-8"))
    for commit in git.commits([service.build], first_parent=True):
        version = version_in(git.text(commit.sha, service.build) or "")
        if version == current:
            # Whatever was changed until then still had the version before, if there was one.
            parent = git.parent(commit.sha)
            before = version_in(git.text(parent, service.build) or "") if parent else None
            if parent and before not in (None, current):
                return Release(service, str(before), parent)
        elif version is not None:
            # Today's version is not committed yet.
            return Release(service, version, git.resolve("HEAD"))
    raise NoHistoryError(
        f"{service.name}: no commit of this clone has a version before {current}"
        + (" (it is shallow: git fetch --unshallow)" if git.is_shallow() else "")
    )


@dataclass(frozen=True)
class PreviousImage:
    """A release as an image in the engine, by its id, with the files of its commit."""

    release: Release
    image: str
    files: Path


@contextmanager
def previous_images(
    engine: DockerEngine, services: Sequence[Service]
) -> Iterator[dict[str, PreviousImage]]:
    """Each service's previous release, built; the images that were made are removed at the end.

    Raises NoHistoryError.
    """
    root = repository()
    git = Git(root)
    releases = [previous_release(git, root, service) for service in services]
    found: dict[str, PreviousImage] = {}
    with tempfile.TemporaryDirectory(prefix="lyceum-skew-") as scratch:
        try:
            for commit in dict.fromkeys(release.commit for release in releases):
                files = Path(scratch) / commit
                files.mkdir()
                git.export(commit, files)
                of_commit = [release for release in releases if release.commit == commit]
                for release, image in _build(engine, root, files, of_commit):
                    found[release.service.name] = PreviousImage(release, image, files)
            yield found
        finally:
            for previous in found.values():
                engine.run("image", "rm", "--force", previous.image)


def _build(
    engine: DockerEngine, root: Path, files: Path, releases: Sequence[Release]
) -> Iterator[tuple[Release, str]]:
    """The images of the releases of one commit, whose files are in `files`."""
    with_image = "docker_image(" in "".join(
        path.read_text(encoding="utf-8") for path in (files / "deploy/pants").glob("*.prelude")
    )
    names = ("image",) if with_image else ("deps", "srcs")
    _pants(
        files,
        *(f"services/{release.service.name}:{name}" for release in releases for name in names),
    )
    for release in releases:
        packaged = files / "dist" / f"services.{release.service.name}"
        if with_image:
            image_id = content_tag(packaged / "image.docker-info.json")
        else:
            image_id = _image_of(engine, root, packaged, release)
        # Named, so that it can't be taken for what nobody needs, and told apart by the name.
        name = f"lyceum-skew/{release.service.name}:{release.version}-{release.commit[:12]}"
        engine.run("image", "tag", image_id, name)
        yield release, name


def _image_of(engine: DockerEngine, root: Path, packaged: Path, release: Release) -> str:
    """By today's Dockerfile, from the two PEXes of the release."""
    text = _dockerfile(root)
    service = release.service
    for placeholder, value in (
        ("service", service.name),
        ("prefix", service.prefix),
        ("version", release.version),
    ):
        text = text.replace(f"<{placeholder}>", value)
    with tempfile.TemporaryDirectory(prefix="lyceum-skew-context-") as scratch:
        context = Path(scratch)
        (context / "Dockerfile").write_text(text, encoding="utf-8")
        layers = Path("deploy/images/layers.py")
        (context / layers.parent).mkdir(parents=True)
        shutil.copy(root / layers, context / layers)
        target = context / packaged.name
        target.mkdir()
        for pex in ("deps.pex", "srcs.pex"):
            copy = shutil.copytree if (packaged / pex).is_dir() else shutil.copy
            copy(packaged / pex, target / pex)
        base = os.environ.get("BASE_IMAGE")
        engine.run(
            "build",
            "--quiet",
            *(["--build-arg", f"BASE_IMAGE={base}"] if base else []),
            *("--iidfile", str(context / "id"), str(context)),
            timeout=_PREPARE_SECONDS,
        )
        return (context / "id").read_text(encoding="utf-8").strip()


def _dockerfile(root: Path) -> str:
    """The text that the macro `service` gives to every image, placeholders included."""
    names: dict[str, object] = {}
    prelude = root / "deploy" / "pants" / "service.prelude"
    exec(compile(prelude.read_text(encoding="utf-8"), str(prelude), "exec"), names)
    return str(names["DOCKERFILE"])


def _pants(files: Path, *addresses: str) -> None:
    # Its build files are of another time than those that this run was started with.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PANTS_") or name == "PANTS_PYTHON_REPOS_INDEXES"
    }
    done = subprocess.run(
        [str(files / "pantsw"), "--no-pantsd", "package", *addresses],
        cwd=files,
        env={**kept, "PANTS_DYNAMIC_UI": "false"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PREPARE_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"the previous release can't be packaged:\n{done.stderr[-4000:]}")
