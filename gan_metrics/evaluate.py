"""The one composition: sources and statistics in, results out."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict, Unpack

from gan_metrics.backbones.choice import BackboneChoice
from gan_metrics.backbones.registry import BACKBONES, choose_backbone, state_spec
from gan_metrics.cache import FeatureCache
from gan_metrics.errors import (
    ComputationError,
    InputError,
    MismatchError,
    UsageError,
    unknown_name,
)
from gan_metrics.features import Extraction, Features, Progress, extract
from gan_metrics.images.sources import ImageSource, open_source
from gan_metrics.metrics.frechet import FrechetTerms, frechet_terms
from gan_metrics.moments import Moments
from gan_metrics.protocols import PROTOCOLS, protocol_for
from gan_metrics.results import MetricResult, Warning_, versions
from gan_metrics.specs import FeatureSpec
from gan_metrics.stats import Statistics, is_statistics, load_stats

if TYPE_CHECKING:
    from gan_metrics.backbones.network import Backbone

__all__ = ["Options", "compute_stats", "extract_features", "fid", "must_agree"]

Input = str | os.PathLike[str] | Statistics | Features


class Options(TypedDict, total=False):
    """What every composition takes, by the same names as the command line.

    Attributes:
        backbone: A key of ``BACKBONES``; by default what a statistics file says, else the 2015
            Inception.
        layer: Where it is cut; its final pooling layer by default.
        pool: ``"avg"``, ``"max"``, ``"cls"``, ``"flatten"`` or ``"none"``.
        protocol: A key of ``PROTOCOLS``.
        weights: A file, or ``"random"``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"``.
        batch_size: Images per forward pass.
        workers: Processes that decode; 0: threads.
        max_images: Take this many of each set, drawn with ``seed``.
        seed: Of every random choice; 0 by default.
        recursive: Whether to go into folders below; ``True`` by default.
        alpha: ``"drop"``, ``"white"`` or ``"black"``; the protocol's way by default.
        exif: ``"ignore"`` or ``"apply"``; the protocol's way by default.
        on_error: ``"raise"`` (default) or ``"skip"``.
        cache: A folder; ``True`` (default): the user's; ``False``: none.
        progress: Called with a description, the images done, and their number.
    """

    backbone: str | None
    layer: str | None
    pool: str | None
    protocol: str | None
    weights: str | os.PathLike[str] | None
    device: str
    precision: str | None
    batch_size: int | None
    workers: int | None
    max_images: int | None
    seed: int
    recursive: bool
    alpha: str | None
    exif: str | None
    on_error: str
    cache: bool | str | os.PathLike[str]
    progress: Progress | None


def fid(
    real: Input, fake: Input, *, error_bars: bool = True, **options: Unpack[Options]
) -> MetricResult:
    """The Fréchet distance between two sets of images.

    Heusel et al. (2017), arXiv 1706.08500. In the 2015 Inception's pool3 it is the FID; in any
    other space the result calls itself ``fd``.

    Args:
        real: A folder of images, a statistics ``.npz``, or what :func:`compute_stats`,
            :func:`~gan_metrics.stats.load_stats` or :func:`extract_features` gave.
        fake: The same.
        error_bars: Whether to take the second look at the features that the error bar needs.
        options: See :class:`Options`.

    Returns:
        The distance with its standard error over redraws of both sets at these sample sizes; a
        side known by its moments alone is held fixed.

    Raises:
        UsageError: For an unknown name, or a device that is not there.
        InputError: When a side is missing or cannot be read.
        WeightsError: When the weights cannot be had.
        MismatchError: When the two sides are of different feature spaces.
        ComputationError: When the distance is not defined on these data.
        ResourceError: When the disk or another resource gives out.
    """
    _check(options)
    sides = [_open(side, options) for side in (real, fake)]
    choice = _settle(sides, options)
    done = _embed_all(sides, choice, options)
    spec, declared = _common_spec(done, choice, options)
    for side in done:
        if side.moments.n is not None and side.moments.n < 2:
            raise ComputationError(
                f"{_describe(side)} has 1 image; a covariance needs at least two images"
            )
    terms = _terms(done, error_bars)
    inception = (spec.backbone, spec.layer, spec.pool) == ("inception", "pool3", "avg")
    random = str(spec.weights_sha256).startswith("random")
    protocol = _common_protocol(done, choice)
    return MetricResult(
        metric="fid" if inception and not random else "fd",
        value=terms.distance,
        standard_error=terms.standard_error,
        n_real=done[0].moments.n,
        n_fake=done[1].moments.n,
        protocol=protocol,
        feature_spec=spec,
        seed=options.get("seed", 0),
        skipped_files=[item for side in done for item in side.skipped],
        declared=declared,
        terms={"mean": terms.mean_term, "covariance": terms.covariance_term},
        warnings=_once(
            [
                *(warning for side in done for warning in side.warnings),
                *_frechet_warnings(done, error_bars, declared),
            ]
        ),
        versions=versions(),
    )


def compute_stats(source: Input, **options: Unpack[Options]) -> Statistics:
    """Reference statistics of a set of images.

    Args:
        source: A folder of images, or the features of one.
        options: See :class:`Options`.

    Returns:
        The statistics; ``.save(path)`` writes them.

    Raises:
        GanMetricsError: As for :func:`fid`.
    """
    _check(options)
    side = _open(source, options)
    if side.statistics is not None:
        raise InputError(f"{side.statistics.description or source} holds statistics already")
    choice = _settle([side], options)
    features = _embed_all([side], choice, options)[0].features
    assert features is not None  # noqa: S101
    return Statistics(
        moments=features.moments,
        spec=features.spec,
        protocol=features.protocol,
        source={
            "digest": features.digest,
            "skipped": len(features.skipped),
            "skipped_files": [list(pair) for pair in features.skipped],
        },
        warnings=tuple(features.warnings),
    )


def extract_features(source: str | os.PathLike[str], **options: Unpack[Options]) -> Features:
    """The features of a set of images.

    Args:
        source: A folder of images.
        options: See :class:`Options`.

    Returns:
        ``.names`` and ``.array`` (``float32``, ``n × D``), one row per image.

    Raises:
        GanMetricsError: As for :func:`fid`.
    """
    _check(options)
    side = _open(source, options)
    if side.source is None:
        raise InputError(f"{source} holds statistics; features come from images")
    features = _embed_all([side], _settle([side], options), options)[0].features
    assert features is not None  # noqa: S101
    return features


@dataclass(frozen=True)
class _Side:
    """One side on its way from what was given to what is compared."""

    source: ImageSource | None = None
    statistics: Statistics | None = None
    features: Features | None = None

    @property
    def moments(self) -> Moments:
        known = self.features or self.statistics
        assert known is not None  # noqa: S101
        return known.moments

    @property
    def data(self) -> Moments | npt.NDArray[np.float32]:
        return self.moments if self.features is None else self.features.array

    @property
    def spec(self) -> FeatureSpec | None:
        known = self.features or self.statistics
        return None if known is None else known.spec

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        if self.statistics is not None:
            listed = self.statistics.source.get("skipped_files", ())
            return [(str(name), str(reason)) for name, reason in listed]
        return () if self.features is None else self.features.skipped

    @property
    def warnings(self) -> Sequence[Warning_]:
        known = self.features or self.statistics
        return () if known is None else known.warnings


def _check(options: Any) -> None:
    for name in options:
        if name not in Options.__annotations__:
            raise unknown_name("option", name, Options.__annotations__)
    device = options.get("device", "auto")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise UsageError(f"unknown device {device!r}; expected auto, cpu, cuda, cuda:1 or mps")
    seed = options.get("seed", 0)
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed!r}: expected a whole number from 0 to 2⁶³ − 1")
    _extraction(options)


def _open(given: Input, options: Options) -> _Side:
    if isinstance(given, Statistics):
        return _Side(statistics=given)
    if isinstance(given, Features):
        return _Side(features=given)
    if not isinstance(given, str | os.PathLike):
        raise UsageError(f"expected a path, statistics or features, not {type(given).__name__}")
    if os.fspath(given) == "":
        raise InputError("a side is empty text; give a folder of images or a statistics file")
    if is_statistics(given):
        return _Side(statistics=load_stats(given))
    return _Side(source=open_source(given, recursive=options.get("recursive", True)))


def _settle(sides: Sequence[_Side], options: Options) -> BackboneChoice | None:
    """The feature space of the images, if there are any; a header chooses where nothing is named.

    Raises:
        MismatchError: When what is named is not what a header says.
    """
    stated = next((s for s in sides if s.spec and s.spec.backbone), None)
    wanted = FeatureSpec() if stated is None or stated.spec is None else stated.spec
    if options.get("max_images") is not None and any(side.source is None for side in sides):
        raise UsageError("max_images draws images, and a side is known by its statistics alone")
    if all(side.source is None for side in sides):
        return None
    backbone = options.get("backbone") or wanted.backbone
    if backbone != wanted.backbone:  # then nothing else of the header applies; it will not agree
        wanted, stated = FeatureSpec(), None
    elif backbone not in (None, *BACKBONES) and not options.get("backbone"):
        raise MismatchError(
            f"the statistics are of the backbone {backbone!r}, which is not built in; "
            "repeat it with --backbone"
        )
    departures = dict(wanted.departures or ())
    protocol = options.get("protocol")
    if protocol is None and stated is not None and stated.statistics is not None:
        protocol = stated.statistics.protocol
        if protocol not in (None, *PROTOCOLS):
            raise MismatchError(f"the statistics are of the protocol {protocol!r}, unknown here")
    choice = choose_backbone(
        backbone,
        layer=options.get("layer") or wanted.layer,
        pool=options.get("pool") or wanted.pool,
        protocol=protocol,
        weights=_weights(options),
        precision=options.get("precision") or wanted.precision,
        alpha=options.get("alpha") or departures.get("alpha"),
        exif=options.get("exif") or departures.get("exif"),
        seed=options.get("seed", 0),
        progress=options.get("progress"),
    )
    for side in sides:
        if side.spec is not None:
            must_agree(side.spec, choice.spec, _describe(side), "the command")
    return choice


def _embed_all(
    sides: Sequence[_Side], choice: BackboneChoice | None, options: Options
) -> list[_Side]:
    """The sides with their images embedded by one network, which is built when it is needed."""
    if choice is None:
        return list(sides)

    @functools.cache
    def network() -> Backbone:
        from gan_metrics.backbones.network import Backbone

        return Backbone(choice, options.get("device", "auto"))

    how = _extraction(options)
    return [
        side
        if side.source is None
        else replace(side, features=extract(side.source, choice, network, how))
        for side in sides
    ]


def _extraction(options: Options) -> Extraction:
    return Extraction(
        batch_size=options.get("batch_size"),
        workers=options.get("workers"),
        on_error=options.get("on_error", "raise"),
        max_images=options.get("max_images"),
        seed=options.get("seed", 0),
        cache=_cache(options.get("cache", True)),
        progress=options.get("progress"),
    )


def _weights(options: Options) -> str | Path | None:
    given = options.get("weights")
    return "random" if given == "random" else None if given is None else Path(given)


def _once(warnings: Sequence[Warning_]) -> list[Warning_]:
    """Each warning once, in order."""
    return list(dict.fromkeys(warnings))


def _cache(given: bool | str | os.PathLike[str]) -> FeatureCache | None:
    if given is False:
        return None
    return FeatureCache(None if given is True else Path(given))


def _claimed(sides: Sequence[_Side], options: Options) -> FeatureSpec:
    """What the command says about the space of sides that both have their features already."""
    backbone = next((s.spec.backbone for s in sides if s.spec and s.spec.backbone), None)
    return state_spec(
        options.get("backbone") or (backbone if backbone in BACKBONES else None),
        layer=options.get("layer"),
        pool=options.get("pool"),
        protocol=options.get("protocol"),
        weights=_weights(options),
        precision=options.get("precision"),
        alpha=options.get("alpha"),
        exif=options.get("exif"),
        seed=options.get("seed", 0),
    )


def _common_spec(
    sides: Sequence[_Side], choice: BackboneChoice | None, options: Options
) -> tuple[FeatureSpec, tuple[str, ...]]:
    """The feature space of both sides, and the fields of it that a side did not state.

    What the files leave open is taken from the command. Where that is silent too, 2048 dimensions
    are taken for the default backbone's, which is what such files are made with.
    """
    one, other = (side.spec or FeatureSpec() for side in sides)
    must_agree(one, other, *(_describe(side) for side in sides))
    dims = [side.moments.dim for side in sides]
    if dims[0] != dims[1]:
        raise MismatchError(
            f"{_describe(sides[0])} has {dims[0]} dimensions and {_describe(sides[1])} "
            f"{dims[1]}: they are of different layers; choose the one that fits with --layer"
        )
    spec = one.filled_from(other)
    if choice is None:
        claimed = _claimed(sides, options)
        must_agree(spec, claimed, " and ".join(_describe(s) for s in sides), "the command")
        spec = spec.filled_from(claimed)
    declared = tuple(sorted(set(one.unstated()) | set(other.unstated())))
    if choice is None and not spec.backbone and dims[0] == 2048:
        template = protocol_for(None, "inception").metrics["fid"].template
        layer = BACKBONES["inception"].default_layer
        default = replace(template, layer=layer, pool="avg", departures=())
        spec = spec.filled_from(default)
    return spec, declared


def must_agree(one: FeatureSpec, other: FeatureSpec, name: str, other_name: str) -> None:
    """Let two feature spaces pass only if they are the same in all that both state.

    Raises:
        MismatchError: Naming the fields that differ.
    """
    if fields := one.differences(other):
        lines = [
            f"  {field}: {_shown(getattr(one, field))} — {_shown(getattr(other, field))}"
            for field in fields
        ]
        raise MismatchError(
            f"{name} and {other_name} are of different feature spaces and cannot be compared:\n"
            + "\n".join(lines)
            + "\nCompute both with the same --backbone, --layer, --protocol, --weights, "
            "--precision, --alpha and --exif."
        )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{k}={v}" for k, v in value) or "none"
    return str(value)


def _describe(side: _Side) -> str:
    if side.statistics is not None:
        return side.statistics.description or "the statistics"
    return "the features" if side.source is None else side.source.description


def _terms(sides: Sequence[_Side], error_bars: bool) -> FrechetTerms:
    real, fake = sides
    try:
        return frechet_terms(
            real.data,
            fake.data,
            moments_a=real.moments,
            moments_b=fake.moments,
            error_bar=error_bars,
        )
    except (InputError, ComputationError) as error:
        raise type(error)(f"{_describe(real)} and {_describe(fake)}: {error}") from error


def _common_protocol(sides: Sequence[_Side], choice: BackboneChoice | None) -> str | None:
    if choice is not None:
        return choice.protocol.name
    known = (side.features or side.statistics for side in sides)
    return next((k.protocol for k in known if k is not None and k.protocol), None)


def _frechet_warnings(
    sides: Sequence[_Side], error_bars: bool, declared: Sequence[str]
) -> list[Warning_]:
    found = []
    for side in sides:
        n, dim = side.moments.n, side.moments.dim
        if n is not None and n <= dim:
            found.append(
                (
                    "few-images",
                    f"{_describe(side)}: {n} images for {dim} dimensions; the covariance is "
                    "singular and the distance far above that of the population (an error bar is "
                    "then the infinitesimal jackknife in the span of the sample)",
                )
            )
    fixed = [_describe(side) for side in sides if side.features is None]
    if error_bars and len(fixed) == 1:
        found.append(
            (
                "reference-fixed",
                f"{fixed[0]} is known by its moments alone: the error bar holds it fixed",
            )
        )
    elif error_bars and fixed:
        found.append(
            (
                "no-error-bar",
                "both sides are known by their moments alone, so there is no error bar",
            )
        )
    if declared:
        found.append(
            (
                "declared",
                f"a file does not state its {', '.join(declared)}: taken on trust",
            )
        )
    return found
