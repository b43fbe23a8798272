"""The clients: opened once, before readiness, and used for the whole life of the process.

Owns the session, the guarded call (breaker, span, classification) and the operations that the
services use. Knows no table and no key. A client made per call would cost 50 times the call.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import aioboto3

from libs.aws._credentials import Credentials
from libs.aws._errors import (
    ConditionFailed,
    DependencyUnavailable,
    RequestRejected,
    Throttled,
    classify,
    translate,
)
from libs.aws._observer import (
    CallObserver,
    CallOutcome,
    CapacityKind,
    ConsumedCapacity,
    DependencyCall,
    consumed_capacity,
    outcome_of,
    tell,
    unobserved,
)
from libs.aws._presign import PresignedMethod, S3Endpoint, presign
from libs.aws._settings import AwsSettings, client_config, s3_config
from libs.circuit_breaker import CircuitBreaker, CircuitBreakerRegistry
from libs.tracing import AttributeValue, Span, Tracer

Service = Literal["dynamodb", "s3"]
Operation = Callable[..., Awaitable[dict[str, Any]]]


class _Guard:
    """One dependency's calls: through a breaker, in a span, with its errors classified, and told
    to the observer."""

    def __init__(
        self,
        dependency: Service,
        name: str,
        *,
        settings: AwsSettings,
        registry: CircuitBreakerRegistry,
        tracer: Tracer,
        credentials: Credentials,
        observer: CallObserver,
        clock: Callable[[], float],
    ) -> None:
        self._credentials = credentials
        self._observer = observer
        self._clock = clock
        self._dependency = dependency
        self._name = name
        self._region = settings.region
        self._tracer = tracer
        self.reads = registry.breaker(f"{dependency}:read", settings.breaker, classify)
        self.writes = registry.breaker(f"{dependency}:write", settings.breaker, classify)

    async def call(
        self,
        breaker: CircuitBreaker,
        operation: str,
        function: Operation,
        params: Mapping[str, Any],
        attributes: Mapping[str, AttributeValue],
    ) -> dict[str, Any]:
        """Make one call. Raises ConditionFailed, RequestRejected, DependencyError and
        CircuitOpenError, and nothing of botocore's."""
        started = self._clock()
        outcome = CallOutcome.SUCCESS
        consumed: tuple[ConsumedCapacity, ...] = ()
        try:
            response = await self._guarded(breaker, operation, function, params, attributes)
            kind: CapacityKind = "write" if breaker is self.writes else "read"
            consumed = consumed_capacity(response, kind)
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            seconds = self._clock() - started
            tell(
                self._observer,
                DependencyCall(self._dependency, operation, seconds, outcome, consumed),
            )
        return response

    async def _guarded(
        self,
        breaker: CircuitBreaker,
        operation: str,
        function: Operation,
        params: Mapping[str, Any],
        attributes: Mapping[str, AttributeValue],
    ) -> dict[str, Any]:
        async def send() -> dict[str, Any]:
            try:
                await self._credentials.ensure()
                response = await function(**params)
            except Exception as error:
                _note_metadata(span, getattr(error, "response", None))
                found = translate(error, dependency=self._dependency, operation=operation)
                if found is error:
                    raise
                raise found from error
            if "RequestId" not in response.get("ResponseMetadata", {}):
                # botocore reads any text as an empty answer, which here would mean "no such
                # item": what does not name its request is not from the service.
                raise DependencyUnavailable(
                    self._dependency, operation, reason="malformed_response"
                )
            return response

        with self._tracer.span(
            f"{self._name}.{operation}",
            kind="aws",
            attributes={
                "rpc.service": self._name,
                "aws.operation": operation,
                "aws.region": self._region,
                **attributes,
            },
        ) as span:
            try:
                response = await breaker.call(send)
            except TimeoutError as error:
                # The breaker's own time-out, over all attempts; an outer one arrives as a
                # cancellation and passes through.
                raise translate(error, dependency=self._dependency, operation=operation) from error
            except (ConditionFailed, RequestRejected, Throttled) as error:
                # Errors of the caller's, or of the moment; all else leaves the span as a fault.
                span.record_error(error, fault=False, throttled=isinstance(error, Throttled))
                raise
            _note_metadata(span, response)
            return response


class DynamoDB:
    """DynamoDB's item operations, with parameters and answers exactly as in its API.

    But for DescribeTable each also asks for the capacity that it consumes, by table and index.

    Every method raises ConditionFailed, RequestRejected, Throttled, DependencyUnavailable or
    CircuitOpenError.
    """

    def __init__(self, client: Any, guard: _Guard) -> None:
        self._client = client
        self._guard = guard

    async def get_item(self, **params: Any) -> dict[str, Any]:
        """GetItem."""
        return await self._read("GetItem", self._client.get_item, params)

    async def batch_get_item(self, **params: Any) -> dict[str, Any]:
        """BatchGetItem; UnprocessedKeys are the caller's to ask for again."""
        return await self._read("BatchGetItem", self._client.batch_get_item, params)

    async def query(self, **params: Any) -> dict[str, Any]:
        """Query; one page."""
        return await self._read("Query", self._client.query, params)

    async def scan(self, **params: Any) -> dict[str, Any]:
        """Scan; one page."""
        return await self._read("Scan", self._client.scan, params)

    async def transact_get_items(self, **params: Any) -> dict[str, Any]:
        """TransactGetItems."""
        return await self._read("TransactGetItems", self._client.transact_get_items, params)

    async def describe_table(self, **params: Any) -> dict[str, Any]:
        """DescribeTable."""
        return await self._guard.call(
            self._guard.reads,
            "DescribeTable",
            self._client.describe_table,
            params,
            _tables(params),
        )

    async def put_item(self, **params: Any) -> dict[str, Any]:
        """PutItem."""
        return await self._write("PutItem", self._client.put_item, params)

    async def update_item(self, **params: Any) -> dict[str, Any]:
        """UpdateItem."""
        return await self._write("UpdateItem", self._client.update_item, params)

    async def delete_item(self, **params: Any) -> dict[str, Any]:
        """DeleteItem."""
        return await self._write("DeleteItem", self._client.delete_item, params)

    async def batch_write_item(self, **params: Any) -> dict[str, Any]:
        """BatchWriteItem; UnprocessedItems are the caller's to send again."""
        return await self._write("BatchWriteItem", self._client.batch_write_item, params)

    async def transact_write_items(self, **params: Any) -> dict[str, Any]:
        """TransactWriteItems."""
        return await self._write("TransactWriteItems", self._client.transact_write_items, params)

    async def _read(self, operation: str, function: Operation, params: Any) -> dict[str, Any]:
        return await self._guard.call(
            self._guard.reads, operation, function, _metered(params), _tables(params)
        )

    async def _write(self, operation: str, function: Operation, params: Any) -> dict[str, Any]:
        return await self._guard.call(
            self._guard.writes, operation, function, _metered(params), _tables(params)
        )


class S3:
    """S3's object operations, with parameters and answers as in its API, and pre-signing.

    Every asynchronous method raises NotFound, RequestRejected, Throttled, DependencyUnavailable
    or CircuitOpenError.
    """

    def __init__(
        self, client: Any, guard: _Guard, credentials: Credentials, now: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._guard = guard
        self._credentials = credentials
        self._now = now
        self._endpoint = S3Endpoint(client.meta.endpoint_url, client.meta.region_name)

    async def head_object(self, **params: Any) -> dict[str, Any]:
        """HeadObject: size, type, entity tag, checksums."""
        return await self._call(self._guard.reads, "HeadObject", self._client.head_object, params)

    async def get_object(self, **params: Any) -> dict[str, Any]:
        """GetObject, with `Body` read whole: for small objects, or a Range of a large one."""

        async def get_whole_object(**params: Any) -> dict[str, Any]:
            response: dict[str, Any] = await self._client.get_object(**params)
            async with response["Body"] as body:
                response["Body"] = await body.read()
            return response

        return await self._call(self._guard.reads, "GetObject", get_whole_object, params)

    async def put_object(self, **params: Any) -> dict[str, Any]:
        """PutObject; `Body` is bytes."""
        return await self._call(self._guard.writes, "PutObject", self._client.put_object, params)

    async def delete_object(self, **params: Any) -> dict[str, Any]:
        """DeleteObject."""
        return await self._call(
            self._guard.writes, "DeleteObject", self._client.delete_object, params
        )

    def presign(
        self, method: PresignedMethod, params: Mapping[str, str], expires_seconds: int
    ) -> str:
        """A URL for one object, signed locally with what `credentials_expire_at` speaks of.

        It dies with those credentials, whatever `expires_seconds` (1 s to 7 days) says; the caller
        bounds it. Raises ValueError, and DependencyUnavailable when the credentials have ended.
        """
        return presign(
            method,
            params,
            expires_seconds=expires_seconds,
            endpoint=self._endpoint,
            signer=self._credentials.signer(),
            now=self._now(),
        )

    def credentials_expire_at(self) -> datetime | None:
        """When the signing credentials end, in UTC; None when they do not."""
        return self._credentials.expire_at()

    async def _call(
        self,
        breaker: CircuitBreaker,
        operation: str,
        function: Operation,
        params: Mapping[str, Any],
    ) -> dict[str, Any]:
        return await self._guard.call(
            breaker, operation, function, params, {"aws.s3.bucket": str(params.get("Bucket", ""))}
        )


class Clients:
    """The clients that were asked for; the others raise AttributeError, which is a wiring bug."""

    dynamodb: DynamoDB
    s3: S3


@asynccontextmanager
async def open_clients(
    settings: AwsSettings,
    *,
    registry: CircuitBreakerRegistry,
    tracer: Tracer,
    services: Sequence[Service] = ("dynamodb",),
    observer: CallObserver = unobserved,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: Callable[[], float] = time.perf_counter,
) -> AsyncIterator[Clients]:
    """Open the clients of `services` over one session, and close them at the end.

    `observer` hears of every call, timed with `clock` (seconds). Endpoints and credentials come
    from the SDK's own environment variables and chain. Raises
    DependencyUnavailable when no credentials can be had.
    """
    async with AsyncExitStack() as stack:
        session = aioboto3.Session(region_name=settings.region)
        credentials = await Credentials.resolve(session)
        clients = Clients()

        def guard(dependency: Service, name: str) -> _Guard:
            return _Guard(
                dependency,
                name,
                settings=settings,
                registry=registry,
                tracer=tracer,
                credentials=credentials,
                observer=observer,
                clock=clock,
            )

        if "dynamodb" in services:
            client = await stack.enter_async_context(
                session.client("dynamodb", config=client_config(settings))
            )
            clients.dynamodb = DynamoDB(client, guard("dynamodb", "DynamoDB"))
        if "s3" in services:
            client = await stack.enter_async_context(
                session.client("s3", config=s3_config(settings))
            )
            clients.s3 = S3(client, guard("s3", "S3"), credentials, now)
        await stack.enter_async_context(
            _background(credentials.keep_fresh(settings.credentials_check_seconds))
        )
        yield clients


@asynccontextmanager
async def _background(work: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _metered(params: Mapping[str, Any]) -> Mapping[str, Any]:
    # Costs a few bytes of the answer, no capacity.
    return {"ReturnConsumedCapacity": "INDEXES", **params}


def _tables(params: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {"aws.dynamodb.table_names": tuple(sorted(set(_table_names(params))))}


def _table_names(params: Mapping[str, Any]) -> Iterable[str]:
    if "TableName" in params:
        yield params["TableName"]
    yield from params.get("RequestItems", ())
    for entry in params.get("TransactItems", ()):
        for action in entry.values():
            yield action["TableName"]


def _note_metadata(span: Span, response: object) -> None:
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    if "RequestId" in metadata:
        span.set_attribute("aws.request_id", str(metadata["RequestId"]))
    if metadata.get("RetryAttempts"):
        span.set_attribute("aws.request.retries", int(metadata["RetryAttempts"]))
