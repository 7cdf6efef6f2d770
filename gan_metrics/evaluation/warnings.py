"""Warnings about the images, the metric and the protocol of a result."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ComputationError
from gan_metrics.evaluation.plan import Plan
from gan_metrics.features.features import Features
from gan_metrics.images.labels import folder_classes
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import EmbeddedSet
from gan_metrics.metrics.registry import Metric
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import CLIP
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.result_warning import ResultWarning

__all__ = [
    "feature_warnings",
    "held_out_warnings",
    "metric_warnings",
    "pair_warnings",
    "protocol_warnings",
    "set_and_feature_warnings",
    "set_warnings",
    "unused_statistics_warning",
]

_USUAL = 10_000
"""Least number of images behind published values; usually 50,000."""

_LOSSY = ("JPEG", "MPO")
_SIZE_GAP = 1.1
"""Ratio of typical sizes above which two sets have different resolutions."""

_LEVEL = 1e-3
"""Significance level of the test for different class frequencies."""

_ROWS = 4096


def set_warnings(given: EmbeddedSet) -> list[ResultWarning]:
    """Return warnings about one set of images that do not depend on the feature space.

    ``duplicates``: the set contains images more than once. ``small-sample``: fewer images than
    behind published numbers.
    """
    found: list[ResultWarning] = []
    if given.count is not None and given.count < _USUAL:
        found.append(
            (
                "small-sample",
                f"{given.description}: only {given.count} images, and most metrics depend on the "
                f"number; compare equal numbers only (published values use {_USUAL:,} to 50,000)",
            )
        )
    copies = sum(count - 1 for count in Counter(_identities(given)).values())
    if copies:
        found.append(
            (
                "duplicates",
                f"{given.description}: {copies} images are exact copies of others in this set",
            )
        )
    return found


def feature_warnings(given: EmbeddedSet) -> list[ResultWarning]:
    """Return warnings about one set in its feature space.

    ``constant-features``: some features are equal for all images; ``no-variance``: all features
    are.
    """
    found: list[ResultWarning] = []
    constant, dim = _constant(given)
    if dim and constant == dim:
        found.append(("no-variance", f"{given.description}: all images have the same features"))
    elif constant:
        found.append(
            (
                "constant-features",
                f"{given.description}: {constant} of {dim} features are equal for all images",
            )
        )
    return found


def set_and_feature_warnings(given: EmbeddedSet) -> list[ResultWarning]:
    """Return all warnings about one set in its feature space."""
    return [*set_warnings(given), *feature_warnings(given)]


def unused_statistics_warning(given: Features) -> ResultWarning:
    """Return the warning that statistics stored with the images have another feature space.

    ``stored-moments-unused``: the images were embedded instead.
    """
    message = (
        f"{given.description} holds moments of another feature space than requested; its "
        f"{given.count} images, which are another set, were embedded instead"
    )
    return "stored-moments-unused", message


def pair_warnings(real: EmbeddedSet, fake: EmbeddedSet) -> list[ResultWarning]:
    """Return warnings about a pair of sets.

    ``shared-images``: images in both sets. ``mixed-formats``: JPEG files in one set only.
    ``source-sizes``: files of different resolution. ``class-balance``: class folders of the same
    names with different frequencies.
    """
    found: list[ResultWarning] = []
    first, second = _identities(real), _identities(fake)
    known = set(first)
    same = sum(identity in known for identity in second)
    if same:
        found.append(
            ("shared-images", f"{same} generated images ({fake.description}) are also real images")
        )
    return [*found, *_of_files(real, fake), *_of_classes(real, fake)]


def held_out_warnings(
    held_out: EmbeddedSet, real: EmbeddedSet | None, fake: EmbeddedSet
) -> list[ResultWarning]:
    """Return warnings about held-out images that are also in another set.

    ``held-out-overlap``: some are training images or generated images.

    Raises:
        ComputationError: If all images of one set are in the other, as if one set was given twice.
    """
    found: list[ResultWarning] = []
    own = set(_identities(held_out))
    for role, other in (("training", real), ("generated", fake)):
        theirs = set() if other is None else set(_identities(other))
        shared = len(own & theirs)
        if other is None or not shared:
            continue
        if own == theirs:
            raise ComputationError(
                f"the held-out images ({held_out.description}) are the {role} images "
                f"({other.description}); give images that are neither training nor generated images"
            )
        found.append(
            (
                "held-out-overlap",
                f"{shared} of the {len(own)} held-out images ({held_out.description}) are also "
                f"{role} images ({other.description}): copies look like new images; remove them",
            )
        )
    return found


def protocol_warnings(row: Metric, plan: Plan, options: Options) -> list[ResultWarning]:
    """Return warnings about differences from the number of the protocol's tool."""
    rules = plan.rules
    if rules is None:
        return []
    if row.name in plan.as_in_protocol:
        departure = rules.metrics[row.name].departure
        message = f"{row.name} by protocol {rules.name}: {departure}"
        return [("protocol-departs", message)] if departure else []
    if row.name in rules.metrics:
        backbone = rules.metrics[row.name].template.backbone
        message = f"protocol {rules.name} computes {row.name} in {backbone}, not in this network"
        return [("not-in-protocol", message)]
    if options.protocol is None or rules.name == "imagenet":
        return []
    message = (
        f"protocol {rules.name} does not define {row.name}: computed with the protocol's "
        "preprocessing and the metric's default definition"
    )
    return [("not-in-protocol", message)]


def metric_warnings(
    row: Metric, sets: Sequence[EmbeddedSet], spec: FeatureSpec, error_bars: bool
) -> list[ResultWarning]:
    """Return warnings about one metric's result."""
    found: list[ResultWarning] = []
    for given in sets if row.covariances else ():
        n, dim = given.count, given.dim
        if n is not None and n <= dim:
            found.append(
                (
                    "few-images",
                    f"{given.description}: only {n} images for {dim} feature dimensions, so the "
                    "covariance is singular and the distance strongly biased upwards; use more "
                    "images, a layer with fewer dimensions, or KID",
                )
            )
    fixed = [given.description for given in sets if isinstance(given, Statistics)]
    if error_bars and len(fixed) == len(sets):
        found.append(
            (
                "no-error-bar",
                "both sets are given as mean and covariance only, so the error bar is unknown",
            )
        )
    elif error_bars and fixed:
        found.append(
            (
                "reference-fixed",
                f"{fixed[0]} is given as mean and covariance: the error bar treats it as fixed",
            )
        )
    if row.needs == "clip" and spec.backbone != CLIP:
        found.append(
            (
                "not-clip",
                f"{row.name} in features of {spec.backbone or 'an unknown network'}: published "
                f"values use {CLIP} and cannot be compared",
            )
        )
    if row.needs == "logits" and (spec.backbone, spec.layer) != ("inception", "logits_unbiased"):
        found.append(
            (
                "other-logits",
                f"{row.name} with the classes of {spec.backbone or 'an unknown network'}: "
                "published values use the 2015 Inception's 1008 logits without bias",
            )
        )
    return found


def _of_files(real: EmbeddedSet, fake: EmbeddedSet) -> list[ResultWarning]:
    if isinstance(real, Statistics) or isinstance(fake, Statistics):
        return []
    summaries = [real.tally, fake.tally]
    if not all(summary.formats for summary in summaries):
        return []
    found: list[ResultWarning] = []
    lossy = [
        sum(summary.formats[name] for name in _LOSSY) / sum(summary.formats.values())
        for summary in summaries
    ]
    if (lossy[0] >= 0.5) != (lossy[1] >= 0.5):
        found.append(
            (
                "mixed-formats",
                f"{lossy[0]:.0%} of the real and {lossy[1]:.0%} of the generated files are JPEG, "
                "whose artifacts alone change the score; save both sets in one format",
            )
        )
    sizes = [_typical(summary.sizes) for summary in summaries]
    if max(sizes) > _SIZE_GAP * min(sizes):
        found.append(
            (
                "source-sizes",
                f"real files typically have {sizes[0]:.0f} pixels per side and generated ones "
                f"{sizes[1]:.0f}, so resizing blurs one set more; use images of the same size",
            )
        )
    return found


def _of_classes(real: EmbeddedSet, fake: EmbeddedSet) -> list[ResultWarning]:
    """Return a warning if class folders of the same names have different frequencies.

    Uses the chi-squared test of homogeneity at a level of 0.001.
    """
    from scipy.special import chdtrc

    if isinstance(real, Statistics) or isinstance(fake, Statistics):
        return []
    found = [folder_classes(one.names) for one in (real, fake)]
    if None in found:
        return []
    first, second = (Counter(classes) for classes in found if classes is not None)
    if len(first) < 2 or not set(first) & set(second):
        return []
    every = sorted({*first, *second})
    counts = np.array([[side[name] for name in every] for side in (first, second)])
    totals = counts.sum(axis=1, keepdims=True)
    expected = totals * counts.sum(axis=0) / totals.sum()
    if chdtrc(len(every) - 1, ((counts - expected) ** 2 / expected).sum()) >= _LEVEL:
        return []
    shares = counts / totals
    gaps = np.abs(shares[0] - shares[1])
    worst = int(np.argmax(gaps))
    absent = [name for name in every if not second[name]]
    lacking = f"{len(absent)} classes are missing, first {absent[0]!r}; " if absent else ""
    return [
        (
            "class-balance",
            f"class frequencies of the two sets differ, which alone changes the score: "
            f"{lacking}{every[worst]!r} is {shares[0, worst]:.1%} of the real and "
            f"{shares[1, worst]:.1%} of the generated images, and {gaps.sum() / 2:.1%} of all "
            "images would have to change class",
        )
    ]


def _typical(sizes: Counter[tuple[int, int]]) -> float:
    """Return the median of √(width · height) in pixels."""
    lengths = np.sqrt([width * height for width, height in sizes])
    order = np.argsort(lengths)
    counts = np.cumsum(np.array(list(sizes.values()))[order])
    return float(lengths[order][np.searchsorted(counts, counts[-1] / 2)])


def _identities(given: EmbeddedSet) -> Sequence[bytes]:
    """Return an identity of each image: the hash of its file, else the hash of its features."""
    if isinstance(given, Statistics):
        return ()
    return given.image_digests or _hashes(given)


def _hashes(features: Features) -> list[bytes]:
    return [hashlib.sha256(row.tobytes()).digest() for row in np.asarray(features.array)]


def _constant(given: EmbeddedSet) -> tuple[int, int]:
    """Return how many features are equal for all images, and how many there are."""
    if isinstance(given, Statistics):
        variances = np.diag(given.moments.cov)
        return int((variances <= 0).sum()), len(variances)
    array: npt.NDArray[Any] = given.array
    if len(array) < 2:
        return 0, 0
    same = np.ones(array.shape[1:], bool)
    for start in range(0, len(array), _ROWS):
        same &= (array[start : start + _ROWS] == array[0]).all(axis=0)
    return int(same.sum()), same.size
