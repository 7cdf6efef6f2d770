"""The data of a report: scores, galleries, nearest images, spectra and the map, from one pass."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.analysis.attribution import Attribution, attribute_embedded
from gan_metrics.analysis.comparison import Comparison, names_of, rank
from gan_metrics.analysis.per_class import PerClass, measure_classes
from gan_metrics.analysis.per_image import PerImage, measure_per_image
from gan_metrics.analysis.projection import METHODS, FeatureMap, project_features
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.errors import GanMetricsError, InputError, UsageError, unknown_name
from gan_metrics.evaluation.compute import Evaluation, FeatureSets
from gan_metrics.evaluation.run import evaluate_sets
from gan_metrics.features.features import Features
from gan_metrics.images.labels import LabelsLike, folder_classes, labels_of_both
from gan_metrics.images.sources import ImageSource
from gan_metrics.inputs.options import Options, takes_options
from gan_metrics.inputs.sets import EmbeddedSet, Input
from gan_metrics.metrics import registry
from gan_metrics.metrics.moments import Moments
from gan_metrics.metrics.per_sample import nearest_reals
from gan_metrics.protocols.spec import Decoding, FeatureSpec
from gan_metrics.reports.training_log import History, read_history
from gan_metrics.results.result import EvaluationResult
from gan_metrics.utils.optional import require
from gan_metrics.utils.result_warning import ResultWarning, unique
from gan_metrics.utils.validation import whole_number

__all__ = ["REPORT_METRICS", "Gallery", "GeneratorReport", "Near", "Report", "report"]

REPORT_METRICS = ("fid", "fd_infinity", "kid", "prdc", "authpct")
"""Default metrics of a report."""

_NEIGHBORS = 5
"""Number of nearest images shown for an image."""

_CLASSES = 200
"""Largest number of classes that are evaluated by default."""

_FLOOR = 1e-12
"""Eigenvalues below this share of the largest are rounding errors."""


@dataclass(frozen=True)
class Gallery:
    """Images that are shown together.

    Attributes:
        key: Key such as ``"raise"``.
        title: Title of the gallery.
        about: How the images were selected.
        real: Whether they are real images.
        names: Names of the images, in order.
        total: Number of all images of this kind, of which these are the first.
    """

    key: str
    title: str
    about: str
    real: bool
    names: Sequence[str]
    total: int


Near = Sequence[tuple[str, float]]
"""Names and distances of the nearest images of the other set, nearest first."""


@dataclass(frozen=True, eq=False)
class GeneratorReport:
    """The data about one generator.

    Attributes:
        name: Name of the set.
        scores: Its metrics, with ``per_image`` and ``per_class`` if available.
        galleries: The shown images.
        near: Nearest real images by name of a shown generated image.
        near_real: Nearest generated images by name of a shown real image.
        spectrum: Eigenvalues of the covariance of its features, falling.
        places: Attributions of the worst images.
        source: The images, if available.
        missing: Reasons by name, for parts that are not shown.
    """

    name: str
    scores: EvaluationResult
    spectrum: npt.NDArray[np.float64]
    galleries: Sequence[Gallery] = ()
    near: Mapping[str, Near] = field(default_factory=dict)
    near_real: Mapping[str, Near] = field(default_factory=dict)
    places: Attribution | None = None
    source: ImageSource | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Report:
    """The data of a report about generators and one set of real images.

    Attributes:
        real: Location of the real images.
        generators: The generated sets, in the given order.
        real_spectrum: Eigenvalues of the covariance of the real features, falling.
        feature_spec: Feature space of spectra, galleries, attributions and map.
        decoding: How the images are decoded.
        real_source: The real images, if available.
        comparison: The ranking, if there are several generators.
        map: The feature map of all sets.
        history: The log of a training.
        missing: Reasons by name, for parts that are not shown.
    """

    real: str
    generators: Sequence[GeneratorReport]
    real_spectrum: npt.NDArray[np.float64]
    feature_spec: FeatureSpec
    decoding: Decoding
    real_source: ImageSource | None = None
    comparison: Comparison | None = None
    map: FeatureMap | None = None
    history: History | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def warnings(self) -> list[ResultWarning]:
        """Warnings of all parts, each once."""
        found = [w for one in self.generators for w in one.scores.warnings]
        found += [
            w for one in self.generators if one.places is not None for w in one.places.warnings
        ]
        found += [] if self.comparison is None else self.comparison.warnings
        return unique(found)


@takes_options
def report(
    real: Input,
    fakes: Input | Sequence[Input],
    *,
    metrics: str | Sequence[str] = REPORT_METRICS,
    held_out: Input | None = None,
    labels: LabelsLike = None,
    history: str | os.PathLike[str] | None = None,
    shown: int = 12,
    places: int = 6,
    map_method: str | None = "tsne",
    map_images: int = 1000,
    by_class: bool = True,
    options: Options,
) -> Report:
    """Compute the data of a report about generators, in one pass over their images.

    Args:
        real: Real images, as for :func:`gan_metrics.fid`.
        fakes: A list or tuple of generated sets, or a single one.
        metrics: As for :func:`gan_metrics.evaluate`; the first one ranks several generators.
        held_out: As for :func:`gan_metrics.evaluate`.
        labels: As for :func:`gan_metrics.evaluate`; ``None``: class folders, if the sets share some
            and have two to 200 in all.
        history: A training log; see :func:`~gan_metrics.reports.training_log.read_history`.
        shown: Largest number of images in each gallery.
        places: Number of worst images for which attributions are computed.
        map_method: ``"tsne"``, ``"umap"``, or ``None`` for no map.
        map_images: Largest number of images of each set on the map.
        by_class: Whether the first metric is also computed for each class.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`.

    Returns:
        The data; ``missing`` has the reason for each part that could not be computed.

    Raises:
        UsageError: For an unknown name, or a number out of range.
        GanMetricsError: As for :func:`gan_metrics.fid`.
    """
    if map_method is not None and map_method not in METHODS:
        raise unknown_name("method", map_method, METHODS)
    if map_method == "umap":
        require("umap", "maps")
    for name, value in (("shown", shown), ("places", places), ("map_images", map_images)):
        whole_number(name, value, least=0)
    logged = None if history is None else read_history(history)  # before any work
    if labels is not None:
        labels = labels_of_both(labels)
    fakes = fakes if isinstance(fakes, list | tuple) else [fakes]
    if not fakes:
        raise UsageError("a report needs at least one set of generated images")
    names = names_of(fakes)
    rows = registry.expand(metrics)
    measured = evaluate_sets(rows, real, fakes, options, held_out=held_out, main_sets=True)
    leading = next(iter(rows))
    _refuse_empty(measured)
    sets = [_sets(one) for one in measured]
    first = sets[0]
    assert first.real is not None  # noqa: S101
    choice = measured[0].space
    seed = options.seed_or_default
    displayed = dict[str, str]()
    for one in measured:
        if leading in one.results:
            displayed[leading] = one.results[leading].metric
    generators = []
    for name, one, mine in zip(names, measured, sets, strict=True):
        shows_images = shown or places
        images, missing = _tried("images", measure_per_image, mine) if shows_images else (None, {})
        worst = [] if images is None else [row["name"] for row in images.worst(places)]
        found, more = _tried("places", _places, mine, choice, options, worst)
        classes, why = None, dict[str, str]()
        if by_class and displayed:
            classes, why = _tried("classes", _classes, one, mine, displayed, labels)
        why = {**missing, **more, **why}
        generators.append(_generator(name, one, mine, images, found, classes, why, shown, seed))
    comparison, unranked = _ranking(names, measured, rows)
    drawn, unmapped = _map(names, sets, choice, map_method, map_images, seed)
    return Report(
        real=first.real.description,
        generators=generators,
        real_spectrum=_spectrum(first.real.moments),
        feature_spec=first.fake.spec,
        decoding=Decoding() if choice is None else choice.decoding,
        real_source=_source(first.real),
        comparison=comparison,
        map=drawn,
        history=logged,
        missing={**unranked, **unmapped},
    )


def _refuse_empty(measured: Sequence[Evaluation]) -> None:
    """Refuse a report without any score; single missing scores are listed in the report."""
    if any(one.results for one in measured):
        return
    for one in measured:
        for error in one.errors.values():
            raise error
        for name, why in one.not_computed.items():
            raise InputError(f"{name} cannot be computed: {why}")


def _ranking(
    names: Sequence[str], measured: Sequence[Evaluation], rows: registry.Request
) -> tuple[Comparison | None, dict[str, str]]:
    """Rank the generators with a value of the first metric; return why others are excluded."""
    leading = next(iter(rows))
    able = {n: [one] for n, one in zip(names, measured, strict=True) if leading in one.results}
    unable = [name for name in names if name not in able]
    missing = {}
    if unable and len(names) > 1:
        missing["ranking"] = f"without {', '.join(unable)}, which have no {leading}"
    return (rank(able, rows) if len(able) > 1 else None), missing


def _source(given: EmbeddedSet) -> ImageSource | None:
    """Return the images of a set, if it was embedded from images."""
    return given.source if isinstance(given, Features) else None


def _sets(measured: Evaluation) -> FeatureSets:
    assert measured.main_sets is not None  # noqa: S101  (they were requested)
    return measured.main_sets


def _tried(what: str, make: Callable[..., Any], *given: Any) -> tuple[Any, dict[str, str]]:
    """Return a result, or the reason for its failure, so that the rest of the report remains."""
    try:
        return make(*given), {}
    except GanMetricsError as error:
        return None, {what: str(error)}


def _spectrum(moments: Moments) -> npt.NDArray[np.float64]:
    """Return the eigenvalues of the covariance that exceed rounding errors, falling."""
    values = np.asarray(np.linalg.eigvalsh(moments.cov)[::-1], np.float64)
    return values[values > _FLOOR * max(float(values[0]), 0.0)]


def _places(
    sets: FeatureSets, choice: FeatureSpace | None, options: Options, names: Sequence[str]
) -> Attribution | None:
    if not names:
        return None
    if choice is None or _source(sets.fake) is None or sets.real is None:
        raise UsageError("attributions need the generated images, not only their features")
    return attribute_embedded(sets.real, sets.fake, choice, options, names=names)


def _map(
    names: Sequence[str],
    sets: Sequence[FeatureSets],
    choice: FeatureSpace | None,
    method: str | None,
    most: int,
    seed: int,
) -> tuple[FeatureMap | None, dict[str, str]]:
    """Return the map of all sets with features; and which sets are missing and why."""
    if method is None or not most:
        return None, {}
    fakes = ["fake"] if len(names) == 1 else [f"fake: {name}" for name in names]
    every = dict(zip(["real", *fakes], [sets[0].real, *(one.fake for one in sets)], strict=True))
    known = {name: one for name, one in every.items() if isinstance(one, Features)}
    lost = [name for name in every if name not in known]
    missing = {"map": f"without {', '.join(lost)}: given as statistics only"} if lost else {}
    decoding = Decoding() if choice is None else choice.decoding
    spec = sets[0].fake.spec
    drawn, why = _tried(
        "map", lambda: project_features(known, spec, decoding, method=method, seed=seed, most=most)
    )
    return drawn, {**missing, **why}


def _generator(
    name: str,
    measured: Evaluation,
    sets: FeatureSets,
    images: PerImage | None,
    places: Attribution | None,
    classes: PerClass | None,
    missing: dict[str, str],
    shown: int,
    seed: int,
) -> GeneratorReport:
    why = {**measured.not_computed, **{key: str(e) for key, e in measured.errors.items()}}
    scores = EvaluationResult(measured.results, why, per_image=images, per_class=classes)
    galleries = _galleries(sets, images, shown, seed)
    return GeneratorReport(
        name=name,
        scores=scores,
        spectrum=_spectrum(sets.fake.moments),
        galleries=galleries,
        near=_nearest(sets.fake, sets.real, galleries, real=False),
        near_real=_nearest(sets.real, sets.fake, galleries, real=True),
        places=places,
        source=_source(sets.fake),
        missing=missing,
    )


def _classes(
    measured: Evaluation, sets: FeatureSets, displayed: Mapping[str, str], labels: LabelsLike
) -> PerClass | None:
    """Compute the first metric of each class, if there are classes."""
    if labels is None:
        found = []
        for one in (sets.real, sets.fake):
            if not isinstance(one, Features):
                return None
            found.append(set(folder_classes(one.names) or ()))
        classes = found[0] | found[1]
        if not found[0] & found[1] or len(classes) < 2:
            return None
        if len(classes) > _CLASSES:
            raise UsageError(
                f"there are {len(classes)} class folders, but only up to {_CLASSES} are evaluated "
                "by default; use --labels for more"
            )
    return measure_classes({None: measured}, labels, only=displayed)


def _galleries(sets: FeatureSets, images: PerImage | None, shown: int, seed: int) -> list[Gallery]:
    found: list[Gallery] = []
    if not shown:
        return found
    for real, one in ((True, sets.real), (False, sets.fake)):
        if isinstance(one, Features):
            every = one.names
            rng = np.random.default_rng([seed, real])
            some = rng.choice(len(every), min(shown, len(every)), replace=False)
            found.append(
                Gallery(
                    "random-real" if real else "random-fake",
                    f"{'Real' if real else 'Generated'} images at random",
                    f"Drawn with seed {seed}.",
                    real,
                    [every[int(i)] for i in some],
                    len(every),
                )
            )
    if images is None:
        return found
    rows = [(key, title, about, order) for key, title, about, order in _orders(images)]
    found += [
        Gallery(key, title, about, False, [images.names[int(i)] for i in order[:shown]], len(order))
        for key, title, about, order in rows
        if len(order)
    ]
    copies, lost = images.near_copies(), images.uncovered()
    if copies:
        twins = 0 if images.points is None else images.points.near_twins
        found.append(
            Gallery(
                "copies",
                "Near copies of real images",
                "Much closer to their nearest real image than that image is to its own nearest "
                f"neighbor; closest first. Of the {len(images.real_names)} real images, {twins} "
                "are as close to another real image.",
                False,
                [row["name"] for row in copies[:shown]],
                len(copies),
            )
        )
    if lost:
        found.append(
            Gallery(
                "uncovered",
                "Real images that are not covered",
                "No generated image is in the ball of their 5 nearest reals; farthest first.",
                True,
                [row["name"] for row in lost[:shown]],
                len(lost),
            )
        )
    return found


def _orders(images: PerImage) -> list[tuple[str, str, str, npt.NDArray[np.int64]]]:
    """Return orders of generated images: key, title, description, positions."""
    harm = np.argsort(-images.influence, kind="stable")
    good = np.argsort(images.influence, kind="stable")
    found = [
        (
            "raise",
            "Images that raise the distance most",
            "By influence: without an image the distance is lower by its influence / n.",
            harm[images.influence[harm] > 0],
        ),
        (
            "lower",
            "Images that lower the distance most",
            "By influence, lowest first.",
            good[images.influence[good] < 0],
        ),
    ]
    if (points := images.points) is not None:
        rare = np.flatnonzero(~np.isnan(points.rarity))
        found += [
            (
                "unrealistic",
                "Least realistic images",
                "By realism: values below 1 are outside of the real balls; the larger half of the "
                "balls is ignored.",
                np.argsort(points.realism, kind="stable"),
            ),
            (
                "realistic",
                "Most realistic images",
                "By realism: values above 1 are inside of a real ball.",
                np.argsort(-points.realism, kind="stable"),
            ),
            (
                "rare",
                "Rarest images",
                "By rarity: real images are far from each other there.",
                rare[np.argsort(-points.rarity[rare], kind="stable")],
            ),
        ]
    return found


def _nearest(
    asked: EmbeddedSet | None,
    among: EmbeddedSet | None,
    galleries: Sequence[Gallery],
    *,
    real: bool,
) -> dict[str, Near]:
    """Return the nearest images of the other set for shown images."""
    if not isinstance(asked, Features) or not isinstance(among, Features):
        return {}
    if asked.array.ndim != 2:
        return {}
    wanted = dict.fromkeys(
        itertools.chain.from_iterable(one.names for one in galleries if one.real == real)
    )
    places = {name: i for i, name in enumerate(asked.names)}
    rows = np.array([places[name] for name in wanted], np.int64)
    if not len(rows):
        return {}
    k = min(_NEIGHBORS, len(among.array))
    whom, distances = nearest_reals(among.array, asked.array[rows], k=k)
    others = among.names
    return {
        name: [(others[int(i)], float(d)) for i, d in zip(*pair, strict=True)]
        for name, *pair in zip(wanted, whom, distances, strict=True)
    }
