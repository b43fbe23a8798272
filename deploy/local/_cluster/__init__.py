"""The services as containers: tasks of the embedded AWS's ECS, from their images, N of each."""

from deploy.local._cluster._cluster import Cluster, Containers
from deploy.local._cluster._engine import engine_host
from deploy.local._cluster._leftovers import remove_leftovers
from deploy.local._cluster._preconditions import problems

__all__ = ["Cluster", "Containers", "engine_host", "problems", "remove_leftovers"]
