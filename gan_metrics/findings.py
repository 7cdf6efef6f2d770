"""All that a report shows of generators, as numbers: one pass, and what it tells."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Unpack

from gan_metrics.attribution import Attribution, attribute_embedded
from gan_metrics.backbones.choice import BackboneChoice
from gan_metrics.comparison import Comparison, names_of, rank
from gan_metrics.embedding import settle
from gan_metrics.errors import GanMetricsError, InputError, UsageError, unknown_name
from gan_metrics.extras import require
from gan_metrics.history import History, read_history
from gan_metrics.images.sources import ImageSource
from gan_metrics.labels import folder_classes
from gan_metrics.maps import METHODS, FeatureMap, lay_out
from gan_metrics.measurement import measure
from gan_metrics.metrics import registry
from gan_metrics.metrics.pointwise import nearest_reals
from gan_metrics.moments import Moments
from gan_metrics.options import Options
from gan_metrics.per_class import measure_classes
from gan_metrics.per_image import PerImage, look_at_images
from gan_metrics.results import EvaluationResult, Warning_, unique
from gan_metrics.scoring import Measured, Sets
from gan_metrics.sides import Input, Side
from gan_metrics.specs import Decoding

__all__ = ["METRICS", "Findings", "Gallery", "GeneratorFindings", "Near", "examine"]

METRICS = ("fid", "fd_infinity", "kid", "prdc", "authpct")
"""What a report computes by default."""

_NEIGHBORS = 5
"""Nearest images that are shown beside one."""

_CLASSES = range(2, 201)
"""Numbers of classes that are looked at one by one without being asked."""

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
class GeneratorFindings:
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
class Findings:
    """What is known of some generators beside one reference.

    Attributes:
        real: Where the real images are.
        generators: The fake sets, in the order in which they were given.
        real_spectrum: Eigenvalues of the covariance of the real features, falling.
        decoding: How the images are decoded.
        real_source: The real images, where they are at hand.
        comparison: The generators ranked, if there are several.
        map: All of them in the plane.
        history: The log of a training.
        missing: What is not shown, to the reason.
    """

    real: str
    generators: Sequence[GeneratorFindings]
    real_spectrum: npt.NDArray[np.float64]
    decoding: Decoding
    real_source: ImageSource | None = None
    comparison: Comparison | None = None
    map: FeatureMap | None = None
    history: History | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def warnings(self) -> list[Warning_]:
        """Those of all parts, each once."""
        found = [w for one in self.generators for w in one.scores.warnings]
        found += [
            w for one in self.generators if one.places is not None for w in one.places.warnings
        ]
        found += [] if self.comparison is None else self.comparison.warnings
        return unique(found)


def examine(
    real: Input,
    fakes: Sequence[Input],
    *,
    metrics: str | Sequence[str] = METRICS,
    held_out: Input | None = None,
    labels: Any = None,
    history: str | os.PathLike[str] | None = None,
    shown: int = 12,
    places: int = 6,
    map_method: str | None = "tsne",
    map_images: int = 1000,
    **options: Unpack[Options],
) -> Findings:
    """Look at generators from every side, in one pass over their images.

    Args:
        real: As for :func:`gan_metrics.fid`.
        fakes: One fake set, or several.
        metrics: As for :func:`gan_metrics.evaluate`; the first one ranks several sets.
        held_out: The same.
        labels: The same; ``None``: class folders, where both sets have the same two to 200.
        history: A log of a training; see :func:`~gan_metrics.history.read_history`.
        shown: Images in each gallery, at most.
        places: Of so many of the worst images the places of their influence are sought.
        map_method: ``"tsne"``, ``"umap"``, or ``None`` for no map.
        map_images: Images of each set on the map, at most.
        options: See :class:`Options`.

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
        if not isinstance(value, int) or value < 0:
            raise UsageError(f"{name}={value!r}: expected a whole number of at least 0")
    if options.get("protocol") is not None and not isinstance(options["protocol"], str):
        raise UsageError("a report is made by one protocol; name one alone")
    logged = None if history is None else read_history(history)  # before any work
    names = names_of(fakes)
    rows = registry.expand(metrics)
    measured = measure(real, fakes, rows, held_out=held_out, options=options, images=True)
    leading = next(iter(rows))
    for one in measured:
        _refuse_empty(one)
    sets = [_sets(one) for one in measured]
    first = sets[0]
    assert first.real is not None  # noqa: S101
    choice = settle([first.real, *(one.fake for one in sets)], options)
    seed = options.get("seed", 0)
    generators = []
    for name, one, mine in zip(names, measured, sets, strict=True):
        images, missing = _tried("images", look_at_images, mine)
        worst = [] if images is None else [row["name"] for row in images.worst(places)]
        found, more = _tried("places", _places, mine, choice, options, worst)
        why = {**missing, **more}
        generators.append(_generator(name, one, mine, images, found, why, labels, shown, seed))
    comparison = None
    if len(fakes) > 1 and all(leading in one.results for one in measured):
        comparison = rank({n: [one] for n, one in zip(names, measured, strict=True)}, rows)
    drawn, missing = _tried("map", _map, names, sets, choice, map_method, map_images, seed)
    return Findings(
        real=first.real.description,
        generators=generators,
        real_spectrum=_spectrum(first.real.moments),
        decoding=Decoding() if choice is None else choice.decoding,
        real_source=first.real.source,
        comparison=comparison,
        map=drawn,
        history=logged,
        missing=missing,
    )


def _refuse_empty(measured: Measured) -> None:
    """Refuse a report without a score; where some came out, the others are told of in it."""
    if measured.results:
        return
    for error in measured.errors.values():
        raise error
    for name, why in measured.not_computed.items():
        raise InputError(f"{name} cannot be computed: {why}")


def _sets(measured: Measured) -> Sets:
    assert measured.images is not None  # noqa: S101
    return measured.images


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
    sets: Sets, choice: BackboneChoice | None, options: Options, names: Sequence[str]
) -> Attribution | None:
    if not names:
        return None
    if choice is None or sets.fake.source is None or sets.real is None:
        raise UsageError("the places in an image need the fake images, not their features alone")
    return attribute_embedded(sets.real, sets.fake, choice, options, names=names)


def _map(
    names: Sequence[str],
    sets: Sequence[Sets],
    choice: BackboneChoice | None,
    method: str | None,
    most: int,
    seed: int,
) -> FeatureMap | None:
    if method is None or not most:
        return None
    sides: dict[str, Side] = {}
    real = sets[0].real
    if real is not None and real.features is not None:
        sides["real"] = real
    fakes = ["fake"] if len(names) == 1 else [f"fake: {name}" for name in names]
    sides.update(zip(fakes, (one.fake for one in sets), strict=True))
    spec = sets[0].fake.spec
    assert spec is not None  # noqa: S101
    decoding = Decoding() if choice is None else choice.decoding
    return lay_out(sides, spec, decoding, method=method, seed=seed, most=most)


def _generator(
    name: str,
    measured: Measured,
    sets: Sets,
    images: PerImage | None,
    places: Attribution | None,
    missing: dict[str, str],
    labels: Any,
    shown: int,
    seed: int,
) -> GeneratorFindings:
    called = {key: one.metric for key, one in measured.results.items()}
    classes, more = None, dict[str, str]()
    if labels is not None or _has_classes(sets):
        classes, more = _tried("classes", measure_classes, measured.groups, called, labels)
    why = {**measured.not_computed, **{key: str(e) for key, e in measured.errors.items()}}
    scores = EvaluationResult(measured.results, why, per_image=images, per_class=classes)
    galleries = _galleries(sets, images, shown, seed)
    return GeneratorFindings(
        name=name,
        scores=scores,
        spectrum=_spectrum(sets.fake.moments),
        galleries=galleries,
        near=_nearest(sets.fake, sets.real, galleries, real=False),
        near_real=_nearest(sets.real, sets.fake, galleries, real=True),
        places=places,
        source=sets.fake.source,
        missing={**missing, **more},
    )


def _has_classes(sets: Sets) -> bool:
    """Whether both sets lie in the same class folders, and not too many of them."""
    found = []
    for side in (sets.real, sets.fake):
        if side is None or side.features is None:
            return False
        found.append(set(folder_classes(side.features.names) or ()))
    return found[0] == found[1] and len(found[0]) in _CLASSES


def _galleries(sets: Sets, images: PerImage | None, shown: int, seed: int) -> list[Gallery]:
    found: list[Gallery] = []
    if not shown:
        return found
    for real, side in ((True, sets.real), (False, sets.fake)):
        if side is not None and side.features is not None:
            every = side.features.names
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
        found.append(
            Gallery(
                "copies",
                "Near copies of real images",
                "Much nearer to their nearest real image than that one is to its own nearest.",
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
    found = [
        (
            "raise",
            "Fakes that raise the distance most",
            "By influence: leaving one out would lower the distance by its influence / n.",
            harm,
        ),
        (
            "lower",
            "Fakes that lower the distance most",
            "By influence, from the other end.",
            np.argsort(images.influence, kind="stable"),
        ),
    ]
    if (points := images.points) is not None:
        rare = np.flatnonzero(~np.isnan(points.rarity))
        found += [
            (
                "unrealistic",
                "Least realistic fakes",
                "By realism: below 1, outside every ball of a real image.",
                np.argsort(points.realism, kind="stable"),
            ),
            (
                "realistic",
                "Most realistic fakes",
                "By realism: how far inside the ball of a real image they lie.",
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
    asked: Side | None, among: Side | None, galleries: Sequence[Gallery], *, real: bool
) -> dict[str, Near]:
    """Of the images shown, the nearest of the other set."""
    if asked is None or among is None or asked.features is None or among.features is None:
        return {}
    if asked.features.array.ndim != 2:
        return {}
    wanted = dict.fromkeys(
        itertools.chain.from_iterable(one.names for one in galleries if one.real == real)
    )
    places = {name: i for i, name in enumerate(asked.features.names)}
    rows = np.array([places[name] for name in wanted], np.int64)
    if not len(rows):
        return {}
    k = min(_NEIGHBORS, len(among.features.array))
    whom, distances = nearest_reals(among.features.array, asked.features.array[rows], k=k)
    others = among.features.names
    return {
        name: [(others[int(i)], float(d)) for i, d in zip(*pair, strict=True)]
        for name, *pair in zip(wanted, whom, distances, strict=True)
    }
