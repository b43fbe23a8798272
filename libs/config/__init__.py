"""Configuration from environment variables: one prefix per service, every problem reported at once.

Owns reading and checking of variables. It must not know what any of them is for, and never puts
the value of a secret into a message.
"""

from __future__ import annotations

from libs.config._environment import ConfigurationError, Environment

__all__ = ["ConfigurationError", "Environment"]
