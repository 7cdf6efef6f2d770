"""efficientnet-lite0 with its own weights, which a process of the tests builds and prepares once.

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
from gan_metrics.backbones.network import Backbone
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.backbones.registry import choose_backbone

__all__ = ["build_coarse", "build_once", "prepare_once"]

_whole = network.build_network  # a fixture puts `build_network` in its place


def build_once(choice: FeatureSpace) -> nn.Module:
    """The network of a choice; a copy for efficientnet-lite0 with its own weights."""
    usual, module = _lite0()
    same = choice.recipe.name == usual.recipe.name and choice.weights == usual.weights
    return copy.deepcopy(module) if same else _whole(choice)


def build_coarse(choice: FeatureSpace) -> nn.Module:
    """The same; the coarse one for efficientnet-lite0 with its own weights."""
    module = build_once(choice)
    if choice.recipe.name == "efficientnet-lite0" and choice.weights == _lite0()[0].weights:
        module.register_forward_pre_hook(_shrink)
    return module


_prepare_whole = Backbone._built  # a fixture puts `prepare_once` in its place
_PREPARED: dict[tuple[object, ...], tuple[nn.Module, set[tuple[str, str]]]] = {}


def prepare_once(backbone: Backbone) -> nn.Module:
    """The prepared network of a backbone; one module for all backbones that are alike."""
    choice, how = backbone.choice, network.build_network
    own = choice.recipe.name == "efficientnet-lite0" and choice.weights == _lite0()[0].weights
    if not own or how not in (build_once, build_coarse) or choice.spec.precision == "int8":
        return _prepare_whole(backbone)
    key = (how, choice.spec.precision, *sorted(backbone._cuts), str(backbone.device))
    if key not in _PREPARED:
        _PREPARED[key] = _prepare_whole(backbone), backbone._folded
    module, folded = _PREPARED[key]
    backbone._folded = set(folded)
    return module


@functools.cache
def _lite0() -> tuple[FeatureSpace, nn.Module]:
    choice = choose_backbone("efficientnet-lite0")
    return choice, _whole(choice)


def _shrink(_: nn.Module, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return nn.functional.avg_pool2d(given[0], 4)
