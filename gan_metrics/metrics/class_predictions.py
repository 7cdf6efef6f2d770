"""The Inception Score: whether images are sure of their class, and classes are many.

Salimans et al. (2016), *Improved Techniques for Training GANs*, arXiv 1606.03498. With p(y|x) the
softmax of an image's logits and p(y) its mean over the images::

    IS = exp( mean over x of KL(p(y|x) ‖ p(y)) ),   1 ≤ IS ≤ number of classes

By custom the images are dealt into 10 splits, and the score is the mean over these. It uses no real
images. The score of a split of k images cannot exceed k. It lies below its limit for many images,
by a share of about Σ var(p(y|x)) / p(y) / (2 k), summed over classes: up to (classes − 1)/(2 k), so
compare values at equal numbers of images only. The order matters: in splits of files that are
sorted by class, p(y) holds few classes and the score is far too low. Hence the shuffle.

With h(x) = Σ p(y|x) log p(y|x) the logarithm of a score is mean h(x) − Σ p(y) log p(y), so one pass
suffices, and a second one for the score s of a split of k images without each of them in turn. The
influence of an image is what it adds, (k − 1)(s − s without it), about its mean in the split; that
is the jackknife. For many images it goes over into the derivative with respect to the image's
weight, s (KL(p(y|x) ‖ p(y)) − the split's mean KL), which for few images per class is too small.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.metrics.arguments import generator, whole_number
from gan_metrics.metrics.arrays import as_matrix, blocks, host, is_tensor, like, namespace, wide
from gan_metrics.metrics.estimates import Estimate, influence_error

__all__ = ["inception_score", "inception_score_estimate"]

Array = npt.NDArray[np.float64]
Seed = int | np.random.Generator | np.random.RandomState

_ROWS = 2048
"""Images per step."""

_LEAST = 5
"""Images of a split from which an error bar can be told."""

_SUM = 1e-3
"""How near 1 the rows' sums are for the logits to be taken for probabilities."""


def inception_score(
    logits: Any, *, splits: int = 10, shuffle: bool = True, seed: Seed = 0
) -> float:
    """The Inception Score: the mean over splits of exp(mean KL(p(y|x) ‖ p(y))).

    The source is Salimans et al. (2016), arXiv 1606.03498. Softmax and sums are in float64.

    Args:
        logits: Shape ``(m, classes)``, before the softmax, one row per fake image. The published
            values belong to the 1008 logits of the original network, without the bias.
        splits: How many parts the images are dealt into.
        shuffle: Whether to shuffle the images first.
        seed: Of the shuffle, ≥ 0; or a NumPy generator, from which the order is drawn.
            torch-fidelity's order is that of ``numpy.random.RandomState(2020)``.

    Returns:
        The score, from 1 to the number of classes; more is better.

    Raises:
        InputError: When the shape does not fit, there is one class, or probabilities were given.
        ComputationError: When there are fewer than two images per split, or a value is not finite.
        UsageError: When ``splits`` < 1 or the seed is negative.

    >>> import numpy as np
    >>> round(inception_score(100 * np.eye(4)[np.arange(400) % 4], splits=1), 6)
    4.0
    """
    estimate = inception_score_estimate(
        logits, splits=splits, shuffle=shuffle, seed=seed, error_bar=False
    )
    return estimate.value


def inception_score_estimate(
    logits: Any,
    *,
    splits: int = 10,
    shuffle: bool = True,
    seed: Seed = 0,
    error_bar: bool = True,
) -> Estimate:
    """:func:`inception_score` with its error bar and the influence of each image.

    The standard error is that over redraws of all images. What papers print after ± is
    ``split_std``, which is about √splits times as large. Measured against 300 redraws (10 to 1000
    classes, 10 splits of 40 to 200 images): 0.98 to 1.21 times the true one, also with fewer images
    in a split than there are classes. With fewer than five in a split there is none.

    Args:
        logits: Shape ``(m, classes)``, before the softmax, one row per fake image.
        splits: How many parts the images are dealt into.
        shuffle: Whether to shuffle the images first.
        seed: Of the shuffle, ≥ 0; or a NumPy generator, from which the order is drawn.
        error_bar: Whether to take the second look at the logits that the error bar needs.

    Returns:
        The estimate; its influences are in the order of the rows given. Its details: ``splits``;
        ``split_std``, the standard deviation over the splits (divisor ``splits``); ``whole``, the
        score of all images as one split. Warning ``few-images-per-split``: a split has fewer
        images than there are classes; ``too-few-for-error-bar``: it has fewer than five.

    Raises:
        InputError: When the shape does not fit, there is one class, or probabilities were given.
        ComputationError: When there are fewer than two images per split, or a value is not finite.
        UsageError: When ``splits`` < 1 or the seed is negative.
    """
    rows = as_matrix(logits, "logits")
    m, classes = rows.shape
    splits = whole_number("splits", splits, least=1)
    _check(m, classes, splits)
    order = generator(seed).permutation(m) if shuffle else np.arange(m)
    parts = [order[i * m // splits : (i + 1) * m // splits] for i in range(splits)]
    entropy = np.empty(m)
    shares = np.empty((splits, classes))
    probabilities = True
    for share, part in zip(shares, parts, strict=True):
        share[:] = 0.0
        for piece in blocks(len(part), _ROWS):
            block = _take(rows, part[piece])
            probabilities = probabilities and _sums_to_one(block)
            p, entropy[part[piece]] = _softmax(block)
            share += host(namespace(p).sum(p, axis=0))
    if probabilities:
        raise InputError(
            "the logits look like probabilities: none is negative and each row sums to 1; give "
            "the values before the softmax (or subtract 1 from all if logits they are: that "
            "changes no score)"
        )
    sizes = np.array([len(part) for part in parts])
    together = _score(entropy, shares.sum(axis=0) / m)
    shares /= sizes[:, None]
    scores = np.array(
        [_score(entropy[part], share) for part, share in zip(parts, shares, strict=True)]
    )
    influence = None
    enough = sizes.min() >= _LEAST
    if error_bar and enough:
        influence = np.empty(m)
        for score, share, part in zip(scores, shares, parts, strict=True):
            without = _without_each(rows, part, share, entropy[part])
            added = (len(part) - 1) * (score - without)
            influence[part] = (added - added.mean()) * (m / (splits * len(part)))
    return Estimate(
        value=float(scores.mean()),
        standard_error=influence_error(influence),
        fake_influence=influence,
        details={"splits": splits, "split_std": float(scores.std()), "whole": together},
        warnings=_warnings(int(sizes.min()), classes, splits, missing=error_bar and not enough),
    )


def _check(m: int, classes: int, splits: int) -> None:
    """Refuse what has no score."""
    if classes < 2:
        raise InputError("logits must be of at least two classes, not of one")
    if m < 2 * splits:
        raise ComputationError(
            f"an Inception Score with splits={splits} needs at least {2 * splits} images, and "
            f"there {'is 1' if m == 1 else f'are {m}'}; "
            + (f"give more images or splits={m // 2} or fewer" if m > 1 else "give more images")
        )


def _take(rows: Any, which: npt.NDArray[np.int64]) -> Any:
    """Some rows, in float64; as NumPy's where they lie on the CPU, whose exp is faster."""
    block = wide(rows[like(which, rows)])
    return host(block) if is_tensor(block) and block.device.type == "cpu" else block


def _softmax(logits: Any) -> tuple[Any, Array]:
    """Probabilities, and Σ p log p of each row."""
    xp = namespace(logits)
    logits = logits - xp.max(logits, axis=1, keepdims=True)
    p = xp.exp(logits)
    total = xp.sum(p, axis=1, keepdims=True)
    p = p / total
    return p, host(xp.sum(p * logits, axis=1) - xp.log(total[:, 0]))


def _sums_to_one(block: Any) -> bool:
    """Whether the rows are what a softmax returns."""
    xp = namespace(block)
    sums = xp.sum(block, axis=1)
    return bool(xp.all(block >= 0.0)) and bool(xp.all(xp.abs(sums - 1.0) < _SUM))


def _without_each(rows: Any, part: npt.NDArray[np.int64], share: Array, entropy: Array) -> Array:
    """The scores of a split without each of its images in turn."""
    k = len(part)
    kept = (entropy.sum() - entropy) / (k - 1)
    crossed = np.empty(k)
    for piece in blocks(k, _ROWS):
        p, _ = _softmax(_take(rows, part[piece]))
        xp = namespace(p)
        rest = xp.clip((like(k * share, p) - p) / (k - 1), 0.0, None)
        crossed[piece] = host(xp.sum(rest * xp.log(rest + (rest == 0.0)), axis=1))
    return np.asarray(np.exp(np.maximum(kept - crossed, 0.0)))


def _log(share: Array) -> Array:
    """Logarithms, 0 for classes of no share at all."""
    return np.log(share, out=np.zeros_like(share), where=share > 0.0)


def _score(entropy: Array, share: Array) -> float:
    """The score of one set of images, from their Σ p log p and their p(y)."""
    return math.exp(max(float(entropy.mean() - share @ _log(share)), 0.0))


def _warnings(
    least: int, classes: int, splits: int, *, missing: bool
) -> tuple[tuple[str, str], ...]:
    """The warnings about small splits, if they are due."""
    found = []
    if missing:
        why = f"splits of {least} images show too little: there is no error bar; choose fewer"
        found.append(("too-few-for-error-bar", why))
    if least < classes:
        why = (
            f"a split has {least} images and there are {classes} classes: the score cannot exceed "
            f"{least} and is biased; give at least {splits * classes} images or fewer splits"
        )
        found.append(("few-images-per-split", why))
    return tuple(found)
