"""The entropy of the spectrum of a set of vectors φ, and what each vector has to do with it.

ρ is the mean of φφᵀ over m vectors of length one. Its eigenvalues λ are those of the matrix of
the φᵢᵀφⱼ/m, but for zeros, and sum to one; the smaller of the two matrices is decomposed. The
score is the exponential of the Rényi entropy of order q::

    H_q = log Σ λ^q / (1 − q),     H_1 = −Σ λ log λ,     H_∞ = −log max λ

Error bars, q ≥ 2: by the derivative of H_q with respect to the weight of a vector, which is
q (φᵀ ρ^(q−1) φ / tr ρ^q − 1) / (1 − q).

q < 2: that derivative is blind to what counts most, that a direction which one vector alone spans
is lost with it, and gives half of the true error for fewer vectors than dimensions. So there each
vector is left out, m − 1 times the loss is its influence, and the error bar is that of the
jackknife. No other matrix is decomposed for it. With

    L(t) = log det(t + ρ − φφᵀ/m) − log det(t + ρ) = log(1 − φᵀ (t + ρ)⁻¹ φ / m)

and sinc(z) = sin(πz)/(πz), the Tsallis entropy B = (tr ρ^q − tr ρ)/(1 − q) changes by::

    1/m + q sinc(1 − q) ∫₀^∞ t^(q−1) (L(t) + 1/(m (1 + t))) dt,     0 < q < 2

as follows from the integral of t^(q−1)/(λ + t) for λ^(q−1). In y = log t the integrand is analytic
for |Im y| < π, so a plain sum in steps of one is right to about exp(−2π²), 3·10⁻⁹.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gan_metrics.metrics.arrays import blocks, host, like, namespace
from gan_metrics.utils.array_types import AnyArray, Floats

__all__ = ["renyi_entropy", "spectral_score"]

Rows = Callable[[slice], Any]
"""φ of the images of a slice, float64, shape ``(b, d)``."""

_ROWS = 2048
_NEAR_ONE = 0.1
"""|q − 1| below which log Σ λ^q is taken by log1p and expm1, so that nothing cancels."""

_TIED = 1e-9
"""Relative distance from the largest eigenvalue that counts as equal to it."""

_LOG_T = np.arange(-45.0, 21.0)
"""Where the integrand is looked at: from far below the least eigenvalue to far above one."""

_ALONE = 1e-11
"""One minus the leverage of an image under which it alone spans a direction."""

_EPS = float(np.finfo(np.float64).eps)


def renyi_entropy(spectrum: Floats, q: float) -> float:
    """H_q of positive numbers that sum to one; q > 0, 1 and infinity included.

    >>> import numpy as np
    >>> round(float(np.exp(renyi_entropy(np.full(4, 0.25), 2.0))), 9)
    4.0
    """
    top = float(spectrum.max())
    if math.isinf(q):
        return -math.log(top)
    if abs(q - 1) < _NEAR_ONE:
        return float(_of_tsallis(_tsallis(spectrum, q), q))
    return (q * math.log(top) + math.log(float(((spectrum / top) ** q).sum()))) / (1 - q)


def spectral_score(
    rows: Rows, m: int, d: int, q: float, *, error_bar: bool
) -> tuple[float, Floats, Floats | None]:
    """The exponential of H_q, the eigenvalues of ρ, and the influences on the score.

    The standard error from these influences over the true one, in 200 to 400 redraws of correlated
    Gaussians with the cosine kernel and of mixtures with Fourier features: m ≥ 6 d, 0.94 to 1.05;
    m from d/8 to 2 d, 0.94 to 1.24 for q ≤ 2, and for q = ∞ 0.98 to 1.6, the larger the fewer
    images there are (1.2 at 100, 1.0 at 200). Where the score is nearly m, up to 1.45.

    Args:
        rows: φ of a slice of the images.
        m: Number of images, ≥ 2.
        d: Length of φ.
        q: The order, > 0.
        error_bar: Whether to compute influences: they need eigenvectors, and φ a second time.

    Returns:
        The score, from 1 to min(m, d); the eigenvalues that are not zero but for rounding, in
        rising order; the influences, shape ``(m,)``, mean zero, or ``None``.
    """
    parts = blocks(m, _ROWS)
    dual = d < m
    matrix = _covariance(rows, parts) if dual else _gram(rows, m)
    matrix /= m
    xp = namespace(matrix)
    if error_bar:
        values, vectors = xp.linalg.eigh(matrix)
    else:
        values, vectors = xp.linalg.eigvalsh(matrix), None
    every = np.asarray(host(values), np.float64)
    first = int(np.searchsorted(every, max(m, d) * _EPS * every[-1], side="right"))
    spectrum = every[first:]
    score = min(max(math.exp(renyi_entropy(spectrum, q)), 1.0), float(min(m, d)))
    if vectors is None:
        return score, spectrum, None
    if dual:
        vectors = vectors[:, first:]
        pieces = ((rows(part) @ vectors) ** 2 for part in parts)
        known = spectrum
    else:
        pieces = (vectors[part] ** 2 for part in parts)
        known = np.concatenate([np.zeros(first), spectrum])
    if q < 2:
        lost = _losses(pieces, known, score, m, q, dual=dual)
        influence = (m - 1) * lost
    else:
        forms = _derivative_weights(known, q) * (1 if dual else m * known)
        weights = like(forms, matrix)
        influence = score * np.concatenate([host(piece @ weights) for piece in pieces])
    return score, spectrum, np.asarray(influence - influence.mean())


def _covariance(rows: Rows, parts: list[slice]) -> AnyArray:
    phi = rows(parts[0])
    total = phi.T @ phi
    for part in parts[1:]:
        phi = rows(part)
        total += phi.T @ phi
    return total


def _gram(rows: Rows, m: int) -> AnyArray:
    phi = rows(slice(0, m))  # no larger than the covariance would be, or than the features
    return phi @ phi.T


def _tsallis(spectrum: Floats, q: float) -> float:
    """(Σ λ^q − Σ λ) / (1 − q), for q = 1 its limit."""
    logs = np.log(spectrum)
    if q == 1:
        return float(-spectrum @ logs)
    return float(spectrum @ np.expm1((q - 1) * logs)) / (1 - q)


def _of_tsallis(tsallis: Floats | float, q: float) -> Floats | float:
    """H_q from it."""
    return tsallis if q == 1 else np.log1p((1 - q) * tsallis) / (1 - q)


def _losses(
    pieces: Iterable[AnyArray], known: Floats, score: float, m: int, q: float, *, dual: bool
) -> Floats:
    """What the score loses with each image; see the module's head.

    Args:
        pieces: Squares of the images' coordinates along the eigenvectors: of φ itself, or, where
            not ``dual``, of φ over √(mλ), which are entries of the eigenvectors of the Gram matrix.
        known: The eigenvalues that belong to the columns.
        score: Of all images.
        m: Number of images.
        q: The order, < 2.
        dual: Whether ρ itself was decomposed.
    """
    t = np.exp(_LOG_T)
    low, high = t[t < 1], t[t >= 1]
    squares = np.full_like(known, 1 / m) if dual else known  # what makes a piece φ²/m
    some = known[:, None]
    # Below 1: φᵀ(ρ⁻¹ − (t + ρ)⁻¹)φ/m. Above: φᵀ((t + ρ)⁻¹ − 1/(1 + t))φ/m. Nothing cancels.
    below = np.divide(squares[:, None], some, out=np.ones_like(some), where=some > 0)
    above = squares[:, None] * (1 - some) / ((high + some) * (1 + high))
    table = np.hstack([below, below * low / (low + some), above])
    weights, regular = _quadrature(q), 1 / (m * (1 + t))
    integrals = []
    for piece in pieces:
        sums = host(piece @ like(table, piece))
        outside = 1 - sums[:, :1]  # what the other images alone do not span
        kept = np.where(outside > _ALONE, outside, 0.0) + sums[:, 1 : len(low) + 1]
        rest = sums[:, len(low) + 1 :]
        share = rest + regular[len(low) :]
        values = np.hstack([np.log(kept) + regular[: len(low)], np.log1p(-share) + share - rest])
        integrals.append(values @ weights)
    change = 1 / m + q * np.sinc(1 - q) * np.concatenate(integrals)
    bigger = m / (m - 1)  # the weight of each image that is left
    without = _of_tsallis(bigger * (_tsallis(known[known > 0], q) + change), q)
    return np.asarray(score - np.exp(without) / bigger)


def _quadrature(q: float) -> Floats:
    """Weights for ∫ t^(q−1) F dt on the grid, all beyond it included.

    Below the grid F is linear in log t, above it F falls with t⁻²: two geometric series.
    """
    weights = np.exp(q * _LOG_T)
    r, s = math.exp(-q), math.exp(q - 2)
    below = weights[0]
    weights[-1] *= 1 / (1 - s)
    weights[0] += below * (r / (1 - r) + r / (1 - r) ** 2)
    weights[1] -= below * r / (1 - r) ** 2
    return weights


def _derivative_weights(known: Floats, q: float) -> Floats:
    """W such that the derivative of H_q is φᵀ (Σ Wₖ vₖ vₖᵀ) φ, but for a constant; q ≥ 2."""
    top = float(known.max())
    if math.isinf(q):
        tied = known > (1 - _TIED) * top
        return np.asarray(np.where(tied, -1.0, 0.0) / (top * tied.sum()))
    ratio = known / top
    return np.asarray(q / (1 - q) * ratio ** (q - 1) / (top * (ratio**q).sum()))
