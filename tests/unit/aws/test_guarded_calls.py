"""What a call through the clients does when DynamoDB or S3 answers, refuses, hangs or breaks."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from libs.aws import (
    DEFAULT_TRANSPORT,
    AwsSettings,
    Clients,
    ConditionFailed,
    DependencyError,
    DependencyUnavailable,
    Executed,
    NotFound,
    RequestRejected,
    Throttled,
    Transport,
    classify,
    marshal,
    open_clients,
)
from libs.circuit_breaker import (
    BreakerPolicy,
    CircuitBreakerRegistry,
    CircuitOpenError,
    Outcome,
    State,
)
from libs.circuit_breaker.testing import ManualClock
from libs.resilience import (
    BulkheadFullError,
    BulkheadPolicy,
    DeadlineExceededError,
    PipelineRegistry,
    RetryBudgetPolicy,
    RetryPolicy,
    deadline_scope,
)
from libs.tracing.testing import InMemoryEmitter, recording_tracer
from tests.unit.aws.fault_server import (
    REQUEST_ID,
    Behaviour,
    FaultServer,
    answer,
    cut_short,
    error,
    hang,
    raw,
    reset,
    s3_answer,
    s3_error,
)

KEY = {"TableName": "courses", "Key": {"courseId": {"S": "c1"}}}

TRANSPORT: dict[str, Transport] = {"dynamodb": DEFAULT_TRANSPORT}


@pytest.fixture(autouse=True, params=["direct", "sdk"])
def _transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here depends on who sends DynamoDB's calls."""
    monkeypatch.setitem(TRANSPORT, "dynamodb", request.param)


class Platform:
    """Open clients with what a test looks at."""

    def __init__(self, clients: Clients, registry: CircuitBreakerRegistry) -> None:
        self.dynamodb = clients.dynamodb
        self.s3 = clients.s3
        self.registry = registry

    def states(self) -> dict[str, State]:
        return {snapshot.name: snapshot.state for snapshot in self.registry.snapshots()}


@asynccontextmanager
async def platform(
    *,
    emitter_of: list[InMemoryEmitter] | None = None,
    clock: ManualClock | None = None,
    max_attempts: int = 1,
    read_timeout_seconds: float = 3.0,
    breaker: BreakerPolicy | None = None,
    bulkhead: BulkheadPolicy | None = None,
) -> AsyncIterator[Platform]:
    breakers = CircuitBreakerRegistry(clock=clock or ManualClock())
    # Without jitter's random part there is no wait.
    registry = PipelineRegistry(breakers, random=lambda: 0.0)
    tracer, emitter = recording_tracer()
    if emitter_of is not None:
        emitter_of.append(emitter)
    settings = AwsSettings(
        region="eu-test-1",
        dynamodb_transport=TRANSPORT["dynamodb"],
        read_timeout_seconds=read_timeout_seconds,
        breaker=breaker or BreakerPolicy(failure_threshold=2),
        bulkhead=bulkhead or BulkheadPolicy(),
        retry=RetryPolicy(max_attempts),
        retry_budget=RetryBudgetPolicy(ratio=1, max_balance=100),
    )
    async with open_clients(
        settings, registry=registry, tracer=tracer, services=("dynamodb", "s3")
    ) as clients:
        with tracer.segment("GET /test"):
            yield Platform(clients, breakers)


async def test_parameters_and_answers_are_those_of_the_api(aws: FaultServer) -> None:
    aws.then(answer({"Item": marshal({"courseId": "c1", "version": 3})}))
    async with platform() as lyceum:
        response = await lyceum.dynamodb.get_item(**KEY)
    assert response["Item"] == {"courseId": {"S": "c1"}, "version": {"N": "3"}}
    (request,) = aws.requests
    assert request.operation == "GetItem"
    assert json.loads(request.body) == {**KEY, "ReturnConsumedCapacity": "INDEXES"}
    assert request.headers["User-Agent"].startswith("lyceum ")
    assert "Credential=AKIAFAULTSERVER/" in request.headers["Authorization"]
    assert "/eu-test-1/dynamodb/aws4_request" in request.headers["Authorization"]


async def test_one_connection_serves_one_call_after_another(aws: FaultServer) -> None:
    async with platform() as lyceum:
        for _ in range(5):
            await lyceum.dynamodb.get_item(**KEY)
    assert len(aws.requests) == 5
    assert len(aws.connections) == 1


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("get_item", KEY),
        ("batch_get_item", {"RequestItems": {"courses": {"Keys": []}}}),
        ("query", {"TableName": "courses"}),
        ("scan", {"TableName": "courses"}),
        ("transact_get_items", {"TransactItems": [{"Get": KEY}]}),
        ("describe_table", {"TableName": "courses"}),
        ("put_item", {"TableName": "courses", "Item": {}}),
        ("update_item", KEY),
        ("delete_item", KEY),
        ("batch_write_item", {"RequestItems": {"courses": []}}),
        ("transact_write_items", {"TransactItems": [{"Delete": KEY}]}),
    ],
)
async def test_every_operation_reaches_dynamodb_by_its_name(
    aws: FaultServer, method: str, params: dict[str, object]
) -> None:
    emitters: list[InMemoryEmitter] = []
    async with platform(emitter_of=emitters) as lyceum:
        await getattr(lyceum.dynamodb, method)(**params)
    (request,) = aws.requests
    assert request.operation == "".join(word.capitalize() for word in method.split("_"))
    span = emitters[0].named(f"DynamoDB.{request.operation}")
    assert span.attributes["aws.dynamodb.table_names"] == ("courses",)


async def test_an_unmet_condition_carries_the_stored_item(aws: FaultServer) -> None:
    aws.then(error("ConditionalCheckFailedException", Item=marshal({"version": 7})))
    async with platform() as lyceum:
        with pytest.raises(ConditionFailed) as caught:
            await lyceum.dynamodb.put_item(TableName="courses", Item=marshal({"courseId": "c1"}))
    assert caught.value.item == {"version": {"N": "7"}}
    assert caught.value.reasons == ()
    assert classify(caught.value) is Outcome.SUCCESS


async def test_a_cancelled_transaction_names_its_reasons(aws: FaultServer) -> None:
    aws.then(
        error(
            "TransactionCanceledException",
            CancellationReasons=[
                {"Code": "None"},
                {"Code": "ConditionalCheckFailed", "Item": marshal({"version": 7})},
            ],
        )
    )
    async with platform() as lyceum:
        with pytest.raises(ConditionFailed) as caught:
            await lyceum.dynamodb.transact_write_items(TransactItems=[])
    assert caught.value.reasons == (None, "ConditionalCheckFailed")
    assert caught.value.items == (None, {"version": {"N": "7"}})


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError"])
async def test_a_transaction_that_met_another_may_be_tried_again(
    aws: FaultServer, code: str
) -> None:
    aws.then(error("TransactionCanceledException", CancellationReasons=[{"Code": code}]))
    async with platform() as lyceum:
        with pytest.raises(Throttled):
            await lyceum.dynamodb.transact_write_items(TransactItems=[])


async def test_a_wrong_transaction_is_our_mistake(aws: FaultServer) -> None:
    aws.then(
        error("TransactionCanceledException", CancellationReasons=[{"Code": "ValidationError"}])
    )
    async with platform() as lyceum:
        with pytest.raises(RequestRejected) as caught:
            await lyceum.dynamodb.transact_write_items(TransactItems=[])
    assert caught.value.code == "ValidationError"


@pytest.mark.parametrize(
    ("behaviour", "kind", "reason", "outcome"),
    [
        (error("ProvisionedThroughputExceededException"), Throttled, "throttled", Outcome.FAILURE),
        (error("ThrottlingException"), Throttled, "throttled", Outcome.FAILURE),
        (error("RequestLimitExceeded"), Throttled, "throttled", Outcome.FAILURE),
        (
            error("InternalServerError", status=500),
            DependencyUnavailable,
            "server_error",
            Outcome.FAILURE,
        ),
        (raw(b"", status=503), DependencyUnavailable, "server_error", Outcome.FAILURE),
        (reset, DependencyUnavailable, "connection", Outcome.FAILURE),
        (hang, DependencyUnavailable, "timeout", Outcome.FAILURE),
        (cut_short, DependencyUnavailable, None, Outcome.FAILURE),
        (raw(b"<html>a proxy"), DependencyUnavailable, "malformed_response", Outcome.FAILURE),
        (raw(b"\xff\xfe"), DependencyUnavailable, "malformed_response", Outcome.FAILURE),
        (
            answer({"Item": {}}, headers={"x-amz-crc32": "1"}),
            DependencyUnavailable,
            "malformed_response",
            Outcome.FAILURE,
        ),
        (
            error("ExpiredTokenException"),
            DependencyUnavailable,
            "credentials",
            Outcome.FAILURE,
        ),
        (
            error(
                "InvalidSignatureException",
                message="Signature expired: 20260304T040607Z is now earlier than 20260304T050107Z"
                " (20260304T050607Z - 5 min.)",
            ),
            DependencyUnavailable,
            "clock",
            Outcome.FAILURE,
        ),
        (
            error(
                "InvalidSignatureException",
                message="Signature not yet current: 20260304T060607Z is still later than"
                " 20260304T051107Z (20260304T050607Z + 5 min.)",
            ),
            DependencyUnavailable,
            "clock",
            Outcome.FAILURE,
        ),
        (
            # A key that is not the right one: no time makes it better.
            error(
                "InvalidSignatureException",
                message="The request signature we calculated does not match the signature you"
                " provided.",
            ),
            RequestRejected,
            None,
            Outcome.IGNORE,
        ),
        (error("ValidationException"), RequestRejected, None, Outcome.IGNORE),
        (error("AccessDeniedException"), RequestRejected, None, Outcome.IGNORE),
        (error("ResourceNotFoundException"), RequestRejected, None, Outcome.IGNORE),
    ],
)
async def test_what_goes_wrong_is_classified(
    aws: FaultServer,
    behaviour: Behaviour,
    kind: type[Exception],
    reason: str | None,
    outcome: Outcome,
) -> None:
    aws.then(behaviour)
    async with platform(read_timeout_seconds=0.2) as lyceum:
        with pytest.raises(kind) as caught:
            await lyceum.dynamodb.get_item(**KEY)
    assert type(caught.value) is kind
    assert classify(caught.value) is outcome
    assert len(aws.requests) == 1
    if isinstance(caught.value, DependencyError):
        assert (caught.value.dependency, caught.value.operation) == ("dynamodb", "GetItem")
        assert reason in (None, caught.value.reason)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [("ExpiredToken", 400, "credentials"), ("RequestTimeTooSkewed", 403, "clock")],
)
async def test_s3_s_words_for_ended_keys_and_another_time_are_failures_too(
    aws: FaultServer, code: str, status: int, reason: str
) -> None:
    aws.then(s3_error(code, status=status))
    async with platform() as lyceum:
        with pytest.raises(DependencyUnavailable) as caught:
            await lyceum.s3.get_object(Bucket="b", Key="k")
    assert (caught.value.dependency, caught.value.reason) == ("s3", reason)
    assert classify(caught.value) is Outcome.FAILURE


async def test_a_refused_connection_is_the_dependencys_failure(
    aws: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    async with platform() as lyceum:
        with pytest.raises(DependencyUnavailable) as caught:
            await lyceum.dynamodb.get_item(**KEY)
    assert (caught.value.reason, caught.value.executed) == ("connection", Executed.NO)


async def test_what_the_dependency_asks_for_is_kept(aws: FaultServer) -> None:
    aws.then(error("ThrottlingException", headers={"Retry-After": "7"}))
    async with platform() as lyceum:
        with pytest.raises(Throttled) as caught:
            await lyceum.dynamodb.get_item(**KEY)
    assert caught.value.retry_after_seconds == 7


PATIENT = BreakerPolicy(failure_threshold=100)


async def test_reads_are_repeated_whatever_is_known_of_the_first_attempt(aws: FaultServer) -> None:
    async with platform(max_attempts=2, breaker=PATIENT) as lyceum:
        for failure in (reset, cut_short, error("InternalServerError", status=500)):
            aws.then(failure, answer({"Item": {}}))
            await lyceum.dynamodb.get_item(**KEY)
        assert len(aws.requests) == 6
        aws.then(s3_error("SlowDown", status=503), s3_answer(b"0123"))
        assert (await lyceum.s3.get_object(Bucket="media", Key="k"))["Body"] == b"0123"
        # The second attempt is the last: the SDK itself tries nothing again.
        aws.then(reset, reset, answer({}))
        with pytest.raises(DependencyUnavailable):
            await lyceum.dynamodb.get_item(**KEY)
    assert len(aws.requests) == 10


@pytest.mark.parametrize("failure", [reset, cut_short, error("InternalServerError", status=500)])
async def test_a_write_whose_answer_was_lost_is_not_sent_again(
    aws: FaultServer, failure: Behaviour
) -> None:
    """It may have been executed: its condition could fail on its own first effect."""
    aws.then(failure, error("ConditionalCheckFailedException"))
    async with platform(max_attempts=3, breaker=PATIENT) as lyceum:
        with pytest.raises(DependencyUnavailable) as caught:
            await lyceum.dynamodb.put_item(TableName="courses", Item={})
        assert caught.value.executed is Executed.MAYBE
        assert len(aws.requests) == 1
        aws.behaviours[:] = [failure]
        with pytest.raises(DependencyUnavailable):
            await lyceum.s3.put_object(Bucket="media", Key="k", Body=b"0")


@pytest.mark.parametrize(
    "failure",
    [error("ThrottlingException"), error("ProvisionedThroughputExceededException")],
)
async def test_a_write_that_was_not_executed_is_sent_again(
    aws: FaultServer, failure: Behaviour
) -> None:
    aws.then(failure, answer({}))
    async with platform(max_attempts=2, breaker=PATIENT) as lyceum:
        await lyceum.dynamodb.put_item(TableName="courses", Item={})
    assert len(aws.requests) == 2


async def test_a_write_that_never_left_is_sent_again(aws: FaultServer) -> None:
    emitters: list[InMemoryEmitter] = []
    # Nobody listens: a connection is refused, and so is the next.
    await aws.close()
    async with platform(emitter_of=emitters, max_attempts=3, breaker=PATIENT) as lyceum:
        with pytest.raises(DependencyUnavailable) as caught:
            await lyceum.dynamodb.put_item(TableName="courses", Item={})
        assert (caught.value.reason, caught.value.executed) == ("connection", Executed.NO)
    assert emitters[0].named("DynamoDB.PutItem").attributes["aws.request.retries"] == 2


async def test_a_write_is_sent_again_when_the_caller_says_that_twice_is_once(
    aws: FaultServer,
) -> None:
    aws.then(reset, answer({}), reset, s3_answer())
    async with platform(max_attempts=2, breaker=PATIENT) as lyceum:
        await lyceum.dynamodb.put_item(TableName="courses", Item={}, repeatable=True)
        await lyceum.s3.put_object(Bucket="media", Key="k", Body=b"0", repeatable=True)
    assert "repeatable" not in json.loads(aws.requests[0].body)


async def test_a_transaction_is_sent_again_under_the_same_token(aws: FaultServer) -> None:
    aws.then(reset, answer({}), reset, answer({}))
    params = {"TransactItems": [{"Delete": KEY}]}
    async with platform(max_attempts=2, breaker=PATIENT) as lyceum:
        await lyceum.dynamodb.transact_write_items(**params)
        await lyceum.dynamodb.transact_write_items(**params, ClientRequestToken="mine")
    tokens = [json.loads(request.body)["ClientRequestToken"] for request in aws.requests]
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) == 32
    assert tokens[2:] == ["mine", "mine"]
    assert params == {"TransactItems": [{"Delete": KEY}]}


async def test_a_transaction_that_is_still_under_way_may_have_been_executed(
    aws: FaultServer,
) -> None:
    aws.then(error("TransactionInProgressException"), error("TransactionConflictException"))
    async with platform() as lyceum:
        with pytest.raises(Throttled) as caught:
            await lyceum.dynamodb.transact_write_items(TransactItems=[])
        assert caught.value.executed is Executed.MAYBE
        with pytest.raises(Throttled) as caught:
            await lyceum.dynamodb.put_item(TableName="courses", Item={})
        assert caught.value.executed is Executed.NO


async def test_answers_are_not_asked_for_again(aws: FaultServer) -> None:
    aws.then(error("ConditionalCheckFailedException"), error("ValidationException"))
    async with platform(max_attempts=3) as lyceum:
        with pytest.raises(ConditionFailed):
            await lyceum.dynamodb.put_item(TableName="courses", Item={})
        with pytest.raises(RequestRejected):
            await lyceum.dynamodb.get_item(**KEY)
    assert len(aws.requests) == 2


async def test_a_span_tells_how_often_a_call_was_repeated(aws: FaultServer) -> None:
    emitters: list[InMemoryEmitter] = []
    aws.then(reset, reset, answer({}))
    async with platform(emitter_of=emitters, max_attempts=3, breaker=PATIENT) as lyceum:
        await lyceum.dynamodb.get_item(**KEY)
    assert emitters[0].named("DynamoDB.GetItem").attributes["aws.request.retries"] == 2
    assert emitters[0].named("DynamoDB.GetItem").fault is False


async def test_each_operation_class_has_a_bulkhead_of_its_own(aws: FaultServer) -> None:
    aws.then(hang)
    async with platform(bulkhead=BulkheadPolicy(1, 0, 0)) as lyceum:
        held = asyncio.ensure_future(lyceum.dynamodb.get_item(**KEY))
        await aws.hanging.wait()
        with pytest.raises(BulkheadFullError) as caught:
            await lyceum.dynamodb.get_item(**KEY)
        assert caught.value.name == "dynamodb:read"
        await lyceum.dynamodb.put_item(TableName="courses", Item={})
        assert set(lyceum.states().values()) == {State.CLOSED}
        held.cancel()
        await asyncio.wait([held])


async def test_work_whose_caller_has_gone_is_not_sent(aws: FaultServer) -> None:
    async with platform() as lyceum:
        with deadline_scope(0), pytest.raises(DeadlineExceededError):
            await lyceum.dynamodb.get_item(**KEY)
    assert aws.requests == []


async def test_reads_and_writes_have_circuits_of_their_own(aws: FaultServer) -> None:
    clock = ManualClock()
    aws.then(
        error("InternalServerError", status=500),
        error("ThrottlingException"),
    )
    async with platform(clock=clock) as lyceum:
        for _ in range(2):
            with pytest.raises(DependencyError):
                await lyceum.dynamodb.get_item(**KEY)
        with pytest.raises(CircuitOpenError) as caught:
            await lyceum.dynamodb.query(TableName="courses")
        assert caught.value.name == "dynamodb:read"
        assert caught.value.retry_after_seconds == 5.0
        assert len(aws.requests) == 2
        await lyceum.dynamodb.put_item(TableName="courses", Item={})
        await lyceum.s3.head_object(Bucket="b", Key="k")
        assert lyceum.states()["dynamodb:read"] is State.OPEN
        clock.advance(5.0)
        await lyceum.dynamodb.get_item(**KEY)
        assert set(lyceum.states().values()) == {State.CLOSED}


async def test_unmet_conditions_and_refusals_open_no_circuit(aws: FaultServer) -> None:
    aws.then(
        *[error("ConditionalCheckFailedException")] * 5,
        *[error("ValidationException")] * 5,
    )
    async with platform() as lyceum:
        for _ in range(5):
            with pytest.raises(ConditionFailed):
                await lyceum.dynamodb.put_item(TableName="courses", Item={})
        for _ in range(5):
            with pytest.raises(RequestRejected):
                await lyceum.dynamodb.put_item(TableName="courses", Item={})
        await lyceum.dynamodb.put_item(TableName="courses", Item={})
    assert len(aws.requests) == 11


async def test_the_breakers_time_out_bounds_one_attempt(aws: FaultServer) -> None:
    aws.otherwise = hang
    policy = BreakerPolicy(failure_threshold=2, call_timeout_seconds=0.5)
    async with platform(max_attempts=3, breaker=policy) as lyceum:
        with pytest.raises(DependencyUnavailable) as caught:
            await lyceum.dynamodb.get_item(**KEY)
        assert (caught.value.reason, caught.value.executed) == ("timeout", Executed.MAYBE)
        # The second attempt opened the circuit: there was no third.
        assert lyceum.states()["dynamodb:read"] is State.OPEN
    assert len(aws.requests) == 2


async def test_a_cancelled_call_is_nobodys_failure(aws: FaultServer) -> None:
    aws.otherwise = hang
    async with platform(breaker=BreakerPolicy(failure_threshold=1)) as lyceum:
        call = asyncio.ensure_future(lyceum.dynamodb.get_item(**KEY))
        await aws.hanging.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert lyceum.states()["dynamodb:read"] is State.CLOSED


async def test_each_call_is_one_span(aws: FaultServer) -> None:
    emitters: list[InMemoryEmitter] = []
    aws.then(
        answer({"Item": {}}),
        error("ConditionalCheckFailedException"),
        error("ThrottlingException"),
        error("InternalServerError", status=500),
        s3_answer(headers={"Content-Length": "0"}),
    )
    async with platform(emitter_of=emitters) as lyceum:
        await lyceum.dynamodb.get_item(**KEY)
        with pytest.raises(ConditionFailed):
            await lyceum.dynamodb.put_item(TableName="courses", Item={})
        with pytest.raises(Throttled):
            await lyceum.dynamodb.query(TableName="courses")
        with pytest.raises(DependencyUnavailable):
            await lyceum.dynamodb.transact_write_items(
                TransactItems=[{"Put": {"TableName": "b"}}, {"Delete": {"TableName": "a"}}]
            )
        await lyceum.s3.head_object(Bucket="media", Key="secret/key.mp4")
    spans = {span.name: span for span in emitters[0].spans if span.kind == "aws"}
    assert dict(spans["DynamoDB.GetItem"].attributes) == {
        "rpc.service": "DynamoDB",
        "aws.operation": "GetItem",
        "aws.region": "eu-test-1",
        "aws.dynamodb.table_names": ("courses",),
        "aws.request_id": REQUEST_ID,
    }
    flags = {name: (span.error, span.fault, span.throttled) for name, span in spans.items()}
    assert flags == {
        "DynamoDB.GetItem": (False, False, False),
        "DynamoDB.PutItem": (True, False, False),
        "DynamoDB.Query": (True, False, True),
        "DynamoDB.TransactWriteItems": (False, True, False),
        "S3.HeadObject": (False, False, False),
    }
    assert spans["DynamoDB.TransactWriteItems"].attributes["aws.dynamodb.table_names"] == ("a", "b")
    assert spans["DynamoDB.PutItem"].attributes["aws.request_id"] == REQUEST_ID
    assert spans["S3.HeadObject"].attributes["aws.s3.bucket"] == "media"
    assert "secret" not in repr(spans["S3.HeadObject"].attributes)


async def test_s3_objects(aws: FaultServer) -> None:
    aws.then(
        s3_answer(headers={"ETag": '"e1"'}),
        s3_answer(b"0123", headers={"Content-Type": "text/plain"}),
        s3_answer(status=404),
        s3_error("NoSuchKey", status=404),
        s3_error("SlowDown", status=503),
        s3_answer(status=204),
    )
    async with platform() as lyceum:
        await lyceum.s3.put_object(Bucket="media", Key="a/b", Body=b"0123")
        assert (await lyceum.s3.get_object(Bucket="media", Key="a/b"))["Body"] == b"0123"
        with pytest.raises(NotFound):
            await lyceum.s3.head_object(Bucket="media", Key="none")
        with pytest.raises(NotFound) as caught:
            await lyceum.s3.get_object(Bucket="media", Key="none")
        assert classify(caught.value) is Outcome.SUCCESS
        with pytest.raises(Throttled):
            await lyceum.s3.get_object(Bucket="media", Key="none")
        await lyceum.s3.delete_object(Bucket="media", Key="a/b")
    assert [(request.method, request.path) for request in aws.requests][:2] == [
        ("PUT", "/media/a/b"),
        ("GET", "/media/a/b"),
    ]
    assert aws.requests[0].body == b"0123"


async def test_multipart_uploads(aws: FaultServer) -> None:
    def document(name: str, members: str) -> Behaviour:
        return s3_answer(
            f"<?xml version='1.0'?><{name}>{members}</{name}>".encode(),
            headers={"Content-Type": "application/xml"},
        )

    aws.then(
        document("InitiateMultipartUploadResult", "<UploadId>u-1</UploadId>"),
        s3_answer(headers={"ETag": '"p1"'}),
        document(
            "ListPartsResult",
            "<IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><Size>4</Size>"
            "<ETag>&quot;p1&quot;</ETag></Part>",
        ),
        document("CompleteMultipartUploadResult", "<ETag>&quot;e-1&quot;</ETag>"),
    )
    upload: dict[str, Any] = {"Bucket": "media", "Key": "secret-name.mp4", "UploadId": "u-1"}
    emitters: list[InMemoryEmitter] = []
    async with platform(emitter_of=emitters) as lyceum:
        created = await lyceum.s3.create_multipart_upload(
            Bucket="media", Key="secret-name.mp4", ContentType="video/mp4"
        )
        assert created["UploadId"] == "u-1"
        await lyceum.s3.upload_part(**upload, PartNumber=1, Body=b"0123")
        (part,) = (await lyceum.s3.list_parts(**upload))["Parts"]
        assert (part["PartNumber"], part["Size"], part["ETag"]) == (1, 4, '"p1"')
        completed = await lyceum.s3.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"p1"'}]}
        )
        assert completed["ETag"] == '"e-1"'
    assert [request.method for request in aws.requests] == ["POST", "PUT", "GET", "POST"]
    assert aws.requests[1].body == b"0123"
    spans = [span for span in emitters[0].spans if span.kind == "aws"]
    assert [span.name.removeprefix("S3.") for span in spans] == [
        "CreateMultipartUpload",
        "UploadPart",
        "ListParts",
        "CompleteMultipartUpload",
    ]
    assert "secret-name" not in repr([span.attributes for span in spans])


async def test_an_upload_that_is_gone(aws: FaultServer) -> None:
    aws.otherwise = s3_error("NoSuchUpload", status=404)
    upload = {"Bucket": "media", "Key": "k", "UploadId": "u-1"}
    async with platform() as lyceum:
        calls: list[tuple[str, dict[str, object]]] = [
            ("list_parts", {}),
            ("complete_multipart_upload", {"MultipartUpload": {"Parts": []}}),
            ("abort_multipart_upload", {}),
        ]
        for method, extra in calls:
            with pytest.raises(NotFound) as caught:
                await getattr(lyceum.s3, method)(**upload, **extra)
            assert caught.value.code == "NoSuchUpload"
            assert classify(caught.value) is Outcome.SUCCESS


@pytest.mark.parametrize(
    "kind",
    [ConditionFailed, RequestRejected, NotFound, DependencyError, Throttled, DependencyUnavailable],
)
def test_no_exception_has_a_metaclass(kind: type[Exception]) -> None:
    # pybreaker would call it as a predicate and exclude everything.
    assert type(kind) is type


@pytest.mark.parametrize(
    "wrong",
    [
        {"region": ""},
        {"connect_timeout_seconds": 0},
        {"read_timeout_seconds": float("nan")},
        {"keepalive_seconds": 0},
    ],
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AwsSettings(**{"region": "eu-test-1", **wrong})  # type: ignore[arg-type]
