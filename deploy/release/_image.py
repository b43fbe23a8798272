"""The last step of a build: labels and variables that say which commit an image is made of.

They are written into the image's configuration, and nothing else is: no layer is added, none is
touched. An instruction of a Dockerfile would do the same, but stamp the image with the time of
the build; so the same content would be another image each time. Here the times in the
configuration are the commit's, what the builder noted of itself is left out, and the same content
gives the same image id, whoever builds it with whichever builder.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.release._errors import ReleaseError

# The OCI image configuration, and in `config` what an engine reads.
_KEPT = (
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "config",
    "rootfs",
    "history",
)
_MANIFEST = "manifest.json"


def finished(
    configuration: Mapping[str, Any],
    *,
    labels: Mapping[str, str],
    environment: Mapping[str, str],
    created: str,
) -> dict[str, Any]:
    """The configuration with labels and variables added, and all times of it being `created`."""
    kept: dict[str, Any] = {key: configuration[key] for key in _KEPT if key in configuration}
    config = dict(kept.get("config") or {})
    # Which container built it, and on which image: different at each build, and read by nobody.
    for noise in ("Hostname", "Domainname", "Image", "OnBuild"):
        config.pop(noise, None)
    variables = dict(entry.split("=", 1) for entry in config.get("Env") or [])
    config["Env"] = [f"{name}={value}" for name, value in (variables | dict(environment)).items()]
    config["Labels"] = dict(sorted({**(config.get("Labels") or {}), **labels}.items()))
    kept["config"] = config
    kept["created"] = created
    kept["history"] = [{**entry, "created": created} for entry in kept.get("history") or []]
    return kept


def rewrite(
    saved: Path,
    archive: Path,
    *,
    names: Sequence[str],
    labels: Mapping[str, str],
    environment: Mapping[str, str],
    created: str,
) -> str:
    """Writes a saved image as another archive, with the finished configuration and these names.

    Gives the SHA-256 of the configuration, ``sha256:…``. Raises ReleaseError.
    """
    try:
        with tarfile.open(saved) as source, tarfile.open(archive, "w") as target:
            (entry,) = json.load(_member(source, _MANIFEST))
            configuration = json.load(_member(source, entry["Config"]))
            made = json.dumps(
                finished(configuration, labels=labels, environment=environment, created=created),
                sort_keys=True,
                separators=(",", ":"),
            ).encode()
            digest = hashlib.sha256(made).hexdigest()
            _add(target, f"{digest}.json", made)
            for layer in dict.fromkeys(entry["Layers"]):
                member = _resolved(source, layer)
                content = source.extractfile(member)
                assert content is not None
                kept = tarfile.TarInfo(layer)
                kept.size = member.size
                target.addfile(kept, content)
            manifest = [
                {"Config": f"{digest}.json", "RepoTags": list(names), "Layers": entry["Layers"]}
            ]
            _add(target, _MANIFEST, json.dumps(manifest).encode())
    except (KeyError, ValueError, tarfile.TarError) as error:
        raise ReleaseError(f"the saved image can not be read ({error})") from None
    return f"sha256:{digest}"


def _member(archive: tarfile.TarFile, name: str) -> Any:
    content = archive.extractfile(_resolved(archive, name))
    if content is None:
        raise KeyError(name)
    return content


def _resolved(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    member = archive.getmember(name)
    # An engine before 25 saves a layer that occurs twice as a link.
    while member.issym() or member.islnk():
        folder = Path(member.name).parent if member.issym() else Path()
        parts: list[str] = []
        for part in (folder / member.linkname).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        member = archive.getmember("/".join(parts))
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
