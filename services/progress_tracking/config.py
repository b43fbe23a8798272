"""The settings of progress tracking, from environment variables with the prefix `PROGRESS_`.

Those that all services have are `libs.service`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.config import Environment
from libs.service import ServiceSettings, dynamodb_table, read_service_settings

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

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Config:
        """Read `variables`, such as `os.environ`. README.md has the table of them.

        Raises ConfigurationError with every problem at once.
        """
        environment = Environment(PREFIX, variables)
        table = dynamodb_table(environment, default="Progress")
        cursor_secrets = environment.secrets("CURSOR_SECRETS", minimum_bytes=_MINIMUM_SECRET_BYTES)
        outline_cache_seconds = environment.number(
            "OUTLINE_CACHE_SECONDS", minimum=0, maximum=3600, default=30
        )
        outline_cache_entries = environment.integer(
            "OUTLINE_CACHE_ENTRIES", minimum=1, maximum=1_000_000, default=2000
        )
        common = read_service_settings(environment, variables, service=SERVICE)
        return cls(
            **vars(common),
            table=table,
            cursor_secrets=cursor_secrets,
            outline_cache_seconds=outline_cache_seconds,
            outline_cache_entries=outline_cache_entries,
        )
