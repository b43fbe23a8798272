"""The settings of the monolith, from environment variables with the prefix `MONOLITH_`.

Those that all services have are `libs.service`'s. Each module is configured as its service is, so
that the two behave alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.migration._context import Settings
from libs.config import Environment
from libs.service import ServiceSettings, read_service_settings
from services.content_delivery.config import Config as ContentConfig
from services.content_delivery.domain.uploads import UploadPolicy
from services.course_catalog.config import Config as CatalogConfig
from services.course_catalog.domain.directory_refresh import RefreshPolicy
from services.progress_tracking.config import Config as ProgressConfig

NAME = "monolith"
PREFIX = "MONOLITH_"

# The naming rules of Amazon DynamoDB and of Amazon S3 (general purpose buckets).
_TABLE = r"[A-Za-z0-9_.-]{3,255}"
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"


@dataclass(frozen=True, kw_only=True)
class Config(ServiceSettings):
    """Everything that differs between a laptop and a test.

    `catalog`, `content` and `progress` are the modules' own; their `table` is the service's, which
    a module uses once it was switched.
    """

    table: str
    control_table: str
    gate: Settings
    catalog: CatalogConfig
    content: ContentConfig
    progress: ProgressConfig

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Config:
        """Read `variables`, such as `os.environ`. README.md has the table of them.

        Raises ConfigurationError with every problem at once.
        """
        environment = Environment(PREFIX, variables)

        def table(name: str, default: str) -> str:
            return environment.text(name, default=default, pattern=_TABLE)

        own = table("TABLE", "lyceum-monolith")
        control = table("CONTROL_TABLE", "lyceum-migration")
        catalog_table = table("CATALOG_TABLE", "CourseCatalog")
        content_table = table("CONTENT_TABLE", "Content")
        progress_table = table("PROGRESS_TABLE", "Progress")
        bucket = environment.text("BUCKET", pattern=_BUCKET)
        cursor_secrets = environment.secrets("CURSOR_SECRETS", minimum_bytes=32)
        refresh_seconds = environment.number(
            # Each reads all that was changed by an index of the one table.
            "DIRECTORY_REFRESH_SECONDS",
            minimum=0.1,
            maximum=300,
            default=5,
        )
        outline_seconds = environment.number(
            "OUTLINE_CACHE_SECONDS", minimum=0, maximum=3600, default=30
        )
        gate = _gate(environment)
        common = vars(read_service_settings(environment, variables, service=NAME))
        return cls(
            **common,
            table=own,
            control_table=control,
            gate=gate,
            catalog=CatalogConfig(
                **common,
                cursor_secrets=cursor_secrets,
                table=catalog_table,
                refresh=RefreshPolicy(interval=refresh_seconds),
                directory_wait_seconds=2,
                rendered_pages_bytes=4_194_304,
                last_known_bytes=33_554_432,
                last_known_seconds=3600,
            ),
            content=ContentConfig(
                **common,
                cursor_secrets=cursor_secrets,
                table=content_table,
                bucket=bucket,
                cache_seconds=5,
                cache_entries=10_000,
                uploads=UploadPolicy(
                    single_bytes=100_000_000,
                    part_bytes=16 * 1024**2,
                    maximum_bytes=10 * 1024**3,
                    url_seconds=3600,
                    pending_seconds=7 * 86_400,
                ),
                upload_wait_seconds=2,
                verifications=4,
                retention_days=30,
            ),
            progress=ProgressConfig(
                **common,
                table=progress_table,
                cursor_secrets=cursor_secrets,
                outline_cache_seconds=outline_seconds,
                outline_cache_entries=2000,
            ),
        )


def _gate(environment: Environment) -> Settings:
    """The times of the gate: the migration's commands must be told none that are shorter."""
    usual = Settings()
    return Settings(
        gate_lease=environment.number(
            "GATE_LEASE_SECONDS", minimum=0.01, maximum=60, default=usual.gate_lease
        ),
        longest_request=environment.number(
            "LONGEST_REQUEST_SECONDS", minimum=0.1, maximum=60, default=usual.longest_request
        ),
        fence=environment.number("FENCE_SECONDS", minimum=1, maximum=600, default=usual.fence),
        poll=environment.number("GATE_POLL_SECONDS", minimum=0.01, maximum=10, default=usual.poll),
    )
