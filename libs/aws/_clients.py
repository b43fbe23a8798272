"""The clients: opened once, before readiness, and used for the whole life of the process.

Owns the session, the guarded call (pipeline, span, classification), which operation may be repeated,
and the operations that the services use. Knows no table and no key. A client made per call would
cost 50 times the call.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from libs.aws._clock import SigningClock
from libs.aws._credentials import Credentials
from libs.aws._errors import (
    ConditionFailed,
    DependencyUnavailable,
    RequestRejected,
    Throttled,
    classify,
    classify_failure,
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
from libs.aws._presign_post import Condition, PresignedPost, presign_post
from libs.aws._session import new_session
from libs.aws._settings import (
    LONG_POLL_RETRY,
    AwsSettings,
    client_config,
    long_poll_breaker,
    s3_config,
    sqs_config,
)
from libs.aws._transport import direct_transport, verify_answers
from libs.circuit_breaker import CircuitOpenError
from libs.resilience import (
    BulkheadFullError,
    DeadlineExceededError,
    PipelineRegistry,
    Repeatable,
    ResiliencePipeline,
)
from libs.tracing import AttributeValue, Span, Tracer

Service = Literal["dynamodb", "s3", "sqs"]
Operation = Callable[..., Awaitable[dict[str, Any]]]
Attributes = Callable[[Mapping[str, Any]], Mapping[str, AttributeValue]]
"""What a span tells of a call's parameters; asked for where the span is recorded."""

_REFUSALS = (CircuitOpenError, BulkheadFullError, DeadlineExceededError)


class _Guard:
    """One dependency's calls: through a pipeline, in a span, with their errors classified, and told
    to the observer."""

    def __init__(
        self,
        dependency: Service,
        name: str,
        *,
        settings: AwsSettings,
        registry: PipelineRegistry,
        tracer: Tracer,
        credentials: Credentials,
        observer: CallObserver,
        clock: Callable[[], float],
        polls: bool = False,
    ) -> None:
        self._credentials = credentials
        self._observer = observer
        self._clock = clock
        self._dependency = dependency
        self._name = name
        self._region = settings.region
        self._tracer = tracer

        def pipeline(operation_class: str, *, polls: bool = False) -> ResiliencePipeline:
            return registry.pipeline(
                f"{dependency}:{operation_class}",
                breaker=long_poll_breaker(settings.breaker) if polls else settings.breaker,
                bulkhead=settings.bulkhead,
                # Who polls comes again by himself.
                retry=LONG_POLL_RETRY if polls else settings.retry,
                budget=settings.retry_budget,
                classify=classify,
                classify_failure=classify_failure,
            )

        self._reads = pipeline("read", polls=polls)
        self._writes = pipeline("write")

    async def read(
        self,
        operation: str,
        function: Operation,
        params: Mapping[str, Any],
        attributes: Attributes,
    ) -> dict[str, Any]:
        """As `call`, for what changes nothing."""
        return await self.call(
            self._reads, operation, function, params, attributes, Repeatable.ALWAYS
        )

    async def write(
        self,
        operation: str,
        function: Operation,
        params: Mapping[str, Any],
        attributes: Attributes,
        *,
        repeatable: bool,
    ) -> dict[str, Any]:
        """As `call`. repeatable: whether twice is the same as once; if not, the call is repeated
        only where the failure shows that nothing was executed."""
        return await self.call(
            self._writes,
            operation,
            function,
            params,
            attributes,
            Repeatable.ALWAYS if repeatable else Repeatable.ONLY_IF_NOT_EXECUTED,
        )

    async def call(
        self,
        pipeline: ResiliencePipeline,
        operation: str,
        function: Operation,
        params: Mapping[str, Any],
        attributes: Attributes,
        repeatable: Repeatable,
    ) -> dict[str, Any]:
        """Make one call. Raises ConditionFailed, RequestRejected, DependencyError,
        CircuitOpenError, BulkheadFullError and DeadlineExceededError, and nothing of botocore's."""
        started = self._clock()
        outcome = CallOutcome.SUCCESS
        consumed: tuple[ConsumedCapacity, ...] = ()
        try:
            response = await self._guarded(
                pipeline, operation, function, params, attributes, repeatable
            )
            kind: CapacityKind = "write" if pipeline is self._writes else "read"
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
        pipeline: ResiliencePipeline,
        operation: str,
        function: Operation,
        params: Mapping[str, Any],
        attributes: Attributes,
        repeatable: Repeatable,
    ) -> dict[str, Any]:
        attempts = 0

        async def send() -> dict[str, Any]:
            nonlocal attempts
            attempts += 1
            if attempts > 1:
                span.set_attribute("aws.request.retries", attempts - 1)
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

        with self._tracer.span(f"{self._name}.{operation}", kind="aws") as span:
            if span.is_recording:
                self._describe(span, operation, attributes(params))
            try:
                response = await pipeline.call(send, repeatable=repeatable)
            except TimeoutError as error:
                # The last attempt's own time-out; an outer one arrives as a cancellation and
                # passes through.
                raise translate(error, dependency=self._dependency, operation=operation) from error
            except (ConditionFailed, RequestRejected, Throttled, *_REFUSALS) as error:
                # Errors of the caller's, of the moment, or of nobody who was asked; all else leaves
                # the span as a fault.
                span.record_error(error, fault=False, throttled=isinstance(error, Throttled))
                raise
            _note_metadata(span, response)
            return response

    def _describe(
        self, span: Span, operation: str, attributes: Mapping[str, AttributeValue]
    ) -> None:
        span.set_attribute("rpc.service", self._name)
        span.set_attribute("aws.operation", operation)
        span.set_attribute("aws.region", self._region)
        for name, value in attributes.items():
            span.set_attribute(name, value)


class DynamoDB:
    """DynamoDB's item operations, with parameters and answers exactly as in its API.

    But for DescribeTable each also asks for the capacity that it consumes, by table and index.

    Every method raises ConditionFailed, RequestRejected, Throttled, DependencyUnavailable,
    CircuitOpenError, BulkheadFullError or DeadlineExceededError. A write whose answer was lost is
    not sent again, unless the caller says by `repeatable` that twice is the same as once: its
    condition could fail on its own first effect.
    """

    def __init__(self, client: Any, guard: _Guard, new_token: Callable[[], str]) -> None:
        self._client = client
        self._guard = guard
        self._new_token = new_token

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
        return await self._guard.read("DescribeTable", self._client.describe_table, params, _tables)

    async def put_item(self, *, repeatable: bool = False, **params: Any) -> dict[str, Any]:
        """PutItem."""
        return await self._write("PutItem", self._client.put_item, params, repeatable)

    async def update_item(self, *, repeatable: bool = False, **params: Any) -> dict[str, Any]:
        """UpdateItem."""
        return await self._write("UpdateItem", self._client.update_item, params, repeatable)

    async def delete_item(self, *, repeatable: bool = False, **params: Any) -> dict[str, Any]:
        """DeleteItem."""
        return await self._write("DeleteItem", self._client.delete_item, params, repeatable)

    async def batch_write_item(self, *, repeatable: bool = False, **params: Any) -> dict[str, Any]:
        """BatchWriteItem; UnprocessedItems are the caller's to send again."""
        return await self._write(
            "BatchWriteItem", self._client.batch_write_item, params, repeatable
        )

    async def transact_write_items(self, **params: Any) -> dict[str, Any]:
        """TransactWriteItems, idempotent for ten minutes by its ClientRequestToken: every attempt
        carries the same one, the caller's or, without one, a new one."""
        token = params.get("ClientRequestToken") or self._new_token()
        return await self._write(
            "TransactWriteItems",
            self._client.transact_write_items,
            {**params, "ClientRequestToken": token},
            repeatable=True,
        )

    async def _read(self, operation: str, function: Operation, params: Any) -> dict[str, Any]:
        return await self._guard.read(operation, function, _metered(params), _tables)

    async def _write(
        self, operation: str, function: Operation, params: Any, repeatable: bool
    ) -> dict[str, Any]:
        return await self._guard.write(
            operation, function, _metered(params), _tables, repeatable=repeatable
        )


class S3:
    """S3's object operations, with parameters and answers as in its API, and pre-signing.

    Every asynchronous method raises NotFound, RequestRejected, Throttled, DependencyUnavailable,
    CircuitOpenError, BulkheadFullError or DeadlineExceededError. `repeatable` as in `DynamoDB`.
    """

    def __init__(
        self,
        client: Any,
        guard: _Guard,
        credentials: Credentials,
        now: Callable[[], datetime],
        clock: SigningClock,
    ) -> None:
        self._client = client
        self._guard = guard
        self._credentials = credentials
        self._now = now
        self._clock = clock
        self._endpoint = S3Endpoint(client.meta.endpoint_url, client.meta.region_name)

    async def head_object(self, **params: Any) -> dict[str, Any]:
        """HeadObject: size, type, entity tag, checksums."""
        return await self._guard.read("HeadObject", self._client.head_object, params, _bucket)

    async def get_object(self, **params: Any) -> dict[str, Any]:
        """GetObject, with `Body` read whole: for small objects, or a Range of a large one."""

        async def get_whole_object(**params: Any) -> dict[str, Any]:
            response: dict[str, Any] = await self._client.get_object(**params)
            async with response["Body"] as body:
                response["Body"] = await body.read()
            return response

        return await self._guard.read("GetObject", get_whole_object, params, _bucket)

    async def put_object(self, *, repeatable: bool = False, **params: Any) -> dict[str, Any]:
        """PutObject; `Body` is bytes."""
        return await self._guard.write(
            "PutObject",
            self._client.put_object,
            params,
            _bucket,
            repeatable=repeatable,
        )

    async def delete_object(self, *, repeatable: bool = False, **params: Any) -> dict[str, Any]:
        """DeleteObject."""
        return await self._guard.write(
            "DeleteObject",
            self._client.delete_object,
            params,
            _bucket,
            repeatable=repeatable,
        )

    async def create_multipart_upload(
        self, *, repeatable: bool = False, **params: Any
    ) -> dict[str, Any]:
        """CreateMultipartUpload; each call begins another upload."""
        return await self._guard.write(
            "CreateMultipartUpload",
            self._client.create_multipart_upload,
            params,
            _bucket,
            repeatable=repeatable,
        )

    async def upload_part(self, *, repeatable: bool = False, **params: Any) -> dict[str, Any]:
        """UploadPart; `Body` is bytes."""
        return await self._guard.write(
            "UploadPart",
            self._client.upload_part,
            params,
            _bucket,
            repeatable=repeatable,
        )

    async def list_parts(self, **params: Any) -> dict[str, Any]:
        """ListParts; one page of at most 1,000."""
        return await self._guard.read("ListParts", self._client.list_parts, params, _bucket)

    async def complete_multipart_upload(
        self, *, repeatable: bool = False, **params: Any
    ) -> dict[str, Any]:
        """CompleteMultipartUpload. Sent again after a lost answer it may raise NotFound although
        it has succeeded: only HeadObject tells."""
        return await self._guard.write(
            "CompleteMultipartUpload",
            self._client.complete_multipart_upload,
            params,
            _bucket,
            repeatable=repeatable,
        )

    async def abort_multipart_upload(
        self, *, repeatable: bool = False, **params: Any
    ) -> dict[str, Any]:
        """AbortMultipartUpload; NotFound where there is no such upload any more."""
        return await self._guard.write(
            "AbortMultipartUpload",
            self._client.abort_multipart_upload,
            params,
            _bucket,
            repeatable=repeatable,
        )

    def presign(
        self,
        method: PresignedMethod,
        params: Mapping[str, str],
        expires_seconds: int,
        *,
        issued_at: datetime | None = None,
    ) -> str:
        """A URL for one object, signed locally with what `credentials_expire_at` speaks of.

        It dies with those credentials, whatever `expires_seconds` (1 s to 7 days) says; the caller
        bounds it. `issued_at`, where given, is the instant it lives from: the same instant gives
        the same URL. Raises ValueError, and DependencyUnavailable when the credentials have ended.
        """
        return presign(
            method,
            params,
            expires_seconds=expires_seconds,
            endpoint=self._endpoint,
            signer=self._credentials.signer(),
            now=self._clock.at_aws(issued_at or self._now()),
        )

    def presign_post(
        self,
        bucket: str,
        key: str,
        *,
        fields: Mapping[str, str],
        conditions: Sequence[Condition],
        expires_seconds: int,
        issued_at: datetime | None = None,
    ) -> PresignedPost:
        """A form that uploads one object, signed and bounded as `presign` says."""
        return presign_post(
            bucket,
            key,
            fields=fields,
            conditions=conditions,
            expires_seconds=expires_seconds,
            endpoint=self._endpoint,
            signer=self._credentials.signer(),
            now=self._clock.at_aws(issued_at or self._now()),
        )

    def credentials_expire_at(self) -> datetime | None:
        """When the signing credentials end, in UTC; None when they do not."""
        return self._credentials.expire_at()


class SQS:
    """SQS's operations on messages, with parameters and answers exactly as in its API.

    Long polls have a pipeline to themselves, `sqs:read`, to which waiting is not slowness and which
    repeats nothing; all else goes through `sqs:write`. An answer to a batch may name entries that
    `Failed`; those are the caller's. Every method raises RequestRejected, Throttled,
    DependencyUnavailable, CircuitOpenError, BulkheadFullError or DeadlineExceededError.
    """

    def __init__(self, client: Any, guard: _Guard) -> None:
        self._client = client
        self._guard = guard

    async def receive_message(self, **params: Any) -> dict[str, Any]:
        """ReceiveMessage. Cancelled, it may leave messages invisible that nobody has got; they
        come back after their visibility time-out."""
        return await self._guard.read(
            "ReceiveMessage", self._client.receive_message, params, _queue
        )

    async def delete_message_batch(self, **params: Any) -> dict[str, Any]:
        """DeleteMessageBatch."""
        return await self._write("DeleteMessageBatch", self._client.delete_message_batch, params)

    async def change_message_visibility_batch(self, **params: Any) -> dict[str, Any]:
        """ChangeMessageVisibilityBatch."""
        return await self._write(
            "ChangeMessageVisibilityBatch", self._client.change_message_visibility_batch, params
        )

    async def send_message_batch(self, **params: Any) -> dict[str, Any]:
        """SendMessageBatch. Sent again only where nothing was executed: a second one doubles the
        messages."""
        return await self._guard.write(
            "SendMessageBatch",
            self._client.send_message_batch,
            params,
            _queue,
            repeatable=False,
        )

    async def get_queue_attributes(self, **params: Any) -> dict[str, Any]:
        """GetQueueAttributes."""
        return await self._write("GetQueueAttributes", self._client.get_queue_attributes, params)

    async def _write(
        self, operation: str, function: Operation, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        return await self._guard.write(operation, function, params, _queue, repeatable=True)


class Clients:
    """The clients that were asked for; the others raise AttributeError, which is a wiring bug."""

    dynamodb: DynamoDB
    s3: S3
    sqs: SQS


@asynccontextmanager
async def open_clients(
    settings: AwsSettings,
    *,
    registry: PipelineRegistry,
    tracer: Tracer,
    services: Sequence[Service] = ("dynamodb",),
    observer: CallObserver = unobserved,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    new_token: Callable[[], str] = lambda: uuid.uuid4().hex,
    clock: Callable[[], float] = time.perf_counter,
) -> AsyncIterator[Clients]:
    """Open the clients of `services` over one session, and close them at the end.

    `observer` hears of every call, timed with `clock` (seconds). `new_token` makes the
    ClientRequestToken of a transaction that has none: 1 to 36 characters. Endpoints and credentials
    come from the SDK's own environment variables and chain. Raises
    DependencyUnavailable when no credentials can be had.
    """
    async with AsyncExitStack() as stack:
        session = new_session(settings.region)
        credentials = await Credentials.resolve(session)
        signing_clock = SigningClock()
        clients = Clients()

        def guard(dependency: Service, name: str, *, polls: bool = False) -> _Guard:
            return _Guard(
                dependency,
                name,
                settings=settings,
                registry=registry,
                tracer=tracer,
                credentials=credentials,
                observer=observer,
                clock=clock,
                polls=polls,
            )

        if "dynamodb" in services:
            client = await stack.enter_async_context(
                session.client("dynamodb", config=client_config(settings))
            )
            if settings.dynamodb_transport == "direct":
                await stack.enter_async_context(
                    direct_transport(client, credentials=credentials, clock=signing_clock)
                )
            else:
                verify_answers(client)
            clients.dynamodb = DynamoDB(client, guard("dynamodb", "DynamoDB"), new_token)
        if "s3" in services:
            client = await stack.enter_async_context(
                session.client("s3", config=s3_config(settings))
            )
            clients.s3 = S3(client, guard("s3", "S3"), credentials, now, signing_clock)
        if "sqs" in services:
            client = await stack.enter_async_context(
                session.client("sqs", config=sqs_config(settings))
            )
            clients.sqs = SQS(client, guard("sqs", "SQS", polls=True))
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


def _bucket(params: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {"aws.s3.bucket": str(params.get("Bucket", ""))}


def _queue(params: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {"aws.sqs.queue.url": str(params.get("QueueUrl", ""))}


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
    if not span.is_recording:
        return
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    if "RequestId" in metadata:
        span.set_attribute("aws.request_id", str(metadata["RequestId"]))
