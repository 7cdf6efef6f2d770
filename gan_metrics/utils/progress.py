"""The type of progress callbacks."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress"]

Progress = Callable[[str, int, int], None]
"""Called with a description, the amount done, and the total (0: unknown)."""
