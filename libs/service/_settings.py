"""The settings that every service has, read from its environment variables.

Endpoints and credentials of AWS are not settings of ours: the SDK reads its own variables. The
region is one of those, and is read here too because nothing can be signed without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast, get_args

from libs.auth import (
    DEFAULT_PERMISSIONS,
    AuthSettings,
    InvalidPermissionTableError,
    PermissionTable,
)
from libs.aws import DEFAULT_TRANSPORT, AwsSettings, Transport
from libs.circuit_breaker import BreakerPolicy
from libs.config import ConfigurationError, Environment
from libs.http import (
    DEFAULT_READINESS_NOTICE_SECONDS,
    DEFAULT_REQUEST_TIMEOUT_SECONDS,
    MAX_REQUEST_TIMEOUT_SECONDS,
    MIN_REQUEST_TIMEOUT_SECONDS,
    AccessLogPolicy,
    ServiceInfo,
)
from libs.resilience import BulkheadPolicy, RetryBudgetPolicy, RetryPolicy
from libs.service._breaker_settings import read_breaker_policy
from libs.service._resilience_settings import (
    read_bulkhead_policy,
    read_retry_budget_policy,
    read_retry_policy,
    require_whole_attempt_within_request,
)
from libs.service._tracing_settings import read_central_sampling, read_tracing_rules
from libs.tracing import SamplingRule

_LEVELS = "DEBUG|INFO|WARNING|ERROR|CRITICAL"
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")
_DAEMON = r"[A-Za-z0-9.-]+:[0-9]{1,5}"
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
# The naming rules of Amazon DynamoDB.
_TABLE = r"[A-Za-z0-9_.-]{3,255}"


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What every service is told; a service's own `Config` adds to it. README.md has the table."""

    host: str
    port: int
    drain_seconds: float
    readiness_notice_seconds: float = DEFAULT_READINESS_NOTICE_SECONDS
    request_timeout_seconds: float = DEFAULT_REQUEST_TIMEOUT_SECONDS
    service: ServiceInfo
    log_level: str
    access_log: AccessLogPolicy = field(default_factory=AccessLogPolicy)
    metrics_flush_seconds: float = 60.0
    cors_origins: tuple[str, ...]
    auth: AuthSettings
    region: str
    dynamodb_transport: Transport = DEFAULT_TRANSPORT
    breaker: BreakerPolicy
    bulkhead: BulkheadPolicy = field(default_factory=BulkheadPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    retry_budget: RetryBudgetPolicy = field(default_factory=RetryBudgetPolicy)
    tracing_daemon: str | None
    tracing_rate: float
    tracing_rules: tuple[SamplingRule, ...] = ()
    tracing_central_sampling: bool = False

    def aws(self) -> AwsSettings:
        """How the clients of AWS are to behave."""
        return AwsSettings(
            region=self.region,
            dynamodb_transport=self.dynamodb_transport,
            breaker=self.breaker,
            bulkhead=self.bulkhead,
            retry=self.retry,
            retry_budget=self.retry_budget,
        )


def dynamodb_table(environment: Environment, *, default: str) -> str:
    """The variable ``TABLE``: the name of the service's table."""
    return environment.text("TABLE", default=default, pattern=_TABLE)


def read_service_settings(
    environment: Environment, variables: Mapping[str, str], *, service: str
) -> ServiceSettings:
    """Read the common settings of ``service``, after it has read its own.

    Raises ConfigurationError with every problem at once, those of the service's own included.
    """
    host = environment.text("HOST", default="127.0.0.1")
    port = environment.integer("PORT", minimum=0, maximum=65_535, default=8080)
    drain_seconds = environment.number("DRAIN_SECONDS", minimum=0, maximum=110, default=20)
    readiness_notice_seconds = environment.number(
        "READINESS_NOTICE_SECONDS",
        minimum=0,
        maximum=110,
        default=min(DEFAULT_READINESS_NOTICE_SECONDS, drain_seconds),
    )
    if readiness_notice_seconds > drain_seconds:
        environment.reject("READINESS_NOTICE_SECONDS", "must not be above DRAIN_SECONDS")
    request_timeout_seconds = environment.number(
        "REQUEST_TIMEOUT_SECONDS",
        minimum=MIN_REQUEST_TIMEOUT_SECONDS,
        maximum=MAX_REQUEST_TIMEOUT_SECONDS,
        default=DEFAULT_REQUEST_TIMEOUT_SECONDS,
    )
    info = ServiceInfo(
        name=service,
        version=environment.text("VERSION", default="0.0.0+local"),
        revision=environment.text("REVISION", default="unknown"),
        image_hash=environment.text("IMAGE_HASH", default="unknown"),
    )
    log_level = environment.text("LOG_LEVEL", default="INFO", pattern=_LEVELS)
    access_log = AccessLogPolicy(
        level=environment.text("ACCESS_LOG_LEVEL", default="INFO", pattern=_LEVELS),
        sample_rate=environment.number("ACCESS_LOG_SAMPLE_RATE", minimum=0, maximum=1, default=1),
        slow_seconds=environment.number("SLOW_REQUEST_SECONDS", minimum=0, maximum=60, default=1),
    )
    # CloudWatch keeps these metrics by the minute: more often says no more and costs more lines.
    metrics_flush_seconds = environment.number(
        "METRICS_FLUSH_SECONDS", minimum=0, maximum=300, default=60
    )
    cors_origins = environment.words("CORS_ORIGINS")
    for origin in cors_origins:
        if _ORIGIN.fullmatch(origin) is None:
            environment.reject("CORS_ORIGINS", "must be origins such as https://app.example")
    # Not `url`: it is compared with a token's `iss` letter by letter, a trailing slash included.
    issuer = environment.text("AUTH_ISSUER", pattern=r"https?://\S+")
    jwks_url = environment.url("AUTH_JWKS_URL")
    client_ids = environment.words("AUTH_CLIENT_IDS", default=None)
    permissions = _permissions(environment)
    dynamodb_transport = environment.text(
        "DYNAMODB_TRANSPORT", default=DEFAULT_TRANSPORT, pattern="|".join(get_args(Transport))
    )
    breaker = read_breaker_policy(environment)
    bulkhead = read_bulkhead_policy(environment)
    retry = read_retry_policy(environment)
    retry_budget = read_retry_budget_policy(environment)
    require_whole_attempt_within_request(
        environment,
        request_timeout_seconds=request_timeout_seconds,
        breaker=breaker,
        bulkhead=bulkhead,
    )
    tracing_daemon = environment.text("TRACING_DAEMON", default="", pattern=_DAEMON)
    tracing_rate = environment.number("TRACING_RATE", minimum=0, maximum=1, default=0.05)
    tracing_rules = read_tracing_rules(environment)
    tracing_central_sampling = read_central_sampling(environment, daemon=tracing_daemon)
    region = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or ""
    _finish(environment, region)
    return ServiceSettings(
        host=host,
        port=port,
        drain_seconds=drain_seconds,
        readiness_notice_seconds=readiness_notice_seconds,
        request_timeout_seconds=request_timeout_seconds,
        service=info,
        log_level=log_level,
        access_log=access_log,
        metrics_flush_seconds=metrics_flush_seconds,
        cors_origins=cors_origins,
        auth=AuthSettings(
            issuer=issuer,
            jwks_url=jwks_url,
            client_ids=frozenset(client_ids),
            permissions=permissions,
        ),
        region=region,
        dynamodb_transport=cast(Transport, dynamodb_transport),
        breaker=breaker,
        bulkhead=bulkhead,
        retry=retry,
        retry_budget=retry_budget,
        tracing_daemon=tracing_daemon or None,
        tracing_rate=tracing_rate,
        tracing_rules=tracing_rules,
        tracing_central_sampling=tracing_central_sampling,
    )


def _permissions(environment: Environment) -> PermissionTable:
    document = environment.json("AUTH_PERMISSIONS", default=None)
    if document is None:
        return DEFAULT_PERMISSIONS
    try:
        return PermissionTable.from_json(document)
    except InvalidPermissionTableError as error:
        for problem in error.problems:
            environment.reject("AUTH_PERMISSIONS", f"is not valid: {problem}")
        return DEFAULT_PERMISSIONS


def _finish(environment: Environment, region: str) -> None:
    problems: list[str] = []
    try:
        environment.finish()
    except ConfigurationError as error:
        problems += error.problems
    if not region:
        problems.append("AWS_REGION is missing")
    elif _REGION.fullmatch(region) is None:
        problems.append("AWS_REGION must be a region such as eu-central-1")
    if problems:
        raise ConfigurationError(problems)
