"""The Inception Score: confident class predictions of single images, and many classes in total.

Salimans et al. (2016), *Improved Techniques for Training GANs*, arXiv 1606.03498. With p(y|x) the
softmax of an image's logits and p(y) its mean over the images::

    IS = exp( mean over x of KL(p(y|x) ‖ p(y)) ),   1 ≤ IS ≤ number of classes

By convention the images are divided into 10 splits, and the score is the mean over these. It uses
no real images. The score of a split of k images cannot exceed k. It is below its limit for many
images, by a share of about Σ var(p(y|x)) / p(y) / (2 k), summed over classes: up to (classes −
1)/(2 k), so compare values at equal numbers of images only. The order matters: in splits of files
sorted by class, p(y) has few classes and the score is far too low. Therefore images are shuffled.
Without shuffling, the score is compared with those of 20 random shuffles of the same images with
splits of the same sizes. If the order is irrelevant, the score is like that of any shuffle.

With h(x) = Σ p(y|x) log p(y|x), the logarithm of a score is mean h(x) − Σ p(y) log p(y), so one
pass is enough, and a second one for the score s of a split of k images without each of them in
turn. The influence of an image is its contribution, (k − 1)(s − s without it), relative to the mean
of the split; this is the jackknife. For many images it becomes the derivative with respect to the
image's weight, s (KL(p(y|x) ‖ p(y)) − the split's mean KL), which is too small for few images per
class.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.metrics.arrays import as_matrix, blocks, host, is_tensor, like, namespace, wide
from gan_metrics.metrics.entries.class_predictions import INCEPTION_SCORE
from gan_metrics.metrics.estimate import Estimate, influence_error
from gan_metrics.metrics.validation import generator
from gan_metrics.utils.array_types import AnyArray, ArrayLike, Floats, Indices

__all__ = ["inception_score", "inception_score_estimate"]

Seed = int | np.random.Generator | np.random.RandomState

_ROWS = 2048
"""Images per step."""

_LEAST = 5
"""Least number of images in a split for an error bar."""

_DEALS = 20
"""Random shuffles with which an unshuffled score is compared."""

_BEYOND_CHANCE, _MATTERS = 4.0, 1e-3
"""How far below their mean an order must be: relative to the lowest shuffle, and as a share."""

_SHARES = 1 << 25
"""Sums over splits and classes that are kept at a time: 256 MiB."""

_SUM = 1e-3
"""How close to 1 the sums of rows are if probabilities were given instead of logits."""


def inception_score(
    logits: ArrayLike,
    *,
    splits: int = 10,
    split_size: int | None = None,
    deal: str = "even",
    shuffle: bool = True,
    draws: str = "numpy",
    seed: Seed = 0,
) -> float:
    """Compute the Inception Score: the mean over splits of exp(mean KL(p(y|x) ‖ p(y))).

    The source is Salimans et al. (2016), arXiv 1606.03498. Softmax and sums are in float64.

    Args:
        logits: Shape ``(m, classes)``, before the softmax, one row per generated image. Published
            values use the 1008 logits of the original network, without the bias.
        splits: Number of splits.
        split_size: Instead of ``splits``: images per split; the last split has the remainder, even
            if it is one image, whose score is 1. ADM's evaluator uses 5000, unshuffled.
        deal: How m images are divided into s splits. ``"even"``: rows i·m // s … (i + 1)·m // s;
            ``"chunk"``: ⌈m / s⌉ rows each, as ``torch.chunk``, which can make fewer splits.
        shuffle: Whether to shuffle the images first.
        draws: Random generator: ``"numpy"``, ``"numpy-legacy"`` or ``"torch"``; see
            :func:`gan_metrics.metrics.validation.generator`.
        seed: Seed of the shuffle, ≥ 0; or a NumPy generator. torch-fidelity uses seed 2020 and
            ``"numpy-legacy"``.

    Returns:
        The score, from 1 to the number of classes; higher is better.

    Raises:
        InputError: If the shape is wrong, there is one class, or probabilities were given.
        ComputationError: If there are fewer than two images per split, or a value is not finite.
        UsageError: If another argument is out of range.

    >>> import numpy as np
    >>> round(inception_score(100 * np.eye(4)[np.arange(400) % 4], splits=1), 6)
    4.0
    """
    estimate = inception_score_estimate(
        logits,
        splits=splits,
        split_size=split_size,
        deal=deal,
        shuffle=shuffle,
        draws=draws,
        seed=seed,
        error_bar=False,
    )
    return estimate.value


def inception_score_estimate(
    logits: ArrayLike,
    *,
    splits: int = 10,
    split_size: int | None = None,
    deal: str = "even",
    ddof: int = 0,
    shuffle: bool = True,
    draws: str = "numpy",
    seed: Seed = 0,
    error_bar: bool = True,
) -> Estimate:
    """Compute :func:`inception_score` with its error bar and the influence of each image.

    The standard error is for redrawing all images. Papers print ``split_std`` after ±, which is
    about √splits times as large. Compared with 300 redraws (10 to 1000 classes, 10 splits of 40 to
    200 images) it is 0.98 to 1.21 times the true one, also with fewer images per split than
    classes. With fewer than five images per split the error bar is not computed.

    Args:
        logits: Shape ``(m, classes)``, before the softmax, one row per generated image.
        splits: See :func:`inception_score`.
        split_size: See :func:`inception_score`.
        deal: See :func:`inception_score`.
        ddof: Subtracted from the number of splits in the divisor of ``split_std``: 0 or 1.
        shuffle: See :func:`inception_score`.
        draws: See :func:`inception_score`.
        seed: See :func:`inception_score`; without shuffling, of the shuffles for comparison.
        error_bar: Whether to compute the standard error.

    Returns:
        The estimate; its influences are in the order of the rows. Details: ``splits``, the number
        of splits; ``split_std``, the standard deviation over the splits (missing for one split and
        ``ddof=1``); ``whole``, the score of all images as one split; ``shuffled``, the score after
        shuffling with this seed, unless they are shuffled or in one split. Warnings:
        ``few-images-per-split``: a split has fewer images than there are classes;
        ``too-few-for-error-bar``: it has fewer than five; ``unshuffled``: the score is below the
        mean of 20 shuffles by 0.1 % and 4 times the distance of the lowest of them.

    Raises:
        InputError: If the shape is wrong, there is one class, or probabilities were given.
        ComputationError: If there are fewer than two images per split, or a value is not finite.
        UsageError: If another argument is out of range.
    """
    rows = as_matrix(logits, "logits")
    m, classes = rows.shape
    checks = INCEPTION_SCORE.arguments
    splits = checks["splits"]("splits", splits)
    size = checks["split_size"]("split_size", split_size)
    deal, ddof = checks["deal"]("deal", deal), checks["ddof"]("ddof", ddof)
    _check(m, classes, None if size else splits)
    rng = generator(seed, draws)
    parts = _parts(m, splits, size, deal)
    splits = len(parts)
    if shuffle:
        order = rng.permutation(m)
        parts = [order[part] for part in parts]
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
            "the logits look like probabilities: none is negative and each row sums to 1. Give the "
            "values before the softmax (or, if they are logits, subtract 1 from all, which changes "
            "no score)"
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
    value = float(scores.mean())
    std = {"split_std": float(scores.std(ddof=ddof))} if splits > ddof else {}
    details = {"splits": splits, **std, "whole": together}
    missing = error_bar and not enough
    warnings = _warnings(sizes, classes, sized=size is not None, missing=missing)
    if not shuffle and splits > 1:
        others = _shuffled(rows, entropy, sizes, rng)
        details["shuffled"] = float(others[0])
        warnings += _order_warning(value, others)
    return Estimate(
        value=value,
        standard_error=influence_error(influence),
        fake_influence=influence,
        details=details,
        warnings=warnings,
    )


def _parts(m: int, splits: int, size: int | None, deal: str) -> list[Indices]:
    """Return the rows of each split, in the given order."""
    if size is None and deal == "even":
        edges = [i * m // splits for i in range(splits + 1)]
        return [np.arange(start, stop) for start, stop in itertools.pairwise(edges)]
    return [np.arange(m)[part] for part in blocks(m, size or -(-m // splits))]


def _check(m: int, classes: int, splits: int | None) -> None:
    """Refuse sets without a score; ``splits`` is ``None`` if the size of a split was given."""
    if classes < 2:
        raise InputError("logits must have at least two classes, not one")
    least = 2 if splits is None else 2 * splits
    if m < least:
        with_splits = "" if splits is None else f" with splits={splits}"
        raise ComputationError(
            f"an Inception Score{with_splits} needs at least {least} images, but there "
            f"{'is 1' if m == 1 else f'are {m}'}; "
            + (f"give more images or splits={m // 2} or fewer" if m > 1 else "give more images")
        )


def _take(rows: AnyArray, which: Indices) -> AnyArray:
    """Return some rows in float64; as NumPy arrays if they are on the CPU, whose exp is faster."""
    block = wide(rows[like(which, rows)])
    return host(block) if is_tensor(block) and block.device.type == "cpu" else block


def _softmax(logits: AnyArray) -> tuple[Any, Floats]:
    """Return probabilities, and Σ p log p of each row."""
    xp = namespace(logits)
    logits = logits - xp.max(logits, axis=1, keepdims=True)
    p = xp.exp(logits)
    total = xp.sum(p, axis=1, keepdims=True)
    p = p / total
    return p, host(xp.sum(p * logits, axis=1) - xp.log(total[:, 0]))


def _sums_to_one(block: AnyArray) -> bool:
    """Whether rows have the sums of a softmax."""
    xp = namespace(block)
    sums = xp.sum(block, axis=1)
    return bool(xp.all(block >= 0.0)) and bool(xp.all(xp.abs(sums - 1.0) < _SUM))


def _without_each(rows: AnyArray, part: Indices, share: Floats, entropy: Floats) -> Floats:
    """Return the scores of a split without each of its images in turn."""
    k = len(part)
    kept = (entropy.sum() - entropy) / (k - 1)
    crossed = np.empty(k)
    for piece in blocks(k, _ROWS):
        p, _ = _softmax(_take(rows, part[piece]))
        xp = namespace(p)
        rest = xp.clip((like(k * share, p) - p) / (k - 1), 0.0, None)
        crossed[piece] = host(xp.sum(rest * xp.log(rest + (rest == 0.0)), axis=1))
    return np.asarray(np.exp(np.maximum(kept - crossed, 0.0)))


def _shuffled(rows: AnyArray, entropy: Floats, sizes: Indices, rng: np.random.Generator) -> Floats:
    """Return the scores of random shuffles of the images with splits of these sizes."""
    from scipy.sparse import csr_array

    m, splits = len(entropy), len(sizes)
    part = np.empty((_DEALS, m), np.int64)
    for dealt in part:
        dealt[rng.permutation(m)] = np.repeat(np.arange(splits), sizes)
    scores = []
    for deals in blocks(_DEALS, max(1, _SHARES // (splits * rows.shape[1]))):
        some = part[deals]
        place = some + splits * np.arange(len(some))[:, None]
        shares = np.zeros((len(some) * splits, rows.shape[1]))
        for piece in blocks(m, _ROWS):
            p, _ = _softmax(_take(rows, np.arange(m)[piece]))
            row, column = place[:, piece], np.broadcast_to(np.arange(len(p)), place[:, piece].shape)
            ones = np.ones(row.size), (row.ravel(), column.ravel())
            shares += csr_array(ones, shape=(len(shares), len(p))) @ host(p)
        for dealt, share in zip(some, shares.reshape(len(some), splits, -1), strict=True):
            share /= sizes[:, None]
            kept = np.bincount(dealt, entropy) / sizes
            scores.append(np.exp(np.maximum(kept - (share * _log(share)).sum(axis=1), 0.0)).mean())
    return np.array(scores)


def _log(share: Floats) -> Floats:
    """Return logarithms, 0 for classes with share 0."""
    return np.log(share, out=np.zeros_like(share), where=share > 0.0)


def _score(entropy: Floats, share: Floats) -> float:
    """Return the score of a set of images from their Σ p log p and p(y)."""
    return math.exp(max(float(entropy.mean() - share @ _log(share)), 0.0))


def _warnings(
    sizes: Indices, classes: int, *, sized: bool, missing: bool
) -> tuple[tuple[str, str], ...]:
    """Return the warnings about small splits."""
    found = []
    least, m = int(sizes.min()), int(sizes.sum())
    divisor = f"a split_size of at least {classes} that divides {m}"
    if missing:
        other = divisor if sized else "fewer"
        why = f"splits of {least} images are too small for an error bar; choose {other}"
        found.append(("too-few-for-error-bar", why))
    if least < classes:
        more = f"give at least {len(sizes) * classes} images or fewer splits"
        why = (
            f"a split has {least} images but there are {classes} classes: the score cannot exceed "
            f"{least} and is biased; {f'choose {divisor}' if sized else more}"
        )
        found.append(("few-images-per-split", why))
    return tuple(found)


def _order_warning(value: float, others: Floats) -> tuple[tuple[str, str], ...]:
    """Return the warning about an order that lowers the score, if it does."""
    mean = float(others.mean())
    if mean - value <= max(_BEYOND_CHANCE * (mean - float(others.min())), _MATTERS * mean):
        return ()
    why = (
        f"the samples seem to be sorted by class: their score is {value:.4g} in the given order "
        f"but {mean:.4g} after shuffling; shuffle them, or compare only scores of samples in "
        "the same order"
    )
    return (("unshuffled", why),)
