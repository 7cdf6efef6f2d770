"""Protocols: everything that a published number depends on, as rows of data.

A protocol has no code of its own. Its row gives, for each metric that the tool it is named after
has, a template of the :class:`~gan_metrics.specs.FeatureSpec` (open fields are filled by the
backbone in use) and the metric's arguments, and beside them the tool's way of decoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gan_metrics.errors import unknown_name
from gan_metrics.specs import Decoding, FeatureSpec, Preprocess

__all__ = ["PROTOCOLS", "PYTORCH_FID_PREPROCESS", "MetricRow", "Protocol", "protocol_for"]


@dataclass(frozen=True)
class MetricRow:
    """How a protocol computes one metric.

    Attributes:
        template: The feature space; fields that are ``None`` are the backbone's own.
        arguments: Keyword arguments of the metric's function.
    """

    template: FeatureSpec
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Protocol:
    """One row of the table.

    Attributes:
        name: As it is given to ``--protocol``.
        summary: One line for the listing.
        source: Where the tool's behaviour can be read.
        decoding: What the tool does with alpha and orientation.
        metrics: Metric name to :class:`MetricRow`.
    """

    name: str
    summary: str
    source: str
    decoding: Decoding
    metrics: Mapping[str, MetricRow]


PYTORCH_FID_PREPROCESS = Preprocess(
    resize="exact",
    size=299,
    interpolation="torch-bilinear",
    crop=None,
    divisor=255.0,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
"""To 299×299 without antialiasing, then 2x − 1; also what the 2015 Inception takes by itself."""

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        row.name: row
        for row in (
            Protocol(
                name="pytorch-fid",
                summary="bilinear to 299×299 without antialiasing, 2x−1, the 2015 Inception",
                source="https://github.com/mseitzer/pytorch-fid",
                decoding=Decoding(alpha="drop", exif="ignore"),
                metrics=MappingProxyType(
                    {
                        "fid": MetricRow(
                            FeatureSpec(
                                backbone="inception",
                                preprocess=PYTORCH_FID_PREPROCESS,
                            )
                        )
                    }
                ),
            ),
            Protocol(
                name="imagenet",
                summary="what the backbone's weights were trained with (resize, centre crop)",
                source="https://github.com/huggingface/pytorch-image-models",
                decoding=Decoding(alpha="drop", exif="ignore"),
                metrics=MappingProxyType({"fid": MetricRow(FeatureSpec())}),
            ),
        )
    }
)


def protocol_for(name: str | None, backbone: str) -> Protocol:
    """The protocol of that name, or the default one of the backbone.

    Args:
        name: A key of :data:`PROTOCOLS`, or ``None``: ``"pytorch-fid"`` for the 2015 Inception,
            ``"imagenet"`` for every other backbone.
        backbone: Name of the backbone.

    Raises:
        UsageError: When there is no such protocol.
    """
    if name is None:
        name = "pytorch-fid" if backbone == "inception" else "imagenet"
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
