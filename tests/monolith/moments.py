"""Moments as the monolith writes them, and what stands for one that an old item does not tell."""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = "2000-01-01T00:00:00.000Z"
"""The moment of what has none: before everything that has one."""
