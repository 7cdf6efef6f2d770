"""k-nearest-neighbor metrics: precision, recall, density, coverage and their variants.

Each image has a ball with radius r_k, the distance to its k-th nearest neighbor in the same set.
The union of a set's balls approximates its manifold. With n real images x and m generated images y:

==================  ============================================================  ==========
precision           share of generated images in a real ball, d ≤ r               k=3
recall              share of real images in a generated ball, d ≤ r               k=3
density             (1/(k·m)) · number of pairs of a generated image and a real   k=5
                    ball around it, d < r
coverage            share of real balls with a generated image, d < r             k=5
clipped_density     mean of min(balls around the image / k, 1), radii clipped at  k=5
                    their median, d ≤ r; divided by that of the real images
clipped_coverage    mean of min(images in the real ball / k, 1), d < r;           k=5
                    calibrated by its expected value
p_precision         mean over generated images of 1 − Π min(d/R, 1) over the      k=4, a=1.2
                    real images, R = a · mean r_k of the real images
p_recall            the same with real and generated images exchanged             k=4, a=1.2
==================  ============================================================  ==========

Kynkäänniemi et al. (2019), arXiv 1904.06991: precision, recall. Naeem et al. (2020), arXiv
2002.09797: density, coverage. Salvy et al. (2025), arXiv 2507.01761: the clipped ones. Park & Kim
(2023), arXiv 2309.01590: the probabilistic ones.

:mod:`gan_metrics.metrics.manifold_counts` has the counting and the error bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gan_metrics.errors import UsageError
from gan_metrics.metrics.arrays import as_pair, host, is_tensor
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.metrics.manifold_counts import (
    MANIFOLD_METRICS,
    ManifoldRequest,
    half_sample_draws,
    part_of,
    values_of,
)
from gan_metrics.metrics.neighbors.distances import points_of
from gan_metrics.metrics.neighbors.float16_distances import share_inside
from gan_metrics.utils.array_types import AnyArray, ArrayLike

__all__ = [
    "MANIFOLD_METRICS",
    "clipped_coverage",
    "clipped_density",
    "coverage",
    "density",
    "manifold_estimates",
    "p_precision",
    "p_recall",
    "prdc",
    "precision",
    "recall",
]


def precision(
    X: ArrayLike, Y: ArrayLike, *, k: int = 3, strict: bool | None = None, arithmetic: str = "exact"
) -> float:
    """Compute the share of generated images in a real ball, d ≤ r_k.

    Kynkäänniemi et al. (2019), arXiv 1904.06991.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Number of the neighbor that gives the radius; 1 ≤ k < n.
        strict: Whether the comparison is d < r_k; ``None`` or false: d ≤ r_k.
        arithmetic: Arithmetic of the distances: ``"exact"``, or as in two tools, ``"float16"`` or
            ``"float16-squared"``; see :mod:`gan_metrics.metrics.neighbors.float16_distances`.

    Returns:
        In [0, 1]; higher is better.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k real images, or
            the features do not suit float16.
        UsageError: When another argument is out of its range.

    >>> import numpy as np
    >>> real = np.array([[0.0], [1.0], [3.0]])
    >>> precision(real, np.array([[2.0], [9.0]]), k=1)
    0.5
    """
    return _value("precision", X, Y, k=k, strict=strict, arithmetic=arithmetic)


def recall(
    X: ArrayLike, Y: ArrayLike, *, k: int = 3, strict: bool | None = None, arithmetic: str = "exact"
) -> float:
    """Compute the share of real images in a generated ball, d ≤ r_k.

    Kynkäänniemi et al. (2019), arXiv 1904.06991.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Number of the neighbor that gives the radius; 1 ≤ k < m.
        strict: Whether the comparison is d < r_k; ``None`` or false: d ≤ r_k.
        arithmetic: Arithmetic of the distances: ``"exact"``, or as in two tools, ``"float16"`` or
            ``"float16-squared"``; see :mod:`gan_metrics.metrics.neighbors.float16_distances`.

    Returns:
        In [0, 1]; higher is better.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k generated images,
            or the features do not suit float16.
        UsageError: When another argument is out of its range.

    >>> import numpy as np
    >>> fake = np.array([[0.0], [1.0], [3.0]])
    >>> recall(np.array([[2.0], [9.0]]), fake, k=1)
    0.5
    """
    return _value("recall", X, Y, k=k, strict=strict, arithmetic=arithmetic)


def density(X: ArrayLike, Y: ArrayLike, *, k: int = 5) -> float:
    """Compute the mean number of real balls around a generated image, d < r_k, divided by k.

    Naeem et al. (2020), arXiv 2002.09797.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Which neighbor gives the radius; 1 ≤ k < n.

    Returns:
        At least 0; about 1 for equal distributions, more if generated images concentrate.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k real images.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> real = np.array([[0.0], [1.0], [3.0]])
    >>> density(real, np.array([[2.0], [0.5]]), k=1)
    1.5
    """
    return _value("density", X, Y, k=k)


def coverage(X: ArrayLike, Y: ArrayLike, *, k: int = 5) -> float:
    """Compute the share of real balls with a generated image, d < r_k.

    Naeem et al. (2020), arXiv 2002.09797.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Which neighbor gives the radius; 1 ≤ k < n.

    Returns:
        In [0, 1]; higher is better. For n = m from one distribution about 1 − 2⁻ᵏ.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k real images.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> real = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> coverage(real, np.array([[2.5], [0.5]]), k=1)
    0.75
    """
    return _value("coverage", X, Y, k=k)


def clipped_density(X: ArrayLike, Y: ArrayLike, *, k: int = 5) -> float:
    """Compute density with clipped radii and counts, divided by that of the real set itself.

    Radii are clipped at their median, and one image adds at most 1, so neither outliers among the
    real images nor crowds of generated images can raise it. For the real images, a ball counts only
    its center's k nearest neighbors. Salvy et al. (2025), arXiv 2507.01761.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Which neighbor gives the radius; 1 ≤ k < n.

    Returns:
        In [0, 1]; can be read as a share of good images.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or there are no more than k real images.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> real = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> clipped_density(real, np.array([[2.5], [9.0], [9.0], [9.0]]), k=1)
    0.5
    """
    return _value("clipped_density", X, Y, k=k)


def clipped_coverage(X: ArrayLike, Y: ArrayLike, *, k: int = 5) -> float:
    """Compute how far real balls are filled, d < r_k, calibrated by the score of good images.

    For each real ball, the number of generated images in it, at most k, divided by k. The mean is
    converted to the share of good images with this expected score. Salvy et al. (2025), arXiv
    2507.01761.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``; at least k.
        k: Which neighbor gives the radius; 1 ≤ k < n.

    Returns:
        In [0, 1]; can be read as a share of good images.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, there are no more than k real images or fewer
            than k generated images.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> real = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> clipped_coverage(real, np.array([[2.5], [90.0], [91.0], [92.0]]), k=2)
    0.4
    """
    return _value("clipped_coverage", X, Y, k=k)


def p_precision(X: ArrayLike, Y: ArrayLike, *, k: int = 4, a: float = 1.2) -> float:
    """Compute the mean over generated images of 1 − Π min(d/R, 1) over the real images.

    The radius R is ``a`` times the mean distance of a real image to its k-th nearest neighbor. Park
    & Kim (2023),
    arXiv 2309.01590.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Number of the neighbor whose distance is averaged; 1 ≤ k < n.
        a: Factor of the mean distance; > 0.

    Returns:
        In [0, 1]; higher is better.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, there are no more than k real images, or each
            has k copies of itself among them.
        UsageError: When k is not a whole number ≥ 1, or a is not > 0.

    >>> import numpy as np
    >>> real = np.array([[0.0], [2.0]])
    >>> p_precision(real, np.array([[1.0], [9.0]]), k=1, a=1.0)
    0.375
    """
    return _value("p_precision", X, Y, k=k, a=a)


def p_recall(X: ArrayLike, Y: ArrayLike, *, k: int = 4, a: float = 1.2) -> float:
    """Compute the mean over real images of 1 − Π min(d/R, 1) over the generated images.

    The radius R is ``a`` times the mean distance of a generated image to its k-th nearest neighbor.
    Park & Kim (2023),
    arXiv 2309.01590.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Number of the neighbor whose distance is averaged; 1 ≤ k < m.
        a: Factor of the mean distance; > 0.

    Returns:
        In [0, 1]; higher is better.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, there are no more than k generated images, or
            each has k copies of itself among them.
        UsageError: When k is not a whole number ≥ 1, or a is not > 0.

    >>> import numpy as np
    >>> fake = np.array([[0.0], [2.0]])
    >>> p_recall(np.array([[1.0], [9.0]]), fake, k=1, a=1.0)
    0.375
    """
    return _value("p_recall", X, Y, k=k, a=a)


def prdc(X: ArrayLike, Y: ArrayLike, *, k: int | None = None) -> dict[str, float]:
    """Compute precision, recall, density and coverage in one pass.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        k: Neighbor number of all four; ``None``: 3 for precision and recall, 5 for the others.

    Returns:
        The values under the keys ``precision``, ``recall``, ``density`` and ``coverage``.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or a side has no more than k images.
        UsageError: When k is not a whole number ≥ 1.

    >>> import numpy as np
    >>> real, fake = np.array([[0.0], [1.0], [3.0]]), np.array([[2.0], [9.0]])
    >>> {name: round(value, 2) for name, value in prdc(real, fake, k=1).items()}
    {'precision': 0.5, 'recall': 1.0, 'density': 0.5, 'coverage': 0.33}
    """
    names = ("precision", "recall", "density", "coverage")
    arguments = None if k is None else {name: {"k": k} for name in names}
    found = manifold_estimates(X, Y, names, error_bar=False, arguments=arguments)
    return {name: found[name].value for name in names}


def manifold_estimates(
    X: ArrayLike,
    Y: ArrayLike,
    names: Iterable[str] = MANIFOLD_METRICS,
    *,
    seed: int = 0,
    error_bar: bool = True,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Estimate]:
    """Compute any of these metrics in one pass over the distances, with error bars.

    The error bars come from half-samples (:mod:`gan_metrics.metrics.estimate`) of about 2000 images
    per set. Compared with redrawing Gaussians in 8 to 32 dimensions, they are 0.83 to 1.26 of the
    true standard deviation for n and m from 300 to 1000, and 1.07 to 1.40 at n = m = 5000, where
    2000 are used; 0.4 to 1.5 if a value is clipped or within two standard deviations of a bound.

    Args:
        X: Real features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        names: Names in :data:`MANIFOLD_METRICS`.
        seed: Seed of the half-samples, which affect no value, and of the draw for ``most``.
        error_bar: Whether to draw half-samples. Their arithmetic is always exact.
        arguments: Arguments by metric that differ from the defaults: ``k``; ``a`` if the metric has
            it; for the first four ``most``, equally many images of both sets, at most this number,
            drawn at random, and ``most_real``, at most this number of real images, the first ones;
            for the first two ``strict`` and ``arithmetic`` as in :func:`precision`.

    Returns:
        Estimates by name. Their details have k, other arguments and, if only a part of the images
        was used, both numbers as ``images``. Warnings: ``at-the-edge`` if all draws are equal, so
        that the standard error of 0 is not meaningful; ``too-few-for-error-bar`` if half-samples
        would not have more than k images.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or a side has no more than k images.
        UsageError: When a name or an argument is unknown or out of range.
    """
    given = arguments or {}
    plans = [ManifoldRequest.of(name, given.get(name, {})) for name in dict.fromkeys(names)]
    for name in given:
        if name not in {plan.name for plan in plans}:
            raise UsageError(f"arguments for {name!r}, which is not among the requested metrics")
    if not plans:
        return {}
    X, Y = as_pair(X, Y)
    found: dict[str, Estimate] = {}
    for sizes in dict.fromkeys(plan.sizes for plan in plans):
        some = [plan for plan in plans if plan.sizes == sizes]
        found.update(_estimates(some, *part_of(X, Y, *sizes, seed), seed, error_bar=error_bar))
    return {plan.name: found[plan.name] for plan in plans}


def _estimates(
    plans: list[ManifoldRequest], X: AnyArray, Y: AnyArray, seed: int, *, error_bar: bool
) -> dict[str, Estimate]:
    """Compute the metrics of requests for the same images."""
    for plan in plans:
        plan.check(len(X), len(Y))
    if is_tensor(X) and X.device.type == "cpu":
        # NumPy shares the memory, and compares and counts several times faster.
        X, Y = (host(z.float() if z.itemsize < 4 else z) for z in (X, Y))
    values = {
        p.name: share_inside(X, Y, p.k, p.arithmetic, real_balls=p.real, strict=bool(p.strict))
        for p in plans
        if p.arithmetic != "exact"
    }
    exact = [plan for plan in plans if plan.name not in values]
    if exact or error_bar:
        x, y = points_of(X, Y)
    if exact:
        values.update(values_of(exact, x, y))
    draws = half_sample_draws(plans, x, y, seed=seed) if error_bar else None
    images = {} if plans[0].sizes == (None, None) else {"images": [len(X), len(Y)]}
    found = {}
    for plan in plans:
        bare = Estimate(values[plan.name], details=plan.arguments)
        estimate = bare if draws is None else draws.estimate(plan, bare.value)
        found[plan.name] = replace(estimate, details={**estimate.details, **images})
    return found


def _value(name: str, X: AnyArray, Y: AnyArray, **arguments: Any) -> float:
    found = manifold_estimates(X, Y, [name], error_bar=False, arguments={name: arguments})
    return found[name].value
