"""What a service's image is made of, as found in the image itself, and as a CycloneDX document.

Packages of Python are those whose wheels came into it, with the hashes by which the lock pins them;
packages of Debian are those that the base says it has. Knows nothing of Docker.
"""

from __future__ import annotations

import email.parser
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import Message

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

PACKAGES = "/app/packages.json"
SITE_PACKAGES = "/app/lib/python3.11/site-packages"
STATUS = "/var/lib/dpkg/status.d/"

# What a marker of a requirement is evaluated for: what the images are, not what made this document.
_ENVIRONMENT = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "sbom.lyceum.invalid")


class MaterialsError(Exception):
    """An image is not what the repository says it is made of; the text names what."""


@dataclass(frozen=True)
class Wheel:
    """One package of Python. `sha256` is that of the wheel, as the lock has it."""

    file: str
    name: str
    version: str
    sha256: str
    metadata: Message

    def requires(self, extras: Iterable[str]) -> Iterable[Requirement]:
        """What it needs where the images run, with these of its extras."""
        for text in self.metadata.get_all("Requires-Dist", ()):
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate({**_ENVIRONMENT, "extra": extra}) for extra in ("", *extras)
            ):
                yield requirement


@dataclass(frozen=True)
class DebianPackage:
    """One package of Debian, as its control file tells."""

    name: str
    version: str
    architecture: str


@dataclass(frozen=True)
class Materials:
    """All that is in an image besides its own sources."""

    requirements: tuple[Requirement, ...]
    wheels: Mapping[str, Wheel]
    debian: tuple[DebianPackage, ...]


def is_material(path: str) -> bool:
    """Whether `read_materials` wants to see the file of an image."""
    return (
        path == PACKAGES
        or path.startswith(STATUS)
        or (path.startswith(SITE_PACKAGES) and path.endswith(".dist-info/METADATA"))
    )


def read_materials(texts: Mapping[str, bytes], locked_wheels: str) -> Materials:
    """The materials, from the files of an image that `is_material` and the text of `default.wheels`.

    Raises MaterialsError for a wheel that is not locked, or whose metadata is not there.
    """
    if PACKAGES not in texts:
        raise MaterialsError(f"it has no {PACKAGES}: it is no image of a service's")
    document = json.loads(texts[PACKAGES])
    digests = {
        file: digest
        for digest, _, file in (line.partition("  ") for line in locked_wheels.splitlines())
    }
    metadata = [
        email.parser.BytesParser().parsebytes(content)
        for path, content in texts.items()
        if path.endswith("/METADATA")
    ]
    by_name = {canonicalize_name(one["Name"]): one for one in metadata}
    wheels: dict[str, Wheel] = {}
    for file in document["wheels"]:
        name, version, _, _ = parse_wheel_filename(file)
        if file not in digests:
            raise MaterialsError(f"{file} is not in the lock: was the lock changed since?")
        if name not in by_name or by_name[name]["Version"] != str(version):
            raise MaterialsError(f"{file} should be in the image, and its metadata is not")
        wheels[name] = Wheel(file, name, str(version), digests[file], by_name[name])
    strangers = sorted(set(by_name) - set(wheels))
    if strangers:
        raise MaterialsError(f"in the image are packages of no wheel: {', '.join(strangers)}")
    return Materials(
        tuple(map(Requirement, document["requirements"])),
        wheels,
        tuple(_debian(texts)),
    )


def cyclonedx(
    service: str,
    version: str,
    materials: Materials,
    *,
    layers: Sequence[str],
    created: datetime | None,
) -> str:
    """The bill of materials as CycloneDX 1.6 JSON: the same image gives the same text.

    `layers` are the digests of the image's layers, which tell whose bill it is; `created` is when
    the image's content came to be, where that is known.
    """
    licenses = LicenseFactory()
    itself = Component(
        type=ComponentType.APPLICATION,
        name=service,
        version=version,
        bom_ref=f"lyceum/{service}@{version}",
        properties=[
            Property(name=f"lyceum:image:layer:{number}", value=layer)
            for number, layer in enumerate(layers)
        ],
    )
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, "\n".join((service, version, *layers))))
    bom.metadata.component = itself
    if created is not None:
        bom.metadata.timestamp = created
    libraries = {
        name: Component(
            type=ComponentType.LIBRARY,
            scope=ComponentScope.REQUIRED,
            name=wheel.name,
            version=wheel.version,
            bom_ref=str(_pypi(wheel)),
            purl=_pypi(wheel),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
            licenses=_licenses(wheel.metadata, licenses),
            properties=[Property(name="lyceum:wheel", value=wheel.file)],
        )
        for name, wheel in materials.wheels.items()
    }
    system = [
        Component(
            type=ComponentType.LIBRARY,
            name=package.name,
            version=package.version,
            bom_ref=str(_deb(package)),
            purl=_deb(package),
        )
        for package in materials.debian
    ]
    for component in (*libraries.values(), *system):
        bom.components.add(component)
    bom.register_dependency(
        itself,
        [*(libraries[canonicalize_name(one.name)] for one in materials.requirements), *system],
    )
    extras = _extras(materials)
    for name, wheel in materials.wheels.items():
        needed = {canonicalize_name(one.name) for one in wheel.requires(extras.get(name, ()))}
        bom.register_dependency(
            libraries[name], [libraries[one] for one in sorted(needed) if one in libraries]
        )
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    if created is None:
        # The library would say when this document was written, and nothing is to depend on that.
        del document["metadata"]["timestamp"]
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _extras(materials: Materials) -> dict[str, set[str]]:
    extras: dict[str, set[str]] = {}
    asked = list(materials.requirements)
    for wheel in materials.wheels.values():
        asked += wheel.requires(())
    for requirement in asked:
        extras.setdefault(canonicalize_name(requirement.name), set()).update(requirement.extras)
    return extras


def _licenses(metadata: Message, factory: LicenseFactory) -> list[License]:
    expression = metadata.get("License-Expression")
    if expression:
        return [factory.make_from_string(expression)]
    names = [
        classifier.rpartition(" :: ")[2]
        for classifier in metadata.get_all("Classifier", ())
        if classifier.startswith("License :: ")
    ]
    return [factory.make_with_name(name) for name in names]


def _pypi(wheel: Wheel) -> PackageURL:
    return PackageURL("pypi", None, wheel.name, wheel.version)


def _deb(package: DebianPackage) -> PackageURL:
    return PackageURL(
        "deb",
        "debian",
        package.name,
        package.version,
        {"arch": package.architecture, "distro": "debian-12"},
    )


def _debian(texts: Mapping[str, bytes]) -> Iterable[DebianPackage]:
    for path, content in sorted(texts.items()):
        # Beside the packages lie lists of their files' checksums.
        if path.startswith(STATUS) and not path.endswith(".md5sums"):
            control = email.parser.BytesParser().parsebytes(content, headersonly=True)
            yield DebianPackage(control["Package"], control["Version"], control["Architecture"])
