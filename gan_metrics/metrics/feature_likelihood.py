"""The Feature Likelihood Divergence: likelihood of held-out images under the generated ones.

A mixture of Gaussians, one centered on each generated image, with one variance σ_j² each::

    p(x) = 1/m Σ_j N(x; y_j, σ_j² I)

The variances are fitted so that the training images are likely: a generated image that copies one
gets a tiny σ_j, and does not help the held-out images, whose likelihood is computed::

    FLD = 100 · (NLL(held out; generated images) − NLL(held out; half of the training images)) / D

where the second mixture is centered on a random half of the training images and fitted on the
others. Features are standardized by the held-out images. Jiralerspong et al. (2023),
arXiv 2302.04440. The fit is that of the authors' code: Adam (step 0.5, 50 epochs, batches of
10,000) over log σ_j², from the distance to the nearest training image; during the
fit, a broad Gaussian around the mean keeps the likelihood of distant images above zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError
from gan_metrics.files.growing_array import GrowingArray
from gan_metrics.metrics.arrays import blocks
from gan_metrics.metrics.estimate import Estimate, influence_error
from gan_metrics.metrics.memorization import as_three
from gan_metrics.utils.array_types import AnyArray, ArrayLike, Floats
from gan_metrics.utils.validation import whole_number

__all__ = ["fld", "fld_estimate"]


_STEP, _EPOCHS, _BATCH = 0.5, 50, 10_000
_BETA1, _BETA2, _ADAM_EPSILON = 0.9, 0.999, 1e-8
_LEAST_LOG, _MOST_LOG = -40.0, 20.0
_NEAREST = 1e-3
"""Added to the squared distances at the start of the fit."""

_SHRINK = 0.9**2
"""Quantile of the squared distances to the mean, for the broad Gaussian."""

_MOST = 10_000
_ROWS = 512


def fld(
    X: ArrayLike, Y: ArrayLike, held_out: ArrayLike, *, most: int | None = _MOST, seed: int = 0
) -> float:
    """The Feature Likelihood Divergence.

    Jiralerspong et al. (2023), arXiv 2302.04440.

    Args:
        X: Features of the training images, shape ``(n, D)``, n ≥ 4.
        Y: Generated features, shape ``(m, D)``.
        held_out: Features of real images that were not trained on, shape ``(l, D)``.
        most: Maximum number of generated images, drawn at random; ``None``: all.
        seed: Seed for the draw, the half of the training images, and the batches if there are more
            than 10,000.

    Returns:
        About 0 for generated images that are as good as half of the training images, and lower if
        there are more of them; higher is worse. Above 1000 the generated images are mostly
        copies.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, there are fewer than four training or two
            held-out images, or no feature varies among the held-out ones.
        UsageError: When an argument is out of its range.
    """
    return fld_estimate(X, Y, held_out, most=most, seed=seed, error_bar=False).value


def fld_estimate(
    X: ArrayLike,
    Y: ArrayLike,
    held_out: ArrayLike,
    *,
    seed: int = 0,
    error_bar: bool = True,
    most: int | None = _MOST,
) -> Estimate:
    """:func:`fld` as an estimate.

    The error bar is for redraws of the generated images and the held-out images with the training
    images fixed: the scatter of the held-out images' likelihoods, and the influence of each
    generated image on the mixture, its fitted variance held fixed.

    Args:
        X: Features of the training images, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        held_out: Features of held-out images, shape ``(l, D)``.
        seed: Seed of the draws.
        error_bar: Whether to compute the standard error and the influences.
        most: See :func:`fld`.

    Returns:
        The value; details are ``nll`` and ``baseline_nll``, per dimension, and ``dimensions``,
        those that vary among the held-out images. Warning ``copies`` above 1000.

    Raises:
        GanMetricsError: As for :func:`fld`.
    """
    most = None if most is None else whole_number("most", most, least=2)
    train, fake, test = as_three(X, Y, held_out)
    if len(train) < 4 or len(test) < 2:
        raise ComputationError(
            "the likelihood needs at least 4 training images and 2 held-out ones, and there are "
            f"{len(train)} and {len(test)}"
        )
    train, fake, test = _standardised(train, fake, test)
    drawn = np.random.default_rng([seed, 0])
    if most is not None and len(fake) > most:
        fake = fake[np.sort(drawn.choice(len(fake), most, replace=False))]
    shuffled = train[np.random.default_rng([seed, 1]).permutation(len(train))]
    half = min(len(fake), len(train) // 2)
    mine, influence = _scored(fake, train, test, seed)
    theirs, _ = _scored(shuffled[:half], shuffled[half:], test, seed)
    dim = test.shape[1]
    value = 100.0 * float(mine.mean() - theirs.mean()) / dim
    scatter, influence = 100.0 * (mine - theirs) / dim, 100.0 * influence / dim
    details = {
        "nll": float(mine.mean()) / dim,
        "baseline_nll": float(theirs.mean()) / dim,
        "dimensions": dim,
    }
    warnings: tuple[tuple[str, str], ...] = ()
    if value > 1000:
        warnings = (
            (
                "copies",
                "the FLD is above 1000: most generated images are copies of training images",
            ),
        )
    if not error_bar:
        return Estimate(value, details=details, warnings=warnings)
    error = influence_error(scatter, influence)
    return Estimate(
        value, error, scatter - scatter.mean(), influence, details=details, warnings=warnings
    )


def _standardised(train: AnyArray, fake: AnyArray, test: AnyArray) -> tuple[Floats, Floats, Floats]:
    """Standardize by the held-out images; features that do not vary are left out."""
    wide = np.asarray(test, np.float64)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0, ddof=1)
    varies = deviation > 0
    if not varies.any():
        raise ComputationError("no feature varies among the held-out images")
    return tuple(
        (np.asarray(one, np.float64)[:, varies] - mean[varies]) / deviation[varies]
        for one in (train, fake, test)
    )


def _scored(centres: Floats, train: Floats, test: Floats, seed: int) -> tuple[Floats, Floats]:
    """Negative log-likelihoods of the held-out images, and the centers' influence on their mean."""
    from scipy.special import logsumexp

    logs = _fitted(centres, train, seed)
    scores, used = np.empty(len(test)), np.zeros(len(centres))
    for rows in blocks(len(test), _ROWS):
        pairwise = -0.5 * _squared(test[rows], centres) / np.exp(logs)
        pairwise -= test.shape[1] / 2 * (logs + np.log(2 * np.pi))
        whole = logsumexp(pairwise, axis=1)
        scores[rows] = np.log(len(centres)) - whole
        used += np.exp(pairwise - whole[:, None]).sum(axis=0)
    return scores, 1.0 - len(centres) / len(test) * used


def _fitted(centres: Floats, train: Floats, seed: int) -> Floats:
    """Fit log σ² of each center."""
    dim = train.shape[1]
    kept = GrowingArray(len(train), np.float64)
    least = np.full(len(centres), np.inf)
    for rows in blocks(len(train), _ROWS):
        squared = _squared(train[rows], centres)
        least = np.minimum(least, squared.min(axis=0))
        kept.add(squared)
    distances = kept.array()
    to_mean = _SHRINK * np.square(train - train.mean(axis=0)).sum(axis=1)
    logs = np.append(np.log((least + _NEAREST) / dim), 0.0)  # the last one: of the broad Gaussian
    first, second = np.zeros(len(logs)), np.zeros(len(logs))
    order = np.random.default_rng([seed, 2]).permutation(len(train))
    batches = [order[part] for part in blocks(len(train), _BATCH)]
    if len(batches) == 1:
        batches = [np.arange(len(train))]
    step = 0
    for _ in range(_EPOCHS):
        for batch in batches:
            gradient = _gradient(distances, to_mean, batch, logs, dim)
            step += 1
            first = _BETA1 * first + (1 - _BETA1) * gradient
            second = _BETA2 * second + (1 - _BETA2) * gradient**2
            mean, square = first / (1 - _BETA1**step), second / (1 - _BETA2**step)
            logs -= _STEP * mean / (np.sqrt(square) + _ADAM_EPSILON)
            logs[:-1] = np.clip(logs[:-1], _LEAST_LOG, _MOST_LOG)
    return logs[:-1]


def _gradient(
    distances: Floats,
    to_mean: Floats,
    batch: npt.NDArray[np.int64],
    logs: Floats,
    dim: int,
) -> Floats:
    """Gradient of the mean negative log-likelihood per dimension with respect to each log σ²."""
    precision = np.exp(-logs)
    constant = dim / 2 * logs
    constant[:-1] += np.log(len(logs) - 1)
    used, spread = np.zeros(len(logs)), np.zeros(len(logs))
    for part in blocks(len(batch), _ROWS):
        rows = batch[part]
        squared = np.empty((len(rows), len(logs)))
        squared[:, :-1], squared[:, -1] = distances[rows], to_mean[rows]
        share = squared * (-0.5 * precision)
        share -= constant
        share -= share.max(axis=1, keepdims=True)
        np.exp(share, out=share)
        share /= share.sum(axis=1, keepdims=True)
        used += share.sum(axis=0)
        spread += np.einsum("ij,ij->j", share, squared)
    return (dim / 2 * used - 0.5 * precision * spread) / (len(batch) * dim)


def _squared(x: Floats, y: Floats) -> Floats:
    """Squared distances, ``(n, m)``; accurate to 1e-12 of the squared lengths for near copies."""
    squares = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
    return np.asarray(np.maximum(squares - 2.0 * (x @ y.T), 0.0))
