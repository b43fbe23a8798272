"""The settings of content delivery, from environment variables with the prefix ``CONTENT_``.

Those that all services have are `libs.service`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from libs.config import Environment
from libs.service import ServiceSettings, dynamodb_table, read_service_settings
from services.content_delivery.domain.uploads import UploadPolicy

SERVICE = "content_delivery"
PREFIX = "CONTENT_"

# The naming rules of Amazon S3 (general purpose buckets).
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"

_GIBIBYTE = 1024**3


@dataclass(frozen=True, kw_only=True)
class Config(ServiceSettings):
    """Everything that differs between a laptop, a test and AWS."""

    cursor_secrets: tuple[bytes, ...] = field(repr=False)
    table: str
    bucket: str
    cache_seconds: float
    cache_entries: int
    uploads: UploadPolicy
    upload_wait_seconds: float
    verifications: int
    retention_days: int

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Config:
        """Read ``variables``, such as ``os.environ``. README.md has the table of them.

        Raises ConfigurationError with every problem at once.
        """
        environment = Environment(PREFIX, variables)
        cursor_secrets = environment.secrets("CURSOR_SECRETS", minimum_bytes=32)
        table = dynamodb_table(environment, default="Content")
        bucket = environment.text("BUCKET", pattern=_BUCKET)
        cache_seconds = environment.number("CACHE_SECONDS", minimum=0, maximum=60, default=5)
        cache_entries = environment.integer(
            "CACHE_ENTRIES", minimum=1, maximum=1_000_000, default=10_000
        )
        uploads = _upload_policy(environment)
        # Below what a request may take as a whole.
        upload_wait_seconds = environment.number(
            "UPLOAD_WAIT_SECONDS", minimum=0, maximum=20, default=2
        )
        verifications = environment.integer(
            "UPLOAD_VERIFICATIONS", minimum=1, maximum=64, default=4
        )
        retention_days = environment.integer("RETENTION_DAYS", minimum=1, maximum=3650, default=30)
        common = read_service_settings(environment, variables, service=SERVICE)
        return cls(
            **vars(common),
            cursor_secrets=cursor_secrets,
            table=table,
            bucket=bucket,
            cache_seconds=cache_seconds,
            cache_entries=cache_entries,
            uploads=uploads,
            upload_wait_seconds=upload_wait_seconds,
            verifications=verifications,
            retention_days=retention_days,
        )


def _upload_policy(environment: Environment) -> UploadPolicy:
    single_bytes = environment.integer(
        "UPLOAD_SINGLE_BYTES", minimum=1, maximum=5 * _GIBIBYTE, default=100_000_000
    )
    part_bytes = environment.integer(
        # Amazon S3 takes no part below 5 MiB but the last; the emulators do.
        "UPLOAD_PART_BYTES",
        minimum=1024,
        maximum=5 * _GIBIBYTE,
        default=16 * 1024**2,
    )
    maximum_bytes = environment.integer(
        "UPLOAD_MAXIMUM_BYTES", minimum=1, maximum=5 * 1024**4, default=10 * _GIBIBYTE
    )
    url_seconds = environment.integer(
        "UPLOAD_URL_SECONDS", minimum=60, maximum=43_200, default=3600
    )
    pending_days = environment.integer("UPLOAD_PENDING_DAYS", minimum=1, maximum=365, default=7)
    return UploadPolicy(
        single_bytes=single_bytes,
        part_bytes=part_bytes,
        maximum_bytes=maximum_bytes,
        url_seconds=url_seconds,
        pending_seconds=pending_days * 86_400,
    )
