"""efficientnet-lite0 with its own weights, which a process of the tests builds once.

Beside it one on images of 56 instead of 224 pixels, for tests that need its names alone: its
modules, weights, preprocessing and dimensions are the real ones, and a pass takes a tenth of the
time.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import nn

from gan_metrics.backbones import network
from gan_metrics.backbones.recipe import BackboneChoice
from gan_metrics.backbones.registry import choose_backbone

__all__ = ["build_coarse", "build_once"]

_whole = network.build_network  # a fixture puts `build_network` in its place


def build_once(choice: BackboneChoice) -> nn.Module:
    """The network of a choice; a copy for efficientnet-lite0 with its own weights."""
    usual, module = _lite0()
    same = choice.recipe.name == usual.recipe.name and choice.weights == usual.weights
    return copy.deepcopy(module) if same else _whole(choice)


def build_coarse(choice: BackboneChoice) -> nn.Module:
    """The same; the coarse one for efficientnet-lite0 with its own weights."""
    module = build_once(choice)
    if choice.recipe.name == "efficientnet-lite0" and choice.weights == _lite0()[0].weights:
        module.register_forward_pre_hook(_shrink)
    return module


@functools.cache
def _lite0() -> tuple[BackboneChoice, nn.Module]:
    choice = choose_backbone("efficientnet-lite0")
    return choice, _whole(choice)


def _shrink(_: nn.Module, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return nn.functional.avg_pool2d(given[0], 4)
