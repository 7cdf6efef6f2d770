"""Two Gaussians, factors of their covariances, and the product of the factors.

With Σa = Ra Raᵀ and Σb = Rb Rbᵀ, the Fréchet distance and its derivatives follow from M = Raᵀ Rb =
U S Vᵀ: tr (Σa Σb)^½ is the sum of S, and the optimal transport map from N(μa, Σa) to N(μb, Σb) is T
= Ra⁻ᵀ U S Uᵀ Ra⁻¹. A factor is either the centered features themselves over √(n−1), where there are
no more images than dimensions, or the Cholesky factor of the covariance: the plain one where every
pivot is far from rounding, and else the pivoted one, which finds the rank.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.metrics.arrays import as_matrix, host
from gan_metrics.metrics.moments import Moments
from gan_metrics.utils.array_types import ArrayLike, Floats

__all__ = [
    "Coupling",
    "Gaussian",
    "gaussian_pair",
    "influence",
    "influence_pair",
    "transported",
]


_ROWS = 8192
"""Rows per step of a second pass over the features."""

_PLAINLY_POSITIVE = 1e-10
"""If every pivot exceeds this share of the largest variance, no pivoting is needed."""

_NOT_A_COVARIANCE = 1e-4
"""Largest allowed residual as a share of the largest entry; files in float32 have about 1e-6."""


_FACTORS: MutableMapping[Moments, tuple[Floats, npt.NDArray[np.intp]]] = WeakKeyDictionary()
"""Factors of moments in use, so that the factor of a reference is computed once."""


class Gaussian:
    """A set: its moments, a factor of its covariance and, if known, its features."""

    def __init__(self, moments: Moments, features: npt.NDArray[Any] | None) -> None:
        self.moments = moments
        self.features = features
        self.dim = moments.dim
        self._factor: Floats | None = None
        self._pivots: npt.NDArray[np.intp] | None = None

    @classmethod
    def of(cls, value: ArrayLike | Moments, moments: Moments | None = None) -> Gaussian:
        """Create it from moments, or from features and, if known, their moments."""
        if isinstance(value, Moments):
            return cls(value, None)
        array = host(as_matrix(value))
        if len(array) < 2:
            raise ComputationError(
                f"a covariance needs at least two images, and there is {len(array)}"
            )
        return cls(moments or Moments.from_features(array), array)

    @property
    def from_samples(self) -> bool:
        """Whether the centered features are the factor: no more images than dimensions."""
        return self.features is not None and len(self.features) <= self.dim

    @property
    def full_rank(self) -> bool:
        """Whether the covariance has an inverse."""
        return not self.from_samples and self.factor.shape[1] == self.dim

    @property
    def factor(self) -> Floats:
        """R of shape ``(D, r)`` with R Rᵀ = Σ."""
        if self._factor is None and self.features is None and self.moments in _FACTORS:
            self._factor, self._pivots = _FACTORS[self.moments]
        if self._factor is None:
            if self.from_samples:
                assert self.features is not None  # noqa: S101
                centred = np.asarray(self.features, np.float64) - self.moments.mean
                self._factor = centred.T / np.sqrt(len(centred) - 1)
            else:
                self._factor, self._pivots = _cholesky(self.moments.cov)
                if self.features is None:  # a reference, which is compared with many sets
                    _FACTORS[self.moments] = self._factor, self._pivots
        return self._factor

    def congruent(self, matrix: Floats) -> Floats:
        """Rᵀ A R of a symmetric A, for a Cholesky factor of full rank."""
        from scipy.linalg.blas import dtrmm

        assert self._pivots is not None  # noqa: S101
        if (np.diff(self._pivots) == 1).all():  # R is triangular: half of the work
            half = dtrmm(1.0, self.factor, matrix.T, side=1, lower=1)
            return np.asarray(dtrmm(1.0, self.factor, half, lower=1, trans_a=1, overwrite_b=1))
        return np.asarray(self.factor.T @ (matrix @ self.factor))

    def pull_back(self, columns: Floats) -> Floats:
        """A with Aᵀ (x − μ) = ``columns``ᵀ z, where x − μ = R z, for a Cholesky factor."""
        from scipy.linalg import solve_triangular

        rank = self.factor.shape[1]
        assert self._pivots is not None  # noqa: S101
        rows = self._pivots[:rank]
        out = np.zeros((self.dim, columns.shape[1]))
        out[rows] = solve_triangular(
            self.factor[rows], columns, lower=True, trans="T", check_finite=False
        )
        return out


class Coupling:
    """M = Raᵀ Rb = U S Vᵀ.

    With both sets of full rank only S, and U if wanted, are computed: Raᵀ Σb Ra = U S² Uᵀ.
    """

    def __init__(self, one: Gaussian, other: Gaussian, *, vectors: bool) -> None:
        import scipy.linalg as la

        self.u = self.v = np.empty((0, 0))
        self.both_full = one.full_rank and other.full_rank
        if self.both_full:
            gram = one.congruent(other.moments.cov)
            if vectors:
                squares, self.u = la.eigh(gram, driver="evd", check_finite=False)
            else:
                squares = la.eigvalsh(gram, check_finite=False)
            self.s = np.sqrt(np.clip(squares, 0.0, None))
            return
        product = one.factor.T @ other.factor
        if 0 in product.shape:  # a set without any variance
            self.u, self.s, self.v = product[:, :0], np.zeros(0), product.T[:, :0]
        elif vectors:
            self.u, self.s, vt = la.svd(product, full_matrices=False, check_finite=False)
            self.v = vt.T
        else:
            self.s = la.svdvals(product, check_finite=False)

    def displacement(self, one: Gaussian, other: Gaussian) -> Floats:
        """E (x − T(x)) (x − T(x))ᵀ without the means' part: Σa + Σb − T Σa − Σa T, ``(D, D)``.

        T Σa = Rb V Uᵀ Raᵀ for factors of any rank; at full rank Rb V = Ra⁻ᵀ U S.
        """
        moved = one.pull_back(self.u * self.s) if self.both_full else other.factor @ self.v
        product: Floats = moved @ (one.factor @ self.u).T
        return np.asarray(one.moments.cov + other.moments.cov - product - product.T)

    def half_map(self, one: Gaussian, other: Gaussian, *, first: bool) -> Floats:
        """A of shape ``(D, r)`` with A Aᵀ = T, the map from the set to the opposite one."""
        if first:
            return one.pull_back(self.u * np.sqrt(self.s))
        if not self.both_full:
            return other.pull_back(self.v * np.sqrt(self.s))
        # T of the other set is the inverse of that of this one: Ra U S⁻¹ Uᵀ Raᵀ.
        floor = float(self.s.max()) * 1e-12
        root: Floats = np.sqrt(np.maximum(self.s, floor))
        return np.asarray((one.factor @ self.u) / root)


def influence_pair(
    one: Gaussian, other: Gaussian, coupling: Coupling
) -> tuple[Floats | None, Floats | None]:
    """The influences of both sets; ``None`` for a set of which only the moments are known."""
    return (
        None if one.features is None else influence(one, other, coupling, first=True),
        None if other.features is None else influence(other, one, coupling, first=False),
    )


def influence(side: Gaussian, opposite: Gaussian, coupling: Coupling, *, first: bool) -> Floats:
    """Influence of each image of a set on the distance; shape ``(n,)``, mean zero.

    Args:
        side: The set of the images; its features must be known.
        opposite: The other set.
        coupling: The coupling of both sets, with vectors.
        first: Whether ``side`` is the first set of the coupling.
    """
    features = side.features
    assert features is not None  # noqa: S101
    one, other = (side, opposite) if first else (opposite, side)
    shift = 2.0 * (side.moments.mean - opposite.moments.mean)
    if side.from_samples:
        vectors = coupling.u if first else coupling.v
        transported = (len(features) - 1) * (vectors**2 @ coupling.s)
        half = None
    else:
        half = coupling.half_map(one, other, first=first).astype(np.float32)
        transported = np.empty(len(features))
    linear, squared = np.empty(len(features)), np.empty(len(features))
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        centred = np.asarray(features[rows], np.float64) - side.moments.mean
        linear[rows] = centred @ shift
        squared[rows] = np.einsum("ij,ij->i", centred, centred)
        if half is not None:
            # float32 is precise enough: A is a root of T, and this is an error bar.
            moved = centred.astype(np.float32) @ half
            transported[rows] = np.einsum("ij,ij->i", moved, moved, dtype=np.float64)
    unbiased = len(features) / (len(features) - 1)  # Σ has the divisor n − 1
    influence = linear + unbiased * (squared - transported)
    return np.asarray(influence - influence.mean())


def transported(
    side: Gaussian,
    opposite: Gaussian,
    coupling: Coupling,
    rows: npt.NDArray[np.intp],
    *,
    first: bool,
) -> Floats:
    """Compute T (x − μ) for some images of a set; shape ``(k, D)``.

    Args:
        side: The set of the images; its features must be known.
        opposite: The other set.
        coupling: The coupling of both sets, with vectors.
        rows: Indices of the images.
        first: Whether ``side`` is the first set of the coupling.
    """
    assert side.features is not None  # noqa: S101
    if side.from_samples:  # x − μ is √(n−1) times a column of R, and T R = R' V Uᵀ
        mine, theirs = (coupling.u, coupling.v) if first else (coupling.v, coupling.u)
        # Centered images sum to zero: that direction exists only by rounding errors.
        mine = mine - mine.mean(axis=0)
        moved: Floats = opposite.factor @ (theirs @ mine[rows].T)
        return np.asarray(moved.T * np.sqrt(len(side.features) - 1))
    one, other = (side, opposite) if first else (opposite, side)
    half = coupling.half_map(one, other, first=first)
    centred = np.asarray(side.features[rows], np.float64) - side.moments.mean
    return np.asarray((centred @ half) @ half.T)


def gaussian_pair(
    a: ArrayLike | Moments,
    b: ArrayLike | Moments,
    moments_a: Moments | None,
    moments_b: Moments | None,
) -> tuple[Gaussian, Gaussian]:
    """Return both sets after checking that they match.

    Raises:
        InputError: When the dimensions differ or an array is not two-dimensional.
        ComputationError: When a set has fewer than two images or is not finite.
    """
    one, other = Gaussian.of(a, moments_a), Gaussian.of(b, moments_b)
    if one.dim != other.dim:
        raise InputError(f"the two sets have {one.dim} and {other.dim} dimensions")
    for side in (one, other):
        if side.moments.n is not None and side.moments.n < 2:
            raise ComputationError("a covariance needs at least two images, and there is 1")
        if not (np.isfinite(side.moments.mean).all() and np.isfinite(side.moments.cov).all()):
            raise ComputationError("the moments are not finite (NaN or infinity)")
    return one, other


def _cholesky(cov: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """R of shape ``(D, r)`` with R Rᵀ = Σ, r its numerical rank, and the order of the pivots."""
    from scipy.linalg.lapack import dpotrf

    factor, failed = dpotrf(cov.T, lower=1, clean=1)  # the transpose is itself, in LAPACK's order
    pivots = np.diagonal(factor) ** 2
    if not failed and pivots.min() > _PLAINLY_POSITIVE * float(cov.diagonal().max()):
        return factor, np.arange(len(cov), dtype=np.intp)
    return _pivoted_cholesky(cov)


def _pivoted_cholesky(cov: Floats) -> tuple[Floats, npt.NDArray[np.intp]]:
    """The same with pivoting."""
    from scipy.linalg.lapack import dpstrf

    lower, pivots, rank, _ = dpstrf(np.asfortranarray(cov), lower=1)
    order = np.asarray(pivots, np.intp) - 1
    factor = np.zeros((cov.shape[0], int(rank)))
    factor[order] = np.tril(lower)[:, :rank]
    if rank < len(cov):  # at full rank every pivot was positive, and so is Σ
        left = float(np.abs(cov - factor @ factor.T).max())
        if left > _NOT_A_COVARIANCE * float(np.abs(cov).max()):
            raise InputError(
                f"the covariance is not positive semidefinite: {left:g} remains after its "
                f"{rank} positive directions; compute the statistics again"
            )
    return factor, order
