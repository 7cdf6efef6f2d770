"""The one composition: sources and statistics in, results out."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import Unpack

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.features import Features
from gan_metrics.metrics.frechet import FrechetTerms, frechet_terms
from gan_metrics.options import Options, check_options
from gan_metrics.results import MetricResult, Warning_, unique, versions
from gan_metrics.sides import (
    Input,
    Side,
    agree_with_command,
    common_protocol,
    common_spec,
    declared_warnings,
    embed_all,
    open_side,
    settle,
)
from gan_metrics.stats import Statistics

__all__ = ["Options", "compute_stats", "extract_features", "fid"]


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
    check_options(options)
    sides = [open_side(side, options) for side in (real, fake)]
    choice = settle(sides, options)
    done = embed_all(sides, choice, options)
    spec, declared = common_spec(done, choice, options)
    for side in done:
        if side.moments.n is not None and side.moments.n < 2:
            raise ComputationError(
                f"{side.description} has 1 image; a covariance needs at least two images"
            )
    terms = _terms(done, error_bars)
    inception = (spec.backbone, spec.layer, spec.pool) == ("inception", "pool3", "avg")
    random = str(spec.weights_sha256).startswith("random")
    protocol = common_protocol(done, choice)
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
        warnings=unique(
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
    check_options(options)
    side = open_side(source, options)
    if side.statistics is not None:
        raise InputError(f"{side.statistics.description or source} holds statistics already")
    agree_with_command(side, options)
    choice = settle([side], options)
    features = embed_all([side], choice, options)[0].features
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


def extract_features(source: Input, **options: Unpack[Options]) -> Features:
    """The features of a set of images.

    Args:
        source: A folder of images, or saved features, which are loaded.
        options: See :class:`Options`.

    Returns:
        ``.names`` and ``.array`` (``float32``, ``n × D``), one row per image. With ``pool="none"``
        the maps of a layer keep their shape, ``n × C × H × W``.

    Raises:
        GanMetricsError: As for :func:`fid`.
    """
    check_options(options)
    side = open_side(source, options)
    if side.statistics is not None:
        raise InputError(f"{side.description} holds statistics; features come from images")
    agree_with_command(side, options)
    features = embed_all([side], settle([side], options), options, moments=False)[0].features
    assert features is not None  # noqa: S101
    return features


def _terms(sides: Sequence[Side], error_bars: bool) -> FrechetTerms:
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
        raise type(error)(f"{real.description} and {fake.description}: {error}") from error


def _frechet_warnings(
    sides: Sequence[Side], error_bars: bool, declared: Sequence[str]
) -> list[Warning_]:
    found = []
    for side in sides:
        n, dim = side.moments.n, side.moments.dim
        if n is not None and n <= dim:
            found.append(
                (
                    "few-images",
                    f"{side.description}: {n} images for {dim} dimensions; the covariance is "
                    "singular and the distance far above that of the population (an error bar is "
                    "then the infinitesimal jackknife in the span of the sample)",
                )
            )
    fixed = [side.description for side in sides if side.features is None]
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
    return [*found, *declared_warnings(declared)]
