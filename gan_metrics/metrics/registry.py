"""The metrics there are: what each needs, and what computes it.

A metric that is new is a function in this package, a row here, and a row in ``docs/metrics.md``.
Rows that name the same function are computed by one call of it, and share its work.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from gan_metrics.errors import ComputationError, GanMetricsError, UsageError, unknown_name
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.metrics.moments import Moments
from gan_metrics.metrics.validation import CHECKS

__all__ = [
    "ALL",
    "FAMILIES",
    "METRICS",
    "OF_IMAGES",
    "Metric",
    "Request",
    "Sample",
    "bandwidth_of",
    "check_arguments",
    "compute",
    "expand",
]

OF_IMAGES = ("images", "generator")
"""What is needed by metrics that look at images or at a generator, not at features."""

ALL = "all"
"""In place of names: every metric that can be computed from what was given."""


class Sample(Protocol):
    """One set of images in one feature space.

    Attributes:
        array: ``float32``, ``n × D``; ``None`` where only the moments are known.
    """

    @property
    def array(self) -> Any:
        """The features."""
        ...

    @property
    def moments(self) -> Moments:
        """Their mean and covariance."""
        ...


@dataclass(frozen=True)
class Metric:
    """One row.

    Attributes:
        name: As it is asked for and as the result calls itself.
        summary: One line for the listing.
        function: ``"module:function"``, which takes the sets, ``seed``, ``error_bar`` and the
            metric's arguments, and gives an :class:`~gan_metrics.metrics.estimate.Estimate`.
        needs: The kind of features: ``"features"``, ``"logits"``, ``"spatial"``, ``"clip"`` or
            ``"dinov2"``; or one of :data:`OF_IMAGES`, whose function takes no features.
        sides: 2: real and fake images; 1: the fake ones alone.
        moments: Which sides may be known by their moments alone: ``""``, ``"real"``, ``"both"``.
            The function is then handed those of both as ``moments``.
        together: Whether the function takes names too, and computes all rows that name it in one.
        bandwidth: Whether it takes a bandwidth ``sigma``, that of the real images if there are
            any, so that generators compare.
        held_out: Whether it takes a third set: real images that the generator was not trained on.
        spread: Whether it takes the covariances of both sets beside their features.
        arguments: Names of the keyword arguments that it takes.
        bounds: The least and the greatest value; ``None``: there is none.
        better: ``"lower"``, ``"higher"``, or ``"zero"``: the nearer to 0.
        elsewhere: What it is called outside the space that gives it its name; empty: the same.
        error_bar: How the error bar is made, and what it is good for.
        source: The paper.
    """

    name: str
    summary: str
    function: str
    source: str
    needs: str = "features"
    sides: int = 2
    moments: str = ""
    arguments: tuple[str, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    better: str = "lower"
    elsewhere: str = ""
    error_bar: str = ""
    together: bool = False
    bandwidth: bool = False
    held_out: bool = False
    spread: bool = False

    @property
    def covariances(self) -> bool:
        """Whether covariances are part of it, so that more images than dimensions are wanted."""
        return bool(self.moments) or self.spread


_INFLUENCE = "closed form, by the influence of each image; for the expected value at these n"
_HALVES = (
    "half-samples of both sets; measured at 0.8 to 1.4 times the truth for about as many fakes as "
    "reals, 0.4 to 1.5 where the value is near 0 or 1"
)
_MANIFOLD = "gan_metrics.metrics.manifold:manifold_estimates"
_KYNKAANNIEMI = "Kynkäänniemi et al. 2019, arXiv 1904.06991"
_NAEEM = "Naeem et al. 2020, arXiv 2002.09797"
_SALVY = "Salvy et al. 2025, arXiv 2507.01761"
_PARK = "Park & Kim 2023, arXiv 2309.01590"
_SHARE = (0.0, 1.0)
_SIZES = ("most", "most_real")
_ROUNDED = ("strict", "arithmetic", *_SIZES)


def _neighbors(name: str, summary: str, source: str, *arguments: str) -> Metric:
    return Metric(
        name,
        summary,
        _MANIFOLD,
        source,
        arguments=("k", *arguments),
        bounds=(0.0, None) if name == "density" else _SHARE,
        better="higher",
        error_bar=_HALVES,
        together=True,
    )


def _pointwise(name: str, summary: str, source: str, *arguments: str, bounds: Any) -> Metric:
    return Metric(
        name,
        summary,
        "gan_metrics.metrics.per_sample:pointwise_estimates",
        source,
        arguments=arguments,
        bounds=bounds,
        better="lower" if name == "rarity" else "higher",
        error_bar="half-samples of both sets; 1.0 to 1.4 times the truth",
        together=True,
    )


_ROWS = (
    Metric(
        "fid",
        "Fréchet distance between Gaussians fitted to the two sets",
        "gan_metrics.metrics.frechet:frechet_estimate",
        "Heusel et al. 2017, arXiv 1706.08500",
        moments="both",
        arguments=("directions", "divisor"),
        bounds=(0.0, None),
        elsewhere="fd",
        error_bar=(
            f"{_INFLUENCE}, not for the population's; up to 1.4 times too wide where the sets are "
            "nearly equal"
        ),
    ),
    Metric(
        "fd_infinity",
        "the Fréchet distance, extrapolated to infinitely many fake images",
        "gan_metrics.metrics.extrapolation:fd_infinity_estimate",
        "Chong & Forsyth 2020, arXiv 1911.07023",
        moments="real",
        arguments=("sizes",),
        error_bar=(
            "closed form, by the influence of each image and the scatter about the line; 0.8 to "
            "1.1 times the truth"
        ),
    ),
    Metric(
        "sfid",
        "the Fréchet distance of spatial features, 7 × 17 × 17",
        "gan_metrics.metrics.frechet:frechet_estimate",
        "Nash et al. 2021, arXiv 2103.03841; as ADM's evaluator",
        needs="spatial",
        moments="both",
        arguments=("directions", "divisor"),
        bounds=(0.0, None),
        error_bar=f"{_INFLUENCE}, not for the population's",
    ),
    Metric(
        "fd_dinov2",
        "the Fréchet distance of DINOv2's class tokens",
        "gan_metrics.metrics.frechet:frechet_estimate",
        "Stein et al. 2023, arXiv 2306.04675",
        needs="dinov2",
        moments="both",
        arguments=("directions",),
        bounds=(0.0, None),
        error_bar=f"{_INFLUENCE}, not for the population's",
    ),
    Metric(
        "kid",
        "unbiased squared MMD with a cubic kernel, mean over subsets",
        "gan_metrics.metrics.mmd:kid_estimate",
        "Bińkowski et al. 2018, arXiv 1801.01401",
        arguments=(
            "subsets",
            "subset_size",
            "degree",
            "gamma",
            "coef0",
            "draws",
            "draw_first",
            "seed",
        ),
        elsewhere="kd",
        error_bar="closed form, the variance of the U-statistic and of the draw of subsets",
    ),
    Metric(
        "cmmd",
        "squared MMD with a Gaussian kernel on unit CLIP embeddings, × 1000",
        "gan_metrics.metrics.mmd:cmmd_estimate",
        "Jayasumana et al. 2024, arXiv 2401.09603",
        needs="clip",
        arguments=("sigma", "scale"),
        bounds=(0.0, None),
        error_bar="closed form, the variance of the V-statistic",
    ),
    Metric(
        "mind",
        "sliced squared Wasserstein distance times 3 D, of equally many images",
        "gan_metrics.metrics.sliced_wasserstein:mind_estimate",
        "Berthet et al. 2026, arXiv 2605.06797",
        arguments=("directions",),
        bounds=(0.0, None),
        error_bar=_INFLUENCE,
    ),
    Metric(
        "swd",
        "sliced squared 2-Wasserstein distance",
        "gan_metrics.metrics.sliced_wasserstein:swd_estimate",
        "Rabin et al. 2011",
        arguments=("directions",),
        bounds=(0.0, None),
        error_bar=_INFLUENCE,
    ),
    Metric(
        "is",
        "Inception Score: sharp and varied class predictions, mean over splits",
        "gan_metrics.metrics.class_predictions:inception_score_estimate",
        "Salimans et al. 2016, arXiv 1606.03498",
        needs="logits",
        sides=1,
        arguments=("splits", "split_size", "deal", "ddof", "shuffle", "draws", "seed"),
        bounds=(1.0, None),
        better="higher",
        error_bar="leave-one-out within the splits; for the expected value at this n",
    ),
    _neighbors("precision", "share of fakes inside a real k-NN ball", _KYNKAANNIEMI, *_ROUNDED),
    _neighbors("recall", "share of reals inside a fake k-NN ball", _KYNKAANNIEMI, *_ROUNDED),
    _neighbors("density", "real k-NN balls around a fake, over k", _NAEEM, *_SIZES),
    _neighbors("coverage", "share of real k-NN balls that hold a fake", _NAEEM, *_SIZES),
    _neighbors("clipped_density", "density, with outliers and crowds clipped", _SALVY),
    _neighbors("clipped_coverage", "coverage, calibrated as the share of good fakes", _SALVY),
    _neighbors("p_precision", "probability that a fake lies in a real ball", _PARK, "a"),
    _neighbors("p_recall", "probability that a real lies in a fake ball", _PARK, "a"),
    Metric(
        "vendi",
        "effective number of different images: spectrum of cosine similarities",
        "gan_metrics.metrics.diversity:vendi_estimate",
        "Friedman & Dieng 2022, arXiv 2210.02410",
        sides=1,
        arguments=("q",),
        bounds=(1.0, None),
        better="higher",
        error_bar=_INFLUENCE,
    ),
    Metric(
        "rke",
        "effective number of modes: Rényi entropy of order 2, Gaussian kernel",
        "gan_metrics.metrics.diversity:rke_estimate",
        "Jalali et al. 2023, NeurIPS",
        sides=1,
        arguments=("sigma",),
        bounds=(1.0, None),
        better="higher",
        error_bar=f"{_INFLUENCE}; sigma held fixed",
        bandwidth=True,
    ),
    Metric(
        "fkea",
        "Vendi score with a Gaussian kernel by random Fourier features",
        "gan_metrics.metrics.diversity:fkea_estimate",
        "Ospanov et al. 2024, arXiv 2407.02961",
        sides=1,
        arguments=("sigma", "features", "q"),
        bounds=(1.0, None),
        better="higher",
        error_bar=f"{_INFLUENCE}; sigma held fixed",
        bandwidth=True,
    ),
    _pointwise(
        "realism",
        "how deep a fake lies in a real k-NN ball, radius over distance; the median fake",
        f"{_KYNKAANNIEMI}, section 5",
        "k",
        bounds=(0.0, None),
    ),
    _pointwise(
        "rarity",
        "radius of the smallest real k-NN ball around a fake; mean of the fakes inside one",
        "Han et al. 2023, arXiv 2206.08549",
        "k",
        bounds=(0.0, None),
    ),
    _pointwise(
        "authpct",
        "percentage of fakes farther from their nearest real than that is from its own",
        "Alaa et al. 2022, arXiv 2102.08921",
        bounds=(0.0, 100.0),
    ),
    Metric(
        "ct",
        "test of copying: are fakes nearer to the training images than held-out images are?",
        "gan_metrics.metrics.memorization:ct_estimate",
        "Meehan et al. 2020, arXiv 2004.05675",
        arguments=("components", "cells"),
        better="zero",
        error_bar="closed form (DeLong), for redraws of fakes and held-out images",
        held_out=True,
    ),
    Metric(
        "mifid",
        "Fréchet distance over the mean distance to the most similar training image",
        "gan_metrics.metrics.memorization:mifid_estimate",
        "Bai et al. 2021, arXiv 2106.03062",
        arguments=("tau",),
        bounds=(0.0, None),
        error_bar=f"{_INFLUENCE}; 1.1 to 1.6 times the truth",
        spread=True,
    ),
    Metric(
        "fld",
        "likelihood of held-out images by a density of the fakes, beside one of training images",
        "gan_metrics.metrics.feature_likelihood:fld_estimate",
        "Jiralerspong et al. 2023, arXiv 2302.04440",
        arguments=("most",),
        error_bar="closed form, for redraws of fakes and held-out images; 1.3 times the truth",
        held_out=True,
    ),
    Metric(
        "lpips_diversity",
        "mean perceptual distance (LPIPS) between pairs of fakes",
        "gan_metrics.image_metrics:lpips_diversity",
        "Zhu et al. 2017, arXiv 1711.11586",
        needs="images",
        sides=1,
        arguments=("net", "pairs", "within_class", "resize"),
        bounds=(0.0, None),
        better="higher",
        error_bar="closed form, for redraws of images and pairs",
    ),
    Metric(
        "ppl",
        "perceptual path length: how far images move when a generator's latents do",
        "gan_metrics.image_metrics:ppl",
        "Karras et al. 2019, arXiv 1812.04948",
        needs="generator",
        sides=1,
        arguments=(
            "net",
            "space",
            "sampling",
            "interpolation",
            "epsilon",
            "resize",
            "enlarge",
            "discard",
            "upper",
            "draws",
            "seed",
        ),
        bounds=(0.0, None),
        error_bar="that of a trimmed mean, for redraws of the paths",
    ),
)

METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _ROWS})
"""Name to row."""

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "prdc": ("precision", "recall", "density", "coverage"),
        "clipped": ("clipped_density", "clipped_coverage"),
        "probabilistic": ("p_precision", "p_recall"),
        "diversity": ("vendi", "rke", "fkea"),
        "memorization": ("authpct", "ct", "mifid", "fld"),
    }
)
"""Names that stand for several metrics."""

_ALIASES = {row.elsewhere: row.name for row in _ROWS if row.elsewhere}


class Request(Mapping[str, Metric]):
    """What was asked for: name, as it was asked for (a family: its members), to row.

    Args:
        rows: The rows by name.
        named: Those of the names that were not asked for by ``"all"`` alone.

    Attributes:
        named: The same.
    """

    def __init__(self, rows: Mapping[str, Metric], named: Iterable[str]) -> None:
        self._rows = dict(rows)
        self.named = frozenset(named)

    def __getitem__(self, name: str) -> Metric:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def expand(names: str | Iterable[str]) -> Request:
    """The rows that some names stand for.

    Args:
        names: Names of metrics or families, or ``"all"``; one text with commas, or several.

    Raises:
        UsageError: For an unknown name, naming the nearest, or for none at all.
    """
    if not isinstance(names, Iterable) or isinstance(names, bytes):
        raise UsageError(f"metrics must be names of metrics, such as ['fid', 'kid'], not {names!r}")
    given = names.split(",") if isinstance(names, str) else list(names)
    asked = [str(name).strip().lower() for name in given if str(name).strip()]
    if not asked:
        raise UsageError(f"no metric is named; there are {', '.join([*METRICS, *FAMILIES])}, all")
    rows: dict[str, Metric] = {}
    named: set[str] = set()
    for name in asked:
        if name == ALL:
            members: Sequence[str] = tuple(METRICS)
        else:
            members = FAMILIES.get(name, (name,))
        for member in members:
            row = METRICS.get(_ALIASES.get(member, member))
            if row is None:
                raise unknown_name("metric", name, [*METRICS, *FAMILIES, *_ALIASES, ALL])
            rows.setdefault(member, row)
            if name != ALL:
                named.add(member)
    return Request(rows, named)


def compute(
    rows: Iterable[Metric],
    real: Sample | None,
    fake: Sample,
    *,
    seed: int = 0,
    error_bar: bool = True,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    held_out: Sample | None = None,
) -> dict[str, Estimate | GanMetricsError]:
    """Compute metrics of two sets in one feature space, each function called once.

    Args:
        rows: The metrics; all of one need.
        real: The real images; may be ``None`` for metrics of one set.
        fake: The fake images.
        seed: Of every random choice.
        error_bar: Whether error bars are wanted.
        arguments: Name of a metric to its keyword arguments.
        held_out: Real images that were not trained on, for metrics that take them.

    Returns:
        Name to estimate, or to the error for which there is none.
    """
    sets = {"real": real, "fake": fake, "held_out": held_out}
    calls: dict[str, list[Metric]] = {}
    for row in dict.fromkeys(rows):
        calls.setdefault(row.function, []).append(row)
    found: dict[str, Estimate | GanMetricsError] = {}
    for together in calls.values():
        found.update(_attempt(together, sets, seed, error_bar, arguments or {}))
    return found


def check_arguments(
    arguments: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, dict[str, Any]]:
    """Refuse arguments that no metric takes, or of which the value cannot be, before any work.

    Returns:
        Name of the metric's row to its arguments.

    Raises:
        UsageError: Naming the metric and what it takes.
    """
    settled: dict[str, dict[str, Any]] = {}
    if not isinstance(arguments, Mapping | None):
        raise UsageError(
            "arguments must be a mapping from metric to its arguments, such as "
            f"{{'precision': {{'k': 5}}}}, not {arguments!r}"
        )
    for name, given in (arguments or {}).items():
        if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
            raise UsageError(f"arguments of {name} must be a mapping such as {{'k': 5}}: {given!r}")
        members = FAMILIES.get(name, (_ALIASES.get(name, name),))
        rows = [METRICS[member] for member in members if member in METRICS]
        if not rows:
            raise unknown_name("metric", name, [*METRICS, *FAMILIES, *_ALIASES])
        for argument in given:
            if not any(argument in row.arguments for row in rows):
                takes = list(dict.fromkeys(a for row in rows for a in row.arguments))
                near = difflib.get_close_matches(argument, takes, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                known = ", ".join(takes) or "none"
                raise UsageError(f"{name} takes no argument {argument!r}; it takes {known}.{hint}")
        for row in rows:
            mine = {key: value for key, value in given.items() if key in row.arguments}
            for argument, value in mine.items():
                CHECKS[argument](f"{name}.{argument}", value)
            settled.setdefault(row.name, {}).update(mine)
    return settled


def _attempt(
    rows: Sequence[Metric],
    given: Mapping[str, Sample | None],
    seed: int,
    error_bar: bool,
    arguments: Mapping[str, Mapping[str, Any]],
) -> dict[str, Estimate | GanMetricsError]:
    """What a function gives; if it cannot give all of its metrics, each of them by itself."""
    try:
        return _call(rows, given, seed, error_bar, arguments)
    except ComputationError as error:
        if len(rows) == 1:
            return {rows[0].name: error}
    alone: dict[str, Estimate | GanMetricsError] = {}
    for row in rows:
        alone.update(_attempt([row], given, seed, error_bar, arguments))
    return alone


def _call(
    rows: Sequence[Metric],
    given: Mapping[str, Sample | None],
    seed: int,
    error_bar: bool,
    arguments: Mapping[str, Mapping[str, Any]],
) -> dict[str, Estimate | GanMetricsError]:
    first = rows[0]
    module, _, name = first.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    names = ["fake"] if first.sides == 1 else ["real", "fake"]
    sets = [one for name in names if (one := given[name]) is not None]
    data = [one.moments if one.array is None else one.array for one in sets]
    how: dict[str, Any] = {"seed": seed, "error_bar": error_bar}
    if first.together:
        theirs = {row.name: dict(arguments.get(row.name, {})) for row in rows}
        return dict(function(*data, [row.name for row in rows], arguments=theirs, **how))
    if first.held_out:
        assert given["held_out"] is not None  # noqa: S101
        data.append(given["held_out"].array)
    if first.covariances:
        how["moments"] = tuple(one.moments for one in sets)
    found: dict[str, Estimate | GanMetricsError] = {}
    for row in rows:
        mine: dict[str, Any] = dict(arguments.get(row.name, {}))
        if row.bandwidth and mine.get("sigma") is None and given["real"] is not None:
            mine["sigma"] = bandwidth_of(given["real"], seed)
        found[row.name] = function(*data, **{**how, **mine})
    return found


def bandwidth_of(real: Sample, seed: int) -> float | None:
    """The bandwidth of a set, the same for every generator that is held against it."""
    from gan_metrics.metrics.diversity import bandwidth

    return None if real.array is None else bandwidth(real.array, seed=seed) or None
