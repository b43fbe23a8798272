"""The health check of a service's container: is the process in it alive?

A program, run every few seconds in the container itself, so it starts as fast as Python does: it
imports a socket and nothing of what a service is made of.
"""

from libs.health_check._probe import Unhealthy, address_of, probe

__all__ = ["Unhealthy", "address_of", "probe"]
