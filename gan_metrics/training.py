"""In the training loop: state that is fed batch by batch, with no file and no second pass.

>>> from gan_metrics.training import FID
>>> import torch
>>> metric = FID(backbone="efficientnet-lite0", device="cpu")
>>> images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
>>> result = metric.update(images, real=True).update(images.flip(0)).compute()
>>> abs(float(result)) < 1e-3
True
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from gan_metrics.agreement import must_agree
from gan_metrics.backbones.network import Backbone
from gan_metrics.backbones.registry import built_in, choose_backbone
from gan_metrics.errors import ComputationError, UsageError
from gan_metrics.evaluation import fid
from gan_metrics.features import Features
from gan_metrics.results import MetricResult
from gan_metrics.sides import open_side
from gan_metrics.specs import FeatureSpec
from gan_metrics.stats import Statistics, load_stats
from gan_metrics.value_ranges import check_value_range, to_uint8

__all__ = ["FID"]

_RANGES = ((0.0, 1.0), (-1.0, 1.0))


class FID:
    """The Fréchet distance, fed batch by batch.

    The features of the images are kept (4·D bytes each), so that the result has its error bar.

    Args:
        reference: A statistics file, :class:`~gan_metrics.stats.Statistics` or ``ref:NAME``, for
            the real side;
            ``None``: it is fed by ``update(…, real=True)``.
        backbone: By default what the reference says, else the 2015 Inception.
        layer: Where it is cut, as for :func:`gan_metrics.load_backbone`.
        pool: What turns maps into vectors.
        protocol: What is done to the pixels.
        weights: A file, or ``"random"``.
        precision: Of the network.
        value_range: Of float images, ``(0, 1)`` or ``(-1, 1)``; they become ``uint8`` in the
            protocol's way (rounded; torchmetrics cuts off). ``None``: images must be ``uint8``.
        device: Where the network runs.
        seed: Of random weights.

    Raises:
        UsageError: For an unknown name or range.
        MismatchError: When the reference is of another feature space.
        WeightsError: When the weights cannot be had.
    """

    def __init__(
        self,
        reference: str | os.PathLike[str] | Statistics | None = None,
        *,
        backbone: str | None = None,
        layer: str | None = None,
        pool: str | None = None,
        protocol: str | None = None,
        weights: str | os.PathLike[str] | None = None,
        precision: str | None = None,
        value_range: tuple[float, float] | None = None,
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        if reference is not None and not isinstance(reference, Statistics):
            reference = open_side(reference, {}).statistics or load_stats(reference)
        self.reference = reference
        self.value_range = check_value_range(value_range, _RANGES)
        stated = FeatureSpec() if reference is None else reference.spec
        if backbone in (None, stated.backbone) and reference is not None:
            protocol = protocol or reference.protocol
        elif backbone is not None:  # nothing of the reference applies; it will not agree
            stated = FeatureSpec()
        choice = choose_backbone(
            backbone if backbone is not None else built_in(stated.backbone, "the reference"),
            layer=layer or stated.layer,
            pool=pool or stated.pool,
            precision=precision or stated.precision,
            protocol=protocol,
            weights="random" if weights == "random" else None if weights is None else Path(weights),
            seed=seed,
        )
        if reference is not None:
            must_agree(
                reference.spec, choice.spec, reference.description or "the reference", "this metric"
            )
        self.backbone = Backbone(choice, device)
        self._features: dict[bool, list[torch.Tensor]] = {}
        self.reset()

    def update(self, images: torch.Tensor, real: bool = False) -> FID:
        """Embed a batch and keep its features.

        Args:
            images: ``N × 3 × H × W``, RGB; ``uint8``, or floating point in ``value_range``.
            real: Whose images they are.

        Returns:
            This object.

        Raises:
            InputError: For another dtype, shape or range.
        """
        if real and self.reference is not None:
            raise UsageError("the real side is the reference; update takes fake images only")
        self._features[real].append(self.backbone(self._to_uint8(images)).cpu())
        return self

    def compute(self) -> MetricResult:
        """The distance of all that was taken in.

        Raises:
            ComputationError: When a side has fewer than two images.
        """
        fake = self._side(real=False)
        choice = self.backbone.choice
        real = self.reference or self._side(real=True)
        return fid(real, fake, protocol=choice.protocol.name, seed=choice.seed)

    def reset(self) -> None:
        """Forget all images; the reference stays."""
        self._features = {False: [], True: []}

    def _side(self, *, real: bool) -> Features:
        name = "real" if real else "fake"
        batches = self._features[real]
        if not batches:
            hint = "give a reference, or update(images, real=True)" if real else "call update first"
            raise ComputationError(f"there are no {name} images yet; {hint}")
        array = torch.cat(batches).numpy()
        return Features(
            names=[f"{name} {i}" for i in range(len(array))],
            array=array,
            spec=self.backbone.spec,
            warnings=self.backbone.choice.warnings,
            protocol=self.backbone.choice.protocol.name,
        )

    def _to_uint8(self, images: torch.Tensor) -> torch.Tensor:
        floor = self.backbone.choice.protocol.floats == "floor"
        return to_uint8(images, self.value_range, floor=floor)
