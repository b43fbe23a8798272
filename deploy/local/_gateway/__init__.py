"""The API gateway of the local platform, a process of its own.

Stands where API Gateway stands on AWS and does no more than it does there: it picks the service by
the path templates of each ``openapi.yaml``, sends a service's requests where the variable `target` of
its stage leads and a share of them where the canary's override does, keeps the 29 s and 10 MB limits and
adds ``X-Amzn-Trace-Id`` where it is missing. It knows no token, no table and no business rule; whatever
a service needs it must get from the client.
"""

from deploy.local._gateway._configuration import (
    GatewayConfigurationError,
    ServiceRoutes,
    read_configuration,
    write_configuration,
)
from deploy.local._gateway._proxy import Access, Gateway, Limits, open_session
from deploy.local._gateway._routes import RouteTable
from deploy.local._gateway._stage import TARGET, Stage
from deploy.local._pass_through import create_server

__all__ = [
    "Access",
    "Gateway",
    "GatewayConfigurationError",
    "Limits",
    "TARGET",
    "RouteTable",
    "ServiceRoutes",
    "Stage",
    "create_server",
    "open_session",
    "read_configuration",
    "write_configuration",
]
