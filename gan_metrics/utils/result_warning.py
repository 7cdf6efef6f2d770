"""Warnings about results: a stable code and a message."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ResultWarning", "unique"]

ResultWarning = tuple[str, str]
"""A code, such as ``"few-images"``, and a message."""


def unique(warnings: Iterable[ResultWarning]) -> list[ResultWarning]:
    """Return each warning once, in order."""
    return list(dict.fromkeys(warnings))
