"""Networks from timm; so far the embedded ``efficientnet-lite0``."""

from __future__ import annotations

import timm
import torch
from torch import nn

__all__ = ["build_efficientnet_lite0", "rename_by_order"]


def build_efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0, freshly initialised; its input is ``N × 3 × 224 × 224``."""
    module: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    return module


def rename_by_order(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """From the keys of ``efficientnet-lite-pytorch`` to timm's, which list their tensors alike.

    ``num_batches_tracked``, which only one of them may have, is left out. A file that has timm's
    own keys passes as it is.
    """
    if not any(key.startswith("_conv_stem") for key in state):
        return state
    old = [key for key in state if not key.endswith("num_batches_tracked")]
    new = [key for key in expected if not key.endswith("num_batches_tracked")]
    if len(old) != len(new):
        return state
    return {n: state[o] for o, n in zip(old, new, strict=True)}
