"""The providers' side: each service, over a real socket and in the state that an interaction names,
answers as its consumers were promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.content_delivery.domain.content import MultipartUpload
from tests.contract.consumers.pact import Interaction, load, verify
from tests.contract.content_delivery.service import POLICY, World
from tests.contract.content_delivery.service import Service as ContentDelivery
from tests.contract.content_delivery.service import running as running_content_delivery
from tests.contract.course_catalog.running import RunningCatalog, running_catalog
from tests.contract.progress_tracking.service import Service as ProgressTracking
from tests.contract.progress_tracking.service import running as running_progress_tracking
from tests.unit.content_delivery.samples import pending, ready
from tests.unit.course_catalog.courses import draft, published
from tests.unit.progress_tracking.updates import OUTLINE

PACTS = [load(path) for path in sorted(Path(__file__).parent.glob("*.json"))]
GROUPS = {"course_import": ["authors"], "learner_app": []}


def agreed_with(provider: str) -> list[Any]:
    """The interactions of a provider, with the groups of each one's caller."""
    return [
        pytest.param(one, GROUPS[pact.consumer], id=f"{pact.consumer}: {name}")
        for pact in PACTS
        if pact.provider == provider
        for name, one in pact.interactions.items()
    ]


def test_each_contract_has_its_two_sides() -> None:
    assert {(pact.consumer, pact.provider) for pact in PACTS} == {
        ("course_import", "course_catalog"),
        ("course_import", "content_delivery"),
        ("learner_app", "course_catalog"),
        ("learner_app", "content_delivery"),
        ("learner_app", "progress_tracking"),
    }


async def bring_catalog_to(catalog: RunningCatalog, state: Mapping[str, Any]) -> None:
    given = state.get("params", {})
    match state["name"]:
        case "a draft":
            await catalog.add(draft(given["number"]))
        case "a published course":
            await catalog.add(published(given["number"]))
        case "an author has changed its title":
            path = f"/courses/{given['course']}"
            status, _, _ = await catalog.write(
                "PATCH", path, {"title": "Another author's"}, if_match='"v1"'
            )
            assert status == 200
        case other:
            raise AssertionError(f"no such state: {other}")


@pytest.mark.parametrize(("interaction", "groups"), agreed_with("course_catalog"))
async def test_the_catalog_answers_as_agreed(interaction: Interaction, groups: list[str]) -> None:
    async with running_catalog() as catalog, aiohttp.ClientSession() as session:
        for state in interaction.states:
            await bring_catalog_to(catalog, state)
        token = catalog.issuer.token(sub="somebody", groups=groups)
        base = str(catalog.base)
        assert await verify(session, base, interaction, token=token) == []


async def bring_content_to(service: ContentDelivery, state: Mapping[str, Any]) -> None:
    given = state.get("params", {})
    world = service.world
    match state["name"]:
        case "a ready content":
            world.put(ready(given["id"]))
        case "an announced content":
            content = pending(given["id"], size_bytes=given["sizeBytes"], content_type="text/html")
            if given["sizeBytes"] > POLICY.single_bytes:
                upload = await world.objects.create_multipart(
                    content.object_key, content_type=content.content_type
                )
                parts = MultipartUpload(upload, POLICY.part_bytes)
                content = replace(content, multipart=parts)
            world.put(content)
        case "its bytes have arrived":
            found = await world.contents.get(given["id"])
            assert found is not None
            body = b"x" * found.size_bytes
            await world.objects.put(found.object_key, body, content_type=found.content_type)
        case other:
            raise AssertionError(f"no such state: {other}")


@pytest.mark.parametrize(("interaction", "groups"), agreed_with("content_delivery"))
async def test_content_delivery_answers_as_agreed(
    interaction: Interaction, groups: list[str]
) -> None:
    world = World()
    async with running_content_delivery(world) as service, aiohttp.ClientSession() as session:
        for state in interaction.states:
            await bring_content_to(service, state)
        token = world.issuer.token(sub="somebody", groups=groups)
        base = str(service.served.api)
        assert await verify(session, base, interaction, token=token) == []


async def bring_progress_to(service: ProgressTracking, state: Mapping[str, Any]) -> None:
    match state["name"]:
        case "the outline of crs-1 is known":
            assert await service.repository.learn_outline(OUTLINE)
        case "the learner has completed intro of crs-1":
            update = {
                "occurredAt": "2026-02-01T09:00:00Z",
                "deviceId": "phone",
                "resume": {"contentId": "intro", "positionSeconds": 30},
                "items": {"intro": {"completed": True}},
            }
            async with await service.request("PUT", "/progress/me/crs-1", json=update) as response:
                assert response.status == 201
        case other:
            raise AssertionError(f"no such state: {other}")


@pytest.mark.parametrize(("interaction", "groups"), agreed_with("progress_tracking"))
async def test_progress_tracking_answers_as_agreed(
    interaction: Interaction, groups: list[str]
) -> None:
    async with running_progress_tracking() as service:
        for state in interaction.states:
            await bring_progress_to(service, state)
        token = service.issuer.token(sub="learner-a", groups=groups)
        base = str(service.served.api)
        assert await verify(service.session, base, interaction, token=token) == []
