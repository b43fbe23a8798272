"""How the SDK is told to behave: lean, impatient, and the same on a laptop as on AWS.

Owns the one botocore configuration. Endpoints and credentials are not settings of ours: the SDK
reads AWS_ENDPOINT_URL*, and its credential chain, by itself.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from aiobotocore.config import AioConfig

from libs.circuit_breaker import BreakerPolicy
from libs.resilience import BulkheadPolicy, RetryBudgetPolicy, RetryPolicy

USER_AGENT = "lyceum"

# How DynamoDB's calls get there: signed, sent and read by `_transport`, or all by botocore.
Transport = Literal["direct", "sdk"]
DEFAULT_TRANSPORT: Transport = "direct"


@dataclass(frozen=True)
class AwsSettings:
    """Region, patience and how much may be asked of each operation class at once.

    connect_timeout_seconds, read_timeout_seconds: the SDK's own, within one attempt: until the
    connection stands, and between two pieces of an answer.
    credentials_check_seconds: how often temporary credentials are looked at for a refresh.
    dynamodb_transport: "direct" signs, sends and reads DynamoDB's calls in this library; "sdk" leaves
    that to botocore.
    breaker, bulkhead, retry, retry_budget: policies of each operation class; the breaker's call
    time-out bounds one attempt. The SDK itself retries nothing.
    """

    region: str
    connect_timeout_seconds: float = 1.0
    read_timeout_seconds: float = 2.0
    keepalive_seconds: float = 30.0
    credentials_check_seconds: float = 30.0
    dynamodb_transport: Transport = DEFAULT_TRANSPORT
    breaker: BreakerPolicy = field(default_factory=lambda: BreakerPolicy(call_timeout_seconds=2.0))
    bulkhead: BulkheadPolicy = field(default_factory=BulkheadPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    retry_budget: RetryBudgetPolicy = field(default_factory=RetryBudgetPolicy)

    def __post_init__(self) -> None:
        problems = []
        if not self.region:
            problems.append("region is empty")
        for name in (
            "connect_timeout_seconds",
            "read_timeout_seconds",
            "keepalive_seconds",
            "credentials_check_seconds",
        ):
            if not getattr(self, name) > 0:
                problems.append(f"{name} must be above 0")
        if problems:
            raise ValueError("; ".join(problems))


def client_config(settings: AwsSettings) -> AioConfig:
    """The configuration of a client.

    Fixed user agent and no parameter validation: both cost CPU in every call and the contract
    suites run against backends that validate. s3v4 and virtual addressing: without them
    pre-signed URLs are signed in the old way and use the global host. Checksums only where
    required and no account-based endpoints: one endpoint, one connection pool, with a connection
    for every slot of the bulkheads of reads and writes: nobody waits for one inside an attempt,
    where it would look like slowness of the dependency.
    """
    return AioConfig(
        connector_args={"keepalive_timeout": settings.keepalive_seconds},
        region_name=settings.region,
        user_agent=USER_AGENT,
        parameter_validation=False,
        max_pool_connections=2 * settings.bulkhead.max_concurrent_calls,
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": 1},
        signature_version="v4",
        account_id_endpoint_mode="disabled",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def s3_config(settings: AwsSettings) -> AioConfig:
    """As `client_config`, with S3's own signature and addressing."""
    return client_config(settings).merge(
        AioConfig(signature_version="s3v4", s3={"addressing_style": "virtual"})
    )


# The longest that ReceiveMessage can be asked to wait:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
LONGEST_POLL_SECONDS = 20
LONG_POLL_RETRY = RetryPolicy(max_attempts=1)


def sqs_config(settings: AwsSettings) -> AioConfig:
    """As `client_config`, patient enough for a long poll; the breaker bounds the other calls."""
    return client_config(settings).merge(
        AioConfig(read_timeout=LONGEST_POLL_SECONDS + settings.read_timeout_seconds)
    )


def long_poll_breaker(policy: BreakerPolicy) -> BreakerPolicy:
    """The policy for calls that wait on purpose: as `policy`, but a long one is neither slow nor
    late before the longest poll is over."""
    allowed = policy.call_timeout_seconds
    return replace(
        policy,
        call_timeout_seconds=None if allowed is None else LONGEST_POLL_SECONDS + allowed,
        slow_call_duration_threshold_seconds=None,
        slow_call_rate_threshold=None,
    )
