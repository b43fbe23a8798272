"""How the SDK is told to behave: lean, impatient, and the same on a laptop as on AWS.

Owns the one botocore configuration. Endpoints and credentials are not settings of ours: the SDK
reads AWS_ENDPOINT_URL*, and its credential chain, by itself.
"""

from dataclasses import dataclass, field

from aiobotocore.config import AioConfig

from libs.circuit_breaker import BreakerPolicy

USER_AGENT = "lyceum"


@dataclass(frozen=True)
class AwsSettings:
    """Region, patience and pool of every client.

    connect_timeout_seconds, read_timeout_seconds: of one attempt. total_attempts: 1 or 2, the
    first included; more would multiply the load on a dependency that is failing.
    credentials_check_seconds: how often temporary credentials are looked at for a refresh.
    breaker: policy of each operation class; its call time-out bounds all attempts together.
    """

    region: str
    connect_timeout_seconds: float = 1.0
    read_timeout_seconds: float = 3.0
    total_attempts: int = 2
    pool_connections: int = 50
    keepalive_seconds: float = 30.0
    credentials_check_seconds: float = 30.0
    breaker: BreakerPolicy = field(default_factory=lambda: BreakerPolicy(call_timeout_seconds=5.0))

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
        if self.total_attempts not in (1, 2):
            problems.append("total_attempts must be 1 or 2")
        if self.pool_connections < 1:
            problems.append("pool_connections must be at least 1")
        if problems:
            raise ValueError("; ".join(problems))


def client_config(settings: AwsSettings) -> AioConfig:
    """The configuration of a client.

    Fixed user agent and no parameter validation: both cost CPU in every call and the contract
    suites run against backends that validate. s3v4 and virtual addressing: without them
    pre-signed URLs are signed in the old way and use the global host. Checksums only where
    required and no account-based endpoints: one endpoint, one connection pool.
    """
    return AioConfig(
        connector_args={"keepalive_timeout": settings.keepalive_seconds},
        region_name=settings.region,
        user_agent=USER_AGENT,
        parameter_validation=False,
        max_pool_connections=settings.pool_connections,
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": settings.total_attempts},
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
