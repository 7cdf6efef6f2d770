"""All that a report shows of generators, as numbers: one pass, and what it tells."""

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
"""What a report computes by default."""

_NEIGHBORS = 5
"""Nearest images that are shown beside one."""

_CLASSES = 200
"""Classes at most that are looked at one by one without being asked."""

_FLOOR = 1e-12
"""Eigenvalues below this share of the largest are rounding."""


@dataclass(frozen=True)
class Gallery:
    """Images that are shown together.

    Attributes:
        key: Such as ``"raise"``.
        title: What they are, for a person.
        about: How they were chosen.
        real: Whether they are real images; else fake ones.
        names: Of the images, in order.
        total: How many there are of the kind, of which these are the first.
    """

    key: str
    title: str
    about: str
    real: bool
    names: Sequence[str]
    total: int


Near = Sequence[tuple[str, float]]
"""Names and distances of the nearest images of the other set, the nearest first."""


@dataclass(frozen=True, eq=False)
class GeneratorReport:
    """What is known of one set of fake images.

    Attributes:
        name: Of the set.
        scores: Its metrics; with a ``per_image`` and a ``per_class`` where there is one.
        galleries: The images that are shown.
        near: Name of each fake image shown to its nearest real ones.
        near_real: Name of each real image shown to its nearest fakes.
        spectrum: Eigenvalues of the covariance of its features, falling.
        places: Where in the worst images their influence comes from.
        source: The images, where they are at hand.
        missing: What is not shown, to the reason.
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
    """What is known of some generators beside one reference.

    Attributes:
        real: Where the real images are.
        generators: The fake sets, in the order in which they were given.
        real_spectrum: Eigenvalues of the covariance of the real features, falling.
        feature_spec: The space of spectra, galleries, places and map.
        decoding: How the images are decoded.
        real_source: The real images, where they are at hand.
        comparison: The generators ranked, if there are several.
        map: All of them in the plane.
        history: The log of a training.
        missing: What is not shown, to the reason.
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
        """Those of all parts, each once."""
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
    """Look at generators from every side, in one pass over their images.

    Args:
        real: As for :func:`gan_metrics.fid`.
        fakes: Fake sets, a list or tuple of them; or one that is none of these.
        metrics: As for :func:`gan_metrics.evaluate`; the first one ranks several sets.
        held_out: The same.
        labels: The same; ``None``: class folders, where the sets share some and
            have two to 200 in all.
        history: A log of a training; see :func:`~gan_metrics.reports.training_log.read_history`.
        shown: Images in each gallery, at most.
        places: Of so many of the worst images the places of their influence are sought.
        map_method: ``"tsne"``, ``"umap"``, or ``None`` for no map.
        map_images: Images of each set on the map, at most.
        by_class: Whether the leading metric is computed class by class as well.
        options: See :class:`~gan_metrics.inputs.options.Options`.

    Returns:
        What was found; what could not be is told in ``missing``, with the reason.

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
        looks = shown or places
        images, missing = _tried("images", measure_per_image, mine) if looks else (None, {})
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
    """Refuse a report without a score; where some came out, the others are told of in it."""
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
    """The generators that have a value of the leading metric, ranked; who is left out, and why."""
    leading = next(iter(rows))
    able = {n: [one] for n, one in zip(names, measured, strict=True) if leading in one.results}
    unable = [name for name in names if name not in able]
    missing = {}
    if unable and len(names) > 1:
        missing["ranking"] = f"without {', '.join(unable)}, of which there is no {leading}"
    return (rank(able, rows) if len(able) > 1 else None), missing


def _source(given: EmbeddedSet) -> ImageSource | None:
    """The images of a set, where it was embedded from images."""
    return given.source if isinstance(given, Features) else None


def _sets(measured: Evaluation) -> FeatureSets:
    assert measured.main_sets is not None  # noqa: S101  (they were asked for)
    return measured.main_sets


def _tried(what: str, make: Callable[..., Any], *given: Any) -> tuple[Any, dict[str, str]]:
    """What is made; or why it is not, which leaves the rest of the report as it is."""
    try:
        return make(*given), {}
    except GanMetricsError as error:
        return None, {what: str(error)}


def _spectrum(moments: Moments) -> npt.NDArray[np.float64]:
    """Eigenvalues of the covariance that are not zero but for rounding, falling."""
    values = np.asarray(np.linalg.eigvalsh(moments.cov)[::-1], np.float64)
    return values[values > _FLOOR * max(float(values[0]), 0.0)]


def _places(
    sets: FeatureSets, choice: FeatureSpace | None, options: Options, names: Sequence[str]
) -> Attribution | None:
    if not names:
        return None
    if choice is None or _source(sets.fake) is None or sets.real is None:
        raise UsageError("the places in an image need the fake images, not their features alone")
    return attribute_embedded(sets.real, sets.fake, choice, options, names=names)


def _map(
    names: Sequence[str],
    sets: Sequence[FeatureSets],
    choice: FeatureSpace | None,
    method: str | None,
    most: int,
    seed: int,
) -> tuple[FeatureMap | None, dict[str, str]]:
    """The map of all sets that are known image by image; what is not on it, and why."""
    if method is None or not most:
        return None, {}
    fakes = ["fake"] if len(names) == 1 else [f"fake: {name}" for name in names]
    every = dict(zip(["real", *fakes], [sets[0].real, *(one.fake for one in sets)], strict=True))
    known = {name: one for name, one in every.items() if isinstance(one, Features)}
    lost = [name for name in every if name not in known]
    missing = {"map": f"without {', '.join(lost)}: known by statistics alone"} if lost else {}
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
    """The leading metric class by class, where there are classes."""
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
                f"there are {len(classes)} class folders, and at most {_CLASSES} are looked at "
                "unasked; give --labels to have them all"
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
                    f"{'Real' if real else 'Fake'} images at random",
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
                "Much nearer to their nearest real image than that one is to its own nearest; the "
                f"closest first. Of the {len(images.real_names)} real images, {twins} are as near "
                "to another.",
                False,
                [row["name"] for row in copies[:shown]],
                len(copies),
            )
        )
    if lost:
        found.append(
            Gallery(
                "uncovered",
                "Real images that no fake covers",
                "No fake lies in the ball of their 5 nearest other reals; the farthest first.",
                True,
                [row["name"] for row in lost[:shown]],
                len(lost),
            )
        )
    return found


def _orders(images: PerImage) -> list[tuple[str, str, str, npt.NDArray[np.int64]]]:
    """Fakes in orders of their own: key, title, how they were chosen, their places."""
    harm = np.argsort(-images.influence, kind="stable")
    good = np.argsort(images.influence, kind="stable")
    found = [
        (
            "raise",
            "Fakes that raise the distance most",
            "By influence: leaving one out would lower the distance by its influence / n.",
            harm[images.influence[harm] > 0],
        ),
        (
            "lower",
            "Fakes that lower the distance most",
            "By influence, from the other end.",
            good[images.influence[good] < 0],
        ),
    ]
    if (points := images.points) is not None:
        rare = np.flatnonzero(~np.isnan(points.rarity))
        found += [
            (
                "unrealistic",
                "Least realistic fakes",
                "By realism: below 1, outside the balls of real images; the larger half of these "
                "is left out.",
                np.argsort(points.realism, kind="stable"),
            ),
            (
                "realistic",
                "Most realistic fakes",
                "By realism: above 1, how far inside the ball of a real image they lie.",
                np.argsort(-points.realism, kind="stable"),
            ),
            (
                "rare",
                "Rarest fakes",
                "By rarity: where real images are far from each other.",
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
    """Of the images shown, the nearest of the other set."""
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
