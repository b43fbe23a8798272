"""The dependency rules refuse what the architecture forbids.

Each test asks the real Pants, with the real rules, in a scratch copy of the repository.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.monorepo.checkout import Checkout, scratch_checkout

SERVICES = ("course_catalog", "content_delivery", "progress_tracking")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    with scratch_checkout(tmp_path_factory.mktemp("checkout")) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "statement", "target"),
    [
        pytest.param(
            "services/course_catalog/planted.py",
            "import services.content_delivery.config",
            "services/content_delivery/config.py",
            id="service to service",
        ),
        pytest.param(
            "libs/http/planted.py",
            "import services.course_catalog.config",
            "services/course_catalog/config.py",
            id="lib to service",
        ),
        pytest.param(
            "services/course_catalog/domain/planted.py",
            "import services.course_catalog.storage.dynamodb",
            "services/course_catalog/storage/dynamodb.py",
            id="domain to storage",
        ),
        pytest.param(
            "services/content_delivery/domain/planted.py",
            "import libs.http",
            "libs/http/__init__.py",
            id="domain to lib",
        ),
        pytest.param(
            "services/progress_tracking/domain/planted.py",
            "import aiohttp",
            "3rdparty/python:default#aiohttp",
            id="domain to package",
        ),
        pytest.param(
            "services/progress_tracking/api/planted.py",
            "import services.progress_tracking.storage.dynamodb",
            "services/progress_tracking/storage/dynamodb.py",
            id="api to storage",
        ),
        pytest.param(
            "services/content_delivery/storage/planted.py",
            "import services.content_delivery.api.handlers",
            "services/content_delivery/api/handlers.py",
            id="storage to api",
        ),
        pytest.param(
            "deploy/course_import/planted.py",
            "import services.course_catalog.domain.course",
            "services/course_catalog/domain/course.py",
            id="tool to service",
        ),
        pytest.param(
            "services/course_catalog/planted.py",
            "import deploy.images.layers",
            "deploy/images/layers.py",
            id="service to what makes its image",
        ),
        pytest.param(
            "libs/aws/planted.py",
            "import tests.backends",
            "tests/backends/__init__.py",
            id="lib to test",
        ),
    ],
)
def test_a_forbidden_import_is_refused(
    checkout: Checkout, path: str, statement: str, target: str
) -> None:
    planted = checkout.plant(path, statement)
    try:
        done = checkout.pants("check", path)
    finally:
        planted.unlink()
    assert done.returncode != 0
    assert "DependencyRuleActionDeniedError" in done.stderr
    assert f"{path} -> " in done.stderr
    assert target in done.stderr


def test_an_allowed_import_is_not_refused(checkout: Checkout) -> None:
    planted = checkout.plant(
        "services/course_catalog/planted.py", "import services.course_catalog.storage.dynamodb"
    )
    try:
        done = checkout.pants("dependencies", "services/course_catalog/planted.py")
    finally:
        planted.unlink()
    assert done.returncode == 0, done.stderr
    assert "services/course_catalog/storage/dynamodb.py" in done.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_no_path_leads_from_a_service_to_another(checkout: Checkout, service: str) -> None:
    """The rules see direct dependencies only; this looks at all that is reached."""
    done = checkout.pants("dependencies", "--transitive", f"services/{service}::")
    assert done.returncode == 0, done.stderr
    reached = done.stdout.split()
    assert f"services/{service}/app.py" in reached
    assert any(address.startswith("libs/http/") for address in reached)
    forbidden = (
        "tests/",
        "deploy/",
        *(f"services/{other}" for other in SERVICES if other != service),
    )
    # What makes the layers of its image is a file to the service, and no import.
    reached.remove("deploy/images/layers.py:layers")
    assert [address for address in reached if address.startswith(forbidden)] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_domain_reaches_only_itself(checkout: Checkout, service: str) -> None:
    done = checkout.pants("dependencies", "--transitive", f"services/{service}/domain::")
    assert done.returncode == 0, done.stderr
    domain = f"services/{service}/domain"
    # The package that Python runs on the way; it holds a docstring only.
    allowed = (f"{domain}/", f"{domain}:", f"services/{service}/__init__.py")
    assert [address for address in done.stdout.split() if not address.startswith(allowed)] == []
