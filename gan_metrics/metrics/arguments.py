"""Arguments of metrics: what may be given, said in one way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

import numpy as np

from gan_metrics.errors import UsageError

__all__ = [
    "CHECKS",
    "MAX_DEGREE",
    "MAX_FEATURES",
    "MIN_FEATURES",
    "flag",
    "generator",
    "number",
    "order",
    "positive",
    "whole_number",
]

MAX_DEGREE = 100
"""Of a polynomial kernel; beyond it nothing is left but the greatest product."""

MIN_FEATURES, MAX_FEATURES = 10, 5000
"""Random frequencies: fewer say nothing, and more need a matrix of gigabytes."""

_LARGEST = 1e100
_SMALLEST_ORDER = 1e-6


def whole_number(name: str, value: Any, *, least: int, most: int | None = None) -> int:
    """A whole number of at least ``least``, and at most ``most``.

    Raises:
        UsageError: Saying what was given.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral) or value < least:
        raise UsageError(f"{name} must be a whole number ≥ {least}, not {value!r}")
    if most is not None and int(value) > most:
        raise UsageError(f"{name} must be a whole number ≤ {most}, not {value!r}")
    return int(value)


def positive(name: str, value: Any) -> float:
    """A finite number above 0, whose square is one too.

    Raises:
        UsageError: Saying what was given.
    """
    if not _is_number(value) or not 0 < float(value) < math.inf:
        raise UsageError(f"{name} must be a finite number > 0, not {value!r}")
    if not 1 / _LARGEST <= float(value) <= _LARGEST:
        raise UsageError(f"{name} must lie in {1 / _LARGEST:g} … {_LARGEST:g}, not {value!r}")
    return float(value)


def order(name: str, value: Any) -> float:
    """A number above 0, infinity included.

    Raises:
        UsageError: Saying what was given.
    """
    if not _is_number(value) or not float(value) > 0:
        raise UsageError(f"the order {name} must be > 0 (infinity is allowed), not {value!r}")
    if float(value) < _SMALLEST_ORDER:
        raise UsageError(f"the order {name} must be at least {_SMALLEST_ORDER:g}, not {value!r}")
    return float(value)


def number(name: str, value: Any) -> float:
    """A finite number.

    Raises:
        UsageError: Saying what was given.
    """
    if not _is_number(value) or not math.isfinite(float(value)):
        raise UsageError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """True or false.

    Raises:
        UsageError: Saying what was given.
    """
    if not isinstance(value, bool | np.bool_):
        raise UsageError(f"{name} must be true or false, not {value!r}")
    return bool(value)


def generator(seed: Any) -> Any:
    """What draws: made from a seed, or a NumPy generator as it was given.

    Raises:
        UsageError: Saying what was given.
    """
    if hasattr(seed, "permutation"):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise UsageError(f"seed must be a whole number ≥ 0 or a NumPy generator, not {seed!r}")
    return np.random.default_rng(int(seed))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _between(least: int, most: int | None = None) -> Callable[[str, Any], Any]:
    return lambda name, value: whole_number(name, value, least=least, most=most)


def _or_none(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)


CHECKS: Mapping[str, Callable[[str, Any], Any]] = MappingProxyType(
    {
        "a": positive,
        "coef0": number,
        "degree": _between(1, MAX_DEGREE),
        "directions": _between(0),
        "features": _between(MIN_FEATURES, MAX_FEATURES),
        "gamma": _or_none(positive),
        "k": _between(1),
        "q": order,
        "scale": positive,
        "shuffle": flag,
        "sigma": _or_none(positive),
        "sizes": _between(2),
        "splits": _between(1),
        "subset_size": _between(2),
        "subsets": _between(1),
    }
)
"""Name of an argument to what refuses wrong values, before any work is done for them."""
