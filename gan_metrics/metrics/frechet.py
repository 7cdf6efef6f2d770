"""The Fréchet distance between two Gaussians, its error bar and its gradient.

Heusel et al. (2017), arXiv 1706.08500, after Dowson & Landau (1982)::

    FD = |μa − μb|² + tr Σa + tr Σb − 2 tr (Σa Σb)^½

With any factors Σa = Ra Raᵀ and Σb = Rb Rbᵀ the last trace is the nuclear norm of M = Raᵀ Rb, the
sum of its singular values. A factor is either the centered features themselves over √(n−1), where
there are no more images than dimensions, or the pivoted Cholesky factor of the covariance. If
both have full rank, the sum is that of the square roots of the eigenvalues of Raᵀ Σb Ra, which is
faster. No matrix square root is computed.

The influence of one image x of set *a* on the distance is the derivative of FD with respect to
its weight: with T the optimal transport map from N(μa, Σa) to N(μb, Σb)::

    2 (μa − μb)·(x − μa) + n/(n−1) (x − μa)ᵀ (I − T) (x − μa) − tr ((I − T) Σa)

In terms of the factors, with M = U S Vᵀ and x − μa = Ra z, the quadratic form of T is
zᵀ (U S Uᵀ) z. This holds for factors of any rank, so the same formula applies if there are fewer
images than dimensions and T itself is not defined: then it is the infinitesimal jackknife in the
span of the sample.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast, overload

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.metrics.arrays import as_matrix, is_tensor
from gan_metrics.metrics.covariance_divisors import factors, influence_over_n
from gan_metrics.metrics.estimate import Estimate, influence_error
from gan_metrics.metrics.gaussian_transport import (
    Coupling,
    Gaussian,
    gaussian_pair,
    influence,
    influence_pair,
)
from gan_metrics.metrics.moments import Moments
from gan_metrics.utils.array_types import AnyArray, ArrayLike, Floats
from gan_metrics.utils.validation import whole_number

if TYPE_CHECKING:
    import torch

__all__ = [
    "FrechetTerms",
    "frechet_directions",
    "frechet_distance",
    "frechet_estimate",
    "frechet_influence",
    "frechet_standard_error",
    "frechet_terms",
]


_NOTHING = 1e-12
"""Distances below this share of the variances are rounding errors."""


class FrechetTerms(NamedTuple):
    """The two terms of the distance, with standard error and influences.

    Attributes:
        mean_term: |μa − μb|², ≥ 0.
        covariance_term: tr Σa + tr Σb − 2 tr (Σa Σb)^½, ≥ 0.
        standard_error: See :func:`frechet_standard_error`; ``None`` when it was not requested, or
            both sets are given as moments.
        influence_a: See :func:`frechet_influence`; ``None`` likewise, or when set a is given as
            moments.
        influence_b: The same for set b.
    """

    mean_term: float
    covariance_term: float
    standard_error: float | None = None
    influence_a: Floats | None = None
    influence_b: Floats | None = None

    @property
    def distance(self) -> float:
        """The Fréchet distance, ≥ 0: the sum of the two terms."""
        return self.mean_term + self.covariance_term


@overload
def frechet_distance(
    a: torch.Tensor, b: npt.ArrayLike | Moments | torch.Tensor
) -> torch.Tensor: ...
@overload
def frechet_distance(a: npt.ArrayLike | Moments, b: torch.Tensor) -> torch.Tensor: ...
@overload
def frechet_distance(a: npt.ArrayLike | Moments, b: npt.ArrayLike | Moments) -> float: ...


def frechet_distance(a: ArrayLike | Moments, b: ArrayLike | Moments) -> float | torch.Tensor:
    """The Fréchet distance between two sets.

    Args:
        a: :class:`~gan_metrics.metrics.moments.Moments`, or features of shape ``(n, D)``; for
            n ≤ D the features give more digits than their moments.
        b: The same for the other set.

    Returns:
        The distance, ≥ 0, in squared units of the features. If a set is a torch tensor, so is
        the result: float64, on the tensor's device, differentiable with respect to it.

    Raises:
        InputError: When the dimensions differ or an array is not two-dimensional.
        ComputationError: When a set has fewer than two images or is not finite.

    >>> import numpy as np
    >>> a = Moments(None, np.zeros(2), np.diag([1.0, 4.0]))
    >>> b = Moments(None, np.array([3.0, 0.0]), np.diag([4.0, 4.0]))
    >>> frechet_distance(a, b)
    10.0
    """
    if is_tensor(a) or is_tensor(b):
        return _torch_distance(a, b)
    return frechet_terms(a, b).distance


def frechet_terms(
    a: npt.ArrayLike | Moments,
    b: npt.ArrayLike | Moments,
    *,
    moments_a: Moments | None = None,
    moments_b: Moments | None = None,
    error_bar: bool = False,
    divisor: str = "n-1",
) -> FrechetTerms:
    """The mean term and the covariance term of :func:`frechet_distance`, and the error bar.

    Args:
        a: Moments, or features of shape ``(n, D)``.
        b: The same for the other set.
        moments_a: The moments of features ``a``, if they are known.
        moments_b: The moments of features ``b``, if they are known.
        error_bar: Whether to compute the error bar, which needs a second pass over the features.
        divisor: Of both covariances, ``"n-1"`` or ``"n"``.

    Raises:
        InputError: When the dimensions differ or an array is not two-dimensional.
        ComputationError: When a set has fewer than two images or is not finite, or the divisor is
            an n that is not known.
        UsageError: When the divisor is another.
    """
    one, other = gaussian_pair(a, b, moments_a, moments_b)
    alpha, beta = factors(one, other, divisor)
    root = math.sqrt(alpha * beta)
    wanted = error_bar and not (one.features is None and other.features is None)
    coupling = Coupling(one, other, vectors=wanted)
    shift = one.moments.mean - other.moments.mean
    if not np.isfinite(float(shift @ shift)):
        raise ComputationError("the means are too far apart for the distance to be a number")
    traces = float(alpha * np.trace(one.moments.cov) + beta * np.trace(other.moments.cov))
    influences = influence_pair(one, other, coupling) if wanted else (None, None)
    if divisor == "n":
        mine, theirs = influences
        influences = (
            influence_over_n(one, other, mine, alpha, beta),
            influence_over_n(other, one, theirs, beta, alpha),
        )
    return FrechetTerms(
        float(shift @ shift),
        max(traces - 2.0 * root * float(coupling.s.sum()), 0.0),
        influence_error(*influences),
        *influences,
    )


def frechet_estimate(
    X: npt.ArrayLike | Moments,
    Y: npt.ArrayLike | Moments,
    *,
    seed: int = 0,
    error_bar: bool = True,
    moments: tuple[Moments | None, Moments | None] = (None, None),
    directions: int = 0,
    divisor: str = "n-1",
) -> Estimate:
    """:func:`frechet_terms` as an estimate.

    Args:
        X: Moments of the real images, or their features of shape ``(n, D)``.
        Y: The same for the generated images.
        seed: Not used: the metric is not random.
        error_bar: Whether to compute the error bar, which needs a second pass over the features.
        moments: Of both, if they are known.
        directions: How many leading directions are looked for; see :func:`frechet_directions`.
        divisor: Of both covariances, ``"n-1"`` or ``"n"``, as StyleGAN3 has it.

    Returns:
        The distance; details are ``mean_term``, ``covariance_term``, a ``divisor`` of n and, if
        they were asked for, ``leading_directions``: their shares.

    Raises:
        GanMetricsError: As for :func:`frechet_terms`.
    """
    del seed
    known = {"moments_a": moments[0], "moments_b": moments[1]}
    terms = frechet_terms(X, Y, **known, error_bar=error_bar, divisor=divisor)
    details: dict[str, Any] = {
        "mean_term": terms.mean_term,
        "covariance_term": terms.covariance_term,
    }
    if divisor != "n-1":
        details["divisor"] = divisor
    if directions:
        shares, _ = frechet_directions(X, Y, k=directions, divisor=divisor)
        details["leading_directions"] = shares.tolist()
    return Estimate(
        terms.distance,
        terms.standard_error,
        terms.influence_a,
        terms.influence_b,
        details=details,
    )


def frechet_standard_error(a: npt.ArrayLike | Moments, b: npt.ArrayLike | Moments) -> float | None:
    """The standard error of the distance over redraws of both sets at these sample sizes.

    SE² = var(influences of a) / n + var(influences of b) / m. A side given by its moments is held
    fixed and adds nothing. Measured against redrawing (d = 64): within 15 % for n ≥ 50 d where the
    two sides differ clearly; conservative, by a factor of up to 1.4, where they are nearly equal,
    since the first derivative vanishes there, and by a factor of 1.0 to 1.4 for n from d/4 to a
    few d.

    Args:
        a: Features of shape ``(n, D)``, or moments.
        b: The same for the other set.

    Returns:
        The standard error, in squared units of the features, or ``None`` when both are moments.

    Raises:
        InputError: When the dimensions differ or an array is not two-dimensional.
        ComputationError: When a set has fewer than two images or is not finite.
    """
    return frechet_terms(a, b, error_bar=True).standard_error


def frechet_influence(a: npt.ArrayLike, b: npt.ArrayLike | Moments) -> Floats:
    """The influence of each image of set ``a`` on the distance to side ``b``.

    To first order, the distance changes by ``influence / n`` when an image is counted once more,
    and by ``−influence / n`` when it is left out: images with a large influence raise it.

    Args:
        a: Features of shape ``(n, D)``.
        b: Features or moments of the other set.

    Returns:
        Shape ``(n,)``, float64, with mean zero, in squared units of the features.

    Raises:
        InputError: When the dimensions differ or an array is not two-dimensional.
        ComputationError: When a set has fewer than two images or is not finite.
    """
    if isinstance(a, Moments):
        raise InputError("influences belong to images: give the features of set a")
    one, other = gaussian_pair(a, b, None, None)
    return influence(one, other, Coupling(one, other, vectors=True), first=True)


def frechet_directions(
    a: npt.ArrayLike | Moments,
    b: npt.ArrayLike | Moments,
    *,
    k: int = 10,
    divisor: str = "n-1",
) -> tuple[Floats, Floats]:
    """The directions in which the two sets differ most, and their share of the distance.

    With T the optimal transport map between the two Gaussians, the distance is the expected
    squared displacement E |x − T(x)|², the trace of the matrix E (x − T(x)) (x − T(x))ᵀ::

        (μa − μb)(μa − μb)ᵀ + Σa + Σb − T Σa − Σa T

    Its eigenvectors are the directions; an eigenvalue over the trace is the direction's share.

    Args:
        a: Moments, or features of shape ``(n, D)``.
        b: The same for the other set.
        k: How many directions, at most D.
        divisor: See :func:`frechet_terms`.

    Returns:
        The shares, ``(k,)``, falling, between 0 and 1, and unit vectors, ``(D, k)``. All shares of
        all D directions add up to 1; where the distance is 0 they are 0.

    Raises:
        InputError: When the dimensions differ or an array is not two-dimensional.
        ComputationError: When a set has fewer than two images or is not finite.

    >>> import numpy as np
    >>> a = Moments(None, np.zeros(2), np.diag([1.0, 4.0]))
    >>> b = Moments(None, np.array([3.0, 0.0]), np.diag([4.0, 4.0]))
    >>> frechet_directions(a, b, k=2)[0].round(6).tolist()
    [1.0, 0.0]
    """
    import scipy.linalg as la

    one, other = gaussian_pair(a, b, None, None)
    k = min(whole_number("k", k, least=1), one.dim)
    shift = one.moments.mean - other.moments.mean
    matrix = Coupling(one, other, vectors=True).displacement(one, other)
    alpha, beta = factors(one, other, divisor)
    if divisor == "n":
        root = math.sqrt(alpha * beta)
        matrix *= root
        matrix += (alpha - root) * one.moments.cov + (beta - root) * other.moments.cov
    matrix += np.outer(shift, shift)
    whole = float(np.trace(matrix))
    values, vectors = la.eigh(
        matrix, subset_by_index=(one.dim - k, one.dim - 1), check_finite=False
    )
    scale = float(np.trace(one.moments.cov) + np.trace(other.moments.cov) + shift @ shift)
    none = whole <= _NOTHING * scale  # what rounding leaves of equal sets
    shares = np.zeros(k) if none else np.clip(values[::-1] / whole, 0.0, 1.0)
    return shares, vectors[:, ::-1]


def _torch_distance(a: AnyArray, b: AnyArray) -> torch.Tensor:
    """The torch twin: the same formula in float64, with the closed form of its gradient."""
    import torch

    device = (a if is_tensor(a) else b).device
    device = torch.device("cpu") if device.type == "mps" else device  # mps has no float64
    means, roots = [], []
    for value in (a, b):
        if isinstance(value, Moments):
            side = Gaussian(value, None)
            mean, root = (torch.from_numpy(x).to(device) for x in (value.mean, side.factor.T))
        else:
            checked = as_matrix(value)
            features = value if is_tensor(value) else torch.from_numpy(np.array(checked))
            features = features.to(device, torch.float64)
            if len(features) < 2:
                raise ComputationError(
                    f"a covariance needs at least two images, and there is {len(features)}"
                )
            mean = features.mean(0)
            root = (features - mean) / (len(features) - 1) ** 0.5
        means.append(mean)
        roots.append(root)
    if roots[0].shape[1] != roots[1].shape[1]:
        raise InputError(
            f"the two sets have {roots[0].shape[1]} and {roots[1].shape[1]} dimensions"
        )
    shift = means[0] - means[1]
    traces = roots[0].square().sum() + roots[1].square().sum()
    nuclear: torch.Tensor = _torch_nuclear_norm()(*roots)
    distance: torch.Tensor = shift @ shift + traces - 2.0 * nuclear
    return distance


@functools.cache
def _torch_nuclear_norm() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The nuclear norm of A Bᵀ for tall or wide A and B, as an autograd function.

    With A = Qa La and B = Qb Lb (QR) and La Lbᵀ = U S Vᵀ, its value is the sum of S and its
    gradient with respect to A is Qa U Vᵀ Lb; no decomposition is differentiated, so equal or
    vanishing singular values do no harm. Made on first use, since the class needs torch.
    """
    import torch

    class NuclearNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
            if not any(ctx.needs_input_grad):  # a fraction of the work and of the memory
                la, lb = (torch.linalg.qr(side, mode="r").R for side in (a, b))
                alone: torch.Tensor = torch.linalg.svdvals(la @ lb.T).sum()
                return alone
            (qa, la), (qb, lb) = torch.linalg.qr(a), torch.linalg.qr(b)
            u, s, vh = torch.linalg.svd(la @ lb.T, full_matrices=False)
            ctx.save_for_backward(qa @ (u @ (vh @ lb)), qb @ (vh.T @ (u.T @ la)))
            norm: torch.Tensor = s.sum()
            return norm

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
            to_a, to_b = ctx.saved_tensors
            return upstream * to_a, upstream * to_b

    return cast("Callable[[torch.Tensor, torch.Tensor], torch.Tensor]", NuclearNorm.apply)
