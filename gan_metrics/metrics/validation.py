"""Checks of the arguments of metrics, with one wording. Imports no NumPy."""

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
"""Of a polynomial kernel; beyond it nothing is left but the greatest product."""

MIN_FEATURES, MAX_FEATURES = 10, 5000
"""Random frequencies: fewer say nothing, and more need a matrix of gigabytes."""

ARITHMETICS = ("exact", "float16", "float16-squared")
"""Of distances; see :mod:`gan_metrics.metrics.neighbors.float16_distances`."""

DEALS = ("even", "chunk")
"""Ways to deal images into splits; see :mod:`gan_metrics.metrics.class_predictions`."""

DIVISORS = ("n-1", "n")
"""Of a covariance."""

NETS = ("alex", "vgg", "squeeze")
"""Kinds of LPIPS."""

SPACES, SAMPLINGS, PATHS = ("z", "w"), ("full", "end"), ("lerp", "slerp", "slerp_unit")
"""Of a path length: where its paths lie, at which place of them, and what they are."""

_LARGEST = 1e100
_SMALLEST_ORDER = 1e-6


def positive(name: str, value: object) -> float:
    """A finite number above 0, whose square is one too.

    Raises:
        UsageError: Saying what was given.
    """
    if not _is_number(value) or not 0 < float(value) < math.inf:
        raise UsageError(f"{name} must be a finite number > 0, not {value!r}")
    if not 1 / _LARGEST <= float(value) <= _LARGEST:
        raise UsageError(f"{name} must lie in {1 / _LARGEST:g} … {_LARGEST:g}, not {value!r}")
    return float(value)


def percentage(name: str, value: object) -> float:
    """A percentage from 0 to below 50, which can be left out at both ends.

    Raises:
        UsageError: Saying what was given.
    """
    if not _is_number(value) or not 0 <= float(value) < 50:
        raise UsageError(f"{name} must be a number from 0 to below 50, not {value!r}")
    return float(value)


def order(name: str, value: object) -> float:
    """A number above 0, infinity included.

    Raises:
        UsageError: Saying what was given.
    """
    if not _is_number(value) or not float(value) > 0:
        raise UsageError(f"the order {name} must be > 0 (infinity is allowed), not {value!r}")
    if float(value) < _SMALLEST_ORDER:
        raise UsageError(f"the order {name} must be at least {_SMALLEST_ORDER:g}, not {value!r}")
    return float(value)


def number(name: str, value: object) -> float:
    """A finite number.

    Raises:
        UsageError: Saying what was given.
    """
    if not _is_number(value) or not math.isfinite(float(value)):
        raise UsageError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def flag(name: str, value: object) -> bool:
    """True or false.

    Raises:
        UsageError: Saying what was given.
    """
    import numpy as np

    if not isinstance(value, bool | np.bool_):
        raise UsageError(f"{name} must be true or false, not {value!r}")
    return bool(value)


def one_of(*names: str) -> Callable[[str, Any], str]:
    """What refuses all but some names, with a :class:`~gan_metrics.errors.UsageError`."""
    return functools.partial(_check_name, names)  # which can be pickled


def _check_name(names: tuple[str, ...], name: str, value: object) -> str:
    if not isinstance(value, str) or value not in names:
        known = f"{', '.join(names[:-1])} or {names[-1]}"
        raise UsageError(f"{name} must be one of {known}, not {value!r}")
    return value


def at_least(least: int, most: int | None = None) -> Callable[[str, Any], int]:
    """A check for whole numbers of at least ``least``, and at most ``most``."""
    return functools.partial(whole_number, least=least, most=most)


def or_none(check: Callable[[str, Any], _T]) -> Callable[[str, Any], _T | None]:
    """A check that also accepts ``None``."""
    return functools.partial(_check_unless_none, check)


def _check_unless_none(check: Callable[[str, Any], _T], name: str, value: object) -> _T | None:
    return None if value is None else check(name, value)


def generator(
    seed: int | np.random.Generator | np.random.RandomState, draws: str = "numpy"
) -> np.random.Generator:
    """What draws: made from a seed, or a NumPy generator as it was given.

    Args:
        seed: A whole number, or a generator, with which ``draws`` has nothing to say.
        draws: Of :data:`DRAW_NAMES`: ``"numpy"`` is ``numpy.random.default_rng(seed)``,
            ``"numpy-legacy"`` what ``numpy.random.seed(seed)`` starts, ``"torch"`` what
            ``torch.manual_seed(seed)`` starts on the CPU, where k of n are the first k of
            ``torch.randperm(n)``.

    Returns:
        A NumPy generator; for other ``draws`` an object with its methods ``permutation(n)`` and
        ``choice(n, size, replace=False)`` alone.

    Raises:
        UsageError: Saying what was given.
    """
    make, most = _DRAWS[one_of(*_DRAWS)("draws", draws)]
    if hasattr(seed, "permutation"):
        if draws != "numpy":
            raise UsageError(
                f"draws={draws!r} says what is made of a seed, and the seed is a generator "
                "already: give a whole number, or leave draws out"
            )
        return cast("np.random.Generator", seed)
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise UsageError(f"seed must be a whole number ≥ 0 or a NumPy generator, not {seed!r}")
    if most is not None and int(seed) > most:
        raise UsageError(f"seed must be ≤ {most} where draws={draws!r}, not {seed!r}")
    return cast("np.random.Generator", make(int(seed)))


class _Torch:
    """torch's generator on the CPU, with the two methods of NumPy's that are used here."""

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
"""Name of a kind of random draws to what makes it from a seed, and the greatest seed it takes."""

DRAW_NAMES = tuple(_DRAWS)
"""Kinds of random draws; see :func:`generator`."""


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool)
