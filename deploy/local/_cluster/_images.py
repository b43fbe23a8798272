"""The services' images: given by name or built, and pushed to the registry of the embedded AWS."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.local._cluster._engine import Engine


async def missing_images(engine: Engine, given: Mapping[str, str]) -> list[str]:
    """Why the images can't be had, a line each: one that was given is not there."""
    return [
        f"the engine has no image {reference} (--image {service}=…)"
        for service, reference in given.items()
        if not await engine.has_image(reference)
    ]


class Images: ...
