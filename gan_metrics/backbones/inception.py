"""The 2015 Inception, from the blocks of ``pytorch_fid``.

It differs from torchvision's Inception v3: 1008 outputs, no auxiliary head, average pools without
counted padding, a max pool in the last block, and its own weights.
"""

from __future__ import annotations

import torch
import torchvision
from pytorch_fid.inception import (
    FIDInceptionA,
    FIDInceptionC,
    FIDInceptionE_1,
    FIDInceptionE_2,
)
from torch import nn

__all__ = ["build", "rename_keys"]


class _Logits(nn.Module):
    """The last layer in two steps, so that the logits are also available without the bias."""

    def __init__(self) -> None:
        super().__init__()
        self.unbiased = nn.Linear(2048, 1008, bias=False)
        self.bias = nn.Parameter(torch.zeros(1008))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.unbiased(x) + self.bias
        return logits


def build(model: str = "") -> nn.Module:
    """Return the network, newly initialized; its input is ``N × 3 × 299 × 299`` in −1 … 1."""
    del model
    net = torchvision.models.inception_v3(
        weights=None, num_classes=1008, aux_logits=False, init_weights=False
    )
    net.Mixed_5b = FIDInceptionA(192, pool_features=32)
    net.Mixed_5c = FIDInceptionA(256, pool_features=64)
    net.Mixed_5d = FIDInceptionA(288, pool_features=64)
    net.Mixed_6b = FIDInceptionC(768, channels_7x7=128)
    net.Mixed_6c = FIDInceptionC(768, channels_7x7=160)
    net.Mixed_6d = FIDInceptionC(768, channels_7x7=160)
    net.Mixed_6e = FIDInceptionC(768, channels_7x7=192)
    net.Mixed_7b = FIDInceptionE_1(1280)
    net.Mixed_7c = FIDInceptionE_2(2048)
    net.fc = _Logits()
    module: nn.Module = net
    return module


def rename_keys(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str = ""
) -> dict[str, torch.Tensor]:
    """Convert the keys of the published file to those of :func:`build`."""
    del expected, model
    names = {"fc.weight": "fc.unbiased.weight"}
    return {names.get(key, key): value for key, value in state.items()}
