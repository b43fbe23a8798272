"""Sends images to a registry. A version that is there is never overwritten by other content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.release._build import REVISION_LABEL
from deploy.release._credentials import RegistryLogin
from deploy.release._docker import Docker, LocalImage
from deploy.release._errors import ReleaseError
from deploy.release._registry import RegistryClient, StoredImage, is_loopback
from deploy.release._services import Service, required_version


@dataclass(frozen=True)
class PushedImage:
    """An image in a registry. `was_there`: nothing had to be sent."""

    service: Service
    version: str
    hash: str
    repository: str
    digest: str
    size: int
    was_there: bool

    @property
    def reference(self) -> str:
        """By which a task definition names it."""
        return f"{self.repository}@{self.digest}"

    def document(self) -> dict[str, object]:
        return {
            "service": self.service.name,
            "version": self.version,
            "hash": self.hash,
            "repository": self.repository,
            "digest": self.digest,
            "reference": self.reference,
            "compressedBytes": self.size,
            "wasThere": self.was_there,
        }


def push_image(
    service: Service,
    login: RegistryLogin,
    *,
    root: Path,
    image: str | None = None,
    docker: Docker | None = None,
    registry: RegistryClient | None = None,
    drafts: bool = False,
) -> PushedImage:
    """Sends a service's image, as `build_images` left it in the engine.

    Args:
        service: whose.
        login: to which registry.
        root: the repository, which says the version.
        image: another name in the engine; the version is then the image's own.
        docker: the engine.
        registry: asked what is there.
        drafts: images of what is not committed, too.

    Raises ReleaseError.
    """
    docker = docker or Docker(root)
    target = login.registry
    registry = registry or RegistryClient(target.host, login.for_queries)
    local_name = image or f"{service.repository}:{_version(service, root)}"
    local = docker.image(local_name)
    if local is None:
        raise ReleaseError(f"the engine has no {local_name}: release build {service.name}")
    version, image_hash = said_by(service, local)
    if version is None or image_hash is None:
        raise ReleaseError(f"{local_name} does not say of which content it is: release build it")
    if local.labels.get(REVISION_LABEL, "").endswith("-dirty") and not (
        drafts or is_loopback(target.host)
    ):
        raise ReleaseError(
            f"{local_name} is made of files that no commit has: commit them and build again"
            " (--allow-dirty sends it all the same)"
        )
    path = target.repository(service.repository)
    repository = f"{target.host}/{path}"
    there = registry.image(path, version)
    if there is None:
        with _logged_in(docker, login) as engine:
            # The version last: where it is, the image is there under all of its names.
            for tag in (f"{version}-{image_hash}", version):
                name = f"{repository}:{tag}"
                engine.tag(local.id, name)
                try:
                    engine.push(name)
                finally:
                    engine.forget(name)
        sent = registry.image(path, version)
        if sent is None:
            raise ReleaseError(f"{repository}:{version} was sent, but the registry has it not")
        return _pushed(service, sent, repository, was_there=False)
    if there.environment.get(f"{service.prefix}IMAGE_HASH") != image_hash:
        revision = there.labels.get(REVISION_LABEL, "an unknown revision")
        raise ReleaseError(
            f"{repository}:{version} is there with other content ({there.digest}, of {revision}):"
            f" a version is never overwritten; give {service.build} a new one"
        )
    return _pushed(service, there, repository, was_there=True)


def said_by(service: Service, image: LocalImage | StoredImage) -> tuple[str | None, str | None]:
    """The version and the hash that a service says when it runs from an image."""
    return (
        image.environment.get(f"{service.prefix}VERSION"),
        image.environment.get(f"{service.prefix}IMAGE_HASH"),
    )


def _pushed(
    service: Service, image: StoredImage, repository: str, *, was_there: bool
) -> PushedImage:
    version, image_hash = said_by(service, image)
    return PushedImage(
        service=service,
        version=version or "",
        hash=image_hash or "",
        repository=repository,
        digest=image.digest,
        size=image.size,
        was_there=was_there,
    )


def _version(service: Service, root: Path) -> str:
    try:
        return required_version(service, (root / service.build).read_text(encoding="utf-8"))
    except OSError:
        raise ReleaseError(f"{service.build} can not be read") from None


@contextmanager
def _logged_in(docker: Docker, login: RegistryLogin) -> Iterator[Docker]:
    if login.login is None:
        yield docker
        return
    with docker.logged_in(login.registry.host, login.login.user, login.login.password) as engine:
        yield engine
