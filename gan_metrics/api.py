"""The public functions: scores, statistics and features of sets of images."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from gan_metrics.analysis.per_class import measure_classes
from gan_metrics.analysis.per_image import measure_per_image
from gan_metrics.errors import (
    InputError,
    UsageError,
    WeightsError,
)
from gan_metrics.evaluation.compatibility import check_options_match
from gan_metrics.evaluation.extract import choose_feature_space, embed
from gan_metrics.evaluation.plan import other_layer
from gan_metrics.evaluation.run import Arguments, evaluate_by_protocols, score
from gan_metrics.features.features import Features
from gan_metrics.images.by_name import images_by_name
from gan_metrics.images.labels import LabelsLike, labels_of_both
from gan_metrics.inputs.opening import open_set
from gan_metrics.inputs.options import Options, takes_options
from gan_metrics.inputs.sets import ImageSet, Input
from gan_metrics.metrics import registry
from gan_metrics.protocols.table import split_names
from gan_metrics.results.result import EvaluationResult, MetricResult
from gan_metrics.stats.files import choose_format, write_statistics
from gan_metrics.stats.formats import Images, StatisticsFormat
from gan_metrics.stats.merge import merged_statistics
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.validation import whole_number

__all__ = [
    "Options",
    "compute_stats",
    "evaluate",
    "extract_features",
    "fid",
    "merge_stats",
    "write_reference",
]


@takes_options
def fid(
    real: Input,
    fake: Input,
    *,
    directions: int = 0,
    error_bars: bool = True,
    options: Options,
) -> MetricResult:
    """Compute the Fréchet distance between two sets of images.

    Heusel et al. (2017), arXiv 1706.08500. In the 2015 Inception's pool3 the result is called
    ``fid``, in any other feature space ``fd``.

    Args:
        real: Real images: a folder of images, a statistics ``.npz``, or the output of
            :func:`compute_stats`, :func:`~gan_metrics.stats.files.load_stats` or
            :func:`extract_features`; every form in ``docs/sources.md``.
        fake: Generated images, in any of the forms of ``real``.
        directions: Number of directions that contribute most to the distance; their shares are in
            ``details["leading_directions"]``.
        error_bars: Whether to compute the standard error.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`.

    Returns:
        The distance with its standard error for redrawing both sets at these sample sizes. A set
        given as mean and covariance is treated as fixed.

    Raises:
        UsageError: For an unknown name or an unavailable device.
        InputError: If a set is missing or unreadable.
        WeightsError: If the weights are unavailable.
        MismatchError: If the two sets have different feature spaces.
        ComputationError: If the distance is not defined for these data.
        ResourceError: If the disk, memory or another resource fails.
    """
    arguments = {"fid": {"directions": directions}} if directions else {}
    found = score("fid", real, fake, error_bars=error_bars, arguments=arguments, options=options)
    return found["fid"]


@takes_options
def evaluate(
    real: Input | None,
    fake: Input,
    *,
    metrics: str | Iterable[str] = registry.ALL,
    held_out: Input | None = None,
    error_bars: bool = True,
    arguments: Arguments | None = None,
    per_image: bool = False,
    per_class: bool = False,
    labels: LabelsLike = None,
    top: int = 0,
    protocol: str | Sequence[str] | None = None,
    options: Options,
) -> EvaluationResult:
    """Compute many metrics of two sets of images with one decode and one pass of each network.

    Args:
        real: Real images, as for :func:`fid`; ``None`` for metrics of the generated images only.
        fake: Generated images, as for :func:`fid`.
        metrics: Names of :data:`~gan_metrics.metrics.registry.METRICS` or of families such as
            ``"prdc"``; ``"all"``: everything that these inputs allow.
        held_out: Real images that were not used in training, for ``ct`` and ``fld``; ``real`` is
            then the training set.
        error_bars: Whether to compute error bars.
        arguments: Keyword arguments by metric, such as ``{"precision": {"k": 5}}``.
        per_image: Whether to analyze single images, in the feature space of the chosen backbone
            and layer; the result then has ``.per_image``.
        per_class: Whether to compute the metrics of each class too; the result then has
            ``.per_class``.
        labels: The class of each image: a mapping from names to classes, or a ``.csv`` or
            ``.json`` file; a pair of these if the two sets need their own. ``None``: the first
            folder in the image's name. Labels imply ``per_class``.
        top: Number of images of each kind that the result's text and JSON list; implies
            ``per_image``.
        protocol: A key of ``PROTOCOLS``, or several, as a list or comma-separated: each metric is
            then computed by each protocol, from one decode, and is called ``metric@protocol``.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`.

    Returns:
        A mapping of names, as requested (families: their members), to results. ``.not_computed``
        has the reason for each metric that could not be computed.

    Raises:
        GanMetricsError: As for :func:`fid`, except what is impossible for one metric only.
    """
    request = registry.expand(metrics)
    protocols = [] if protocol is None else split_names(protocol)
    if len(protocols) == 1:
        options = replace(options, protocol=protocols.pop())
    top = whole_number("top", top, least=0)
    by_class = per_class or labels is not None
    both = labels_of_both(labels)  # before any work
    per_image = per_image or top > 0
    if per_image and protocols:
        raise UsageError("single images can be analyzed with one protocol only; name one protocol")
    [found] = evaluate_by_protocols(
        request,
        real,
        [fake],
        options,
        protocols=protocols or [None],
        held_out=held_out,
        error_bars=error_bars,
        arguments=arguments,
        main_sets=per_image,
    )
    if not any(one.results for one in found.values()):
        for error in (error for one in found.values() for error in one.errors.values()):
            if isinstance(error, WeightsError):
                raise error
    results: dict[str, MetricResult] = {}
    not_computed: dict[str, str] = {}
    for name in request:
        for key, one in found.items():
            shown = name if key is None else f"{name}@{key}"
            if name in one.results:
                results[shown] = one.results[name]
            elif name in one.errors:
                not_computed[shown] = str(one.errors[name])
            elif name in one.not_computed:
                not_computed[shown] = one.not_computed[name]
    main_sets = found[None].main_sets if per_image else None
    return EvaluationResult(
        results,
        not_computed,
        protocols=protocols,
        per_image=None if main_sets is None else measure_per_image(main_sets),
        per_class=measure_classes(found, both) if by_class else None,
        top=top,
    )


@takes_options
def compute_stats(source: Input, *, options: Options) -> Statistics:
    """Compute the reference statistics of a set of images: mean, covariance and their header.

    Args:
        source: A folder of images, or the features of one.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`.

    Returns:
        The statistics; ``.save(path)`` writes them.

    Raises:
        GanMetricsError: As for :func:`fid`.
    """
    given = open_set(source, options)
    if isinstance(given, Statistics) or (isinstance(given, ImageSet) and given.stored):
        raise InputError(f"{given.description} holds statistics already; give images or features")
    return _statistics(_features_of(given, options, keep_features=False))


def merge_stats(parts: Sequence[Input]) -> Statistics:
    """Merge the statistics of several sets, as if their images were one set.

    Means and covariances are merged by the formula of Chan, Golub & LeVeque (1979) in float64. The
    order of the parts changes only the last bit.

    Args:
        parts: Statistics, or statistics files, each with its number of images.

    Returns:
        The statistics of all images.

    Raises:
        UsageError: If there are no parts, or one does not hold statistics.
        InputError: If a file is missing, broken or without a count, or a part is given twice.
        MismatchError: If the parts have different feature spaces, protocols or dimensions.
    """
    found = []
    for given in [open_set(part, Options()) for part in parts]:
        if not isinstance(given, Statistics):
            raise UsageError(
                f"{given.description} is not a statistics file; make one with gan-metrics stats"
            )
        found.append(given)
    return merged_statistics(found)


@takes_options
def write_reference(
    source: Input,
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    options: Options,
) -> tuple[Path, Statistics]:
    """Write the reference statistics of a set of images in the file format of a tool.

    Args:
        source: As for :func:`compute_stats`; a folder or a batch of images for ``"adm"``.
        path: The file to write.
        kind: ``"npz"``: the format of gan-metrics, which pytorch-fid, TTUR, clean-fid, EDM and EDM2
            can also read; ``"torch-fidelity"``: an entry of its cache; ``"edm2"``: EDM2's pickle;
            ``"adm"``: a reference batch of ADM's evaluator, with spatial moments and the first
            10,000 images. ``None``: from the path's extension, ``.npz``, ``.pt`` or ``.pkl``.
        options: Keywords of :class:`Options`. The default protocol is that of the tool.

    Returns:
        The path of the file, and its main statistics.

    Raises:
        UsageError: For an unknown kind.
        MismatchError: If the tool's format cannot hold the requested features.
        GanMetricsError: As for :func:`compute_stats`.
    """
    path = Path(path)
    chosen = choose_format(kind, path)
    options = replace(options, protocol=chosen.choose_protocol(options.protocol))
    images: Images = ()
    if chosen.most_images:
        statistics, images = _statistics_and_images(source, chosen, options)
    else:
        statistics = compute_stats(source, options=options)
    write = functools.partial(write_statistics, statistics, path, chosen.name, images)
    return _by_leader(options, path, write), statistics


def _statistics_and_images(
    source: Input, chosen: StatisticsFormat, options: Options
) -> tuple[Statistics, Images]:
    """Return the statistics of all kinds of features in a format, and its first images."""
    given = open_set(source, options)
    if not isinstance(given, ImageSet):
        raise InputError(
            f"{given.description} does not hold images, which {chosen.name} files contain"
        )
    space = choose_feature_space([given], options)
    assert space is not None  # noqa: S101  (there are images)
    spaces = {
        kind: space if kind == "features" else other_layer(space, convention.template)
        for kind, convention in chosen.conventions.items()
    }
    [found] = embed([given], [[*spaces.values()]], options, keep_features=False)
    features = {kind: found[one.spec] for kind, one in spaces.items()}
    main, *others = (replace(_statistics(one), kind=kind) for kind, one in features.items())
    kept = list(features["features"].names)[: chosen.most_images]
    decoded = images_by_name(given.source, kept, space.decoding)
    images = (pixels.transpose(1, 2, 0) for pixels in decoded)
    return replace(main, others={one.kind: one for one in others}), images


def _by_leader(options: Options, path: Path, write: Callable[[], Path]) -> Path:
    """Write a file on the main rank, and wait for it on all ranks."""
    comm = options.comm
    with comm.fail_together():
        written = write() if comm.is_main else path
    return comm.gather(written)[0]


def _statistics(features: Features) -> Statistics:
    """Return the moments of features with the provenance of their images."""
    sizes = list(features.tally.sizes)
    return Statistics(
        resolution=sizes[0] if len(sizes) == 1 else None,
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


@takes_options
def extract_features(source: Input, *, options: Options) -> Features:
    """Compute the features of a set of images.

    Args:
        source: A folder of images, or saved features, which are loaded.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`.

    Returns:
        The features: ``.names`` and ``.array`` (``float32``, ``n × D``), one row per image. With
        ``pool="none"`` feature maps keep their shape, ``n × C × H × W``.

    Raises:
        GanMetricsError: As for :func:`fid`.
    """
    given = open_set(source, options)
    if isinstance(given, Statistics):
        raise InputError(f"{given.description} holds statistics; features need images")
    return replace(_features_of(given, options, moments=False), source=None)


def _features_of(
    given: ImageSet | Features,
    options: Options,
    *,
    moments: bool = True,
    keep_features: bool = True,
) -> Features:
    """Embed one set; see :func:`~gan_metrics.evaluation.extract.embed`."""
    check_options_match(given, options)
    space = choose_feature_space([given], options)
    if isinstance(given, Features):
        return given
    assert space is not None  # noqa: S101  (there are images)
    [found] = embed([given], [[space]], options, moments=moments, keep_features=keep_features)
    return found[space.spec]
