"""The settings of content delivery, from environment variables with the prefix ``CONTENT_``.

Those that all services have are `libs.service`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from libs.config import Environment
from libs.service import ServiceSettings, dynamodb_table, read_service_settings

SERVICE = "content_delivery"
PREFIX = "CONTENT_"

# The naming rules of Amazon S3 (general purpose buckets).
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"


@dataclass(frozen=True, kw_only=True)
class Config(ServiceSettings):
    """Everything that differs between a laptop, a test and AWS."""

    table: str
    bucket: str
    cache_seconds: float
    cache_entries: int

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Config:
        """Read ``variables``, such as ``os.environ``. README.md has the table of them.

        Raises ConfigurationError with every problem at once.
        """
        environment = Environment(PREFIX, variables)
        table = dynamodb_table(environment, default="Content")
        bucket = environment.text("BUCKET", pattern=_BUCKET)
        cache_seconds = environment.number("CACHE_SECONDS", minimum=0, maximum=60, default=5)
        cache_entries = environment.integer(
            "CACHE_ENTRIES", minimum=1, maximum=1_000_000, default=10_000
        )
        common = read_service_settings(environment, variables, service=SERVICE)
        return cls(
            **vars(common),
            table=table,
            bucket=bucket,
            cache_seconds=cache_seconds,
            cache_entries=cache_entries,
        )
