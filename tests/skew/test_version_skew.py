"""The previous release and this one serve side by side: each keeps the other's contracts, over the
same data."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

import pytest
from yarl import URL

from tests.contract.consumers.pact import Interaction, Pact, answer_mismatches
from tests.contract.openapi import Contract, ContractError, Promise
from tests.skew.contracts import GROUPS, Contracts
from tests.skew.deployment import NEW, OLD, Deployment
from tests.skew.states import Stage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

_AT_ONCE = 4


@pytest.mark.parametrize(
    ("contracts_of", "asked"),
    [
        pytest.param(OLD, NEW, id="the previous contracts hold for the new images"),
        pytest.param(NEW, OLD, id="the shared part of the new contracts holds for the old images"),
    ],
)
async def test_contracts_hold_across_versions(
    deployment: Deployment,
    contracts: Mapping[str, Contracts],
    contracts_of: str,
    asked: str,
) -> None:
    """What is asked about was written by the version whose contracts these are."""
    known = contracts[OLD]
    turns = asyncio.Semaphore(_AT_ONCE)
    examined = 0
    problems: list[str] = []

    async def examine(pact: Pact, interaction: Interaction, promise: Promise) -> None:
        nonlocal examined
        async with turns:
            found = await _problems(
                deployment,
                contracts[contracts_of].documents[pact.provider],
                pact,
                interaction,
                promise,
                made_by=contracts_of,
                asked=asked,
            )
        examined += 1
        name = f"{pact.consumer} of {pact.provider}: {interaction.description}"
        problems.extend(f"{name}: {problem}" for problem in found)

    async with asyncio.TaskGroup() as group:
        for pact, interaction in contracts[contracts_of].interactions():
            # What both document: a new operation has nobody yet who could have been asked before.
            if known.promise(pact.provider, interaction) is not None:
                promise = contracts[contracts_of].promise(pact.provider, interaction)
                assert promise is not None, interaction.description
                group.create_task(examine(pact, interaction, promise))
    assert problems == []
    assert examined > 0
    sys.stdout.write(f"\n{examined} interactions of the {contracts_of} contracts, {asked} images\n")


async def _problems(
    deployment: Deployment,
    document: Contract,
    pact: Pact,
    interaction: Interaction,
    promise: Promise,
    *,
    made_by: str,
    asked: str,
) -> list[str]:
    stage = Stage(deployment, made_by)
    await stage.set_up(interaction.states)
    if promise.template == "/courses" and promise.method == "GET" and interaction.states:
        await stage.seen_in_listing(asked)
    told = stage.told(interaction)
    url = URL(deployment.urls[asked][pact.provider]) / told.request["path"].lstrip("/")
    if "query" in told.request:
        url = url.with_query(told.request["query"])
    headers = dict(told.request.get("headers", {}))
    if "Authorization" in headers:
        headers["Authorization"] = f"Bearer {stage.token(GROUPS[pact.consumer])}"
    body = told.request.get("body")
    is_text = isinstance(body, str)
    async with deployment.http.request(
        told.request["method"],
        url,
        headers=headers,
        data=body if is_text else None,
        json=None if is_text else body,
        allow_redirects=False,
    ) as answer:
        content = await answer.read()
        found = answer_mismatches(told, answer.status, answer.headers, content)
        try:
            await document.check(answer, promise.method, promise.template)
        except ContractError as broken:
            found.append(str(broken))
        return found
