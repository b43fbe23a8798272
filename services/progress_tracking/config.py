"""The settings of progress tracking, from environment variables with the prefix `PROGRESS_`.

Those that all services have are `libs.service`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.config import Environment
from libs.service import ServiceSettings, dynamodb_table, read_service_settings
from services.progress_tracking.consumer.consumer import ConsumerSettings

SERVICE = "progress_tracking"
PREFIX = "PROGRESS_"

_MINIMUM_SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Config(ServiceSettings):
    """Everything that differs between a laptop, a test and AWS."""

    table: str
    cursor_secrets: tuple[bytes, ...] = field(repr=False)
    outline_cache_seconds: float
    outline_cache_entries: int
    outline_queue_url: str = ""
    outline_wait_seconds: int = 10
    consumer: ConsumerSettings = field(default_factory=ConsumerSettings)

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Config:
        """Read `variables`, such as `os.environ`. README.md has the table of them.

        Raises ConfigurationError with every problem at once.
        """
        return cls._read(variables, consumes=False)

    @classmethod
    def for_consumer(cls, variables: Mapping[str, str]) -> Config:
        """As `from_environment`, for the process that can't do without the queue. Both take the
        same variables, so that one task definition's fit the other."""
        return cls._read(variables, consumes=True)

    @classmethod
    def _read(cls, variables: Mapping[str, str], *, consumes: bool) -> Config:
        environment = Environment(PREFIX, variables)
        table = dynamodb_table(environment, default="Progress")
        cursor_secrets = environment.secrets("CURSOR_SECRETS", minimum_bytes=_MINIMUM_SECRET_BYTES)
        outline_cache_seconds = environment.number(
            "OUTLINE_CACHE_SECONDS", minimum=0, maximum=3600, default=30
        )
        outline_cache_entries = environment.integer(
            "OUTLINE_CACHE_ENTRIES", minimum=1, maximum=1_000_000, default=2000
        )
        outline_queue_url = environment.url("OUTLINE_QUEUE_URL", default=None if consumes else "")
        outline_wait_seconds = environment.integer(
            "OUTLINE_WAIT_SECONDS", minimum=1, maximum=20, default=10
        )
        consumer = ConsumerSettings(
            concurrency=environment.integer(
                "OUTLINE_CONCURRENCY", minimum=1, maximum=100, default=10
            ),
            # 12 hours is the longest that SQS lets anybody hold a message.
            visibility_seconds=environment.integer(
                "OUTLINE_VISIBILITY_SECONDS", minimum=1, maximum=43_200, default=60
            ),
            max_backoff_seconds=environment.number(
                "OUTLINE_MAX_BACKOFF_SECONDS", minimum=0.1, maximum=900, default=30
            ),
        )
        common = read_service_settings(environment, variables, service=SERVICE)
        return cls(
            **vars(common),
            table=table,
            cursor_secrets=cursor_secrets,
            outline_cache_seconds=outline_cache_seconds,
            outline_cache_entries=outline_cache_entries,
            outline_queue_url=outline_queue_url,
            outline_wait_seconds=outline_wait_seconds,
            consumer=consumer,
        )
