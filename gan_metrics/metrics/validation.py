"""Checks of the arguments of metrics, with consistent messages. Imports no NumPy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

from gan_metrics.errors import UsageError
from gan_metrics.utils.validation import whole_number

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "ARITHMETICS",
    "DEALS",
    "DIVISORS",
    "DRAW_NAMES",
    "MAX_DEGREE",
    "MAX_FEATURES",
    "MIN_FEATURES",
    "NETS",
    "PATHS",
    "SAMPLINGS",
    "SPACES",
    "at_least",
    "flag",
    "generator",
    "number",
    "one_of",
    "or_none",
    "order",
    "percentage",
    "positive",
    "whole_number",
]

_T = TypeVar("_T")

MAX_DEGREE = 100
"""Largest degree of a polynomial kernel; above it only the largest product matters."""

MIN_FEATURES, MAX_FEATURES = 10, 5000
"""Number of random frequencies: fewer are useless, more need a matrix of gigabytes."""

ARITHMETICS = ("exact", "float16", "float16-squared")
"""Arithmetic of distances; see :mod:`gan_metrics.metrics.neighbors.float16_distances`."""

DEALS = ("even", "chunk")
"""How images are divided into splits; see :mod:`gan_metrics.metrics.class_predictions`."""

DIVISORS = ("n-1", "n")
"""Divisors of a covariance."""

NETS = ("alex", "vgg", "squeeze")
"""Kinds of LPIPS."""

SPACES, SAMPLINGS, PATHS = ("z", "w"), ("full", "end"), ("lerp", "slerp", "slerp_unit")
"""Arguments of a path length: its space, the position on a path, and the interpolation."""

_LARGEST = 1e100
_SMALLEST_ORDER = 1e-6


def positive(name: str, value: object) -> float:
    """Check a finite number above 0 with a finite square.

    Raises:
        UsageError: If it is not; the message shows the value.
    """
    if not _is_number(value) or not 0 < float(value) < math.inf:
        raise UsageError(f"{name} must be a finite number > 0, not {value!r}")
    if not 1 / _LARGEST <= float(value) <= _LARGEST:
        raise UsageError(f"{name} must be in {1 / _LARGEST:g} … {_LARGEST:g}, not {value!r}")
    return float(value)


def percentage(name: str, value: object) -> float:
    """Check a percentage from 0 to below 50 that is left out at both ends.

    Raises:
        UsageError: If it is not; the message shows the value.
    """
    if not _is_number(value) or not 0 <= float(value) < 50:
        raise UsageError(f"{name} must be a number from 0 to below 50, not {value!r}")
    return float(value)


def order(name: str, value: object) -> float:
    """Check a number above 0; infinity is allowed.

    Raises:
        UsageError: If it is not; the message shows the value.
    """
    if not _is_number(value) or not float(value) > 0:
        raise UsageError(f"the order {name} must be > 0 (infinity is allowed), not {value!r}")
    if float(value) < _SMALLEST_ORDER:
        raise UsageError(f"the order {name} must be at least {_SMALLEST_ORDER:g}, not {value!r}")
    return float(value)


def number(name: str, value: object) -> float:
    """Check a finite number.

    Raises:
        UsageError: If it is not; the message shows the value.
    """
    if not _is_number(value) or not math.isfinite(float(value)):
        raise UsageError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def flag(name: str, value: object) -> bool:
    """Check a truth value.

    Raises:
        UsageError: If it is not; the message shows the value.
    """
    import numpy as np

    if not isinstance(value, bool | np.bool_):
        raise UsageError(f"{name} must be true or false, not {value!r}")
    return bool(value)


def one_of(*names: str) -> Callable[[str, Any], str]:
    """Return a check that accepts only some names."""
    return functools.partial(_check_name, names)  # picklable, unlike a closure


def _check_name(names: tuple[str, ...], name: str, value: object) -> str:
    if not isinstance(value, str) or value not in names:
        known = f"{', '.join(names[:-1])} or {names[-1]}"
        raise UsageError(f"{name} must be one of {known}, not {value!r}")
    return value


def at_least(least: int, most: int | None = None) -> Callable[[str, Any], int]:
    """Return a check of whole numbers of at least ``least`` and at most ``most``."""
    return functools.partial(whole_number, least=least, most=most)


def or_none(check: Callable[[str, Any], _T]) -> Callable[[str, Any], _T | None]:
    """Return a check that also accepts ``None``."""
    return functools.partial(_check_unless_none, check)


def _check_unless_none(check: Callable[[str, Any], _T], name: str, value: object) -> _T | None:
    return None if value is None else check(name, value)


def generator(
    seed: int | np.random.Generator | np.random.RandomState, draws: str = "numpy"
) -> np.random.Generator:
    """Return a random generator made from a seed, or a given NumPy generator.

    Args:
        seed: A whole number, or a generator; ``draws`` does not apply to a generator.
        draws: One of :data:`DRAW_NAMES`: ``"numpy"`` is ``numpy.random.default_rng(seed)``,
            ``"numpy-legacy"`` is the generator after ``numpy.random.seed(seed)``, ``"torch"`` the
            one after ``torch.manual_seed(seed)`` on the CPU, where k of n are the first k of
            ``torch.randperm(n)``.

    Returns:
        A NumPy generator; for other ``draws`` an object with only ``permutation(n)`` and
        ``choice(n, size, replace=False)``.

    Raises:
        UsageError: If the seed or ``draws`` is invalid; the message shows the value.
    """
    make, most = _DRAWS[one_of(*_DRAWS)("draws", draws)]
    if hasattr(seed, "permutation"):
        if draws != "numpy":
            raise UsageError(
                f"draws={draws!r} needs a seed, but a generator is given: give a whole number, or "
                "omit draws"
            )
        return cast("np.random.Generator", seed)
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise UsageError(f"seed must be a whole number ≥ 0 or a NumPy generator, not {seed!r}")
    if most is not None and int(seed) > most:
        raise UsageError(f"seed must be ≤ {most} with draws={draws!r}, not {seed!r}")
    return cast("np.random.Generator", make(int(seed)))


class _Torch:
    """torch's generator on the CPU, with the two methods of NumPy's that are used."""

    def __init__(self, seed: int) -> None:
        import torch

        self._generator = torch.Generator().manual_seed(seed)

    def permutation(self, n: int) -> npt.NDArray[np.int64]:
        import numpy as np
        import torch

        return np.asarray(torch.randperm(n, generator=self._generator).numpy())

    def choice(self, n: int, size: int, *, replace: bool) -> npt.NDArray[np.int64]:
        assert not replace  # noqa: S101
        return self.permutation(n)[:size]


def _numpy(seed: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(seed)


def _numpy_legacy(seed: int) -> np.random.RandomState:
    import numpy as np

    return np.random.RandomState(seed)


_DRAWS: Mapping[str, tuple[Callable[[int], Any], int | None]] = MappingProxyType(
    {
        "numpy": (_numpy, None),
        "numpy-legacy": (_numpy_legacy, 2**32 - 1),
        "torch": (_Torch, 2**64 - 1),
    }
)
"""Constructors of random generators by kind, with the largest seed."""

DRAW_NAMES = tuple(_DRAWS)
"""Kinds of random draws; see :func:`generator`."""


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)
