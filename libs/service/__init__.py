"""What the process of every service consists of: its common settings, the parts that every
application stands on, and its way from the environment to a served application."""

from libs.service._cache_metrics import CacheStatistics, report_caches
from libs.service._contract import read_contract
from libs.service._main import serve
from libs.service._parts import Parts, WorkerParts, common_parts, worker_parts
from libs.service._settings import ServiceSettings, dynamodb_table, read_service_settings
from libs.service._worker import work

__all__ = [
    "CacheStatistics",
    "Parts",
    "ServiceSettings",
    "WorkerParts",
    "common_parts",
    "dynamodb_table",
    "read_contract",
    "read_service_settings",
    "report_caches",
    "serve",
    "work",
    "worker_parts",
]
