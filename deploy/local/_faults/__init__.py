"""Faults of what the services depend on: a proxy in front of it that fails as it is told.

Owns the ways in which a dependency fails at the socket, and how each service of AWS says that it can
not. The fault tests examine the platform with it (docs/resilience.md); the local platform's DynamoDB,
S3 and issuer's keys are behind it too, in a process of its own, so that a fault can be watched.
"""

from deploy.local._faults._dialects import DynamoDBDialect, S3Dialect, WebDialect
from deploy.local._faults._proxy import Fault, FaultProxy

__all__ = ["DynamoDBDialect", "Fault", "FaultProxy", "S3Dialect", "WebDialect"]
