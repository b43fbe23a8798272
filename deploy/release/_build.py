"""Builds images: Pants packages them, then they are told which commit they are made of."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.release._docker import Docker
from deploy.release._errors import ReleaseError, raise_all
from deploy.release._git import Git
from deploy.release._image import rewrite
from deploy.release._inventory import Inventory
from deploy.release._pants import Pants
from deploy.release._revision import Revision, revision_of
from deploy.release._services import Service, required_version

_OCI = "org.opencontainers.image"
VERSION_LABEL = f"{_OCI}.version"
REVISION_LABEL = f"{_OCI}.revision"


@dataclass(frozen=True)
class BuiltImage:
    """An image in the engine.

    Args:
        service: whose.
        version: the service's own.
        hash: of the content: of all that the builder was given.
        revision: the commit that it is made of; ends in ``-dirty`` where it is of none.
        id: the engine's: the digest of the configuration.
        size: of all layers, unpacked, in bytes.
        sbom: its bill of materials.
    """

    service: Service
    version: str
    hash: str
    revision: str
    id: str
    size: int
    sbom: Path

    @property
    def reference(self) -> str:
        """Its name in the engine."""
        return f"{self.service.repository}:{self.version}"

    @property
    def exact_reference(self) -> str:
        """Its name that no other content ever has."""
        return f"{self.service.repository}:{self.version}-{self.hash}"

    def document(self) -> dict[str, object]:
        return {
            "service": self.service.name,
            "reference": self.reference,
            "version": self.version,
            "hash": self.hash,
            "revision": self.revision,
            "id": self.id,
            "sizeBytes": self.size,
            "sbom": str(self.sbom),
        }


def build_images(
    services: Sequence[Service],
    *,
    root: Path,
    docker: Docker | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[BuiltImage]:
    """Builds the images of these services from the files as they lie in `root`.

    Raises ReleaseError.
    """
    docker = docker or Docker(root)
    git = Git(root)
    tell("looking at what the images are made of")
    inventory = Inventory(root, git)
    contents = inventory.here()
    raise_all(
        f"{service.name}: there is no target services/{service.name}:image"
        for service in services
        if service.name not in contents.images
    )
    tell(f"packaging {', '.join(service.name for service in services)}")
    Pants(root).package([f"services/{service.name}:image" for service in services])
    distributions = inventory.distributions(services)
    built = []
    for service in services:
        tell(f"labelling {service.name}")
        revision = revision_of(git, contents.images[service.name], distributions[service.name])
        built.append(_finish(service, revision, root=root, docker=docker))
    return built


def _finish(service: Service, revision: Revision, *, root: Path, docker: Docker) -> BuiltImage:
    build = (root / service.build).read_text(encoding="utf-8")
    version = required_version(service, build)
    packaged, image_hash = _packaged(service, version, root)
    raw = docker.image(packaged)
    if raw is None:
        raise ReleaseError(f"{service.name}: the engine has lost the image {packaged}")
    created = revision.date.strftime("%Y-%m-%dT%H:%M:%SZ")
    names = [f"{service.repository}:{version}", f"{service.repository}:{version}-{image_hash}"]
    with _scratch() as scratch:
        saved, archive = scratch / "saved.tar", scratch / "image.tar"
        docker.save(raw.id, saved)
        rewrite(
            saved,
            archive,
            names=names,
            labels={
                f"{_OCI}.title": service.name,
                VERSION_LABEL: version,
                REVISION_LABEL: str(revision),
                f"{_OCI}.created": created,
            },
            environment={
                f"{service.prefix}REVISION": str(revision),
                f"{service.prefix}IMAGE_HASH": image_hash,
            },
            created=created,
        )
        saved.unlink()
        docker.load(archive)
    done = docker.image(names[1])
    if done is None:
        raise ReleaseError(f"{service.name}: the engine did not keep {names[1]}")
    if done.id != raw.id:
        docker.forget(raw.id)  # it has no name any more
    return BuiltImage(
        service=service,
        version=version,
        hash=image_hash,
        revision=str(revision),
        id=done.id,
        size=done.size,
        sbom=_bill_of_materials(service, done.id, root),
    )


def _bill_of_materials(service: Service, image: str, root: Path) -> Path:
    # Here, for only a build needs it, and it takes a while to import.
    from deploy.images._docker import DockerError
    from deploy.images._materials import MaterialsError
    from deploy.images.sbom import write_sbom

    try:
        return write_sbom(service.name, image, folder=root / "dist" / "sbom")
    except (DockerError, MaterialsError) as error:
        raise ReleaseError(f"{service.name}: no bill of materials: {error}") from None


def _packaged(service: Service, version: str, root: Path) -> tuple[str, str]:
    """The id and the hash of what Pants has just packaged, by what it wrote beside."""
    path = root / "dist" / f"services.{service.name}" / "image.docker-info.json"
    try:
        info = json.loads(path.read_bytes())
        tags = [tag["tag"] for registry in info["registries"] for tag in registry["tags"]]
        image_id = str(info["image_id"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ReleaseError(f"{path} is not what Pants writes beside an image") from None
    hashes = [tag.removeprefix(f"{version}-") for tag in tags if tag.startswith(f"{version}-")]
    if len(hashes) != 1:
        raise ReleaseError(
            f"{service.name}: an image needs one tag {version}-{{pants.hash}}; it has {tags}"
        )
    return image_id, hashes[0]


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lyceum-image-") as folder:
        yield Path(folder)
