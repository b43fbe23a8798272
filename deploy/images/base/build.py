"""Makes a base image from Debian packages. See ../README.md.

Exit codes: 0 the image is there; 1 it could not be made; 2 it was called wrongly, or this machine
lacks what it takes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deploy.images.base._filesystem import write_root
from deploy.images.base._image import REPOSITORY, BaseImage, write_image
from deploy.images.base._packages import SUITE, BaseError, fetch, require_tools

COMMAND = "./pantsw run deploy/images/base/build.py"
NAME = "debian12"

_DOCKER = Path(__file__).parents[1] / "docker"
# 2025-01-01T00:00:00Z: what is newer than this in a package counts as of then.
_SOURCE_DATE_EPOCH = 1_735_689_600

_EXAMPLES = f"""examples:
  {COMMAND}
        makes {REPOSITORY}:{NAME} in the engine that DOCKER_HOST names, else the default one
  BASE_IMAGE={REPOSITORY}:{NAME} ./pantsw package services/course_catalog:image
        builds on it
  {COMMAND} -- --output base.tar
        without an engine: an archive for `docker load` elsewhere
  {COMMAND} -- --mirror https://mirror.example/debian
        with the packages of a day
"""


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    started = time.monotonic()

    def tell(text: str) -> None:
        if not options.json:
            sys.stderr.write(f"{time.monotonic() - started:5.1f} s  {text}\n")

    try:
        require_tools()
        if options.output is None:
            _docker("version", "--format", "{{.Server.Version}}")
    except BaseError as error:
        sys.stderr.write(f"build.py: {error}\n")
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="lyceum-base-") as folder:
            image = _make(Path(folder), options, tell)
    except BaseError as error:
        sys.stderr.write(f"build.py: {error}\n")
        return 1
    _show(image, options)
    return 0


def _make(folder: Path, options: argparse.Namespace, tell: Callable[[str], None]) -> BaseImage:
    epoch: int = options.source_date_epoch
    tell(f"[1/3] packages of Debian {SUITE}")
    packages = fetch(
        folder,
        mirror=options.mirror,
        source_date_epoch=epoch,
        tell=lambda line: tell(f"      {line.removeprefix('I: ')}"),
    )
    architecture = next(one.architecture for one in packages if one.architecture != "all")
    tell(f"[2/3] root file system of {len(packages)} packages")
    layer = folder / "layer.tar"
    with layer.open("wb") as file:
        write_root(packages, file, source_date_epoch=epoch)
    archive: Path = options.output or folder / "image.tar"
    image = write_image(
        layer, archive, name=options.name, architecture=architecture, source_date_epoch=epoch
    )
    if options.output is None:
        tell("[3/3] into the engine")
        _docker("load", "--input", str(archive))
    else:
        tell(f"[3/3] written to {archive}")
    return image


def _docker(*arguments: str) -> None:
    done = subprocess.run(
        [str(_DOCKER), *arguments],  # noqa: S603 - fixed, no shell
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise BaseError(
            f"Docker: {said[-1]}\n  start an engine (deploy/images/engine.sh does), name one by "
            "DOCKER_HOST, or write an archive with --output"
        )


def _show(image: BaseImage, options: argparse.Namespace) -> None:
    if options.json:
        document = {
            "id": image.id,
            "tags": image.tags,
            "architecture": image.architecture,
            "size": image.size,
        }
        sys.stdout.write(json.dumps(document) + "\n")
        return
    sys.stdout.write(
        f"{image.tags[0]}, also {image.tags[1]}\n"
        f"  {image.id}, {image.architecture}, {image.size / 1e6:.1f} MB\n"
        f"Build on it: BASE_IMAGE={image.tags[0]} ./pantsw package services/course_catalog:image\n"
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="build",
        usage=f"{COMMAND} -- [options]",
        description="Makes a base image for the services from Debian packages, for where the public"
        " one is out of reach: Python 3.11 and what it loads, certificates and time zones; no shell.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--name", metavar="TAG", default=NAME, help="its tag (default: %(default)s)"
    )
    parser.add_argument("--mirror", metavar="URL", help="where the packages come from")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="write an archive instead of loading it"
    )
    parser.add_argument(
        "--source-date-epoch",
        metavar="SECONDS",
        type=int,
        default=_SOURCE_DATE_EPOCH,
        help="the newest time that a file may have (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON, and no progress")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
