"""LPIPS: a learned distance between two images.

Zhang et al. (2018), arXiv 1801.03924. Five (or seven) feature maps of an ImageNet classifier are
normalized over channels; their squared differences are weighted by learned linear layers, averaged
over positions and summed. Network code and linear layers are those of the package ``lpips``,
version 0.1; the classifier's weights are torchvision's.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from gan_metrics.backbones.build import build_network
from gan_metrics.backbones.network import pick_device
from gan_metrics.backbones.registry import choose_backbone
from gan_metrics.errors import InputError, unknown_name
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import LPIPS_PREPROCESS
from gan_metrics.utils.optional import require
from gan_metrics.utils.progress import Progress
from gan_metrics.utils.tf32 import float32_default, tf32

__all__ = ["NETS", "Lpips"]

NETS = MappingProxyType(
    {"alex": "torchvision:alexnet", "vgg": "vgg16", "squeeze": "torchvision:squeezenet1_1"}
)
"""Backbones whose weights LPIPS uses, by kind of LPIPS."""

_TOO_SMALL = ("too small", "Kernel size can't be greater")
"""Beginnings of torch's messages about images that are too small."""


class Lpips:
    """The distance between images of equal size.

    Args:
        net: ``"alex"``, ``"vgg"`` or ``"squeeze"``.
        weights: A file of the classifier's weights, ``"random"``, or ``None``: the registered ones
            (``torchvision:alexnet``, ``vgg16``, ``torchvision:squeezenet1_1``).
        device: As for :func:`gan_metrics.load_backbone`.
        seed: Seed of random weights.
        progress: Called with the number of bytes if the weights are downloaded.

    Attributes:
        spec: Its identity in results.
        warnings: Pairs of a code and a message.

    Raises:
        UsageError: For an unknown name, or without the extra ``lpips``.
        WeightsError: If the weights are unavailable.
    """

    def __init__(
        self,
        net: str = "vgg",
        *,
        weights: str | Path | None = None,
        device: str = "auto",
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        if net not in NETS:
            raise unknown_name("kind of LPIPS", net, NETS)
        package = require("lpips", "lpips")
        choice = choose_backbone(NETS[net], weights=weights, seed=seed, progress=progress)
        self.device = pick_device(device)
        self.warnings = choice.warnings
        self.spec = FeatureSpec(
            backbone=f"lpips-{net}",
            layer="v0.1",
            pool="avg",
            weights_sha256=choice.spec.weights_sha256,
            preprocess=LPIPS_PREPROCESS,
            precision="fp32",
            departures=(),
        )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), float32_default():
            warnings.simplefilter("ignore")  # torchvision's, about lpips' calls
            module: nn.Module = package.LPIPS(net=net, pnet_rand=True, verbose=False)
        trunk = build_network(choice).state_dict()
        # Its slices keep the numbers of the layers in torchvision's `features`.
        slices: Any = module.net
        own = {n: trunk[f"features.{n.partition('.')[2]}"] for n in slices.state_dict()}
        slices.load_state_dict(own)
        self._module = module.eval().requires_grad_(False).to(self.device)

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the distance between each image and its partner.

        Args:
            x: ``N × 3 × H × W``, RGB, 0–255, ``uint8`` or floating point; ``N × 1 × H × W``: gray.
            y: The partners, of the same shape and type.

        Returns:
            ``float32``, ``(N,)``, ≥ 0.

        Raises:
            InputError: For another shape.
        """
        if x.shape != y.shape or x.ndim != 4 or x.shape[1] not in (1, 3):
            raise InputError(
                f"LPIPS needs two batches of images of equal shape, N × 3 × H × W, not "
                f"{tuple(x.shape)} and {tuple(y.shape)}"
            )
        pair = [
            one.to(self.device, torch.float32).expand(-1, 3, -1, -1) / 127.5 - 1 for one in (x, y)
        ]
        with float32_default(), tf32(False):
            try:
                found: torch.Tensor = self._module(*pair)
            except RuntimeError as error:
                if not any(sign in str(error) for sign in _TOO_SMALL):
                    raise
                raise InputError(
                    f"images of {x.shape[3]} × {x.shape[2]} pixels are too small for LPIPS "
                    f"({self.spec.backbone}); use resize=64 (--resize 64) to enlarge them"
                ) from None
        return found.flatten()
