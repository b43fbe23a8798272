"""One moto, one plan for production and one applied platform for all tests here; destroyed by the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.backends import Backend, running_moto
from tests.terraform.platform_on_moto import DEV, MONOLITH, PROD, STEP_THREE, Applied
from tests.terraform.terraform import Plan, Resource, Terraform, TerraformMissing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What destroys comes last; else the order stays."""
    items.sort(key=lambda item: "destroyed" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def moto_for_terraform() -> Iterator[Backend]:
    with running_moto(additions="tests.terraform.moto_additions") as backend:
        yield backend


@pytest.fixture(scope="session")
def terraform(moto_for_terraform: Backend, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform with the provider, in a folder of its own."""
    try:
        program = Terraform(tmp_path_factory.mktemp("terraform"), moto_for_terraform.endpoint_url)
        program.install()
    except TerraformMissing as missing:
        pytest.skip(f"Terraform is not tried: {missing}")
    return program


@pytest.fixture(scope="session")
def production(terraform: Terraform) -> Plan:
    """The plan of a new production, the monolith and Step 3 included."""
    return terraform.plan((*PROD, *MONOLITH), state="production.tfstate")


@pytest.fixture(scope="session")
def applied(terraform: Terraform, moto_for_terraform: Backend, production: Plan) -> Applied:
    """Everything applied once; after the other plan, which looks at an empty account."""
    assert production.changes
    terraform.plan(DEV)
    terraform.apply()
    return Applied(terraform, moto_for_terraform, terraform.resources)


@pytest.fixture(scope="session")
def destroyed(applied: Applied) -> Mapping[str, Resource]:
    """What the state holds after everything was destroyed."""
    applied.terraform.destroy(DEV)
    return {one["address"]: one for one in applied.terraform.resources}


@pytest.fixture(scope="session")
def step_three(applied: Applied, destroyed: Mapping[str, Resource]) -> Applied:
    """An account anew: the monolith and the APIs, each led to it as it is made."""
    assert not destroyed
    applied.terraform.plan(STEP_THREE)
    applied.terraform.apply()
    return Applied(applied.terraform, applied.backend, applied.terraform.resources)
