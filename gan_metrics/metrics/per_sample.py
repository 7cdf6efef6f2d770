"""Scores of single images relative to the other set.

Each real image x has a ball with radius r_k(x), the distance to its k-th nearest other real image.
For a generated image y::

    realism(y)    = max r_k(x) / |x − y|   over real images with at most the median radius
    rarity(y)     = min r_k(x)             over real images whose ball contains y, |x − y| < r_k(x)
    authentic(y)  : |y − x*| > |x* − x'|   x*: real image nearest to y, x': real nearest to x*

Kynkäänniemi et al. (2019), arXiv 1904.06991, section 5: realism. Han et al. (2023), arXiv
2206.08549: rarity. Alaa et al. (2022), arXiv 2102.08921: authenticity.

Every distance that decides is computed by differences in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError
from gan_metrics.metrics.arrays import as_pair, host
from gan_metrics.metrics.clipped_calibration import squared_median
from gan_metrics.metrics.estimate import Estimate, half_samples
from gan_metrics.metrics.neighbors.distances import (
    Block,
    Matrix,
    Points,
    by_differences,
    points_of,
    sweep,
)
from gan_metrics.metrics.neighbors.knn import Neighbors, nearest_in, nearest_others
from gan_metrics.utils.array_types import AnyArray, ArrayLike, Flags, Floats, Indices
from gan_metrics.utils.validation import whole_number

__all__ = [
    "Pointwise",
    "authentic",
    "authpct",
    "copies_by_chance",
    "nearest_real",
    "nearest_reals",
    "pointwise",
    "pointwise_estimates",
    "rarity",
    "realism",
]


_NEAR, _NEAREST, _RARELY = 0.8, 0.5, 1e-3
"""Closeness below which an image is a near copy: the quantile of the real images in the last value,
limited to between the second and the first value."""

_SURE = 0.01
"""Significance level of the warning about near copies."""

_COVERAGE_K = 5
"""Number of the neighbor that gives the radius for coverage of real images."""

_SPARE = 4
"""Balls kept for each generated image; the best one is found by differences."""

_MOST = 2000
"""Largest number of images per set for half-samples."""


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Scores of single images.

    Attributes:
        realism: For each generated image; see :func:`realism`.
        rarity: For each generated image; see :func:`rarity`.
        nearest: Number of the real image nearest to each generated image.
        distance: Its distance.
        authentic: For each generated image; see :func:`authentic`.
        closeness: For each generated image, its distance to the nearest real image divided by that
            image's distance to its own nearest neighbor: above 1 for an authentic image, near 0 for
            a copy.
        own_closeness: The closeness of each real image among the other real images.
        reach: For each real image, the distance of the nearest generated image divided by the
            radius of its ball: not covered if 1 or more (Naeem et al. 2020).
        nearest_fake: Number of that generated image.
    """

    realism: Floats
    rarity: Floats
    nearest: Indices
    distance: Floats
    authentic: Flags
    closeness: Floats
    own_closeness: Floats
    reach: Floats
    nearest_fake: Indices

    def near_copies(self, below: float | None = None) -> Indices:
        """Return the generated images with a :attr:`closeness` below a limit, closest first.

        Args:
            below: The limit; ``None``: the quantile of one in a thousand real images among the
                others, limited to 0.5 to 0.8.
        """
        limit = _limit(self.own_closeness) if below is None else below
        found = np.flatnonzero(self.closeness < limit)
        return np.asarray(found[np.argsort(self.closeness[found], kind="stable")])

    @property
    def near_twins(self) -> int:
        """Count the real images as close to another real image as :meth:`near_copies` needs."""
        return int((self.own_closeness < _limit(self.own_closeness)).sum())


def realism(X: ArrayLike, Y: ArrayLike, *, k: int = 3) -> Floats:
    """Return the realism of each image: max of r_k(x) / |x − y| over real images with small balls.

    Kynkäänniemi et al. (2019), arXiv 1904.06991, section 5. Balls with a radius above the median
    are ignored, so that outliers among the real images do not increase realism.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Number of the neighbor that gives the radius; 1 ≤ k < n.

    Returns:
        Shape ``(m,)``, ≥ 0; 1 and more: inside a ball; infinite: a copy of a real image.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k real images.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> real = np.array([[0.0], [1.0], [3.0], [9.0]])
    >>> realism(real, np.array([[2.0], [5.0], [1.0]]), k=1).tolist()
    [1.0, 0.25, inf]
    """
    x, y = _points(X, Y, k)
    return _realism(x, y, nearest_others(x, k, ranks=[k]).squared[:, k - 1])


def rarity(X: ArrayLike, Y: ArrayLike, *, k: int = 3) -> Floats:
    """Return the rarity of each image: the radius of the smallest real ball around it.

    Han et al. (2023), arXiv 2206.08549.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Number of the neighbor that gives the radius; 1 ≤ k < n.

    Returns:
        Shape ``(m,)``, in units of the features; NaN outside of all balls, |x − y| ≥ r_k(x).

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k real images.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> real = np.array([[0.0], [1.0], [3.0], [9.0]])
    >>> rarity(real, np.array([[1.5], [4.5], [99.0]]), k=1).tolist()
    [1.0, 2.0, nan]
    """
    x, y = _points(X, Y, k)
    return _rarity(x, y, nearest_others(x, k, ranks=[k]).squared[:, k - 1])


def nearest_real(X: ArrayLike, Y: ArrayLike) -> tuple[Indices, Floats]:
    """Return the real image nearest to each generated image.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.

    Returns:
        Its number and its distance, both ``(m,)``; of equally near ones the first.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite.

    >>> import numpy as np
    >>> index, distance = nearest_real(np.array([[0.0], [1.0]]), np.array([[3.0]]))
    >>> index.tolist(), distance.tolist()
    ([1], [2.0])
    """
    whom, distance = nearest_reals(X, Y, k=1)
    return whom[:, 0], distance[:, 0]


def nearest_reals(X: ArrayLike, Y: ArrayLike, *, k: int = 5) -> tuple[Indices, Floats]:
    """Return the real images nearest to each generated image.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Number of real images, at most n.

    Returns:
        Their numbers and distances, both ``(m, k)``, nearest first; equally near ones in the order
        of the real images.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are fewer than k real images.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> index, distance = nearest_reals(np.array([[0.0], [1.0]]), np.array([[3.0]]), k=2)
    >>> index.tolist(), distance.tolist()
    ([[1, 0]], [[2.0, 3.0]])
    """
    x, y = points_of(*as_pair(X, Y))
    if whole_number("k", k, least=1) > len(x):
        raise ComputationError(f"{len(x)} real images do not have a {_ordinal(k)} nearest one")
    found = nearest_in(y, x, k)
    return found.whom, np.sqrt(found.squared) / x.scale


def authentic(X: ArrayLike, Y: ArrayLike) -> Flags:
    """Return whether each image is farther from its nearest real image than that from its own.

    Alaa et al. (2022), arXiv 2102.08921. Copies are not authentic.

    Args:
        X: Real features, shape ``(n, D)``, n ≥ 2.
        Y: Generated features, shape ``(m, D)``.

    Returns:
        Shape ``(m,)``.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there is one real image only.

    >>> import numpy as np
    >>> authentic(np.array([[0.0], [1.0], [3.0]]), np.array([[1.5], [5.5]])).tolist()
    [False, True]
    """
    x, y = _points(X, Y, 1)
    nearest, own = nearest_in(y, x), nearest_others(x, 1)
    return _authentic(nearest.squared[:, 0], own.squared[nearest.whom[:, 0], 0])


def authpct(X: ArrayLike, Y: ArrayLike) -> float:
    """Compute the percentage of generated images that are :func:`authentic`.

    Alaa et al. (2022), arXiv 2102.08921.

    Args:
        X: Real features, shape ``(n, D)``, n ≥ 2.
        Y: Generated features, shape ``(m, D)``.

    Returns:
        In [0, 100]; lower if the generator copies. The value for equal distributions depends on the
        dimension: Gaussians, 1000 images per set, have 37 with D = 2, 70 with D = 16, 85 with
        D = 256. Compare it with held-out images instead of generated ones.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there is one real image only.

    >>> import numpy as np
    >>> authpct(np.array([[0.0], [1.0], [3.0]]), np.array([[1.5], [5.5]]))
    50.0
    """
    return 100.0 * float(authentic(X, Y).mean())


def pointwise(X: ArrayLike, Y: ArrayLike, *, k: int = 3) -> Pointwise:
    """Return all scores of each image.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Number of the neighbor that gives the radius of realism and rarity; 1 ≤ k < n.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k real images.
        UsageError: When k is not a whole number ≥ 1.
    """
    x, y = _points(X, Y, k)
    widest = min(_COVERAGE_K, len(x) - 1)
    others = nearest_others(x, max(k, widest), ranks=sorted({1, min(2, widest), k, widest}))
    radii = others.squared
    near, fakes = nearest_in(y, x), nearest_in(x, y)
    nearest, distance = near.whom[:, 0], near.squared[:, 0]
    return Pointwise(
        realism=_realism(x, y, radii[:, k - 1]),
        rarity=_rarity(x, y, radii[:, k - 1]),
        nearest=nearest,
        distance=np.sqrt(distance) / x.scale,
        authentic=_authentic(distance, radii[nearest, 0]),
        closeness=_ratio(distance, radii[nearest, 0]),
        own_closeness=_own_closeness(others),
        reach=_ratio(fakes.squared[:, 0], radii[:, widest - 1]),
        nearest_fake=fakes.whom[:, 0],
    )


def pointwise_estimates(
    X: ArrayLike,
    Y: ArrayLike,
    names: Iterable[str] = ("realism", "rarity", "authpct"),
    *,
    seed: int = 0,
    error_bar: bool = True,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Estimate]:
    """Compute summary values of the scores of all generated images.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        names: ``"realism"``: the median over the generated images, which no copy makes infinite;
            ``"rarity"``: the mean over the images inside a ball; ``"authpct"``: the percentage of
            authentic images.
        seed: Seed of the half-samples.
        error_bar: Whether to draw half-samples, of at most 2000 images per set.
        arguments: ``k`` for realism and rarity.

    Returns:
        Estimates by name. Details are ``k``; for realism ``realistic``, the share of images with 1
        or more; for rarity ``outside``, the share of images outside of all balls; for authpct
        ``near_copies``, as in :meth:`Pointwise.near_copies`, and ``near_copies_among_reals``, how
        many real images are as close to another real image.
        Warning ``near-copies`` if chance alone makes as many in less than 1 % of cases.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, there are no more than k real images, or, for
            rarity, no generated image is in a ball.
        UsageError: When k is not a whole number ≥ 1.
    """
    given = arguments or {}
    ks = {name: 1 if name == "authpct" else given.get(name, {}).get("k", 3) for name in names}
    x, y = _points(X, Y, *ks.values())
    draws = _half_sample_draws(ks, x, y, seed) if error_bar else {}
    found = {}
    for name, k in ks.items():
        if name == "authpct":
            bare = _authpct(x, y)
        else:
            scores = _SCORES[name](x, y, nearest_others(x, k, ranks=[k]).squared[:, k - 1])
            details = {"k": k, **_share(name, scores)}
            bare = Estimate(_summary(name, scores), details=details)
        if np.isnan(bare.value):
            raise ComputationError(
                f"{name}: none of the {len(y)} generated images is in a real ball (k={k})"
            )
        found[name] = _with_draws(bare, draws.get(name), len(x), seed)
    return found


def _authpct(x: Points, y: Points) -> Estimate:
    """Return the percentage, and whether there are more near copies than by chance."""
    second = min(2, len(x) - 1)
    others, near = nearest_others(x, second, ranks=sorted({1, second})), nearest_in(y, x)
    own = others.squared[near.whom[:, 0], 0]
    own_closeness = _own_closeness(others)
    limit = _limit(own_closeness)
    copies = int((_ratio(near.squared[:, 0], own) < limit).sum())
    of_own = int((own_closeness < limit).sum())
    warnings: tuple[tuple[str, str], ...] = ()
    if copies_by_chance(copies, len(y), of_own, len(x)) < _SURE:
        warnings = (
            (
                "near-copies",
                f"the generator copies: {copies} of {len(y)} generated images are at less than "
                f"{limit:.2g} times the distance from their nearest real image to its own nearest "
                f"neighbor, compared with {of_own} of {len(x)} real images",
            ),
        )
    value = 100.0 * float(_authentic(near.squared[:, 0], own).mean())
    details = {"near_copies": copies, "near_copies_among_reals": of_own}
    return Estimate(value, details=details, warnings=warnings)


def _points(X: AnyArray, Y: AnyArray, *ks: int) -> tuple[Points, Points]:
    """Prepare both sets, after checking the number of real images."""
    k = max(whole_number("k", k, least=1) for k in ks)
    X, Y = as_pair(X, Y)
    if len(X) <= k:
        count = "is 1" if len(X) == 1 else f"are {len(X)}"
        raise ComputationError(
            f"the {_ordinal(k)} nearest other real image needs at least {k + 1} real images, but "
            f"there {count}; use more images or a smaller k"
        )
    x, y = points_of(X, Y)
    return x, y


def _ordinal(k: int) -> str:
    """Return an English ordinal number."""
    ending = "th" if k % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(k % 10, "th")
    return f"{k}{ending}"


def _own_closeness(others: Neighbors) -> Floats:
    """Return each real image's closeness to the nearest other one, as if it were generated."""
    index = np.arange(len(others.whom))
    nearest = others.whom[:, 0]
    second = min(1, others.squared.shape[1] - 1)
    mutual = others.whom[nearest, 0] == index
    own = np.where(mutual, others.squared[nearest, second], others.squared[nearest, 0])
    return _ratio(others.squared[:, 0], own)


def copies_by_chance(near: int, of: int, own_near: int, of_own: int) -> float:
    """Return the one-sided p-value of the number of near copies (Fisher's exact test).

    Args:
        near: Number of near copies among the generated images.
        of: Number of generated images.
        own_near: Number of real images that would be near copies of other real images.
        of_own: Number of real images.
    """
    from scipy.stats import hypergeom

    return float(hypergeom.sf(near - 1, of + of_own, near + own_near, of))


def _limit(own_closeness: Floats) -> float:
    """Return the closeness below which an image is a near copy."""
    low = float(np.quantile(own_closeness, _RARELY, method="lower"))
    return min(max(low, _NEAREST), _NEAR)


def _authentic(squared: Floats, own: Floats) -> Flags:
    return np.asarray(squared > own)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Return √(above / below); 0 if both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(above == 0, 0.0, np.sqrt(above / below))


class _Ratios:
    """Consumer that finds, for each column, the rows with the largest limit / squared distance."""

    def __init__(self, limits: Floats, m: int) -> None:
        self.limits = limits
        self.ratio: Floats = np.full((_SPARE, m), -1.0)
        self.whom: Indices = np.zeros((_SPARE, m), np.int64)

    def take(self, block: Block) -> None:
        squared = np.maximum(host(block.squared), np.finfo(np.float64).tiny)
        with np.errstate(over="ignore"):
            ratio = self.limits[block.rows, None] / squared
        kept = min(_SPARE, len(ratio))
        best = np.argpartition(-ratio, kept - 1, axis=0)[:kept]
        ratio = np.take_along_axis(ratio, best, axis=0)
        every = np.concatenate([self.ratio[:, block.columns], ratio])
        whom = np.concatenate([self.whom[:, block.columns], best + block.rows.start])
        order = np.argsort(-every, axis=0, kind="stable")[:_SPARE]
        self.ratio[:, block.columns] = np.take_along_axis(every, order, axis=0)
        self.whom[:, block.columns] = np.take_along_axis(whom, order, axis=0)


class _Smallest:
    """Consumer that finds, for each column, the smallest squared radius of a ball around it."""

    def __init__(self, limits: Floats, m: int) -> None:
        self.limits = limits
        self.least: Floats = np.full(m, np.inf)

    def take(self, block: Block) -> None:
        near = block.pairs(block.within(self.limits, of_rows=True))
        inside = np.flatnonzero(block.decide(near, self.limits[near.i], strict=True))
        np.minimum.at(self.least, near.j[inside], self.limits[near.i[inside]])


def _realism(x: Points, y: Points, squared: Floats) -> Floats:
    small = np.flatnonzero(squared <= squared_median(squared))
    found = _Ratios(squared[small], len(y))
    sweep(x.pick(small), y, [found], double=True)
    places = np.repeat(np.arange(len(y)), _SPARE)
    whom = small[found.whom.T.ravel()]
    exact = by_differences(x, y, whom, places)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.sqrt(squared[whom] / exact)
    # A generated image equal to a real one with radius zero is inside, but has no realism from it.
    ratios = np.where(exact == 0, np.where(squared[whom] > 0, np.inf, 1.0), ratios)
    return np.asarray(ratios.reshape(-1, _SPARE).max(axis=1))


def _rarity(x: Points, y: Points, squared: Floats) -> Floats:
    found = _Smallest(squared, len(y))
    sweep(x, y, [found])
    return np.where(np.isinf(found.least), np.nan, np.sqrt(found.least) / x.scale)


_SCORES: Mapping[str, Callable[[Points, Points, Floats], Floats]] = {
    "realism": _realism,
    "rarity": _rarity,
}


def _summary(name: str, scores: Floats) -> float:
    """Return the summary value of all images; NaN if none counts."""
    if name == "realism":
        return float(np.median(scores))
    inside = scores[~np.isnan(scores)]
    return float(inside.mean()) if len(inside) else float("nan")


def _share(name: str, scores: Floats) -> dict[str, float]:
    if name == "realism":
        return {"realistic": float((scores >= 1).mean())}
    return {"outside": float(np.isnan(scores).mean())}


def _half_sample_draws(
    ks: Mapping[str, int], x: Points, y: Points, seed: int
) -> dict[str, tuple[Floats, float]]:
    """Return the values on half-samples of some images, and the scale of their variance."""
    some = []
    for points, stream in ((x, 2), (y, 3)):
        order = np.random.default_rng([seed, stream]).permutation(len(points))
        some.append(points.pick(np.sort(order[:_MOST])))
    share = max(len(some[0]) / len(x), len(some[1]) / len(y))
    x, y = some
    if len(x) // 2 <= max(ks.values()) or len(y) < 2:
        return {}
    between, within = Matrix(len(x), len(y)), Matrix(len(x), len(x))
    sweep(x, y, [between])
    sweep(x, x.pick(np.arange(len(x))), [within], own=np.arange(len(x)))
    pairs, own = np.maximum(between.squared, 0.0), np.maximum(within.squared, 0.0)
    values: dict[str, list[float]] = {name: [] for name in ks}
    for rows, columns in half_samples(len(x), len(y), seed=seed):
        assert rows is not None  # noqa: S101
        squared, others = pairs[rows][:, columns], own[rows][:, rows]
        sorted_ = np.partition(others, sorted({k - 1 for k in ks.values()}), axis=1)
        for name, k in ks.items():
            values[name].append(_of_half(name, squared, sorted_[:, k - 1]) * _unit(name, x))
    return {name: (np.array(drawn), share) for name, drawn in values.items()}


def _unit(name: str, x: Points) -> float:
    return 1.0 / x.scale if name == "rarity" else 1.0


def _of_half(name: str, squared: npt.NDArray[np.float32], radii: npt.NDArray[np.float32]) -> float:
    """Compute a value from all squared distances of real (rows) and generated images."""
    if name == "authpct":
        nearest = squared.argmin(axis=0)
        own = radii[nearest]
        return 100.0 * float((squared[nearest, np.arange(len(nearest))] > own).mean())
    if name == "realism":
        small = radii <= np.median(radii)
        floor = np.float32(np.finfo(np.float32).tiny)
        with np.errstate(over="ignore"):
            best = (radii[small, None] / np.maximum(squared[small], floor)).max(axis=0)
        return float(np.sqrt(np.median(best)))
    least = np.where(squared < radii[:, None], radii[:, None], np.inf).min(axis=0)
    return _summary("rarity", np.where(np.isinf(least), np.nan, np.sqrt(least)))


def _with_draws(bare: Estimate, drawn: tuple[Floats, float] | None, n: int, seed: int) -> Estimate:
    """Return an estimate with its error bar, if half-samples have one."""
    if drawn is None or np.isnan(drawn[0]).any():
        return bare
    draws, scale = drawn
    error = float(np.std(draws, ddof=1)) * scale**0.5
    return Estimate(
        bare.value,
        error,
        draws=draws,
        draws_scale=scale,
        draws_of=(min(n, _MOST), seed),
        details=bare.details,
        warnings=bare.warnings,
    )
