"""The Fréchet distance of the population, extrapolated from that of samples.

Chong & Forsyth (2020), arXiv 1911.07023. The distance of m images is biased upwards by about c/m,
with another c for each generator, so that rankings may change with m. FD∞ is the intercept of the
distances of growing subsets of the generated images, regressed on 1/m by least squares. Only the
number of generated images is extrapolated: the bias due to the number of real images stays.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.metrics.arrays import as_matrix, host
from gan_metrics.metrics.estimate import Estimate, influence_error
from gan_metrics.metrics.gaussian_transport import Coupling, Gaussian, gaussian_pair, influence_pair
from gan_metrics.metrics.moments import Moments
from gan_metrics.metrics.validation import generator, whole_number
from gan_metrics.utils.array_types import Floats

__all__ = ["fd_infinity", "fd_infinity_estimate"]


_LITTLE = 0.01
"""Residuals below this share of the scatter of a distance contain no information."""


def fd_infinity(
    X: npt.ArrayLike | Moments, Y: npt.ArrayLike, *, sizes: int = 15, seed: int = 0
) -> float:
    """FD∞ of the generated images against the real ones.

    Args:
        X: Real features of shape ``(n, D)``, or their moments.
        Y: Generated features of shape ``(m, D)``.
        sizes: Number of subsets of Y; their sizes are evenly spaced from min(5000, max(m // 10, 2))
            to m.
        seed: Seed for drawing the subsets, each without replacement.

    Returns:
        The intercept, in squared units of the features. It may be negative where the two sets are
        nearly equal.

    Raises:
        InputError: When the dimensions differ, an array is not two-dimensional, or Y is moments.
        ComputationError: When there are too few images, or a set is not finite.
        UsageError: When ``sizes`` is less than 2.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> real = Moments(None, np.zeros(8), np.eye(8))
    >>> fake = 1 + rng.normal(size=(2000, 8))
    >>> abs(fd_infinity(real, fake) - 8) < 0.3
    True
    """
    return fd_infinity_estimate(X, Y, sizes=sizes, seed=seed, error_bar=False).value


def fd_infinity_estimate(
    X: npt.ArrayLike | Moments,
    Y: npt.ArrayLike,
    *,
    sizes: int = 15,
    seed: int = 0,
    error_bar: bool = True,
    moments: tuple[Moments | None, Moments | None] = (None, None),
) -> Estimate:
    """FD∞ with its error bar.

    The intercept is a weighted sum of the distances of the subsets, and each of them has the
    influences of :func:`~gan_metrics.metrics.frechet.frechet_influence`; so an image's influence
    on the intercept is that on the distance times the weights of the subsets that it is in. The
    second order, which counts where the sets are nearly equal, is found from how the distances of
    the subsets scatter about the line. Measured over 120 redraws against exact real moments, D
    from 16 to 128: 0.8 to 1.1 times the truth for m ≥ 8 D, whether the sets differ or not; 1.3
    times for m < D, where the distances are not linear in 1/m.

    Args:
        X: Real features, or their moments; moments add nothing to the error bar.
        Y: Generated features.
        sizes: How many subsets.
        seed: Seed for drawing the subsets.
        error_bar: Whether to compute the error bar, which needs a second pass over the features.
        moments: Of both, if they are known.

    Returns:
        The intercept; details are ``sizes``, ``distances`` (those of the subsets) and ``slope``.

    Raises:
        GanMetricsError: As for :func:`fd_infinity`.
    """
    if isinstance(Y, Moments):
        raise InputError("fd_infinity draws subsets of the generated images: give their features")
    sizes = whole_number("sizes", sizes, least=2)
    fake = host(as_matrix(Y, "the generated features"))
    real, every = gaussian_pair(X, fake, *moments)
    m = len(fake)
    counts = subset_sizes(m, sizes)
    if len(set(counts.tolist())) < 2:
        raise ComputationError(
            f"{m} generated images are too few to extrapolate from; at least 3 are needed"
        )
    rng = generator(seed)
    subsets = [np.sort(rng.choice(m, count, replace=False)) for count in counts]
    distances = np.array([_distance(real, fake, subset, every) for subset in subsets])
    weights = np.linalg.pinv(np.column_stack([np.ones(len(counts)), 1.0 / counts]))
    intercept, slope = (float(row @ distances) for row in weights)
    details: dict[str, Any] = {
        "sizes": counts.tolist(),
        "distances": distances.tolist(),
        "slope": slope,
    }
    if not error_bar:
        return Estimate(intercept, details=details)
    to_real, to_fake = influence_pair(real, every, Coupling(real, every, vectors=True))
    assert to_fake is not None  # noqa: S101
    share = np.zeros(m)
    for subset, weight in zip(subsets, weights[0], strict=True):
        share[subset] += weight * m / len(subset)
    plug_in = float(to_fake.var(ddof=1)) / m
    noise = _second_order(distances, counts, weights, plug_in, float(share @ share) / m**2)
    to_fake = to_fake * share
    to_fake -= to_fake.mean()
    first = influence_error(to_real, to_fake) or 0.0
    # Not less than the variance due to the draw of the subsets alone.
    noise = max(noise, _of_subsets(distances, counts, weights) - first**2)
    return Estimate(
        intercept,
        math.hypot(first, math.sqrt(noise)),
        real_influence=to_real,
        fake_influence=to_fake,
        noise=noise,
        details=details,
    )


def _residuals(
    distances: Floats, counts: npt.NDArray[np.int64], weights: Floats
) -> tuple[Floats, Floats]:
    """Residuals of the distances from the line, and their share of the expected scatter."""
    line = np.column_stack([np.ones(len(counts)), 1.0 / counts])
    maker = np.eye(len(counts)) - line @ weights
    return maker @ distances, np.diag(maker)


def _of_subsets(distances: Floats, counts: npt.NDArray[np.int64], weights: Floats) -> float:
    """Variance of the intercept over other subsets of the same images, from the residuals."""
    residuals, left = _residuals(distances, counts, weights)
    known = left > _LITTLE
    return float(np.sum(weights[0, known] ** 2 * residuals[known] ** 2 / left[known]))


def _second_order(
    distances: Floats,
    counts: npt.NDArray[np.int64],
    weights: Floats,
    plug_in: float,
    together: float,
) -> float:
    """Variance of the intercept of second order, beyond what its influences hold.

    A distance of k images has the variance ζ/k + 2σ²/k², ζ that of the true influences; those
    that are plugged in have ζ + 4σ²/m. Distances of subsets of the m images therefore scatter
    about the line by ζ(1/k − 1/m) + 2σ²(1/k² − 1/m²), from which σ² is found. Subsets share the
    second order as they share images: 2σ²/m² between two of them, 2σ²/k² of one.

    Args:
        distances: Of the subsets.
        counts: Their sizes.
        weights: ``(2, sizes)``, from distances to intercept and slope.
        plug_in: Variance of the influences over m.
        together: Sum of the squares of the images' weights in the intercept.
    """
    m = float(counts[-1])
    inverse = 1.0 / counts
    residuals, left = _residuals(distances, counts, weights)
    first = m * (inverse - 1 / m)
    second = 2 * (inverse**2 - 1 / m**2) - 4 / m * (inverse - 1 / m)
    if not left @ second > 0:
        return 0.0
    scatter = float(np.sum(residuals**2))
    sigma2 = float((scatter - plug_in * (left @ first)) / (left @ second))
    sigma2 = min(max(sigma2, 0.0), plug_in * m**2 / 4)
    own = 1 / m**2 + float(weights[0] ** 2 @ (inverse**2 - 1 / m**2))
    return max(2 * sigma2 * (own - 2 * together / m), 0.0)


def subset_sizes(m: int, sizes: int) -> npt.NDArray[np.int64]:
    """Sizes of the subsets: evenly from min(5000, max(m // 10, 2)) to m."""
    return np.linspace(min(5000, max(m // 10, 2)), m, sizes).astype(np.int64)


def _distance(
    real: Gaussian, fake: npt.NDArray[Any], subset: npt.NDArray[np.int64], every: Gaussian
) -> float:
    side = every if len(subset) == len(fake) else Gaussian.of(fake[subset])
    shift = real.moments.mean - side.moments.mean
    traces = float(np.trace(real.moments.cov) + np.trace(side.moments.cov))
    nuclear = float(Coupling(real, side, vectors=False).s.sum())
    return float(shift @ shift) + max(traces - 2.0 * nuclear, 0.0)
