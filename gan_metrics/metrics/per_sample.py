"""What can be said of a single image: where it lies among the images of the other set.

Around each real image x lies a ball; its radius r_k(x) is the distance to the k-th nearest other
real. With a fake image y::

    realism(y)    = max r_k(x) / |x − y|   over the reals whose radius is at most the median
    rarity(y)     = min r_k(x)             over the reals whose ball holds y, |x − y| < r_k(x)
    authentic(y)  : |y − x*| > |x* − x'|   x* the real nearest to y, x' the real nearest to x*

Kynkäänniemi et al. (2019), arXiv 1904.06991, section 5: realism. Han et al. (2023), arXiv
2206.08549: rarity. Alaa et al. (2022), arXiv 2102.08921: authenticity.

Every distance that decides is one by differences in float64.
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
"""Below such a closeness an image is a near copy: the share of reals that lie as close to another
one is the last of these, but it is never above the first or below the second."""

_SURE = 0.01
"""Copying is told of where chance alone would make as many near copies less often than this."""

_COVERAGE_K = 5
"""Which neighbour gives the radius of the balls that fakes must reach, as for coverage."""

_SPARE = 4
"""CountInBalls kept for each fake, of which the best is found by differences."""

_MOST = 2000
"""Half-samples are drawn from at most so many of each side."""


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Of each image by itself.

    Attributes:
        realism: Of each fake; see :func:`realism`.
        rarity: Of each fake; see :func:`rarity`.
        nearest: Place of the real that is nearest to each fake.
        distance: Its distance.
        authentic: Of each fake; see :func:`authentic`.
        closeness: Of each fake, its distance to the nearest real over the distance of that one to
            its own nearest: above 1 for an authentic fake, near 0 for a copy.
        own_closeness: The same of each real among the others.
        reach: Of each real, the distance of the nearest fake over the radius of the real's ball:
            a real with a reach of 1 or more is covered by no fake (Naeem et al. 2020).
        nearest_fake: Place of that fake.
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
        """The fakes with a :attr:`closeness` below a limit, closest first.

        Args:
            below: The limit; ``None``: what one in a thousand reals falls below among the others,
                but between 0.5 and 0.8.
        """
        limit = _limit(self.own_closeness) if below is None else below
        found = np.flatnonzero(self.closeness < limit)
        return np.asarray(found[np.argsort(self.closeness[found], kind="stable")])

    @property
    def near_twins(self) -> int:
        """How many reals lie as near to another real as :meth:`near_copies` asks of a fake."""
        return int((self.own_closeness < _limit(self.own_closeness)).sum())


def realism(X: ArrayLike, Y: ArrayLike, *, k: int = 3) -> Floats:
    """How realistic each fake is: max of r_k(x) / |x − y| over the reals with the smaller balls.

    Kynkäänniemi et al. (2019), arXiv 1904.06991, section 5. Balls with a radius above the median
    are left out, so that outliers among the reals lend nobody realism.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Fake features, shape ``(m, D)``.
        k: Which neighbour gives the radius; 1 ≤ k < n.

    Returns:
        Shape ``(m,)``, ≥ 0; 1 and more: inside a ball; infinite: a copy of a real.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k reals.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> real = np.array([[0.0], [1.0], [3.0], [9.0]])
    >>> realism(real, np.array([[2.0], [5.0], [1.0]]), k=1).tolist()
    [1.0, 0.25, inf]
    """
    x, y = _points(X, Y, k)
    return _realism(x, y, nearest_others(x, k, ranks=[k]).squared[:, k - 1])


def rarity(X: ArrayLike, Y: ArrayLike, *, k: int = 3) -> Floats:
    """How rare each fake is: the radius of the smallest real ball that holds it, |x − y| < r_k(x).

    Han et al. (2023), arXiv 2206.08549.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Fake features, shape ``(m, D)``.
        k: Which neighbour gives the radius; 1 ≤ k < n.

    Returns:
        Shape ``(m,)``, in units of the features; NaN for a fake outside every ball.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k reals.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> real = np.array([[0.0], [1.0], [3.0], [9.0]])
    >>> rarity(real, np.array([[1.5], [4.5], [99.0]]), k=1).tolist()
    [1.0, 2.0, nan]
    """
    x, y = _points(X, Y, k)
    return _rarity(x, y, nearest_others(x, k, ranks=[k]).squared[:, k - 1])


def nearest_real(X: ArrayLike, Y: ArrayLike) -> tuple[Indices, Floats]:
    """The real image that is nearest to each fake.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Fake features, shape ``(m, D)``.

    Returns:
        Which, and its distance, both ``(m,)``; of equally near ones the first.

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
    """The real images that are nearest to each fake.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Fake features, shape ``(m, D)``.
        k: How many, at most n.

    Returns:
        Which, and their distances, both ``(m, k)``, the nearest first; equally near ones in the
        order of the reals.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are fewer than k reals.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> index, distance = nearest_reals(np.array([[0.0], [1.0]]), np.array([[3.0]]), k=2)
    >>> index.tolist(), distance.tolist()
    ([[1, 0]], [[2.0, 3.0]])
    """
    x, y = points_of(*as_pair(X, Y))
    if whole_number("k", k, least=1) > len(x):
        raise ComputationError(f"{len(x)} real images have no {_ordinal(k)} nearest one")
    found = nearest_in(y, x, k)
    return found.whom, np.sqrt(found.squared) / x.scale


def authentic(X: ArrayLike, Y: ArrayLike) -> Flags:
    """Whether each fake is farther from its nearest real than that real from its own nearest.

    Alaa et al. (2022), arXiv 2102.08921. A generator that copies makes fakes that are not.

    Args:
        X: Real features, shape ``(n, D)``, n ≥ 2.
        Y: Fake features, shape ``(m, D)``.

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
    """The percentage of fakes that are :func:`authentic`.

    Alaa et al. (2022), arXiv 2102.08921.

    Args:
        X: Real features, shape ``(n, D)``, n ≥ 2.
        Y: Fake features, shape ``(m, D)``.

    Returns:
        In [0, 100]; less where the generator copies. What fakes of the reals' own distribution get
        depends on the dimension: Gaussians, 1000 of each, got 37 with D = 2, 70 with 16, 85 with
        256. Compare with held-out images in the place of the fakes.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there is one real image only.

    >>> import numpy as np
    >>> authpct(np.array([[0.0], [1.0], [3.0]]), np.array([[1.5], [5.5]]))
    50.0
    """
    return 100.0 * float(authentic(X, Y).mean())


def pointwise(X: ArrayLike, Y: ArrayLike, *, k: int = 3) -> Pointwise:
    """All of it, of each image.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Fake features, shape ``(m, D)``.
        k: Which neighbour gives the radius of realism and rarity; 1 ≤ k < n.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k reals.
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
    """Single values that stand for those of all fakes.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Fake features, shape ``(m, D)``.
        names: ``"realism"``: the median over the fakes, which no copy makes infinite;
            ``"rarity"``: the mean over those inside a ball; ``"authpct"``: 100 times the share of
            authentic ones.
        seed: Of the half-samples.
        error_bar: Whether to draw half-samples, of at most 2000 of each side.
        arguments: For realism and rarity ``k``.

    Returns:
        An estimate for each name. Details are ``k``; of realism ``realistic``, the share of fakes
        with 1 or more; of rarity ``outside``, the share of fakes in no ball; of authpct
        ``near_copies``, as :meth:`Pointwise.near_copies` has them, and how many reals lie as close
        to another one, ``near_copies_among_reals``.
        Warning ``near-copies`` where chance alone makes as many less than once in 100.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, there are no more than k reals, or, for
            rarity, no fake lies in a ball.
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
                f"{name}: none of {len(y)} fakes lies in a real ball (k={k}), so there is no value"
            )
        found[name] = _with_draws(bare, draws.get(name), len(x), seed)
    return found


def _authpct(x: Points, y: Points) -> Estimate:
    """The percentage, and whether there are more near copies than chance makes."""
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
                f"{copies} of {len(y)} fakes lie at less than {limit:.2g} times the distance to "
                f"their nearest real that this one has to its own; of {len(x)} reals {of_own} do: "
                "the generator copies",
            ),
        )
    value = 100.0 * float(_authentic(near.squared[:, 0], own).mean())
    details = {"near_copies": copies, "near_copies_among_reals": of_own}
    return Estimate(value, details=details, warnings=warnings)


def _points(X: AnyArray, Y: AnyArray, *ks: int) -> tuple[Points, Points]:
    """Both sets, once there are reals enough."""
    k = max(whole_number("k", k, least=1) for k in ks)
    X, Y = as_pair(X, Y)
    if len(X) <= k:
        count = "is 1" if len(X) == 1 else f"are {len(X)}"
        raise ComputationError(
            f"the {_ordinal(k)} nearest other real image is asked for, which needs at least "
            f"{k + 1} real images, and there {count}; give more images or a smaller k"
        )
    x, y = points_of(X, Y)
    return x, y


def _ordinal(k: int) -> str:
    """Of a whole number, in English."""
    ending = "th" if k % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(k % 10, "th")
    return f"{k}{ending}"


def _own_closeness(others: Neighbors) -> Floats:
    """Each real's closeness to the nearest other one, as if it were no part of the set."""
    index = np.arange(len(others.whom))
    nearest = others.whom[:, 0]
    second = min(1, others.squared.shape[1] - 1)
    mutual = others.whom[nearest, 0] == index
    own = np.where(mutual, others.squared[nearest, second], others.squared[nearest, 0])
    return _ratio(others.squared[:, 0], own)


def copies_by_chance(near: int, of: int, own_near: int, of_own: int) -> float:
    """How often chance alone makes so many near copies, one-sided (Fisher's exact test).

    Args:
        near: Near copies among the fakes.
        of: Fakes.
        own_near: Reals that would be near copies of other reals.
        of_own: Reals.
    """
    from scipy.stats import hypergeom

    return float(hypergeom.sf(near - 1, of + of_own, near + own_near, of))


def _limit(own_closeness: Floats) -> float:
    """Below which closeness an image is a near copy."""
    low = float(np.quantile(own_closeness, _RARELY, method="lower"))
    return min(max(low, _NEAREST), _NEAR)


def _authentic(squared: Floats, own: Floats) -> Flags:
    return np.asarray(squared > own)


def _ratio(above: Floats, below: Floats) -> Floats:
    """√(above / below); 0 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(above == 0, 0.0, np.sqrt(above / below))


class _Ratios:
    """Consumer: for each column the rows with the greatest limit over squared distance."""

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
    """Consumer: for each column the least squared radius of the rows whose ball holds it."""

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
    # A fake upon a real whose ball has no radius lies in it, but lends it none.
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
    """Of all fakes; NaN where there is none to speak of."""
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
    """Each name's values on half-samples of some images, and what their variance is scaled by."""
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
    """A value from all squared distances of reals (rows) to fakes and the reals' squared radii."""
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
    """An estimate with its error bar, if half-samples give one."""
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
