"""Item operations without botocore's preparation of each request, which costs as much as all the rest.

Owns when a request may go that way, and what is taken from botocore's own first request of each
operation. Knows neither signatures nor sockets.
"""

import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple

# Those that a request of a service may wait for. Parameters of others have more than these kinds of values.
_ITEM_OPERATIONS = frozenset(
    {
        "BatchGetItem",
        "BatchWriteItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "TransactGetItems",
        "TransactWriteItems",
        "UpdateItem",
    }
)
# The headers that botocore makes of the operation and the client alone.
_CONSTANT_HEADERS = frozenset({"X-Amz-Target", "Content-Type", "User-Agent"})
# Where one of these may stand in the parameters, botocore's serializer may make something else of
# them than JSON does: binary values, and None.
_BINARY = re.compile(r'BS?"')
_NULL = re.compile("null")


class Answer(NamedTuple):
    """An HTTP answer as handlers of botocore's `after-call` know it."""

    url: str
    status_code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    async def content(self) -> bytes:
        return self.body


Call = Callable[[Any, str, Mapping[str, str], bytes], Awaitable[tuple[Answer, Mapping[str, Any]]]]


class _Learnt(NamedTuple):
    """What every request of an operation has in common; `tokens`: without these parameters botocore
    would add them."""

    model: Any
    address: str
    headers: Mapping[str, str]
    members: frozenset[str]
    tokens: frozenset[str]


class ShortWay:
    """Takes the place of a client's `_make_api_call`, which is what all its methods are made of."""

    def __init__(self, client: Any, call: Call) -> None:
        self._client = client
        self._call = call
        self._long_way: Callable[[str, Any], Awaitable[Any]] = client._make_api_call
        self._exceptions = client.exceptions
        self._learnt: dict[str, _Learnt] = {}

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Go this way while the context is open."""
        self._client._make_api_call = self.make_api_call
        try:
            yield
        finally:
            del self._client._make_api_call

    def learn(self, model: Any, request: Mapping[str, Any]) -> None:
        """Keep what a request that botocore has made says about all of its operation."""
        headers = request["headers"]
        if (
            model.name in _ITEM_OPERATIONS
            and model.name not in self._learnt
            and headers.keys() == _CONSTANT_HEADERS
        ):
            self._learnt[model.name] = _Learnt(
                model,
                request["url"],
                dict(headers),
                frozenset(model.input_shape.members),
                frozenset(model.idempotent_members),
            )

    async def make_api_call(self, operation_name: str, params: Mapping[str, Any]) -> Any:
        """The answer, or the exception of the client's that it is."""
        learnt = self._learnt.get(operation_name)
        body = None if learnt is None else _body(learnt, params)
        if learnt is None or body is None:
            return await self._long_way(operation_name, params)
        answer, parsed = await self._call(learnt.model, learnt.address, learnt.headers, body)
        if answer.status_code >= 300:
            code = parsed.get("Error", {}).get("Code")
            raise self._exceptions.from_code(code)(parsed, operation_name)
        return parsed


def _body(learnt: _Learnt, params: Mapping[str, Any]) -> bytes | None:
    """The request's body, byte for byte as botocore makes it; None where botocore has to."""
    if not learnt.tokens <= params.keys() <= learnt.members:
        return None
    try:
        text = json.dumps(params)
    except (TypeError, ValueError):
        # What JSON does not know, such as bytes and sets.
        return None
    if _BINARY.search(text) or _NULL.search(text):
        return None
    return text.encode()
