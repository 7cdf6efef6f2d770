"""Squared distances between two sets, block by block, each computed once.

Each set is stored in float32 relative to the common mean, with two additional columns, so that one
product gives a block of squared distances::

    [−2x, |x|², 1] · [y, 1, |y|²] = |x|² + |y|² − 2 x·y = |x − y|²

Whatever the order of summation, the error of a product over K columns is at most
(2K + 8)·2⁻²⁴·(|x|² + |y|²), including the rounding of the inputs (Higham 2002, *Accuracy and
Stability of Numerical Algorithms*, section 3.1). A comparison that this bound leaves open is
repeated: with a product in float64 if a block has many of them, then with differences in float64.
So every comparison has the result of differences in float64, on every device.

:func:`sweep` passes each block to its consumers, which keep only a few pairs (those within a
radius) on the host. Squared distances are in scaled units: all features are multiplied by
:attr:`Points.scale`, a power of two, so that float32 can represent their squares.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from array_api_compat import device

from gan_metrics.metrics.arrays import blocks, full_precision, host, like, namespace, wide
from gan_metrics.utils.array_types import AnyArray, Floats, Indices

__all__ = [
    "Block",
    "Consumer",
    "Matrix",
    "Pairs",
    "Points",
    "by_differences",
    "points_of",
    "reach",
    "rounding",
    "sweep",
]

_BLOCK = 2048
"""Rows and columns of a block: 16 MiB in float32."""

_ROWS = 1024
"""Rows per step of float64 computations on features."""

_MANY = 256
"""One open pair in this many: above it, a float64 product is cheaper than differences."""

_RELATIVE = 1e-6
"""Squared distances whose relative error bound is larger are computed by differences."""

_AT_ONCE = 1 << 20
"""Values per step when distances are computed by differences."""

_DUPLICATES = 1 << 16
"""Number of pairs for differences above which equal rows are searched first."""

Array = npt.NDArray[Any]


class Points:
    """A set of points relative to a center, prepared for products.

    Attributes:
        points: The original features, ``(n, D)``.
        squares: Squared lengths relative to the center, float64 on the host, ``(n,)``.
        scale: The power of two by which all features are multiplied.
    """

    def __init__(self, points: AnyArray, centre: Floats, scale: float) -> None:
        self.points, self.centre, self.scale = points, centre, scale
        xp = namespace(points)
        n, dim = points.shape
        self.squares: Floats = np.empty(n)
        self._near = xp.empty((n, dim + 2), dtype=xp.float32, device=device(points))
        for rows in blocks(n, _ROWS):
            block = self._centred(rows)
            squares = namespace(block).sum(block * block, axis=1)
            self.squares[rows] = host(squares)
            self._near[rows, :dim] = block
            self._near[rows, dim] = 1.0
            self._near[rows, dim + 1] = squares

    def __len__(self) -> int:
        return len(self.squares)

    def pick(self, rows: Indices) -> Points:
        """Return some of the points."""
        some = object.__new__(Points)
        some.centre, some.scale, some.squares = self.centre, self.scale, self.squares[rows]
        index = like(rows, self.points)
        some.points, some._near = self.points[index], self._near[index]
        return some

    def left(self, rows: slice, *, double: bool) -> AnyArray:
        """Return the left factor of the product: [−2x, |x|², 1]."""
        near = self.right(rows, double=double)
        dim = near.shape[1] - 2
        parts = [near[:, :dim] * -2.0, near[:, dim + 1 :], near[:, dim : dim + 1]]
        return namespace(near).concat(parts, axis=1)

    def right(self, rows: slice, *, double: bool) -> AnyArray:
        """Return the right factor of the product, not transposed: [x, 1, |x|²]."""
        if not double:
            return self._near[rows]
        near = self._centred(rows)
        squares = like(self.squares[rows], near)[:, None]
        return namespace(near).concat([near, squares * 0.0 + 1.0, squares], axis=1)

    @functools.cached_property
    def digests(self) -> Array:
        """Return a digest of each row, equal for equal rows."""
        found = [
            hashlib.blake2b(row.tobytes(), digest_size=16).digest()
            for rows in blocks(len(self), _ROWS)
            for row in host(wide(self.points[rows]))
        ]
        return np.array(found, "V16")

    def _centred(self, rows: slice) -> AnyArray:
        block = wide(self.points[rows])
        return (block - like(self.centre, block)) * self.scale


def points_of(*sets: AnyArray) -> tuple[Points, ...]:
    """Prepare sets relative to their common mean; the copies need ``n·D·4`` bytes each.

    Args:
        sets: Features of shape ``(n, D)``, finite, of one library and on one device.
    """
    total: Any = 0.0
    low, high = math.inf, -math.inf
    for features in sets:
        for rows in blocks(len(features), _ROWS):
            block = wide(features[rows])
            xp = namespace(block)
            total = total + host(xp.sum(block, axis=0))
            low, high = min(low, float(xp.min(block))), max(high, float(xp.max(block)))
    centre = np.asarray(total / sum(len(features) for features in sets), np.float64)
    spread = high - low
    scale = 2.0 ** -math.frexp(spread)[1] if spread > 0 else 1.0
    return tuple(Points(features, centre, scale) for features in sets)


class Pairs(NamedTuple):
    """Some pairs of a block, on the host.

    Attributes:
        i: Row numbers in the whole set.
        j: Column numbers in the whole set.
        squared: Their squared distances in the block.
    """

    i: Indices
    j: Indices
    squared: Array


class Block:
    """Squared distances of some rows to some columns.

    Attributes:
        x: The points of the rows.
        y: The points of the columns.
        rows: The rows of the block.
        columns: The columns of the block.
        squared: ``(rows, columns)``, on the device, within the error bound; infinite for a point
            and itself.
        mirrored: Whether the block also represents its transpose, within one set.
    """

    def __init__(
        self, x: Points, y: Points, rows: slice, columns: slice, squared: AnyArray
    ) -> None:
        self.x, self.y, self.rows, self.columns, self.squared = x, y, rows, columns, squared
        self.mirrored = x is y and rows != columns
        self._double = squared.dtype == namespace(squared).float64
        self._unit = rounding(x, double=self._double)

    def pairs(self, mask: AnyArray) -> Pairs:
        """Return the pairs for which a mask is true."""
        xp = namespace(mask)
        flat = xp.nonzero(xp.reshape(mask, (-1,)))[0]
        squared = host(xp.reshape(self.squared, (-1,))[flat])
        i, j = np.divmod(host(flat), mask.shape[1])
        return Pairs(i + self.rows.start, j + self.columns.start, squared)

    def within(self, limits: Floats, *, of_rows: bool, surely: bool = False) -> AnyArray:
        """Return a mask of all pairs within a squared radius, and some just outside.

        Args:
            limits: The squared radius of each point of the whole set, rows or columns.
            of_rows: Whether the radii belong to the rows.
            surely: Whether to exclude all pairs on the edge or outside, and some just inside.
        """
        points, span = (self.x, self.rows) if of_rows else (self.y, self.columns)
        margin = reach(self._unit, points.squares[span], limits[span])
        if surely:
            return self.squared < self.edge(limits[span] - margin, of_rows=of_rows)
        return self.squared <= self.edge(limits[span] + margin, of_rows=of_rows)

    def edge(self, limits: Floats, *, of_rows: bool) -> AnyArray:
        """Return a limit for each row, or column, of the block, in a comparable shape."""
        edge = like(limits.astype(np.float64 if self._double else np.float32), self.squared)
        return edge[:, None] if of_rows else edge[None, :]

    def decide(self, pairs: Pairs, limits: Floats, *, strict: bool) -> npt.NDArray[np.bool_]:
        """Return whether each pair is within its squared radius, as by differences in float64.

        Args:
            pairs: Pairs of this block.
            limits: A squared radius for each pair.
            strict: Whether the comparison is d < r instead of d ≤ r.
        """
        i, j, squared = pairs
        slack = self._unit * (self.x.squares[i] + self.y.squares[j])
        inside = squared < limits - slack
        unsure = np.flatnonzero(~inside & (squared <= limits + slack))
        if len(unsure) > self._crowd and not self._double:
            some = Pairs(i[unsure], j[unsure], self._finer(i[unsure], j[unsure]))
            inside[unsure] = self.finely.decide(some, limits[unsure], strict=strict)
        elif len(unsure):
            exact = by_differences(self.x, self.y, i[unsure], j[unsure])
            limits = limits[unsure]
            inside[unsure] = exact < limits if strict else exact <= limits
        return inside

    def accurate(self, i: Indices, j: Indices) -> Floats:
        """Return squared distances of some pairs with a relative error of at most 1e-6."""
        if len(i) <= self._crowd:
            return by_differences(self.x, self.y, i, j)
        squared = self._finer(i, j)
        slack = rounding(self.x, double=True) * (self.x.squares[i] + self.y.squares[j])
        poor = np.flatnonzero(squared * _RELATIVE < slack)
        squared[poor] = by_differences(self.x, self.y, i[poor], j[poor])
        return squared

    def all_accurate(self, *, of_rows: bool) -> Block:
        """Return the block in float64, as accurate as :meth:`accurate`."""
        fine = self.finely
        points = self.x if of_rows else self.y
        poor = fine.within(fine._unit / _RELATIVE * points.squares, of_rows=of_rows)
        i, j, _ = fine.pairs(poor)
        if len(i):
            fine.squared[poor] = like(by_differences(self.x, self.y, i, j), fine.squared)
        return fine

    @property
    def _crowd(self) -> int:
        return int(np.prod(self.squared.shape)) // _MANY

    @functools.cached_property
    def finely(self) -> Block:
        """Return the block in float64, on a device that supports it."""
        squared = _product(self.x, self.y, self.rows, self.columns, double=True)
        return Block(self.x, self.y, self.rows, self.columns, squared)

    def _finer(self, i: Indices, j: Indices) -> Floats:
        squared = host(self.finely.squared)
        return np.asarray(squared[i - self.rows.start, j - self.columns.start])


class Consumer(Protocol):
    """A consumer of the blocks of :func:`sweep`."""

    def take(self, block: Block) -> None:
        """Process a block, which is not kept.

        A ``mirrored`` block also represents its transpose, which is not passed separately.
        """


def sweep(
    x: Points,
    y: Points,
    consumers: Sequence[Consumer],
    *,
    own: Indices | None = None,
    double: bool = False,
) -> None:
    """Pass every block of squared distances to the consumers.

    With ``x is y`` only the blocks on and above the diagonal are computed, and the distance of a
    point to itself is infinite.

    Args:
        x: The points of the rows.
        y: The points of the columns.
        consumers: The consumers of the blocks.
        own: The column that is the same point as each row, if there is one.
        double: Whether to compute in float64.
    """
    if x is y:
        own = np.arange(len(x))
    for rows in blocks(len(x), _BLOCK):
        left = x.left(rows, double=double)
        for columns in blocks(len(y), _BLOCK):
            if x is y and columns.start < rows.start:
                continue
            with full_precision(left):
                squared = left @ y.right(columns, double=double).T
            if own is not None:
                column = own[rows]
                mine = np.flatnonzero((column >= columns.start) & (column < columns.stop))
                if len(mine):
                    where = like(mine, squared), like(column[mine] - columns.start, squared)
                    squared[where] = math.inf
            block = Block(x, y, rows, columns, squared)
            for consumer in consumers:
                consumer.take(block)


class Matrix:
    """Consumer that copies all squared distances in float32 to the host; for small sets."""

    def __init__(self, n: int, m: int) -> None:
        self.squared: npt.NDArray[np.float32] = np.empty((n, m), np.float32)

    def take(self, block: Block) -> None:
        """Copy the block."""
        self.squared[block.rows, block.columns] = host(block.squared)


def by_differences(x: Points, y: Points, i: Indices, j: Indices) -> Floats:
    """Return squared distances of some pairs, by differences in float64 on the host."""
    out = np.zeros(len(i))
    left: Any = np.arange(len(i))
    if len(i) > _DUPLICATES:
        left = np.flatnonzero(x.digests[i] != y.digests[j])
    for part in blocks(len(left), max(1, _AT_ONCE // x.points.shape[1])):
        a, b = i[left[part]], j[left[part]]
        one, other = wide(x.points[like(a, x.points)]), wide(y.points[like(b, y.points)])
        difference = (host(one) - host(other)) * x.scale
        out[left[part]] = np.einsum("nd,nd->n", difference, difference)
    return out


def rounding(x: Points, *, double: bool) -> float:
    """Return the factor of |x|² + |y|² in the error bound of the module."""
    columns = int(x.points.shape[1]) + 2
    return float(2 * columns + 8) * (2.0**-53 if double else 2.0**-24)


def reach(unit: float, squares: Floats, squared: Floats) -> Floats:
    """Return the error bound for a point of known length at a known squared distance.

    The other point's length is unknown. If it is at least twice as long, |x|² + |y|² ≤ 5 |x − y|²;
    otherwise it is ≤ 5 |x|².
    """
    return 5.0 * unit * np.maximum(squares, squared)


def _product(x: Points, y: Points, rows: slice, columns: slice, *, double: bool) -> AnyArray:
    left = x.left(rows, double=double)
    with full_precision(left):
        return left @ y.right(columns, double=double).T
