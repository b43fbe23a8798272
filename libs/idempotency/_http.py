"""`Idempotency-Key` of an HTTP request: read, scoped to who asks, its failures as problems."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from libs.http import Problem, principal
from libs.idempotency._errors import IdempotencyInProgressError, IdempotencyKeyReusedError
from libs.idempotency._key import fingerprint, parse_key
from libs.idempotency._once import Idempotency, KeyedRequest, Reservation
from libs.idempotency._store import Answer


def idempotency_key(request: web.Request) -> str | None:
    """The request's key, None without one. Raises Problem 400 `invalid_header`."""
    sent = request.headers.getall("Idempotency-Key", [])
    if not sent:
        return None
    try:
        if len(sent) > 1:
            raise ValueError("must be sent once")
        return parse_key(sent[0])
    except ValueError as error:
        raise Problem(400, "invalid_header", f"Idempotency-Key {error}.") from error


async def answer_once(
    request: web.Request,
    idempotency: Idempotency,
    *,
    operation: str,
    body: object,
    new_id: Callable[[], str],
    create: Callable[[Reservation], Awaitable[Answer]],
    refusals: tuple[type[Exception], ...] = (),
) -> web.Response:
    """Answer an authorized request by `create`; under a key, at most once.

    `operation` is the key's scope together with who asks; `body` the parsed JSON body, already
    found valid: what is refused before this is called leaves no trace of the key. `refusals` are
    exceptions of `create` that promise that nothing was created, as a Problem below 500 does.
    Raises Problem 400 for a malformed key, 409 `idempotency_in_progress`, 422
    `idempotency_key_reused`, and what `create` and the store raise.
    """
    key = idempotency_key(request)
    if key is None:
        return _response(await create(Reservation(new_id(), resumed=False)))
    resource = request.match_info.route.resource
    assert resource is not None  # a handler was found
    keyed = KeyedRequest(
        key=key,
        principal=principal(request).subject,
        operation=operation,
        fingerprint=fingerprint(request.method, resource.canonical, request.match_info, body),
    )

    def is_refusal(error: Exception) -> bool:
        if isinstance(error, Problem):
            return error.status < 500
        return isinstance(error, refusals)

    try:
        answer = await idempotency.once(keyed, new_id=new_id, create=create, is_refusal=is_refusal)
    except IdempotencyKeyReusedError as error:
        raise Problem(
            422,
            "idempotency_key_reused",
            "This Idempotency-Key was sent before with another request; use a new one.",
        ) from error
    except IdempotencyInProgressError as error:
        raise Problem(
            409,
            "idempotency_in_progress",
            "A request with this Idempotency-Key is being carried out; ask again for its answer.",
            headers={"Retry-After": "1"},
        ) from error
    return _response(answer)


def _response(answer: Answer) -> web.Response:
    response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    response.content_type = "application/json"
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
