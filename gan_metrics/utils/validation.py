"""Check values that the user gives."""

from __future__ import annotations

from numbers import Integral

from gan_metrics.errors import UsageError

__all__ = ["whole_number"]


def whole_number(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Check a whole number, and return it as Python's ``int``.

    Args:
        name: The name of the argument, for the error.
        value: Of any integer type, NumPy's included; ``bool`` is refused.
        least: The smallest value that is accepted.
        most: The largest value that is accepted; ``None``: any.

    Raises:
        UsageError: When it is something else; the message shows what was received.
    """
    is_bool = isinstance(value, bool)  # NumPy's bool is no Integral
    if is_bool or not isinstance(value, Integral) or int(value) < least:
        raise UsageError(f"{name} must be a whole number ≥ {least}, not {value!r}")
    if most is not None and int(value) > most:
        raise UsageError(f"{name} must be a whole number ≤ {most}, not {value!r}")
    return int(value)
