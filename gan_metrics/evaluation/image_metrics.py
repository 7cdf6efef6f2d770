"""Metrics of images and of generators: from a set and the options to a value with provenance."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gan_metrics.errors import UsageError
from gan_metrics.features.chunks import draw_images
from gan_metrics.generators.generated import Generated
from gan_metrics.image_metrics.pairs import DecodedImages, lpips_diversity
from gan_metrics.image_metrics.path_length import ppl
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import ImageSet
from gan_metrics.metrics.entry import Metric
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.metrics.registry import METRICS
from gan_metrics.protocols.spec import Decoding, FeatureSpec
from gan_metrics.utils.imports import import_object
from gan_metrics.utils.result_warning import ResultWarning

if TYPE_CHECKING:
    from gan_metrics.backbones.lpips import Lpips

__all__ = [
    "ImageMetric",
    "ImageMetricInput",
    "compute_image_metric",
    "lpips_diversity_of",
    "network_of",
    "path_length_of",
]


@dataclass(frozen=True)
class ImageMetric:
    """The value of a metric of images or of a generator, with its provenance.

    Attributes:
        estimate: The value with its error bar.
        spec: The feature space of the network; without a network, only the decoding.
        count: Number of images or paths.
        digest: Hash of the images that were used.
        skipped: Name and reason for each image that was left out.
        warnings: Pairs of a code and a message.
    """

    estimate: Estimate
    spec: FeatureSpec
    count: int
    digest: str | None = None
    skipped: Sequence[tuple[str, str]] = ()
    warnings: Sequence[ResultWarning] = ()


class ImageMetricInput:
    """The input of the function of a metric of images or of a generator.

    Args:
        metric: The entry of the metric.
        images: The images; for a metric of generators, drawn by a generator.
        options: Device, weights, seed, handling of bad images, progress.
        arguments: Keyword arguments of the metric.
        error_bar: Whether to compute the standard error.
        alone: Whether ``--weights FILE`` without a backbone's name belongs to this metric.

    Attributes:
        arguments: Keyword arguments of the metric, without ``net`` and ``seed``.
        seed: Seed of all random numbers.
        error_bar: Whether to compute the standard error.
        device: Device of the network, such as ``"cuda"``.
        progress: Called with a description, the number done, and the total; or ``None``.
    """

    def __init__(
        self,
        metric: Metric,
        images: ImageSet,
        options: Options,
        arguments: Mapping[str, Any],
        *,
        error_bar: bool = True,
        alone: bool = True,
    ) -> None:
        self._metric, self._images, self._options, self._alone = metric, images, options, alone
        self._given = dict(arguments)
        self._decoding = Decoding(options.alpha or "drop", options.exif or "ignore")
        self.arguments = {k: v for k, v in arguments.items() if k not in ("net", "seed")}
        self.seed = arguments.get("seed", options.seed_or_default)
        self.error_bar = error_bar
        self.device = options.device
        self.progress = options.progress

    @functools.cached_property
    def images(self) -> DecodedImages:
        """The decoded images: ``len()``, ``names``, and ``pixels(i)``, ``uint8``, 3 × H × W."""
        source, options = self._images.source, self._options
        rows = draw_images(len(source.names), options.max_images, options.seed_or_default)
        return DecodedImages(source, options.on_error, rows, self._decoding)

    @functools.cached_property
    def generated(self) -> Generated:
        """The images of the generator.

        Raises:
            UsageError: If the images are not drawn by a generator.
        """
        source, most = self._images.source, self._options.max_images
        if not isinstance(source, Generated):
            raise UsageError("a perceptual path length needs a generator; give --generator")
        if most is not None and most < len(source.names):
            return source.redrawn(most, source.seed)
        return source

    @functools.cached_property
    def lpips(self) -> Lpips:
        """The LPIPS distance of the kind that the metric or the argument ``net`` names."""
        from gan_metrics.backbones.lpips import Lpips

        return Lpips(
            _net_of(self._metric, self._given),
            weights=self._options.weights_of(
                network_of(self._metric.name, self._given), main=self._alone
            ),
            device=self.device,
            seed=self._options.seed_or_default,
            progress=self.progress,
        )

    def result(self, estimate: Estimate) -> ImageMetric:
        """Return the value with the provenance of everything that was used to compute it."""
        used = vars(self)  # a cached property is in here once it was used
        spec, warnings = FeatureSpec(), []
        if "lpips" in used:
            spec, warnings = self.lpips.spec, list(self.lpips.warnings)
        spec = replace(spec, departures=_departures(self._decoding))
        if "generated" in used:
            return ImageMetric(estimate, spec, len(self.generated.names), warnings=warnings)
        images, source = self.images, self._images.source
        assert source is not None  # noqa: S101
        return ImageMetric(
            estimate,
            spec,
            len(images) - len(images.skipped),
            images.digest,
            list(images.skipped.items()),
            [*warnings, *source.warnings],
        )


def lpips_diversity_of(given: ImageMetricInput) -> Estimate:
    """Compute the mean LPIPS between pairs of the images; see :func:`lpips_diversity`."""
    return lpips_diversity(
        given.images,
        given.lpips,
        seed=given.seed,
        error_bar=given.error_bar,
        progress=given.progress,
        **given.arguments,
    )


def path_length_of(given: ImageMetricInput) -> Estimate:
    """Compute the perceptual path length of the generator; see :func:`ppl`."""
    return ppl(
        given.generated,
        given.lpips,
        seed=given.seed,
        error_bar=given.error_bar,
        progress=given.progress,
        **given.arguments,
    )


def network_of(metric: str, arguments: Mapping[str, Any]) -> str:
    """Return the backbone whose weights a metric's LPIPS uses; empty if it uses no LPIPS."""
    from gan_metrics.backbones.lpips import NETS

    kind = _net_of(METRICS[metric], arguments)
    return NETS[kind] if kind else ""


def _net_of(metric: Metric, arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("net", metric.network))


def compute_image_metric(
    metric: str,
    images: ImageSet,
    options: Options,
    arguments: Mapping[str, Any],
    *,
    error_bar: bool,
    alone: bool,
) -> ImageMetric:
    """Compute a metric of images or of a generator.

    Args:
        metric: Name of the metric.
        images: The images; for a metric of generators, drawn by a generator.
        options: Device, weights, seed, handling of bad images, progress.
        arguments: Keyword arguments of the metric.
        error_bar: Whether to compute the standard error.
        alone: Whether ``--weights FILE`` without a backbone's name belongs to this metric.

    Raises:
        GanMetricsError: As the function of the metric does.
    """
    entry = METRICS[metric]
    given = ImageMetricInput(entry, images, options, arguments, error_bar=error_bar, alone=alone)
    function = import_object(entry.function) if isinstance(entry.function, str) else entry.function
    found = function(given)
    return given.result(found if isinstance(found, Estimate) else Estimate(float(found)))


def _departures(decoding: Decoding) -> tuple[tuple[str, str], ...]:
    """Return the settings of the decoding that differ from the default."""
    plain = Decoding()
    ways = {"alpha": (decoding.alpha, plain.alpha), "exif": (decoding.exif, plain.exif)}
    return tuple(sorted((name, way) for name, (way, usual) in ways.items() if way != usual))
