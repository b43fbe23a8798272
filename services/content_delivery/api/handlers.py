"""The controllers of content delivery: read the request, ask the domain, write the answer."""

from __future__ import annotations

from aiohttp import web

from libs.http import json_response, parse_query, path_identifier
from services.content_delivery.api.schemas import DeliveryQuery, content_document
from services.content_delivery.domain.content_disposition import Disposition
from services.content_delivery.domain.delivery import ContentDelivery

DELIVERY = web.AppKey("delivery", ContentDelivery)
"""The use case; the composition root puts it there before the first request."""


async def get_content(request: web.Request) -> web.StreamResponse:
    """``GET /content/{contentId}``. Open to every principal: the layers above refused the others.

    Nothing is looked up before the id and the query are known to be well-formed.
    """
    content_id = path_identifier(request, "contentId")
    query = parse_query(request, DeliveryQuery)
    delivered = await request.app[DELIVERY].deliver(
        content_id, rendition=query.rendition, disposition=Disposition(query.disposition)
    )
    return json_response(
        request,
        content_document(delivered),
        # The answer holds a credential: not even the client's own cache keeps it.
        cache_control="private, no-store",
    )
