"""The settings of the course catalog, from environment variables with the prefix `CATALOG_`.

Those that all services have are `libs.service`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.config import Environment
from libs.service import ServiceSettings, dynamodb_table, read_service_settings
from services.course_catalog.domain.directory_refresh import RefreshPolicy

SERVICE = "course_catalog"
PREFIX = "CATALOG_"


@dataclass(frozen=True, kw_only=True)
class Config(ServiceSettings):
    """Everything that differs between a laptop, a test and AWS."""

    cursor_secrets: tuple[bytes, ...] = field(repr=False)
    table: str
    refresh: RefreshPolicy
    directory_wait_seconds: float
    rendered_pages_bytes: int
    last_known_bytes: int
    last_known_seconds: float

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Config:
        """Read `variables`, such as `os.environ`. README.md has the table of them.

        Raises ConfigurationError with every problem at once.
        """
        environment = Environment(PREFIX, variables)
        cursor_secrets = environment.secrets("CURSOR_SECRETS", minimum_bytes=32)
        table = dynamodb_table(environment, default="CourseCatalog")
        refresh = RefreshPolicy(
            interval=environment.number(
                "DIRECTORY_REFRESH_SECONDS", minimum=0.1, maximum=300, default=5
            ),
            reload=environment.number(
                # Well below the life of a tombstone, after which only a reload notices a deletion.
                "DIRECTORY_RELOAD_SECONDS",
                minimum=10,
                maximum=86_400,
                default=3600,
            ),
            stale_after=environment.number(
                "DIRECTORY_STALE_SECONDS", minimum=1, maximum=3600, default=60
            ),
        )
        directory_wait_seconds = environment.number(
            "DIRECTORY_WAIT_SECONDS", minimum=0, maximum=20, default=2
        )
        rendered_pages_bytes = environment.integer(
            "RENDERED_PAGES_BYTES", minimum=0, maximum=1_073_741_824, default=4_194_304
        )
        last_known_bytes = environment.integer(
            "LAST_KNOWN_BYTES", minimum=0, maximum=1_073_741_824, default=33_554_432
        )
        last_known_seconds = environment.number(
            "LAST_KNOWN_SECONDS", minimum=0, maximum=86_400, default=3600
        )
        common = read_service_settings(environment, variables, service=SERVICE)
        return cls(
            **vars(common),
            cursor_secrets=cursor_secrets,
            table=table,
            refresh=refresh,
            directory_wait_seconds=directory_wait_seconds,
            rendered_pages_bytes=rendered_pages_bytes,
            last_known_bytes=last_known_bytes,
            last_known_seconds=last_known_seconds,
        )
