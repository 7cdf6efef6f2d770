"""Kernels, and the products of rows that they are made of.

Kernel values are float64, as the differences of their means cancel. If the features are
float32, the products of their differences from a common center c are computed in float32, and xᵀy
in float64 as (x − c)ᵀ(y − c) + cᵀx + cᵀy − cᵀc. The rounding errors of float32 have
no preferred sign and cancel in the means: 1e-9 of the value, as measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from gan_metrics.errors import ComputationError
from gan_metrics.metrics.arrays import blocks, full_precision, host, is_tensor, namespace, wide
from gan_metrics.utils.array_types import AnyArray

__all__ = ["GaussianKernel", "Kernel", "PolynomialKernel", "Products", "check_rows"]

_LARGE = 1e15
"""Bound on the features below which products in float32 cannot overflow."""

_SOME = 2000
"""Number of rows of a set whose mean is the center."""

_ROWS = 1024
"""Rows checked per step."""

_CACHED = 1 << 17
"""Values per strip: 1 MiB of float64."""


class PolynomialKernel(NamedTuple):
    """(γ xᵀy + c)^degree; the rows are multiplied by √γ."""

    root: float
    shift: float
    degree: int

    def rows(self, block: AnyArray) -> AnyArray:
        """Prepare features for the products, in float64."""
        return wide(block) * self.root

    def values(self, base: AnyArray) -> AnyArray:
        """Compute the kernel in place, from products of such rows plus ``shift``."""
        if self.degree == 1:
            return base
        power = base * base
        for _ in range(self.degree - 2):
            power *= base
        return power


class GaussianKernel(NamedTuple):
    """exp(−|x − y|²/2σ²) − 1 on normalized rows, where |x − y|² = 2 − 2 xᵀy."""

    sigma: float
    shift: float = -1.0

    def rows(self, block: AnyArray) -> AnyArray:
        """Prepare features for the products, in float64."""
        block = wide(block)
        return block / _norms(block)[:, None]

    def values(self, base: AnyArray) -> AnyArray:
        """Compute the kernel in place, from products of such rows plus ``shift``."""
        base /= self.sigma**2
        return namespace(base).expm1(base)


Kernel = PolynomialKernel | GaussianKernel


class Products:
    """The kernel of pairs of rows, float64.

    Args:
        kernel: The kernel.
        sides: All features; if they are float32, products are computed in float32 relative to
            their mean.
    """

    def __init__(self, kernel: Kernel, *sides: AnyArray) -> None:
        self._kernel = kernel
        self._centre: Any = None
        xp = namespace(*sides)
        if all(side.dtype == xp.float32 and _tame(side) for side in sides):
            means = [xp.mean(kernel.rows(side[:_SOME]), axis=0) for side in sides]
            self._centre = sum(means[1:], means[0]) / len(means)

    def rows(self, block: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Prepare features for :meth:`values`."""
        if self._centre is None:
            return self._kernel.rows(block), None
        xp, c = namespace(block), self._centre
        near = xp.empty(block.shape, dtype=xp.float32, device=device(c))
        offset = xp.empty(len(block), dtype=xp.float64, device=device(c))
        for part in _strips(block):
            rows = self._kernel.rows(block[part])
            offset[part] = rows @ c - (c @ c) / 2.0
            rows -= c
            near[part] = rows
        return near, offset

    def values(self, left: tuple[Any, Any], right: tuple[Any, Any]) -> Iterator[tuple[slice, Any]]:
        """Yield the kernel of all pairs, for some rows of ``left`` at a time, with their slice."""
        with full_precision(left[0]):
            products = left[0] @ right[0].T
        for part in _strips(products):
            found = products[part]
            if self._centre is None:
                found += self._kernel.shift
            else:
                found = wide(found) if is_tensor(found) else found
                found = found + (left[1][part] + self._kernel.shift)[:, None]  # float64 from here
                found += right[1][None, :]
            yield part, self._kernel.values(found)


def _strips(matrix: AnyArray) -> list[slice]:
    """Slices of rows that fit into a processor's cache; on a device one slice with all rows."""
    if is_tensor(matrix):
        return [slice(None)]
    return blocks(len(matrix), max(_CACHED // matrix.shape[1], 1))


def _tame(features: AnyArray) -> bool:
    xp = namespace(features)
    return bool(float(xp.min(features)) > -_LARGE and float(xp.max(features)) < _LARGE)


def check_rows(features: AnyArray, side: str) -> None:
    """Raise an error if a row cannot be scaled to length one."""
    for rows in blocks(len(features), _ROWS):
        with np.errstate(over="ignore"):
            lengths = host(_norms(wide(features[rows])))
        bad = np.flatnonzero(~((lengths > 0) & np.isfinite(lengths)))
        if len(bad):
            what = "is zero" if lengths[bad[0]] == 0 else "overflows"
            raise ComputationError(
                f"the length of row {rows.start + int(bad[0])} (counted from 0) of the {side} "
                f"features {what}, so it cannot be scaled to length one; remove that image"
            )


def _norms(block: AnyArray) -> AnyArray:
    """Return the lengths of the rows."""
    xp = namespace(block)
    return xp.sqrt(xp.sum(block * block, axis=1))
