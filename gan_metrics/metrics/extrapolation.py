"""The Fréchet distance of the population, extrapolated from that of samples.

Chong & Forsyth (2020), arXiv 1911.07023. The distance of m images is biased upwards by about c/m,
with another c for each generator, so that rankings may change with m. FD∞ is the intercept of the
distances of growing subsets of the fake images, regressed on 1/m by least squares. Only the fake
side is extrapolated: the bias of the reals' own number stays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics.coupling import Coupling, Gaussian, gaussian_pair, influence_pair
from gan_metrics.metrics.estimates import Estimate, influence_error
from gan_metrics.moments import Moments

__all__ = ["fd_infinity", "fd_infinity_estimate"]

Array = npt.NDArray[np.float64]


def fd_infinity(
    X: npt.ArrayLike | Moments, Y: npt.ArrayLike, *, sizes: int = 15, seed: int = 0
) -> float:
    """FD∞ of the fake images against the real ones.

    Args:
        X: Real features of shape ``(n, D)``, or their moments.
        Y: Fake features of shape ``(m, D)``.
        sizes: How many subsets of Y; their sizes go evenly from min(5000, max(m // 10, 2)) to m.
        seed: Of the subsets, each drawn without replacement.

    Returns:
        The intercept, in squared units of the features. It may be negative where the two sets are
        nearly equal.

    Raises:
        InputError: When the dimensions differ, an array is not two-dimensional, or Y is moments.
        ComputationError: When there are too few images, or a side is not finite.
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
    on the intercept is that on the distance times the weights of the subsets that it is in. That
    is right to first order: see ``docs/error-bars.md`` for what was measured.

    Args:
        X: Real features, or their moments; moments add nothing to the error bar.
        Y: Fake features.
        sizes: How many subsets.
        seed: Of the subsets.
        error_bar: Whether to take the second look at the features that the error bar needs.
        moments: Of both, if they are at hand.

    Returns:
        The intercept; details are ``sizes``, ``distances`` (those of the subsets) and ``slope``.

    Raises:
        GanMetricsError: As for :func:`fd_infinity`.
    """
    if isinstance(Y, Moments):
        raise InputError("fd_infinity draws subsets of the fake images: give their features")
    if not isinstance(sizes, int) or sizes < 2:
        raise UsageError(f"sizes={sizes!r}: expected a whole number of at least 2 subset sizes")
    fake = np.asarray(Y)
    real, whole = gaussian_pair(X, fake, *moments)
    m = len(fake)
    counts = subset_sizes(m, sizes)
    if len(set(counts.tolist())) < 2:
        raise ComputationError(
            f"{m} fake images give no two sizes of subsets to extrapolate from; at least 3 needed"
        )
    rng = np.random.default_rng(seed)
    subsets = [np.sort(rng.choice(m, count, replace=False)) for count in counts]
    distances = np.array([_distance(real, fake, subset, whole) for subset in subsets])
    weights = np.linalg.pinv(np.column_stack([np.ones(len(counts)), 1.0 / counts]))
    intercept, slope = (float(row @ distances) for row in weights)
    details: dict[str, Any] = {
        "sizes": counts.tolist(),
        "distances": distances.tolist(),
        "slope": slope,
    }
    if not error_bar:
        return Estimate(intercept, details=details)
    to_real, to_fake = influence_pair(real, whole, Coupling(real, whole, vectors=True))
    assert to_fake is not None  # noqa: S101
    share = np.zeros(m)
    for subset, weight in zip(subsets, weights[0], strict=True):
        share[subset] += weight * m / len(subset)
    to_fake = to_fake * share
    to_fake -= to_fake.mean()
    return Estimate(
        intercept,
        influence_error(to_real, to_fake),
        real_influence=to_real,
        fake_influence=to_fake,
        details=details,
    )


def subset_sizes(m: int, sizes: int) -> npt.NDArray[np.int64]:
    """Sizes of the subsets: evenly from min(5000, max(m // 10, 2)) to m."""
    return np.linspace(min(5000, max(m // 10, 2)), m, sizes).astype(np.int64)


def _distance(
    real: Gaussian, fake: npt.NDArray[Any], subset: npt.NDArray[np.int64], whole: Gaussian
) -> float:
    side = whole if len(subset) == len(fake) else Gaussian.of(fake[subset])
    shift = real.moments.mean - side.moments.mean
    traces = float(np.trace(real.moments.cov) + np.trace(side.moments.cov))
    nuclear = float(Coupling(real, side, vectors=False).s.sum())
    return float(shift @ shift) + max(traces - 2.0 * nuclear, 0.0)
