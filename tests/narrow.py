"""The 2015 Inception with an eighth of its channels, for tests that need its structure alone.

All modules keep their names and strides, and the pooled layer its 2048 channels; a pass takes a
thirtieth of the time.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.inception import BasicConv2d

from gan_metrics.backbones import inception

__all__ = ["build"]

SHARE = 8

# Their outputs are the last block's, whose channels are kept.
LAST = {f"Mixed_7c.{end}" for end in ("branch1x1", "branch3x3_2a", "branch3x3_2b",
                                      "branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool")}  # fmt: skip

_whole = inception.build  # a fixture puts `build` in its place


def build(model: str = "") -> nn.Module:
    """The network, freshly initialized."""
    with torch.device("meta"):
        net = _whole(model)
    for name, block in net.named_modules():
        if isinstance(block, BasicConv2d):
            wide = block.conv
            taken = wide.in_channels if wide.in_channels == 3 else wide.in_channels // SHARE
            given = wide.out_channels if name in LAST else wide.out_channels // SHARE
            block.conv = nn.Conv2d(
                taken, given, wide.kernel_size, wide.stride, wide.padding, bias=False
            )
            block.bn = nn.BatchNorm2d(given, block.bn.eps)
    net.fc = inception._Logits()
    return net
