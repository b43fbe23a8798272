"""The same sources give the same layers: two builds that share no cache are compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.containers.images.conftest import WITHOUT_TESTS, Built
from tests.integration.monorepo.checkout import Checkout, scratch_checkout

# Pants builds all packages in a scratch copy: half a minute on an idle machine, more on a busy one.
pytestmark = pytest.mark.timeout(1200)

SERVICE = "course_catalog"


def packaged_from_clean_caches(folder: Path) -> Checkout:
    """Another copy of the repository, where Pants has nothing of an earlier build: packages are
    fetched, installed and put together anew."""
    (folder / "checkout").mkdir()
    with scratch_checkout(folder / "checkout", WITHOUT_TESTS) as checkout:
        done = checkout.pants(
            "--no-pantsd",
            "package",
            f"services/{SERVICE}:deps",
            f"services/{SERVICE}:srcs",
            timeout=600,
            PANTS_LOCAL_STORE_DIR=str(folder / "store"),
            PANTS_NAMED_CACHES_DIR=str(folder / "caches"),
        )
        assert done.returncode == 0, done.stderr
        return checkout


def built_without_cache(built: Built, checkout: Checkout, context: Path, tag: str) -> list[str]:
    """The layers of an image that Docker builds from the packages of a checkout, step by step."""
    shown = built.checkout.pants("peek", f"services/{SERVICE}:image")
    assert shown.returncode == 0, shown.stderr
    (target,) = json.loads(shown.stdout)
    packages = f"services.{SERVICE}"
    shutil.copytree(checkout.root / "dist" / packages, context / packages)
    (context / "deploy/images").mkdir(parents=True)
    shutil.copy(checkout.root / "deploy/images/layers.py", context / "deploy/images/layers.py")
    (context / "Dockerfile").write_text("\n".join(target["instructions"]) + "\n")
    built.engine.run(
        "build", "--no-cache", f"--build-arg=BASE_IMAGE={built.base}", "--tag", tag, str(context),
        timeout=300,
    )  # fmt: skip
    try:
        return built.layers(tag)
    finally:
        built.engine.run("image", "rm", tag)


def test_two_builds_from_clean_caches_have_the_same_layers(built: Built, tmp_path: Path) -> None:
    checkout = packaged_from_clean_caches(tmp_path)
    for package in ("deps.pex/PEX-INFO", "srcs.pex"):
        path = f"dist/services.{SERVICE}/{package}"
        assert (checkout.root / path).read_bytes() == (built.checkout.root / path).read_bytes()
    tag = f"{built.images[SERVICE]}-again"
    again = built_without_cache(built, checkout, tmp_path / "context", tag)
    assert again == built.layers(built.images[SERVICE])


def test_services_share_all_layers_but_their_sources(built: Built) -> None:
    """A base and its bytecode are pulled once; the packages are those of each service's own."""
    layers = [built.layers(image) for image in built.images.values()]
    base, interpreter, _, sources = zip(*layers, strict=True)
    assert len(set(base)) == 1
    assert len(set(interpreter)) == 1
    assert len(set(sources)) == len(sources)


def test_a_change_of_the_sources_leaves_every_other_layer(built: Built) -> None:
    before = built.layers(built.images[SERVICE])
    source = f"services/{SERVICE}/app.py"
    text = (built.checkout.root / source).read_text()
    built.checkout.edit(source, "from __future__", "# changed\nfrom __future__")
    try:
        done = built.checkout.pants(
            "package", f"services/{SERVICE}:image", timeout=600, BASE_IMAGE=built.base
        )
        assert done.returncode == 0, done.stderr
        after = built.layers(built.images[SERVICE])
    finally:
        (built.checkout.root / source).write_text(text)
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
