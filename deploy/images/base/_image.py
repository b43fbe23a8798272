"""The base as an image: one layer and its configuration, in the archive that `docker load` reads.

Reproducible, the image's id included. Owns the format; whether there is an engine is its caller's
business.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy.images.base._filesystem import CERTIFICATES, NONROOT

REPOSITORY = "lyceum/base"


@dataclass(frozen=True)
class BaseImage:
    """`id` is what Docker calls the image; `tags` are its names: a steady one, one by content."""

    id: str
    tags: tuple[str, ...]
    architecture: str
    size: int


def write_image(
    layer: Path, to: Path, *, name: str, architecture: str, source_date_epoch: int
) -> BaseImage:
    """Write the image of `layer`, a tar archive, to `to`; `name` is the steady tag."""
    content = layer.read_bytes()
    diff_id = f"sha256:{hashlib.sha256(content).hexdigest()}"
    created = datetime.fromtimestamp(source_date_epoch, UTC).isoformat().replace("+00:00", "Z")
    config = json.dumps(
        {
            "architecture": architecture,
            "config": {
                "Entrypoint": ["/usr/bin/python3.11"],
                "Env": [
                    "PATH=/usr/local/bin:/usr/bin:/bin",
                    f"SSL_CERT_FILE=/{CERTIFICATES}",
                    "LANG=C.UTF-8",
                ],
                "User": str(NONROOT),
                "WorkingDir": "/home/nonroot",
            },
            "created": created,
            "history": [{"created": created, "comment": "from Debian packages"}],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        },
        sort_keys=True,
    ).encode()
    identity = hashlib.sha256(config).hexdigest()
    tags = (f"{REPOSITORY}:{name}", f"{REPOSITORY}:{name}-{diff_id[7:19]}")
    manifest = [{"Config": f"{identity}.json", "RepoTags": list(tags), "Layers": ["layer.tar"]}]
    with tarfile.open(to, "w") as archive:
        for file, data in (
            (f"{identity}.json", config),
            ("layer.tar", content),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            member = tarfile.TarInfo(file)
            member.size = len(data)
            member.mtime = source_date_epoch
            archive.addfile(member, io.BytesIO(data))
    return BaseImage(f"sha256:{identity}", tags, architecture, len(content))
