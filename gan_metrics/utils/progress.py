"""How long work reports its progress."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress"]

Progress = Callable[[str, int, int], None]
"""Called with a description, how much is done, and how much there is (0: unknown)."""
