"""Distances in float16, as computed by two tools, and the resulting counts in balls.

A float16 has 11 binary digits, so squared distances of about 300 have steps of 1/4 and many are
equal: precision and recall then depend on the rounding. Below, fl(·) rounds to float16; the
features u and v are rounded first, and products and sums are computed in float32:

``"float16-squared"``
    ADM's evaluator (TensorFlow): ``max(fl(fl(|u|² − fl(2 u·v)) + |v|²), 0)``, with u real and v
    generated. If a block of 10,000 × 10,000 distances is not finite, it is computed from the
    unrounded features in float32 instead.
``"float16"``
    StyleGAN3 (torch's ``cdist``): ``fl(√max(fl([−2u, |u|², 1]·[v, 1, |v|²]), 0))``, with v from the
    set of the balls.

In both, ``|u|² = fl(Σ fl(uᵢ²))``. The radius is the (k + 1)-th smallest distance of an image to its
own set, which includes the distance to itself; that may differ from 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError
from gan_metrics.metrics.arrays import blocks, full_precision, host, is_tensor, like, namespace
from gan_metrics.utils.array_types import AnyArray, ArrayLike

__all__ = ["share_inside"]

_BLOCK = 10_000
"""Rows and columns that are computed in float32 together if float16 overflows (ADM's evaluator)."""

_ROWS = 1024
"""Rows at a time: with the columns of a block, 40 MiB in float32."""

_SURELY = 60_000.0
"""Bound of (|u| + |v|)² below which no step exceeds float16's largest number, 65,504."""

Array = npt.NDArray[Any]


def share_inside(
    X: ArrayLike, Y: ArrayLike, k: int, arithmetic: str, *, real_balls: bool, strict: bool = False
) -> float:
    """Compute precision or recall with distances in float16.

    Args:
        X: Real features, ``(n, D)``, finite.
        Y: Generated features, ``(m, D)``, finite, of the same library.
        k: Number of the neighbor that gives the radius; less than the number of balls.
        arithmetic: ``"float16"`` or ``"float16-squared"``.
        real_balls: Whether balls are around real images: the result is then the share of generated
            images inside (precision); else the share of real images inside of generated balls
            (recall).
        strict: Whether the comparison is d < r instead of d ≤ r.

    Returns:
        A share in [0, 1].

    Raises:
        ComputationError: If the features are too large or too small for float16.
    """
    squared = arithmetic == "float16-squared"
    real, fake = _Side(X), _Side(Y)
    balls, points = (real, fake) if real_balls else (fake, real)
    if not squared:
        balls.check("real" if real_balls else "fake")
        points.check("fake" if real_balls else "real")
    radii = _radii(balls, k, squared=squared)
    if not np.isfinite(radii).all() or not radii.any():
        size = "small" if np.isfinite(radii).all() else "large"
        raise ComputationError(
            f"the features are too {size} for distances in float16: their radii are "
            f"{'all 0' if size == 'small' else 'not finite'}; use arithmetic='exact', or multiply "
            "both sets by a constant"
        )
    inside = np.zeros(len(points), bool)
    rows_are_balls = squared and real_balls  # ADM's rows are real images
    rows, columns = (balls, points) if rows_are_balls else (points, balls)
    for i, j, distances in _tiles(rows, columns, squared=squared):
        limits = like(radii[i] if rows_are_balls else radii[j], distances)
        limits = limits[:, None] if rows_are_balls else limits[None, :]
        xp = namespace(distances)
        within = distances < limits if strict else distances <= limits
        found = host(xp.any(within, axis=0 if rows_are_balls else 1))
        inside[j if rows_are_balls else i] |= found
    return float(inside.mean())


class _Side:
    """A set, rounded to float16.

    Attributes:
        features: The original features.
        short: The features in float16, ``(n, D)``.
        squares: |u|² in float16, ``(n,)``.
    """

    def __init__(self, features: AnyArray) -> None:
        self.features = features
        xp = namespace(features)
        short, squares = [], []
        with np.errstate(over="ignore"):
            for rows in blocks(len(features), _ROWS):
                block = xp.astype(_single(features[rows]), xp.float16)
                short.append(block)
                every = _single(block * block)
                squares.append(xp.astype(xp.sum(every, axis=1), xp.float16))
        self.short, self.squares = xp.concat(short, axis=0), xp.concat(squares, axis=0)

    def __len__(self) -> int:
        return len(self.features)

    def check(self, side: str) -> None:
        """Check that all lengths are finite.

        Raises:
            ComputationError: If one is not; the message names the first row.
        """
        bad = np.flatnonzero(~np.isfinite(host(self.squares)))
        if len(bad):
            raise ComputationError(
                f"row {bad[0]} (counted from 0) of the {side} features is too long for float16: "
                "its square exceeds 65,504. Use arithmetic='exact' or divide both by a constant"
            )

    def longest(self, rows: slice) -> float:
        """Return the largest length of some rows."""
        return float(np.sqrt(host(self.squares[rows]).max().astype(np.float64)))


def _tiles(rows: _Side, columns: _Side, *, squared: bool) -> Iterator[tuple[slice, slice, Any]]:
    """Yield all distances, some rows with the columns of a block at a time, as float32."""
    for down in blocks(len(rows), _BLOCK):
        parts = _parts(down)
        for across in blocks(len(columns), _BLOCK):
            short = not squared or _fits(rows, columns, down, across, parts)
            for part in parts:
                if not squared:
                    distances = _rooted(rows, columns, part, across)
                elif short:
                    distances = _squared(rows, columns, part, across)
                else:
                    distances = _squared_single(rows, columns, part, across)
                yield part, across, distances


def _parts(rows: slice) -> list[slice]:
    """Split the rows of a block."""
    starts = range(rows.start, rows.stop, _ROWS)
    return [slice(start, min(start + _ROWS, rows.stop)) for start in starts]


def _fits(rows: _Side, columns: _Side, down: slice, across: slice, parts: list[slice]) -> bool:
    """Whether all squared distances of a block are finite in float16."""
    if (rows.longest(down) + columns.longest(across)) ** 2 < _SURELY:
        return True
    tiles = (_squared(rows, columns, part, across) for part in parts)
    return all(bool(namespace(d).all(namespace(d).isfinite(d))) for d in tiles)


def _squared(rows: _Side, columns: _Side, i: slice, j: slice) -> AnyArray:
    """Return squared distances with every step rounded to float16."""
    with np.errstate(over="ignore", invalid="ignore"):
        twice = _rounded(2.0 * _rounded(_product(rows.short[i], columns.short[j])))
        left = _rounded(_single(rows.squares[i])[:, None] - twice)
        return _positive(_rounded(left + _single(columns.squares[j])[None, :]))


def _squared_single(rows: _Side, columns: _Side, i: slice, j: slice) -> AnyArray:
    """Return squared distances of the unrounded features in float32."""
    left, right = _single(rows.features[i]), _single(columns.features[j])
    xp = namespace(left)
    own, its = xp.sum(left * left, axis=1), xp.sum(right * right, axis=1)
    return _positive(own[:, None] - 2.0 * _product(left, right) + its[None, :])


def _rooted(rows: _Side, columns: _Side, i: slice, j: slice) -> AnyArray:
    """Return the rounded square roots of one rounded product."""
    u, v = _single(rows.short[i]), _single(columns.short[j])
    xp = namespace(u)
    own, its = _single(rows.squares[i])[:, None], _single(columns.squares[j])[:, None]
    left = xp.concat([-2.0 * u, own, own * 0.0 + 1.0], axis=1)
    right = xp.concat([v, its * 0.0 + 1.0, its], axis=1)
    with np.errstate(over="ignore"):
        return _rounded(xp.sqrt(_positive(_rounded(_product(left, right)))))


def _radii(balls: _Side, k: int, *, squared: bool) -> Array:
    """Return the (k + 1)-th smallest distance of each row to its own set, float32 on the host."""
    least = np.full((len(balls), k + 1), np.inf, np.float32)
    for rows, _, distances in _tiles(balls, balls, squared=squared):
        if is_tensor(distances):
            few = min(k + 1, distances.shape[1])
            distances = host(distances.topk(few, dim=1, largest=False).values)
        both = np.concatenate([least[rows], distances], axis=1)
        least[rows] = np.partition(both, k, axis=1)[:, : k + 1]
    return np.asarray(least.max(axis=1))


def _product(left: AnyArray, right: AnyArray) -> AnyArray:
    """Return u·v of all pairs of rows, in float32."""
    with full_precision(left):
        return _single(left) @ _single(right).T


def _single(values: AnyArray) -> AnyArray:
    xp = namespace(values)
    return xp.astype(values, xp.float32)


def _rounded(values: AnyArray) -> AnyArray:
    """Round to float16 and convert back to float32."""
    xp = namespace(values)
    return xp.astype(xp.astype(values, xp.float16), xp.float32)


def _positive(values: AnyArray) -> AnyArray:
    return namespace(values).clip(values, 0.0, None)
