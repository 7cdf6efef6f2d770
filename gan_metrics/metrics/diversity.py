"""The diversity of one set of images, by the spectrum of a kernel matrix.

With a kernel k, k(x, x) = 1, and K the matrix of it between the m images, the eigenvalues λ of
K/m are ≥ 0 and sum to one. The score is the exponential of their Rényi entropy of order q::

    H_q = log Σ λ^q / (1 − q),     H_1 = −Σ λ log λ,     H_∞ = −log max λ

an effective number of different images: 1 when all are the same, m when no two have anything in
common. A high order counts the common modes, a low one the rare ones too. No real images are
needed, and none are looked at.

* ``vendi``: the cosine, xᵀy of the normalized features (Friedman & Dieng 2022, arXiv 2210.02410;
  other orders: Pasarkar & Dieng 2023, arXiv 2310.12952).
* ``rke``: exp(−|x − y|²/(2σ²)) and order 2, where Σ λ² is the mean of k² over all pairs and no
  eigenvalues are needed (Jalali et al. 2023, *An information-theoretic evaluation of generative
  models in learning multi-modal distributions*).
* ``fkea``: that kernel and any order, by random Fourier features (Ospanov et al. 2024,
  arXiv 2407.02961).

The eigenvalues and the error bars are in :mod:`gan_metrics.metrics.spectrum`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gan_metrics.errors import ComputationError
from gan_metrics.metrics.arrays import as_matrix, blocks, host, like, namespace, wide
from gan_metrics.metrics.estimate import Estimate, influence_error
from gan_metrics.metrics.spectrum import renyi_entropy, spectral_score
from gan_metrics.metrics.validation import (
    MAX_FEATURES,
    MIN_FEATURES,
    generator,
    positive,
    whole_number,
)
from gan_metrics.metrics.validation import order as order_of
from gan_metrics.utils.array_types import AnyArray, ArrayLike, Floats

__all__ = ["bandwidth", "fkea", "fkea_estimate", "rke", "rke_estimate", "vendi", "vendi_estimate"]


_LEAST = 3
"""Number of images from which an error bar is computed."""

_ROWS = 2048
_SUBSET = 1000
"""Images that the bandwidth is taken from."""

_SAME = 1e-12
"""Squared distance, as a share of the largest about the mean, that is a rounding error."""

_UNRESOLVED = 1e-6
"""σ, as a share of the largest distance from the mean, under which equal rows seem to differ."""


def vendi(X: ArrayLike, *, q: float = 1.0) -> float:
    """The Vendi score: an effective number of different images, by their cosines.

    Args:
        X: Features of shape ``(m, D)``, m ≥ 2; no row may be zero.
        q: Order of the entropy, > 0, ``math.inf`` included.

    Returns:
        From 1 to min(m, D), without a unit. It rises with m while m is not far above D, so two
        scores compare only at one number of images.

    Raises:
        InputError: When the shape is another.
        ComputationError: With fewer than two images, with NaN or infinity, or a zero row.
        UsageError: When ``q`` is not > 0.

    >>> import numpy as np
    >>> round(vendi(np.eye(3)), 9), round(vendi(np.ones((5, 2))), 9)
    (3.0, 1.0)
    """
    return vendi_estimate(X, q=q, error_bar=False).value


def vendi_estimate(
    X: ArrayLike, *, q: float = 1.0, seed: int = 0, error_bar: bool = True
) -> Estimate:
    """:func:`vendi` with its error bar; ``seed`` is not used, since nothing is drawn.

    The standard error over the true one, in redraws: 0.97 to 1.05 for m ≥ 25 D; 0.94 to 1.24, so
    rather too large, for m from D/8 to 6 D and q ≤ 2. Up to 1.4 where the score is nearly the
    greatest, min(m, D), since the derivative vanishes there. What few images miss is not in it.

    Args:
        X: As there.
        q: As there.
        seed: Taken for the sake of one signature.
        error_bar: Whether to compute influences, which needs eigenvectors and a second look.

    Returns:
        ``details``: ``q`` (``"inf"`` for infinity).

    Raises:
        GanMetricsError: As there.
    """
    x, order = _images(X), order_of("q", q)
    norms = _norms(x)

    def rows(part: slice) -> AnyArray:
        return wide(x[part]) / norms[part][:, None]

    score, _, influence = spectral_score(rows, len(x), x.shape[1], order, error_bar=error_bar)
    return _estimate(score, influence, {"q": _plain(order)})


def rke(X: ArrayLike, *, sigma: float | None = None) -> float:
    """The Rényi kernel entropy score: 1 / the mean of k(xᵢ, xⱼ)² over all pairs, i = j included.

    Args:
        X: Features of shape ``(m, D)``, m ≥ 2.
        sigma: σ of the kernel exp(−|x − y|²/(2σ²)), in units of the features; ``None``:
            :func:`bandwidth`. Scores compare only with one σ.

    Returns:
        From 1 to m, without a unit.

    Raises:
        InputError: When the shape is another.
        ComputationError: With fewer than two images, with NaN or infinity, or when ``sigma`` is
            too small against the features for equal rows to be seen as equal.
        UsageError: When ``sigma`` is not a positive number.

    >>> import numpy as np
    >>> round(rke(np.array([[0.0], [0.0], [9.0], [9.0]]), sigma=1.0), 9)
    2.0
    """
    return rke_estimate(X, sigma=sigma, error_bar=False).value


def rke_estimate(
    X: ArrayLike, *, sigma: float | None = None, seed: int = 0, error_bar: bool = True
) -> Estimate:
    """:func:`rke` with its error bar, from the means of k² in each row; σ is held fixed in it.

    The standard error over the true one, in 300 redraws of Gaussians and of mixtures of 10 and 50
    modes, m from 100 to 1000: 0.95 to 1.02; with σ from each draw's own data 0.99 to 1.10.
    Where the score is nearly m, since few pairs are alike at all, up to 1.4.

    Args:
        X: As there.
        sigma: As there.
        seed: Of the subset that :func:`bandwidth` looks at.
        error_bar: Whether to give influences; they cost nothing here.

    Returns:
        ``details``: ``sigma``. Warnings: ``bandwidth-from-data`` when ``sigma`` was not given,
        ``identical-images`` if it is unknown because all images are equal.

    Raises:
        GanMetricsError: As there.
    """
    x = _images(X)
    scale, warnings = _scale(x, sigma, seed)
    means = _squared_kernel_means(x, scale) if scale else np.ones(len(x))
    mean = float(means.mean())
    influence = -2.0 * (means - mean) / mean**2 if error_bar else None
    return _estimate(max(1.0 / mean, 1.0), influence, {"sigma": scale}, warnings)


def fkea(
    X: ArrayLike, *, sigma: float | None = None, features: int = 2000, q: float = 1.0, seed: int = 0
) -> float:
    """The Vendi score with the Gaussian kernel, by random Fourier features.

    The kernel is replaced by φ(x)ᵀφ(y), φ(x) = [cos ωx, sin ωx]/√R, with R = ``features``
    frequencies ω ~ N(0, I/σ²). It costs m·R·(D + 2R) where the exact score costs m³. Each kernel
    value has an error of about 1/√(2R), which makes unlike images a little alike: 1/score is high
    by 0.5/(2R) to 1/(2R) at order 1, by about 1/(2R) at order 2. Measured with 200 images and 2000
    features: 1 to 5 % low, and 0.3 to 2 % of scatter over seeds. It stays below 2R: a set of
    thousands of modes needs more features.

    Args:
        X: Features of shape ``(m, D)``, m ≥ 2.
        sigma: As in :func:`rke`.
        features: Number R of frequencies, ≥ 1; each gives a cosine and a sine.
        q: Order of the entropy, > 0, ``math.inf`` included.
        seed: Of the frequencies, and of the subset that :func:`bandwidth` looks at.

    Returns:
        From 1 to min(m, 2R), without a unit.

    Raises:
        InputError: When the shape is another.
        ComputationError: With fewer than two images, or with NaN or infinity.
        UsageError: When ``sigma`` or ``q`` is not > 0, or ``features`` is not a whole number ≥ 1.

    >>> import numpy as np
    >>> round(fkea(np.array([[0.0], [0.0], [9.0], [9.0]]), sigma=1.0), 1)
    2.0
    """
    return fkea_estimate(X, sigma=sigma, features=features, q=q, seed=seed, error_bar=False).value


def fkea_estimate(
    X: ArrayLike,
    *,
    sigma: float | None = None,
    features: int = 2000,
    q: float = 1.0,
    seed: int = 0,
    error_bar: bool = True,
) -> Estimate:
    """:func:`fkea` with its error bar; σ and the frequencies are held fixed in it.

    The standard error over the true one, in 200 redraws of mixtures: 0.94 to 1.11; up to
    1.45 where the score is nearly m.

    Args:
        X: As there.
        sigma: As there.
        features: As there.
        q: As there.
        seed: As there.
        error_bar: Whether to compute influences, which needs eigenvectors and a second look.

    Returns:
        ``details``: ``sigma``, ``features``, ``q`` (``"inf"`` for infinity), and ``rke``, the
        score of order 2. Warnings as in :func:`rke_estimate`.

    Raises:
        GanMetricsError: As there.
    """
    x, order = _images(X), order_of("q", q)
    count = whole_number("features", features, least=MIN_FEATURES, most=MAX_FEATURES)
    scale, warnings = _scale(x, sigma, seed)
    details = {"sigma": scale, "features": count, "q": _plain(order), "rke": 1.0}
    if not scale:
        return _estimate(1.0, np.zeros(len(x)) if error_bar else None, details, warnings)
    draws = generator(seed).standard_normal((x.shape[1], count))
    frequencies = like(draws / scale, wide(x[:1]))

    def rows(part: slice) -> AnyArray:
        angles = wide(x[part]) @ frequencies
        xp = namespace(angles)
        return xp.concat([xp.cos(angles), xp.sin(angles)], axis=1) / math.sqrt(count)

    score, spectrum, influence = spectral_score(rows, len(x), 2 * count, order, error_bar=error_bar)
    details["rke"] = math.exp(renyi_entropy(spectrum, 2.0))
    return _estimate(score, influence, details, warnings)


def bandwidth(X: ArrayLike, *, seed: int = 0, share: float = 1 / 3) -> float:
    """σ of a Gaussian kernel, from the data: a third of the median distance between two images.

    The plain median will not do. In many dimensions all distances are near it, so k² is e⁻¹ for
    every pair and order 2 could never exceed e. With σ a share s of it, k² is e^(−1/s²): the
    score can count up to e⁹ ≈ 8000 modes at a third (500 at 0.4, 55 at a half), while modes
    no wider than a sixth of their distance stay whole (k² ≥ 0.78). Measured with ``rke`` on 2000
    images in 64 and in 1280 dimensions, modes 3 to 10 times as far apart as they are wide: 11 to
    24 for 10 modes, 101 to 210 for 100.

    A σ from the data cannot tell one mode from none: a single round cloud in many dimensions has
    no two images alike on its own scale, and scores in the thousands, or as high as m allows.
    With the σ of the 10 or the 100 modes it scores 1.1 to 2.5. So take σ once, from the real
    images, and give it to both sets.

    Args:
        X: Features of shape ``(m, D)``, m ≥ 2. Above 1000 images, a random 1000 are looked at.
        seed: Of that subset.
        share: σ over the median distance, > 0.

    Returns:
        σ in units of the features. Pairs of equal rows are left out of the median. 0.0 when all
        rows are equal.

    Raises:
        InputError: When the shape is another.
        ComputationError: With fewer than two images, or with NaN or infinity.
        UsageError: When ``share`` is not a positive number.

    >>> import numpy as np
    >>> bandwidth(np.array([[0.0], [6.0]]))
    2.0
    """
    x = _images(X)
    share = positive("share", share)
    part = x
    if len(x) > _SUBSET:
        chosen = np.sort(generator(seed).permutation(len(x))[:_SUBSET])
        part = x[like(chosen, x)]
    rows = wide(part)
    xp = namespace(rows)
    centred = rows - xp.mean(rows, axis=0)
    norms = xp.sum(centred * centred, axis=1)
    largest = float(xp.max(norms))
    if not math.isfinite(largest):
        raise ComputationError("the features are too large for their distances to be numbers")
    squares = host(norms[:, None] + norms[None, :] - 2.0 * (centred @ centred.T))
    pairs = squares[np.triu_indices(len(squares), 1)]
    pairs = pairs[pairs > _SAME * largest]
    if not len(pairs):
        pairs = _squares_from_first(x)
        pairs = pairs[pairs > 0]
    return share * math.sqrt(float(np.median(pairs))) if len(pairs) else 0.0


def _images(X: AnyArray) -> AnyArray:
    """The features, at least two of them."""
    x = as_matrix(X)
    if len(x) < 2:
        raise ComputationError("diversity needs at least two images, and there is 1")
    return x


def _plain(q: float) -> float | str:
    """An order as JSON can hold it."""
    return "inf" if math.isinf(q) else q


def _scale(
    x: AnyArray, sigma: float | None, seed: int
) -> tuple[float, tuple[tuple[str, str], ...]]:
    """σ, given or from the data, and what is to be said about that; 0.0: all images are equal."""
    if sigma is not None:
        return positive("sigma", sigma), ()
    found = bandwidth(x, seed=seed)
    if not found:
        return 0.0, (("identical-images", "all images are the same, so the diversity is 1"),)
    message = (
        f"sigma = {found:.6g} was taken from these images; scores of two sets compare only with "
        f"one sigma: give them the same, such as sigma={found:.6g}"
    )
    return found, (("bandwidth-from-data", message),)


def _estimate(
    score: float,
    influence: Floats | None,
    details: dict[str, Any],
    warnings: tuple[tuple[str, str], ...] = (),
) -> Estimate:
    if influence is not None and len(influence) < _LEAST:
        why = f"{len(influence)} images are too few for an error bar"
        influence, warnings = None, (*warnings, ("too-few-for-error-bar", why))
    error = influence_error(influence)
    return Estimate(score, error, None, influence, details=details, warnings=warnings)


def _norms(x: AnyArray) -> AnyArray:
    """Euclidean norms of the rows, float64."""
    xp = namespace(wide(x[:1]))
    parts = [xp.sum(wide(x[part]) ** 2, axis=1) for part in blocks(len(x), _ROWS)]
    squares = xp.concat(parts)
    seen = host(squares)
    if not np.isfinite(seen).all():
        raise ComputationError("the features are too large for their norms to be numbers")
    zero = np.flatnonzero(seen == 0)
    if len(zero):
        raise ComputationError(
            f"row {int(zero[0])} of the features (counted from 0) is all zeros and has no "
            "direction: leave that image out, or take a score with a Gaussian kernel (rke, fkea)"
        )
    return xp.sqrt(squares)


def _squares_from_first(x: AnyArray) -> Floats:
    """Squared distances from the first row; exactly 0 for equal rows."""
    first = wide(x[:1])
    parts = []
    for part in blocks(len(x), _ROWS):
        shift = wide(x[part]) - first
        parts.append(host(namespace(shift).sum(shift * shift, axis=1)))
    return np.concatenate(parts)


def _squared_kernel_means(x: AnyArray, sigma: float) -> Floats:
    """For each row, the mean of k² = exp(−|x − y|²/σ²) over all rows, itself included."""
    xp = namespace(wide(x[:1]))
    parts = blocks(len(x), _ROWS)
    mean = sum(xp.sum(wide(x[part]), axis=0) for part in parts) / len(x)

    def scaled(part: slice) -> AnyArray:
        return (wide(x[part]) - mean) / sigma

    norms = xp.concat([xp.sum(scaled(part) ** 2, axis=1) for part in parts])
    if not float(xp.max(norms)) <= 1 / _UNRESOLVED**2:
        raise ComputationError(
            f"sigma = {sigma:g} is less than a millionth of the distance of an image from the "
            "mean, too small to distinguish equal features from others: give a larger sigma"
        )
    sums = xp.zeros_like(norms)
    for i, left in enumerate(parts):
        lines = scaled(left)
        for right in parts[i:]:
            columns = lines if right == left else scaled(right)
            power = lines @ columns.T
            power *= 2.0
            power -= norms[left][:, None]
            power -= norms[right][None, :]
            squared = xp.exp(xp.clip(power, None, 0.0))
            sums[left] += xp.sum(squared, axis=1)
            if right != left:
                sums[right] += xp.sum(squared, axis=0)
    return np.asarray(host(sums) / len(x))
