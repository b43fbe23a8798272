"""Writes the bill of materials of the services' images. See README.md beside this file.

Exit codes: 0 it is written; 1 an image is not what the lock says; 2 it was called wrongly, or there is
no engine or no such image.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from deploy.images._contents import read_contents
from deploy.images._docker import DockerError, inspect_image, save_image
from deploy.images._materials import MaterialsError, cyclonedx, is_material, read_materials
from deploy.images._services import ROOT, add_service_arguments, image_of, parse_with_services

COMMAND = "./pantsw run deploy/images/sbom.py"
FOLDER = ROOT / "dist" / "sbom"

_WHEELS = ROOT / "3rdparty" / "python" / "default.wheels"
_CREATED = "org.opencontainers.image.created"
_VERSION = "org.opencontainers.image.version"

_EXAMPLES = f"""examples:
  ./pantsw package ::
        builds the images; then
  {COMMAND}
        dist/sbom/<service>-<version>.cdx.json for each
  {COMMAND} -- course_catalog --image registry.example.org/lyceum/course_catalog@sha256:…
        of an image of another name
"""


def write_sbom(service: str, image: str, *, folder: Path = FOLDER) -> Path:
    """Write the bill of materials of a service's image to `folder`, as CycloneDX 1.6 JSON.

    `image` is any name that the engine knows it by. Raises DockerError, and MaterialsError if there is
    something in it that the lock does not name.
    """
    labels = inspect_image(image)["Config"].get("Labels") or {}
    version = str(labels.get(_VERSION, ""))
    if not version:
        raise MaterialsError(f"it has no label {_VERSION}: it is no image of a service's")
    with tempfile.TemporaryDirectory(prefix="lyceum-sbom-") as temporary:
        archive = Path(temporary) / "image.tar"
        save_image(image, archive)
        contents = read_contents(archive, keep=is_material, compress=False)
    created = labels.get(_CREATED)
    text = cyclonedx(
        service,
        version,
        read_materials(contents.texts, _WHEELS.read_text()),
        layers=[layer.diff_id for layer in contents.layers],
        created=datetime.fromisoformat(created) if created else None,
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{service}-{version}.cdx.json"
    file.write_text(text)
    return file


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    for service in options.services:
        image = options.image or image_of(service)
        try:
            sys.stdout.write(f"{write_sbom(service, image, folder=options.output)}\n")
        except MaterialsError as error:
            sys.stderr.write(f"sbom.py: {image}: {error}\n")
            return 1
        except DockerError as error:
            sys.stderr.write(
                f"sbom.py: {image}: {error}\n"
                f"  build it with ./pantsw package services/{service}:image (deploy/images/README.md)\n"
            )
            return 2
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sbom",
        usage=f"{COMMAND} -- [SERVICE …] [options]",
        description="Writes what is in a service's image: each wheel with the hash that the lock has,"
        " and the base's Debian packages; CycloneDX 1.6, JSON.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_service_arguments(parser)
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=FOLDER, help="where to (default: dist/sbom)"
    )
    return parse_with_services(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
