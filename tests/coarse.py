"""efficientnet-lite0 on images of 56 instead of 224 pixels, for tests that need its names alone.

Its modules, weights, preprocessing and dimensions are the real ones; a pass takes a tenth of the
time, and a process builds the network once.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import nn

from gan_metrics.backbones import network
from gan_metrics.backbones.recipe import BackboneChoice
from gan_metrics.backbones.registry import choose_backbone

__all__ = ["build_network"]

_whole = network.build_network  # a fixture puts `build_network` in its place


def build_network(choice: BackboneChoice) -> nn.Module:
    """The network of a choice; the coarse one for efficientnet-lite0 with its own weights."""
    usual, module = _coarse()
    same = choice.recipe.name == usual.recipe.name and choice.weights == usual.weights
    return copy.deepcopy(module) if same else _whole(choice)


@functools.cache
def _coarse() -> tuple[BackboneChoice, nn.Module]:
    choice = choose_backbone("efficientnet-lite0")
    module = _whole(choice)
    module.register_forward_pre_hook(_shrink)
    return choice, module


def _shrink(_: nn.Module, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return nn.functional.avg_pool2d(given[0], 4)
