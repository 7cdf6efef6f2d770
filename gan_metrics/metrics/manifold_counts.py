"""Queries about balls around images, the metrics computed from the counts, and their error bars.

A :class:`ManifoldRequest` is one metric with its arguments. It converts radii to a query, and the
resulting counts to a value. The same request is used for the whole sets and for half-samples.

The error bars come from half-samples (:mod:`gan_metrics.metrics.estimate`) of both sets together:
if the balls were fixed, the error of a proportion would be too small (0.7 of the true one at n =
m).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, UsageError, unknown_name
from gan_metrics.metrics.arrays import like
from gan_metrics.metrics.clipped_calibration import calibrated, squared_median
from gan_metrics.metrics.estimate import Estimate, half_samples
from gan_metrics.metrics.neighbors.distances import Matrix, Points, sweep
from gan_metrics.metrics.neighbors.knn import (
    BallCounts,
    BallQuery,
    CountInBalls,
    Neighbors,
    nearest_others,
)
from gan_metrics.metrics.registry import METRICS
from gan_metrics.utils.array_types import AnyArray, Floats, Indices

__all__ = [
    "MANIFOLD_METRICS",
    "Draws",
    "ManifoldRequest",
    "half_sample_draws",
    "part_of",
    "values_of",
]

Array = npt.NDArray[Any]

_SIZES = {"most": None, "most_real": None}
_KYNKAANNIEMI = {"k": 3, "strict": None, "arithmetic": "exact", **_SIZES}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "precision": _KYNKAANNIEMI,
    "recall": _KYNKAANNIEMI,
    "density": {"k": 5, **_SIZES},
    "coverage": {"k": 5, **_SIZES},
    "clipped_density": {"k": 5},
    "clipped_coverage": {"k": 5},
    "p_precision": {"k": 4, "a": 1.2},
    "p_recall": {"k": 4, "a": 1.2},
}
MANIFOLD_METRICS = tuple(_DEFAULTS)
"""The names of the metrics."""

_PAIRS = 2000
"""Images per set for half-samples, or the square root of the number of pairs."""

_TINY = float(np.finfo(np.float32).tiny)
"""Replacement of a squared radius of zero in a half-sample."""

_LEAST, _MOST = 200, 8000
"""Least and greatest number of images per set for half-samples."""


@dataclass(frozen=True)
class ManifoldRequest:
    """A metric and its arguments.

    Attributes:
        name: One of :data:`MANIFOLD_METRICS`.
        k: Number of the neighbor that gives the radius.
        a: Factor of the mean radius, if there is one radius for all.
        strict: Whether the comparison is d < r instead of d ≤ r; ``None``: the metric's default.
        arithmetic: Arithmetic of the distances of the value; error bars use exact arithmetic.
        most: Equally many images of both sets, at most this number; ``None``: all.
        most_real: At most this number of real images, the first ones; ``None``: all.
    """

    name: str
    k: int
    a: float | None = None
    strict: bool | None = None
    arithmetic: str = "exact"
    most: int | None = None
    most_real: int | None = None

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, Any]) -> ManifoldRequest:
        """Return the metric with some arguments.

        Raises:
            UsageError: If the name or an argument is unknown, or an argument is out of range.
        """
        if name not in _DEFAULTS:
            raise unknown_name("manifold metric", name, _DEFAULTS)
        for key in arguments:
            if key not in _DEFAULTS[name]:
                takes = " and ".join(_DEFAULTS[name])
                raise UsageError(f"{name} has no argument {key!r}; its arguments are {takes}")
        wanted = {**_DEFAULTS[name], **arguments}
        checks = METRICS[name].arguments
        plan = cls(name, **{key: checks[key](f"{key} of {name}", wanted[key]) for key in wanted})
        for key, most in (("most", plan.most), ("most_real", plan.most_real)):
            if most is not None and most <= plan.k:
                raise UsageError(f"{key} of {name} must be greater than k={plan.k}, not {most}")
        return plan

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments: k, a if the metric has it, and those that are not the default."""
        known = {key: getattr(self, key) for key in _DEFAULTS[self.name]}
        return {k: v for k, v in known.items() if k in "ka" or v != _DEFAULTS[self.name][k]}

    @property
    def sizes(self) -> tuple[int | None, int | None]:
        """``most`` and ``most_real``."""
        return self.most, self.most_real

    @property
    def real(self) -> bool:
        """Whether the balls are around real images."""
        return self.name not in {"recall", "p_recall"}

    @property
    def key(self) -> Hashable:
        """A key that is equal for requests with the same query."""
        strict = self.strict or self.name in {"density", "coverage", "clipped_coverage"}
        return self.real, self.k, "strict" if strict else self.name, self.a

    def check(self, n: int, m: int) -> None:
        """Raise an error if there are too few images.

        Raises:
            ComputationError: If not; the message has the set, the number and k.
        """
        side, count = ("real", n) if self.real else ("fake", m)
        least = self.k + 1
        if self.name == "clipped_coverage" and m < self.k <= n - 1:
            side, count, least = "fake", m, self.k
        if count < least:
            raise ComputationError(
                f"{self.name} with k={self.k} needs at least {least} {side} images, but there "
                f"{'is 1' if count == 1 else f'are {count}'}; use more images or a smaller k"
            )

    def check_radius(self, squared: Floats) -> None:
        """Check that a common radius is not zero.

        Raises:
            ComputationError: If it is; the message has the set and k.
        """
        if self.a is not None and not squared.any():
            side = "real" if self.real else "fake"
            raise ComputationError(
                f"{self.name}: each {side} image has at least {self.k} copies of itself, so the "
                "radius is zero; remove the duplicates"
            )

    def query(self, squared: Floats) -> BallQuery:
        """Return the query for squared radii."""
        if self.a is not None:
            radius = max((self.a * float(np.sqrt(squared).mean())) ** 2, _TINY)
            return BallQuery(np.full(len(squared), radius), strict=True, soft=True)
        if self.name == "clipped_density":
            return BallQuery(np.minimum(squared, squared_median(squared)), strict=False)
        return BallQuery(squared, strict=self.strict or self.name not in {"precision", "recall"})

    def value(self, query: BallQuery, counts: BallCounts, neighbors: Neighbors) -> float:
        """Compute the metric from counts.

        Args:
            query: The query.
            counts: The counts.
            neighbors: Neighbors within the set of the balls.
        """
        n, m = len(counts.per_ball), len(counts.per_point)
        if self.a is not None:
            return float((0.0 - np.expm1(counts.log_outside)).mean())
        if self.name in {"precision", "recall"}:
            return float((counts.per_point > 0).mean())
        if self.name == "density":
            return float(counts.per_ball.sum() / (self.k * m))
        if self.name == "coverage":
            return float((counts.per_ball > 0).mean())
        if self.name == "clipped_coverage":
            score = float(np.minimum(counts.per_ball, self.k).mean() / self.k)
            return calibrated(score, self.k, n, m)
        inside = neighbors.squared[:, : self.k] <= query.squared[:, None]
        own = np.bincount(neighbors.whom[:, : self.k][inside], minlength=n)
        fakes = float(np.minimum(counts.per_point, self.k).mean())
        return min(fakes / float(np.minimum(own, self.k).mean()), 1.0)


def part_of(
    X: AnyArray, Y: AnyArray, most: int | None, most_real: int | None, seed: int
) -> tuple[AnyArray, AnyArray]:
    """Select the images to use.

    Args:
        X: Real features, ``(n, D)``.
        Y: Generated features, ``(m, D)``.
        most: Equally many images of both sets, at most this number, drawn without replacement;
            ``None``: all.
        most_real: The first real images, at most this number, before that; ``None``: all.
        seed: Seed of the draw.
    """
    sets: list[AnyArray] = [X[:most_real], Y]
    size = None if most is None else min(most, *map(len, sets))
    for i, side in enumerate(sets):
        if size is not None and size < len(side):
            rows = np.random.default_rng([seed, 4 + i]).choice(len(side), size, replace=False)
            sets[i] = side[like(np.sort(rows), side)]
    return sets[0], sets[1]


def values_of(plans: Sequence[ManifoldRequest], x: Points, y: Points) -> dict[str, float]:
    """Compute the metrics, by name.

    Args:
        plans: The requests; checked against the sizes.
        x: The real images.
        y: The generated images.
    """
    neighbors = {}
    for real, points in ((True, x), (False, y)):
        mine = [plan for plan in plans if plan.real == real]
        if mine:
            ranks = sorted({plan.k for plan in mine})
            every = any(plan.name == "clipped_density" for plan in mine)
            neighbors[real] = nearest_others(points, ranks[-1], ranks=None if every else ranks)
    for plan in plans:
        plan.check_radius(neighbors[plan.real].squared[:, plan.k - 1])
    questions = _queries(plans, neighbors)
    counts: dict[Hashable, BallCounts] = {}
    consumers = []
    for real in neighbors:
        keys = list(dict.fromkeys(plan.key for plan in plans if plan.real == real))
        balls = CountInBalls(len(x), len(y), [questions[key] for key in keys], of_rows=real)
        counts.update(zip(keys, balls.counts, strict=True))
        consumers.append(balls)
    sweep(x, y, consumers)
    return {
        plan.name: plan.value(questions[plan.key], counts[plan.key], neighbors[plan.real])
        for plan in plans
    }


@dataclass(frozen=True)
class Draws:
    """The metrics on half-samples.

    Attributes:
        values: Values by name; missing if a half has too few images.
        shape: Numbers of real and generated images from which halves were drawn.
        share: These numbers as a share of all images, for the set with the larger share.
        seed: Seed of the draws.
    """

    values: Mapping[str, Floats]
    shape: tuple[int, int]
    share: float
    seed: int

    def estimate(self, plan: ManifoldRequest, value: float) -> Estimate:
        """Return a value with its error bar."""
        if plan.name not in self.values:
            why = f"half of the images are too few for k={plan.k}; the error bar is not computed"
            return Estimate(
                value, details=plan.arguments, warnings=(("too-few-for-error-bar", why),)
            )
        draws = self.values[plan.name]
        error = float(np.std(draws, ddof=1)) * math.sqrt(self.share)
        warnings: tuple[tuple[str, str], ...] = ()
        if error == 0:
            why = (
                f"{plan.name} is {draws[0]:g} on every half-sample, so its error bar of 0 is not "
                "meaningful"
            )
            warnings = (("at-the-edge", why),)
        details = {**plan.arguments, "drawn_from": list(self.shape)}
        return Estimate(
            value,
            error,
            draws=draws,
            draws_scale=self.share,
            draws_of=(self.shape[0], self.seed),
            details=details,
            warnings=warnings,
        )


def half_sample_draws(
    plans: Sequence[ManifoldRequest], x: Points, y: Points, *, seed: int = 0
) -> Draws:
    """Compute the metrics on half-samples of some of the images.

    Args:
        plans: The requests.
        x: The real images.
        y: The generated images.
        seed: Seed of the draws. The order of real images depends only on it and their number.
    """
    share = min(1.0, _PAIRS / math.sqrt(len(x) * len(y)))
    some = []
    for points, stream in ((x, 2), (y, 3)):
        n = len(points)
        count = min(max(round(share * n), min(n, _LEAST)), _MOST)
        order = np.random.default_rng([seed, stream]).permutation(n)
        some.append(points if count == n else points.pick(np.sort(order[:count])))
    n, m = len(some[0]), len(some[1])
    possible = [plan for plan in plans if _fits(plan, n // 2, m // 2)]
    share = max(n / len(x), m / len(y))
    values: dict[str, list[float]] = {plan.name: [] for plan in possible}
    if possible:
        halves = _Halves(possible, some[0], some[1])
        for rows, columns in half_samples(n, m, seed=seed):
            assert rows is not None  # noqa: S101
            for name, value in halves.values(rows, columns).items():
                values[name].append(value)
    return Draws({name: np.array(drawn) for name, drawn in values.items()}, (n, m), share, seed)


class _Halves:
    """Distances in float32, computed once, from which the metrics of any half are read."""

    def __init__(self, plans: Sequence[ManifoldRequest], x: Points, y: Points) -> None:
        self.plans = plans
        matrix = Matrix(len(x), len(y))
        sweep(x, y, [matrix])
        self.squared = np.maximum(matrix.squared, 0.0)
        self.sides: dict[bool, tuple[int, Neighbors]] = {}
        for real, points in ((True, x), (False, y)):
            ks = [plan.k for plan in plans if plan.real == real]
            if ks:
                # On average half of these are in a half; never fewer than k.
                wanted = min(4 * max(ks) + 30, len(points) - 1)
                self.sides[real] = max(ks), nearest_others(points, wanted, double=False)

    def values(self, rows: Indices, columns: Indices) -> dict[str, float]:
        neighbors = {
            real: _nearest_in_half(found, rows if real else columns, k)
            for real, (k, found) in self.sides.items()
        }
        questions = _queries(self.plans, neighbors)
        squared = self.squared[rows][:, columns]
        counts = {
            key: _count(squared if key[0] else squared.T, query) for key, query in questions.items()
        }
        return {
            plan.name: plan.value(questions[plan.key], counts[plan.key], neighbors[plan.real])
            for plan in self.plans
        }


def _queries(
    plans: Sequence[ManifoldRequest], neighbors: Mapping[bool, Neighbors]
) -> dict[Any, BallQuery]:
    questions: dict[Any, BallQuery] = {}
    for plan in plans:
        if plan.key not in questions:
            questions[plan.key] = plan.query(neighbors[plan.real].squared[:, plan.k - 1])
    return questions


def _count(squared: Array, query: BallQuery) -> BallCounts:
    """Return counts from all squared distances of the balls (rows) to the points."""
    limits = query.squared.astype(np.float32)[:, None]
    if query.soft:
        with np.errstate(divide="ignore"):
            logs = np.log(np.minimum(squared / limits[0], 1.0, dtype=np.float32))
        nobody = np.zeros(0, np.int64)
        return BallCounts(nobody, nobody, 0.5 * logs.sum(axis=0, dtype=np.float64))
    inside = squared < limits if query.strict else squared <= limits
    per_ball = np.count_nonzero(inside, axis=1).astype(np.int64)
    per_point = np.count_nonzero(inside, axis=0).astype(np.int64)
    return BallCounts(per_ball, per_point, np.zeros(0))


def _nearest_in_half(found: Neighbors, half: Indices, k: int) -> Neighbors:
    """Return the k nearest neighbors within a half, from the nearest in the whole set."""
    place = np.full(len(found.whom), -1)
    place[half] = np.arange(len(half))
    index = place[found.whom[half]]
    there = index >= 0
    rank = np.cumsum(there, axis=1)
    there &= rank <= k
    missing = rank[:, -1] < k
    if missing.any():  # one in a million draws: use the farthest kept one
        there[missing] = False
        there[missing, -k:] = True
    squared = found.squared[half][there].reshape(-1, k)
    return Neighbors(squared, np.maximum(index[there].reshape(-1, k), 0))


def _fits(plan: ManifoldRequest, n: int, m: int) -> bool:
    if min(n, m) < 1:
        return False
    try:
        plan.check(n, m)
    except ComputationError:
        return False
    return True
