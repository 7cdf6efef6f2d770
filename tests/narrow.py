"""The 2015 Inception with an eighth of its channels, for tests that need its structure alone.

All modules keep their names and strides, and the pooled layer its 2048 channels; a pass takes a
thirtieth of the time.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import nn
from torchvision.models.inception import BasicConv2d

from gan_metrics.backbones import inception

__all__ = ["SHARE", "build"]

SHARE = 8

ENDS = ("branch1x1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_3a", "branch3x3dbl_3b",
        "branch_pool")  # fmt: skip
LAST = {f"Mixed_7c.{end}" for end in ENDS}
"""Their outputs are the last block's, whose channels are kept."""

_build_whole = inception.build  # a fixture puts `build` in its place


@functools.cache
def _skeleton() -> nn.Module:
    """The modules and shapes, without numbers."""
    with torch.device("meta"):
        net = _build_whole()
        for name, block in net.named_modules():
            if isinstance(block, BasicConv2d):
                wide = block.conv
                taken = wide.in_channels if wide.in_channels == 3 else wide.in_channels // SHARE
                given = wide.out_channels if name in LAST else wide.out_channels // SHARE
                block.conv = nn.Conv2d(
                    taken, given, wide.kernel_size, wide.stride, wide.padding, bias=False
                )
                block.bn = nn.BatchNorm2d(given, block.bn.eps)
    return net


def build(model: str = "") -> nn.Module:
    """The network, freshly initialized."""
    del model
    net = copy.deepcopy(_skeleton())
    if torch.get_default_device().type != "meta":
        net.to_empty(device="cpu")
        for module in net.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    net.fc = inception._Logits()
    return net
