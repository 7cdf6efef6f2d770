"""Nearest neighbors in the same or another set, and counts of points in k-nearest-neighbor balls.

Both use the blocks of :mod:`gan_metrics.metrics.neighbors.distances`, and both equal the results of
differences in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gan_metrics.metrics.arrays import blocks, host, is_tensor, namespace
from gan_metrics.metrics.neighbors.distances import (
    Block,
    Pairs,
    Points,
    by_differences,
    reach,
    rounding,
    sweep,
)
from gan_metrics.utils.array_types import AnyArray, Floats, Indices

__all__ = [
    "BallCounts",
    "BallQuery",
    "CountInBalls",
    "Nearest",
    "Neighbors",
    "nearest_in",
    "nearest_others",
]

_SPARE = 8
"""Neighbors kept beyond the k-th, because float32 may have confused the k-th one."""

_GROUPS = 8
"""Groups per kept neighbor, whose smallest distances bound the first ones."""

_MANY_INSIDE = 1 / 32
"""Share of pairs in balls above which they are counted in masks instead of lists."""

_MANY_LOGS = 1 / 4
"""Share of pairs above which logarithms, which cost more, are computed in masks."""

_FEW = 128
"""Points at a time for which all equally near neighbors are listed."""

_CHUNK = 2048
"""Points at a time that are computed again in float64."""

Array = npt.NDArray[Any]


class Nearest:
    """Consumer that finds the nearest columns of each row, in the block's arithmetic.

    Attributes:
        squared: ``(n, kept)``, rising; infinite if there are fewer columns.
        whom: Numbers of the columns.
    """

    def __init__(self, n: int, kept: int) -> None:
        self.squared: Floats = np.full((n, kept), np.inf)
        self.whom: Indices = np.full((n, kept), -1, np.int64)

    def take(self, block: Block) -> None:
        """Add a block, and its transpose if it represents that too."""
        self._update(block, by_rows=True)
        if block.mirrored:
            self._update(block, by_rows=False)

    def _update(self, block: Block, *, by_rows: bool) -> None:
        d = block.squared
        mine, theirs = (block.rows, block.columns) if by_rows else (block.columns, block.rows)
        known, kept = self.squared[mine, -1], self.squared.shape[1]
        if np.isinf(known).any():
            bound = np.minimum(known, _first_bound(d, kept, by_rows=by_rows))
            mask = d <= block.edge(bound, of_rows=by_rows)
            if _counted(mask) > 4 * kept * len(bound) + 4 * kept**2:
                self._partition(host(d) if by_rows else host(d).T, mine, theirs)
                return
        else:
            mask = d < block.edge(known, of_rows=by_rows)
        i, j, squared = block.pairs(mask)
        finite = np.isfinite(squared)
        i, j, squared = i[finite], j[finite], squared[finite]
        self._merge(*((i, j) if by_rows else (j, i)), squared)

    def _partition(self, d: Array, mine: slice, theirs: slice) -> None:
        """Handle many equal distances: keep as many as needed from each row."""
        some = min(self.squared.shape[1], d.shape[1])
        chosen = np.argpartition(d, some - 1, axis=1)[:, :some]
        squared = np.take_along_axis(d, chosen, axis=1).ravel()
        i = np.repeat(np.arange(mine.start, mine.stop), some)
        finite = np.isfinite(squared)
        self._merge(i[finite], (chosen.ravel() + theirs.start)[finite], squared[finite])

    def _merge(self, i: Indices, j: Indices, squared: Array) -> None:
        rows, place = np.unique(i, return_inverse=True)
        kept = self.squared.shape[1]
        all_rows = np.concatenate([np.repeat(np.arange(len(rows)), kept), place])
        values = np.concatenate([self.squared[rows].ravel(), squared])
        index = np.concatenate([self.whom[rows].ravel(), j])
        order = np.lexsort((index, values, all_rows))
        starts = np.searchsorted(all_rows[order], np.arange(len(rows)))
        chosen = order[starts[:, None] + np.arange(kept)]
        self.squared[rows], self.whom[rows] = values[chosen], index[chosen]


class BallQuery(NamedTuple):
    """A query about the balls of one set and the points of the other.

    Attributes:
        squared: The squared radius of each ball.
        strict: Whether a point is inside for d < r instead of d ≤ r.
        soft: Whether to compute Π min(d/r, 1) over the balls for each point instead of counts.
    """

    squared: Floats
    strict: bool
    soft: bool = False


class BallCounts(NamedTuple):
    """The result of a :class:`BallQuery`.

    Attributes:
        per_ball: Number of points in each ball; zeros if the query is soft.
        per_point: Number of balls around each point; zeros if the query is soft.
        log_outside: Sum over the balls of log min(d/r, 1) for each point; zeros unless soft.
    """

    per_ball: Indices
    per_point: Indices
    log_outside: Floats


class CountInBalls:
    """Consumer that counts points in balls.

    Attributes:
        counts: One result for each query.
    """

    def __init__(self, n: int, m: int, queries: Sequence[BallQuery], *, of_rows: bool) -> None:
        self.of_rows = of_rows
        balls, points = (n, m) if of_rows else (m, n)
        self.counts = [
            BallCounts(np.zeros(balls, np.int64), np.zeros(points, np.int64), np.zeros(points))
            for _ in queries
        ]
        both = list(zip(queries, self.counts, strict=True))
        self._soft = [(query, counts) for query, counts in both if query.soft]
        self._hard = [(query, counts) for query, counts in both if not query.soft]
        self._largest: Floats = np.max(
            [query.squared for query, _ in self._hard] or [np.zeros(balls)], axis=0
        )

    def take(self, block: Block) -> None:
        """Count in a block."""
        for query, counts in self._soft:
            self._add_logs(block, query, counts)
        if not self._hard:
            return
        mask = block.within(self._largest, of_rows=self.of_rows)
        near = None if _share(mask) > _MANY_INSIDE else block.pairs(mask)
        for query, counts in self._hard:
            if near is None:
                self._count_mask(block, query, counts)
            else:
                self._count_pairs(block, near, query, counts)

    def _count_pairs(self, block: Block, near: Pairs, query: BallQuery, counts: BallCounts) -> None:
        limits = query.squared[near.i if self.of_rows else near.j]
        inside = np.flatnonzero(block.decide(near, limits, strict=query.strict))
        i, j = near.i[inside], near.j[inside]
        _add(counts.per_ball, i if self.of_rows else j)
        _add(counts.per_point, j if self.of_rows else i)

    def _count_mask(self, block: Block, query: BallQuery, counts: BallCounts) -> None:
        inside = block.within(query.squared, of_rows=self.of_rows, surely=True)
        counts.per_ball[self._balls(block)] += host(_counted(inside, 1 if self.of_rows else 0))
        counts.per_point[self._points(block)] += host(_counted(inside, 0 if self.of_rows else 1))
        perhaps = block.within(query.squared, of_rows=self.of_rows)
        self._count_pairs(block, block.pairs(perhaps ^ inside), query, counts)

    def _add_logs(self, block: Block, query: BallQuery, counts: BallCounts) -> None:
        mask = block.within(query.squared, of_rows=self.of_rows)
        with np.errstate(divide="ignore"):
            if _share(mask) < _MANY_LOGS:
                i, j, _ = block.pairs(mask)
                ball, point = (i, j) if self.of_rows else (j, i)
                logs = np.log(block.accurate(i, j) / query.squared[ball])
                _add(counts.log_outside, point, 0.5 * np.minimum(logs, 0.0))
                return
            fine = block.all_accurate(of_rows=self.of_rows)
            xp = namespace(fine.squared)
            limits = query.squared[self._balls(block)]
            share = fine.squared / fine.edge(limits, of_rows=self.of_rows)
            logs = xp.sum(xp.log(xp.clip(share, 0.0, 1.0)), axis=0 if self.of_rows else 1)
            counts.log_outside[self._points(block)] += 0.5 * host(logs)

    def _balls(self, block: Block) -> slice:
        return block.rows if self.of_rows else block.columns

    def _points(self, block: Block) -> slice:
        return block.columns if self.of_rows else block.rows


class _Listed:
    """Consumer: all pairs within squared radii of the rows, or just outside."""

    def __init__(self, limits: Floats) -> None:
        self.limits = limits
        self.i: list[Indices] = []
        self.j: list[Indices] = []

    def take(self, block: Block) -> None:
        # Twice the margin, because the limit is itself a distance of the block's arithmetic.
        margin = reach(rounding(block.x, double=True), block.x.squares, self.limits)
        pairs = block.pairs(block.within(self.limits + margin, of_rows=True))
        self.i.append(pairs.i)
        self.j.append(pairs.j)


class Neighbors(NamedTuple):
    """The nearest other points.

    Attributes:
        squared: Squared distances, ``(n, k)``, rising.
        whom: Their numbers.
    """

    squared: Floats
    whom: Indices


def nearest_others(
    x: Points, k: int, *, ranks: Sequence[int] | None = None, double: bool = True
) -> Neighbors:
    """Return the nearest other points of each point in its own set.

    Args:
        x: The points; more than ``k``.
        k: Number of neighbors.
        ranks: Ranks, counted from 1, at which squared distances equal differences in float64; all
            others are on the right side of them. ``None``: all ranks, equal distances in the order
            of the points.
        double: Whether to ensure this; otherwise all are within the error bound of float32.
    """
    return _nearest(x, x, k, ranks, double=double)


def nearest_in(queries: Points, gallery: Points, k: int = 1) -> Neighbors:
    """Return the nearest points of another set, by differences in float64.

    Args:
        queries: The points whose neighbors are searched.
        gallery: The points to search, at least ``k``; not the same object.
        k: Number of neighbors; equal distances are in the order of the gallery.
    """
    return _nearest(queries, gallery, k, None, double=True)


def _nearest(
    x: Points, y: Points, k: int, ranks: Sequence[int] | None, *, double: bool
) -> Neighbors:
    n, there = len(x), len(y) - (x is y)
    kept = min(k + _SPARE, there) if double else k
    found = Nearest(n, kept)
    sweep(x, y, [found])
    if not double:
        return Neighbors(found.squared, found.whom)
    out = Neighbors(np.empty((n, k)), np.empty((n, k), np.int64))
    unsure = _write_certain(x, y, out, np.arange(n), found, ranks, there, double=False)
    for part in blocks(len(unsure), _CHUNK):
        rows = unsure[part]
        some, own = x.pick(rows), rows if x is y else None
        finer = Nearest(len(rows), kept)
        sweep(some, y, [finer], own=own, double=True)
        crowded = _write_certain(x, y, out, rows, finer, ranks, there, double=True)
        limits = finer.squared[np.searchsorted(rows, crowded), k - 1]
        for few in blocks(len(crowded), _FEW):
            _write_ties(x, y, out, crowded[few], limits[few])
    return out


def _write_certain(
    x: Points,
    y: Points,
    out: Neighbors,
    rows: Indices,
    found: Nearest,
    ranks: Sequence[int] | None,
    there: int,
    *,
    double: bool,
) -> Indices:
    """Write the rows whose neighbors are certain; return the other rows.

    ``there`` is the number of existing neighbors of each row.
    """
    kept, k = found.squared.shape[1], out.squared.shape[1]
    unit = rounding(x, double=double)
    slack = unit * (x.squares[rows] + y.squares[found.whom].max(axis=1))
    wanted = range(1, k + 1) if ranks is None else ranks
    unclear = np.zeros(found.squared.shape, bool)
    for rank in wanted:
        kth = found.squared[:, rank - 1, None]
        unclear |= np.abs(found.squared - kth) <= 2 * slack[:, None]
    exact = found.squared.copy()
    i, j = np.nonzero(unclear)
    exact[i, j] = by_differences(x, y, rows[i], found.whom[i, j])
    order = np.lexsort((found.whom, exact), axis=1)[:, :k]
    squared = np.take_along_axis(exact, order, axis=1)
    index = np.take_along_axis(found.whom, order, axis=1)
    last = max(wanted) - 1
    # Neighbors that were not kept are at least as far away as the last kept one, up to the bound.
    farthest = found.squared[:, -1]
    sure = squared[:, last] < farthest - reach(unit, x.squares[rows], farthest)
    if ranks is not None:
        sure |= squared[:, last] == 0
    if kept == there:
        sure[:] = True
    out.squared[rows[sure]], out.whom[rows[sure]] = squared[sure], index[sure]
    return rows[~sure]


def _write_ties(x: Points, y: Points, out: Neighbors, rows: Indices, limits: Floats) -> None:
    """Write rows with more neighbors at one distance than were kept."""
    k = out.squared.shape[1]
    listed = _Listed(limits)
    sweep(x.pick(rows), y, [listed], own=rows if x is y else None, double=True)
    place, whom = np.concatenate(listed.i), np.concatenate(listed.j)
    exact = by_differences(x, y, rows[place], whom)
    order = np.lexsort((whom, exact, place))
    starts = np.searchsorted(place[order], np.arange(len(rows)))
    chosen = order[starts[:, None] + np.arange(k)]
    out.squared[rows], out.whom[rows] = exact[chosen], whom[chosen]


def _first_bound(d: AnyArray, kept: int, *, by_rows: bool) -> Array:
    """Return an upper bound of each row's, or column's, ``kept``-th smallest distance."""
    xp = namespace(d)
    mine, theirs = d.shape if by_rows else d.shape[::-1]
    groups = _GROUPS * kept
    size = theirs // groups
    if size < 2:
        return np.full(mine, np.inf)
    if by_rows:
        least = xp.min(xp.reshape(d[:, : groups * size], (mine, groups, size)), axis=2)
    else:
        least = xp.min(xp.reshape(d[: groups * size], (groups, size, mine)), axis=1).T
    return np.partition(host(least), kept - 1, axis=1)[:, kept - 1]


def _share(mask: AnyArray) -> float:
    return float(int(_counted(mask)) / math.prod(mask.shape))


def _counted(mask: AnyArray, axis: int | None = None) -> AnyArray:
    """Count true values in total, or along an axis."""
    if is_tensor(mask):
        return int(mask.sum()) if axis is None else mask.sum(axis)
    return np.count_nonzero(mask, axis=axis)


def _add(counts: Array, where: Indices, values: Floats | None = None) -> None:
    """Add one, or a value, at each position; positions may be repeated."""
    if len(where):
        counts += np.bincount(where, values, minlength=len(counts)).astype(counts.dtype)
