"""MIFID and the three-sample test of copying.

MIFID divides the Fréchet distance by the distance of the generated images to the training images::

    MIFID = FID / (M + 1e-14),   M = mean over generated y of min over real x of 1 − |cos(x, y)|
                                 M = 1 unless M < τ;   MIFID = 0 where FID ≤ 1e-8

Bai et al. (2021), arXiv 2106.03062; the Kaggle competition *Generative Dog Images* (2019).

C_T asks whether generated images lie nearer to the training images than held-out images do. In each
of some cells of the feature space, with L(·) the distance to the nearest training image of the
cell, U counts the pairs of a generated image and a held-out image with L(fake) > L(held out), and z
is U in units of its standard deviation if both had one distribution::

    z = (U − (n m / 2 − 1/2)) / √(n m (n + m + 1) / 12)

with n held-out and m generated images in the cell. C_T is the mean of z over the cells, weighted by
the share of held-out images in each; cells with 20 or fewer generated images are left
out. Meehan, Chaudhuri & Dasgupta (2020), arXiv 2004.05675.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.metrics.arrays import as_matrix, as_pair, blocks, host
from gan_metrics.metrics.estimate import Estimate, influence_error
from gan_metrics.metrics.frechet import frechet_terms
from gan_metrics.metrics.moments import Moments
from gan_metrics.metrics.neighbors.distances import points_of
from gan_metrics.metrics.neighbors.knn import nearest_in
from gan_metrics.metrics.validation import positive, whole_number
from gan_metrics.utils.array_types import AnyArray, ArrayLike, Floats

__all__ = ["as_three", "ct", "ct_estimate", "mifid", "mifid_estimate", "nearest_cosines"]


_EPSILON = 1e-14
_NO_DISTANCE = 1e-8
_ROWS = 2048
_ENOUGH = 20
"""A cell is used if it has more generated images than this."""


def mifid(X: ArrayLike, Y: ArrayLike, *, tau: float = 0.1) -> float:
    """The Fréchet distance divided by the memorization distance.

    Bai et al. (2021), arXiv 2106.03062. Images whose features are all zero have no direction and
    take no part in the memorization distance.

    Args:
        X: Real (training) features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        tau: If the memorization distance is not below this, 1 is used instead.

    Returns:
        ≥ 0; equal to the distance for a generator that does not copy, larger for one that does.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, or a set has fewer than two images.
        UsageError: When tau is not > 0.

    >>> import numpy as np
    >>> real = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> mifid(real, np.array([[2.0, 0.0], [0.0, 3.0]])) > 1e10  # directions of real images
    True
    """
    return mifid_estimate(X, Y, tau=tau, error_bar=False).value


def mifid_estimate(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    seed: int = 0,
    error_bar: bool = True,
    moments: tuple[Moments | None, Moments | None] = (None, None),
    tau: float = 0.1,
) -> Estimate:
    """:func:`mifid` as an estimate.

    Its error bar uses the influences of the images on the Fréchet distance, and of the
    generated images on the memorization distance; where the real images' part in that is not small,
    it is too narrow.

    Args:
        X: Real (training) features, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        seed: Not used: the metric is not random.
        error_bar: Whether to compute the standard error and the influences.
        moments: Of both, if they are known.
        tau: See :func:`mifid`.

    Returns:
        The value; details are ``fd``, the distance, and ``memorization_distance``, before it is
        compared with tau.

    Raises:
        GanMetricsError: As for :func:`mifid`.
    """
    del seed
    tau = positive("tau", tau)
    X, Y = as_pair(X, Y)
    x, y = host(X), host(Y)
    terms = frechet_terms(x, y, moments_a=moments[0], moments_b=moments[1], error_bar=error_bar)
    least = nearest_cosines(x, y)
    away = float(least.mean()) if len(least) else math.inf
    copied = away < tau
    divisor = (away if copied else 1.0) + _EPSILON
    details = {"fd": terms.distance, "memorization_distance": min(away, 1.0)}
    if terms.distance <= _NO_DISTANCE:
        return Estimate(0.0, details=details)
    value = terms.distance / divisor
    real, fake = terms.influence_a, terms.influence_b
    if real is None or fake is None:
        return Estimate(value, details=details)
    real, fake = real / divisor, fake / divisor
    if copied:
        directed = np.linalg.norm(y.astype(np.float64), axis=1) > 0
        fake[directed] -= value / divisor * (least - away) * (len(fake) / directed.sum())
    return Estimate(value, influence_error(real, fake), real, fake, details=details)


def nearest_cosines(X: ArrayLike, Y: ArrayLike) -> Floats:
    """Smallest 1 − |cos| to the real images, for each generated image.

    Images whose features are all zero are left out.

    Args:
        X: Real features, shape ``(n, D)``, of NumPy.
        Y: Generated features, shape ``(m, D)``, of NumPy.

    Returns:
        Shape ``(m',)``, in [0, 1]; m' ≤ m generated images have a direction. Empty when no real
        image has one.
    """
    reals, fakes = _directions(X), _directions(Y)
    if not len(reals) or not len(fakes):
        return np.empty(0)
    out = np.empty(len(fakes))
    for columns in blocks(len(fakes), _ROWS):
        some = fakes[columns].astype(np.float64)
        best, whom = np.full(len(some), -1.0), np.zeros(len(some), np.int64)
        for rows in blocks(len(reals), _ROWS):
            cosines = np.abs(some @ reals[rows].astype(np.float64).T)
            place = cosines.argmax(axis=1)
            here = cosines[np.arange(len(some)), place]
            better = here > best
            best[better], whom[better] = here[better], place[better] + rows.start
        near = reals[whom].astype(np.float64)
        signs = np.sign(np.einsum("nd,nd->n", some, near))[:, None]
        # |x − y|² / 2 is 1 − cos, and is precise if the directions are nearly equal.
        out[columns] = 0.5 * np.square(some - signs * near).sum(axis=1)
    return np.clip(out, 0.0, 1.0)


def _directions(values: AnyArray) -> Floats:
    """Return the rows scaled to length one; rows of zeros are left out."""
    wide = np.asarray(values, np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    there = lengths > 0
    return np.asarray(wide[there] / lengths[there, None])


def ct(
    X: ArrayLike,
    Y: ArrayLike,
    held_out: ArrayLike,
    *,
    components: int = 64,
    cells: int = 3,
    seed: int = 0,
) -> float:
    """C_T, the three-sample test of copying; far below 0, the generator copies.

    Meehan, Chaudhuri & Dasgupta (2020), arXiv 2004.05675.

    Args:
        X: Features of the training images, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        held_out: Features of real images that were not trained on, shape ``(l, D)``.
        components: Number of principal components of the training images that features are reduced
            to, if they have more dimensions.
        cells: Number of cells of the k-means partition of the training images.
        seed: Seed of the partition.

    Returns:
        A z-score: about 0 where generated images are as near to the training images as held-out
        ones are, ≪ 0 for a generator that copies, ≫ 0 for one whose images lie elsewhere.

    Raises:
        InputError: When the shapes are wrong.
        ComputationError: When a value is not finite, a cell has no training or no held-out image,
            or no cell has more than 20 generated images.
        UsageError: When an argument is out of its range.
    """
    options = {"components": components, "cells": cells, "seed": seed}
    return ct_estimate(X, Y, held_out, error_bar=False, **options).value


def ct_estimate(
    X: ArrayLike,
    Y: ArrayLike,
    held_out: ArrayLike,
    *,
    seed: int = 0,
    error_bar: bool = True,
    components: int = 64,
    cells: int = 3,
) -> Estimate:
    """:func:`ct` as an estimate.

    Its error bar is for redraws of generated images and held-out images with the training images
    fixed, by the variance of U from the places of each image among those of the other set (DeLong
    et al. 1988).

    Args:
        X: Features of the training images, shape ``(n, D)``.
        Y: Generated features, shape ``(m, D)``.
        held_out: Features of held-out images, shape ``(l, D)``.
        seed: Seed of the partition.
        error_bar: Whether to compute the standard error and the influences.
        components: See :func:`ct`.
        cells: See :func:`ct`.

    Returns:
        The value; details are ``cells``, their z-scores (null where a cell has too few generated
        images), and ``share_held_out``, the share of held-out images in each.

    Raises:
        GanMetricsError: As for :func:`ct`.
    """
    components = whole_number("components", components, least=1)
    cells = whole_number("cells", cells, least=1)
    train, fake, test = as_three(X, Y, held_out)
    if len(train) < cells:
        raise ComputationError(
            f"{cells} cells need as many training images, and there are {len(train)}"
        )
    if train.shape[1] > components:
        train, fake, test = _reduced(train, fake, test, components)
    of_train, of_fake, of_test = _partition(train, fake, test, cells, seed)
    scores: list[float | None] = []
    weights = []
    mine, theirs = np.zeros(len(fake)), np.zeros(len(test))
    for cell in range(cells):
        here = [of == cell for of in (of_train, of_fake, of_test)]
        if not here[0].any() or not here[2].any():
            lacking = "training" if not here[0].any() else "held-out"
            raise ComputationError(
                f"cell {cell} of {cells} has no {lacking} image, so copying cannot be tested "
                "there; give more images or fewer cells"
            )
        weights.append(float(here[2].mean()))
        scores.append(None)
        if here[1].sum() > _ENOUGH:
            parts = train[here[0]], fake[here[1]], test[here[2]]
            scores[-1], of_fakes, of_tests = _z_score(*parts)
            mine[here[1]], theirs[here[2]] = weights[-1] * of_fakes, weights[-1] * of_tests
    weight = sum(w for w, score in zip(weights, scores, strict=True) if score is not None)
    if not weight:
        raise ComputationError(
            f"no cell has more than {_ENOUGH} of the {len(fake)} generated images, so copying "
            "cannot be tested; give more generated images or fewer cells"
        )
    summed = sum(w * z for w, z in zip(weights, scores, strict=True) if z is not None)
    details = {"cells": scores, "share_held_out": weights}
    if not error_bar:
        return Estimate(summed / weight, details=details)
    mine, theirs = mine * len(mine) / weight, theirs * len(theirs) / weight
    error = influence_error(mine, theirs)
    return Estimate(summed / weight, error, theirs, mine, details=details)


def as_three(
    X: ArrayLike, Y: ArrayLike, held_out: ArrayLike
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Return the training, generated and held-out features as NumPy arrays; check their shapes.

    Raises:
        InputError: When the shapes are wrong or do not match.
        ComputationError: When a value is not finite.
    """
    real, fake = as_pair(X, Y)
    test = as_matrix(held_out, "the held-out features")
    if test.shape[1] != real.shape[1]:
        raise InputError(
            f"the real features have {real.shape[1]} dimensions and the held-out ones "
            f"{test.shape[1]}"
        )
    return host(real), host(fake), host(test)


def _reduced(
    train: AnyArray, fake: AnyArray, test: AnyArray, components: int
) -> tuple[AnyArray, AnyArray, AnyArray]:
    from sklearn.decomposition import PCA

    if len(train) < components:
        raise ComputationError(
            f"{components} principal components need as many training images, and there are "
            f"{len(train)}; set a smaller number of components"
        )
    pca = PCA(components, svd_solver="full").fit(np.asarray(train, np.float64))
    return tuple(pca.transform(np.asarray(one, np.float64)) for one in (train, fake, test))


def _partition(train: AnyArray, fake: AnyArray, test: AnyArray, cells: int, seed: int) -> list[Any]:
    """Return the cell of each image."""
    from sklearn.cluster import KMeans

    means = KMeans(cells, n_init=10, random_state=seed).fit(np.asarray(train, np.float64))
    return [means.predict(np.asarray(one, np.float64)) for one in (train, fake, test)]


def _z_score(train: AnyArray, fake: AnyArray, test: AnyArray) -> tuple[float, Floats, Floats]:
    """The z-score of a cell, and the contribution of each generated and each held-out image."""
    from scipy.stats import rankdata

    x, y, t = points_of(train, fake, test)
    mine, theirs = nearest_in(y, x).squared[:, 0], nearest_in(t, x).squared[:, 0]
    m, n = len(mine), len(theirs)
    ranks = rankdata(np.concatenate([mine, theirs]))
    above = ranks[:m] - rankdata(mine)  # held-out images that are nearer than each generated image
    below = m - (ranks[m:] - rankdata(theirs))  # generated images farther than each held-out one
    spread = math.sqrt(n * m * (n + m + 1) / 12)
    score = (float(above.sum()) - (n * m / 2 - 0.5)) / spread
    return score, (above - above.mean()) / spread, (below - below.mean()) / spread
