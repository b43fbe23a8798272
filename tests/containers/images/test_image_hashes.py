"""What changes an image's hash, and whose: Pants builds in a scratch copy; Docker is not asked.

The hash is part of a tag, and tells what must be released.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.images.conftest import SERVICES, WITHOUT_TESTS, tags_of
from tests.integration.monorepo.checkout import Checkout, scratch_checkout

# Pants builds all packages in a scratch copy: half a minute on an idle machine, more on a busy one.
pytestmark = pytest.mark.timeout(1200)

# Says that it built, as Docker does: the hash is Pants' own, of all that Docker is given.
NO_DOCKER = """#!/bin/sh
[ "$1" != build ] || echo "Successfully built 0123456789ab"
"""
NONE: set[str] = set()
ALL = set(SERVICES)


class Hashes:
    """The hashes of all images, before and after each change."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._known = self._build()

    def changed_by(self, path: str, old: str, new: str) -> set[str]:
        """The services whose image has another hash since a text of a file was replaced."""
        self._checkout.edit(path, old, new)
        before, self._known = self._known, self._build()
        return {service for service in SERVICES if before[service] != self._known[service]}

    def _build(self) -> dict[str, str]:
        done = self._checkout.pants("package", *(f"services/{name}:image" for name in SERVICES))
        assert done.returncode == 0, done.stderr
        return {service: self._hash(service) for service in SERVICES}

    def _hash(self, service: str) -> str:
        (tag,) = (
            name
            for template, name in tags_of(self._checkout.root, service).items()
            if template.endswith("-{pants.hash}")
        )
        return tag.rpartition("-")[2]


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hashes]:
    with scratch_checkout(tmp_path_factory.mktemp("hashes"), WITHOUT_TESTS) as checkout:
        docker = checkout.root / "deploy/images/docker"
        docker.write_text(NO_DOCKER)
        docker.chmod(0o755)
        yield Hashes(checkout)


@pytest.mark.parametrize(
    ("path", "old", "new", "services"),
    [
        pytest.param(
            "services/content_delivery/app.py",
            "from __future__",
            "# changed\nfrom __future__",
            {"content_delivery"},
            id="a service's source",
        ),
        pytest.param(
            "services/course_catalog/BUILD",
            'version="',
            'version="1',
            {"course_catalog"},
            id="a service's version",
        ),
        pytest.param(
            "libs/idempotency/_once.py",
            "from __future__",
            "# changed\nfrom __future__",
            {"course_catalog", "content_delivery"},
            id="a lib that two services use",
        ),
        pytest.param(
            "libs/http/_problem.py",
            "from ",
            "# changed\nfrom ",
            ALL,
            id="a lib that all services use",
        ),
        pytest.param(
            "deploy/images/base/build.py",
            "from __future__",
            "# changed\nfrom __future__",
            NONE,
            id="a tool that is in no image",
        ),
        pytest.param(
            "deploy/images/layers.py",
            "from __future__",
            "# changed\nfrom __future__",
            ALL,
            id="what makes the layers",
        ),
        pytest.param(
            "deploy/pants/service.prelude",
            "STOPSIGNAL SIGTERM",
            "STOPSIGNAL SIGINT",
            ALL,
            id="the macro's Dockerfile",
        ),
    ],
)
def test_a_change_gives_new_hashes_to_exactly_those_it_concerns(
    hashes: Hashes, path: str, old: str, new: str, services: set[str]
) -> None:
    assert hashes.changed_by(path, old, new) == services
