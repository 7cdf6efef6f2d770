"""What a reader of a number should know about the images, the metric and the protocol behind it."""

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
"""Images behind a published number, at least; 50,000 more often."""

_LOSSY = ("JPEG", "MPO")
_SIZE_GAP = 1.1
"""Ratio of typical sizes from which two sets count as of different resolution."""

_LEVEL = 1e-3
"""Below which probability chance is not taken for the cause."""

_ROWS = 4096


def set_warnings(given: EmbeddedSet) -> list[ResultWarning]:
    """Warnings about one set of images, in whatever space.

    ``duplicates``: images that stand in it more than once. ``small-sample``: fewer images than
    published numbers are made with.
    """
    found: list[ResultWarning] = []
    if given.count is not None and given.count < _USUAL:
        found.append(
            (
                "small-sample",
                f"{given.description}: {given.count} images; published numbers use at least "
                f"{_USUAL:,}, mostly 50,000, and most metrics depend on the number: compare only "
                "with equal numbers",
            )
        )
    copies = sum(count - 1 for count in Counter(_identities(given)).values())
    if copies:
        found.append(
            (
                "duplicates",
                f"{given.description}: {copies} images are exact copies of others in the set",
            )
        )
    return found


def feature_warnings(given: EmbeddedSet) -> list[ResultWarning]:
    """Warnings about one set in its space.

    ``constant-features``: features that are the same for all images; ``no-variance``: all of them
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
                f"{given.description}: {constant} of {dim} features are the same for all images",
            )
        )
    return found


def set_and_feature_warnings(given: EmbeddedSet) -> list[ResultWarning]:
    """All warnings about one set in its feature space."""
    return [*set_warnings(given), *feature_warnings(given)]


def unused_statistics_warning(given: Features) -> ResultWarning:
    """The warning that statistics beside the images are of another feature space.

    ``stored-moments-unused``: the images were embedded instead.
    """
    message = (
        f"{given.description} holds moments of another feature space than was asked for; its "
        f"{given.count} images were embedded instead, which are another set"
    )
    return "stored-moments-unused", message


def pair_warnings(real: EmbeddedSet, fake: EmbeddedSet) -> list[ResultWarning]:
    """Warnings about two sets.

    ``shared-images``: images that stand in both sets. ``mixed-formats``: JPEG on one side and not
    on the other. ``source-sizes``: files of different resolution. ``class-balance``: class folders
    of the same names, with other shares of the images.
    """
    found: list[ResultWarning] = []
    first, second = _identities(real), _identities(fake)
    known = set(first)
    same = sum(identity in known for identity in second)
    if same:
        found.append(
            ("shared-images", f"{same} fake images ({fake.description}) are real ones too")
        )
    return [*found, *_of_files(real, fake), *_of_classes(real, fake)]


def held_out_warnings(
    held_out: EmbeddedSet, real: EmbeddedSet | None, fake: EmbeddedSet
) -> list[ResultWarning]:
    """Warnings about held-out images that are in another set too.

    ``held-out-overlap``: some are training images, or generated ones.

    Raises:
        ComputationError: When all of one set are in the other, as where a set was given twice.
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
                f"({other.description}): give images that are neither trained on nor generated"
            )
        found.append(
            (
                "held-out-overlap",
                f"{shared} of the {len(own)} held-out images ({held_out.description}) are {role} "
                f"images ({other.description}) too: copies cannot be distinguished from new images",
            )
        )
    return found


def protocol_warnings(row: Metric, plan: Plan, options: Options) -> list[ResultWarning]:
    """What a reader should know of how far the number is that of the protocol's tool."""
    rules = plan.rules
    if rules is None:
        return []
    if row.name in plan.fitting:
        departure = rules.metrics[row.name].departure
        told = f"{row.name} by protocol {rules.name}: {departure}"
        return [("protocol-departs", told)] if departure else []
    if row.name in rules.metrics:
        backbone = rules.metrics[row.name].template.backbone
        message = f"protocol {rules.name} has {row.name} in {backbone}: here is another network"
        return [("not-in-protocol", message)]
    if options.protocol is None or rules.name == "imagenet":
        return []
    message = (
        f"protocol {rules.name} has no row for {row.name}: its tool's pixels, this toolkit's "
        "definition"
    )
    return [("not-in-protocol", message)]


def metric_warnings(
    row: Metric, sets: Sequence[EmbeddedSet], spec: FeatureSpec, error_bars: bool
) -> list[ResultWarning]:
    """What a reader of this metric's number should know."""
    found: list[ResultWarning] = []
    for given in sets if row.covariances else ():
        n, dim = given.count, given.dim
        if n is not None and n <= dim:
            found.append(
                (
                    "few-images",
                    f"{given.description}: {n} images for {dim} dimensions; the covariance is "
                    "singular and the distance far above that of the population (an error bar is "
                    "then the infinitesimal jackknife in the span of the sample)",
                )
            )
    fixed = [given.description for given in sets if isinstance(given, Statistics)]
    if error_bars and len(fixed) == len(sets):
        found.append(
            (
                "no-error-bar",
                "both sides are known by their moments alone, so there is no error bar",
            )
        )
    elif error_bars and fixed:
        found.append(
            (
                "reference-fixed",
                f"{fixed[0]} is known by its moments alone: the error bar holds it fixed",
            )
        )
    if row.needs == "clip" and spec.backbone != CLIP:
        found.append(
            (
                "not-clip",
                f"{row.name} in {spec.backbone or 'unknown'} features: published values are made "
                f"with {CLIP}",
            )
        )
    if row.needs == "logits" and (spec.backbone, spec.layer) != ("inception", "logits_unbiased"):
        found.append(
            (
                "other-logits",
                f"{row.name} with the classes of {spec.backbone or 'an unknown network'}: "
                "published values are made with the 2015 Inception's 1008 logits without bias",
            )
        )
    return found


def _of_files(real: EmbeddedSet, fake: EmbeddedSet) -> list[ResultWarning]:
    if isinstance(real, Statistics) or isinstance(fake, Statistics):
        return []
    tallies = [real.tally, fake.tally]
    if not all(tally.formats for tally in tallies):
        return []
    found: list[ResultWarning] = []
    lossy = [
        sum(tally.formats[name] for name in _LOSSY) / sum(tally.formats.values())
        for tally in tallies
    ]
    if (lossy[0] >= 0.5) != (lossy[1] >= 0.5):
        found.append(
            (
                "mixed-formats",
                f"{lossy[0]:.0%} of the real files and {lossy[1]:.0%} of the fake ones are JPEG; "
                "its artefacts alone move the score: save both sets in one format",
            )
        )
    sizes = [_typical(tally.sizes) for tally in tallies]
    if max(sizes) > _SIZE_GAP * min(sizes):
        found.append(
            (
                "source-sizes",
                f"the real files are typically {sizes[0]:.0f} pixels wide and high and the fake "
                f"ones {sizes[1]:.0f}; resizing then blurs one set more than the other",
            )
        )
    return found


def _of_classes(real: EmbeddedSet, fake: EmbeddedSet) -> list[ResultWarning]:
    """Whether the class folders of both sides, if they share names, hold shares that chance made.

    By the chi-squared test of homogeneity, at a level of 0.001.
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
    lacking = f"{len(absent)} classes are absent, first {absent[0]!r}; " if absent else ""
    return [
        (
            "class-balance",
            f"the classes have other shares among the fake images than among the real ones: "
            f"{lacking}{every[worst]!r} is {shares[0, worst]:.1%} of the real images and "
            f"{shares[1, worst]:.1%} of the fake ones, and {gaps.sum() / 2:.1%} of all would have "
            "to change class; the balance alone moves the score",
        )
    ]


def _typical(sizes: Counter[tuple[int, int]]) -> float:
    """The median of √(width · height)."""
    sides = np.sqrt([width * height for width, height in sizes])
    order = np.argsort(sides)
    counts = np.cumsum(np.array(list(sizes.values()))[order])
    return float(sides[order][np.searchsorted(counts, counts[-1] / 2)])


def _identities(given: EmbeddedSet) -> Sequence[bytes]:
    """What stands for each image: the hash of its file, else that of its features."""
    if isinstance(given, Statistics):
        return ()
    return given.image_digests or _hashes(given)


def _hashes(features: Features) -> list[bytes]:
    return [hashlib.sha256(row.tobytes()).digest() for row in np.asarray(features.array)]


def _constant(given: EmbeddedSet) -> tuple[int, int]:
    """How many features are the same for all images, and how many there are."""
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
