"""Metrics of images or of a generator: LPIPS diversity and perceptual path length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gan_metrics.errors import UsageError
from gan_metrics.features.chunks import draw_images
from gan_metrics.generators.generated import Generated
from gan_metrics.image_metrics.pairs import DecodedImages, lpips_diversity
from gan_metrics.image_metrics.path_length import ppl
from gan_metrics.images.sources import ImageSource
from gan_metrics.inputs.options import Options
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.protocols.spec import Decoding, FeatureSpec
from gan_metrics.utils.result_warning import ResultWarning

__all__ = ["ImageMetric", "compute_image_metric", "network_of"]


@dataclass(frozen=True)
class ImageMetric:
    """A value in the space of LPIPS, and what a record says of it.

    Attributes:
        estimate: The value with its error bar.
        spec: The network.
        count: Images or paths.
        digest: What stands for the images that were looked at.
        skipped: Pairs of a name and a reason for images that were left out.
        warnings: Pairs of a code and a message.
    """

    estimate: Estimate
    spec: FeatureSpec
    count: int
    digest: str | None = None
    skipped: Sequence[tuple[str, str]] = ()
    warnings: Sequence[ResultWarning] = ()


def network_of(metric: str, arguments: Mapping[str, Any]) -> str:
    """The backbone whose weights a metric's LPIPS takes."""
    from gan_metrics.backbones.lpips import NETS

    return NETS[_net_of(metric, arguments)]


def _net_of(metric: str, arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("net", "vgg" if metric == "ppl" else "alex"))


def compute_image_metric(
    metric: str,
    source: ImageSource,
    options: Options,
    arguments: Mapping[str, Any],
    *,
    error_bar: bool,
    alone: bool,
) -> ImageMetric:
    """A metric of images or of a generator.

    Args:
        metric: ``"lpips_diversity"`` or ``"ppl"``.
        source: The images; a :class:`~gan_metrics.Generated` for ``"ppl"``.
        options: Device, weights, seed, faults, progress.
        arguments: Of the metric.
        error_bar: Whether the error bar is wanted.
        alone: Whether there is no other network that a weights file without a name is meant for.

    Raises:
        GanMetricsError: As for :func:`lpips_diversity` and :func:`ppl`.
    """
    from gan_metrics.backbones.lpips import Lpips

    lpips = Lpips(
        _net_of(metric, arguments),
        weights=options.weights_of(network_of(metric, arguments), main=alone),
        device=options.device,
        seed=options.seed_or_default,
        progress=options.progress,
    )
    given = {name: value for name, value in arguments.items() if name != "net"}
    how: dict[str, Any] = {
        "seed": given.pop("seed", options.seed_or_default),
        "error_bar": error_bar,
        "progress": options.progress,
    }
    most = options.max_images
    decoding = Decoding(options.alpha or "drop", options.exif or "ignore")
    if metric == "ppl":
        if not isinstance(source, Generated):
            raise UsageError("a path length is that of a generator; give --generator")
        if most is not None and most < len(source.names):
            source = source.redrawn(most, source.seed)
        found = ppl(source, lpips, **given, **how)
        count, digest, skipped = len(source.names), None, []
        warned: Sequence[ResultWarning] = ()  # paths are not clipped
    else:
        rows = draw_images(len(source.names), most, options.seed_or_default)
        images = DecodedImages(source, options.on_error, rows, decoding)
        found = lpips_diversity(images, lpips, **given, **how)
        count, digest = len(images) - len(images.skipped), images.digest
        skipped, warned = list(images.skipped.items()), source.warnings
    spec = replace(lpips.spec, departures=_departures(decoding))
    return ImageMetric(found, spec, count, digest, skipped, [*lpips.warnings, *warned])


def _departures(decoding: Decoding) -> tuple[tuple[str, str], ...]:
    """What differs from the plain way of decoding."""
    plain = Decoding()
    ways = {"alpha": (decoding.alpha, plain.alpha), "exif": (decoding.exif, plain.exif)}
    return tuple(sorted((name, way) for name, (way, usual) in ways.items() if way != usual))
