"""Validation of values from users."""

from __future__ import annotations

from numbers import Integral

from gan_metrics.errors import UsageError

__all__ = ["whole_number"]


def whole_number(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Check a whole number, and return it as Python's ``int``.

    Args:
        name: Name of the argument, for the error.
        value: Any integer type including NumPy's, except ``bool``.
        least: The smallest valid value.
        most: The largest valid value; ``None``: unbounded.

    Raises:
        UsageError: If the value is invalid; the message shows it.
    """
    is_bool = isinstance(value, bool)  # NumPy's bool is not an Integral
    if is_bool or not isinstance(value, Integral) or int(value) < least:
        raise UsageError(f"{name} must be a whole number ≥ {least}, not {value!r}")
    if most is not None and int(value) > most:
        raise UsageError(f"{name} must be a whole number ≤ {most}, not {value!r}")
    return int(value)
