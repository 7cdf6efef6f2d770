"""A network of the user's own: a module from Python, or ``package.module:factory``."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import os
import sys
from typing import Any

import torch
from torch import nn

from gan_metrics.backbones.choice import OUTPUT, Recipe
from gan_metrics.errors import UsageError
from gan_metrics.specs import Preprocess

__all__ = ["identity", "recipe_from_factory", "recipe_of_module"]

_IMAGENET = Preprocess(
    resize="shorter",
    size=256,
    interpolation="pil-bilinear-uint8",
    crop=224,
    divisor=255.0,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def recipe_of_module(module: nn.Module) -> Recipe:
    """The recipe of a module, which is copied: what becomes of the original changes nothing.

    A module may say what its weights were trained with by an attribute ``preprocess``, a
    :class:`~gan_metrics.specs.Preprocess`, and where it is cut by ``default_layer``, the dotted
    name of a submodule; its own output otherwise.
    """
    kind = type(module)
    module = copy.deepcopy(module).cpu()
    return _recipe(f"module:{kind.__module__}.{kind.__qualname__}", module)


@functools.cache
def recipe_from_factory(name: str) -> Recipe:
    """The recipe of what a function of the user's makes. It is imported and called.

    Args:
        name: ``package.module:function``, importable from here or from the current folder.

    Raises:
        UsageError: When there is no such function, or it makes no module.
    """
    package, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        factory: Any = importlib.import_module(package)
        for part in function.split("."):
            factory = getattr(factory, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"--backbone {name}: {error}; expected package.module:function, importable from here, "
            "that gives a torch.nn.Module"
        ) from error
    module = factory() if callable(factory) and not isinstance(factory, nn.Module) else factory
    if not isinstance(module, nn.Module):
        raise UsageError(f"--backbone {name} gives {type(module).__name__}, not a torch.nn.Module")
    return _recipe(name, module)


def identity(recipe: Recipe) -> str:
    """SHA-256 over names, types, shapes and values of everything in the module's state."""
    assert callable(recipe.build)  # noqa: S101
    digest = hashlib.sha256()
    for key, value in sorted(recipe.build().state_dict().items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _recipe(name: str, module: nn.Module) -> Recipe:
    preprocess = getattr(module, "preprocess", None)
    notes = [
        (
            "own-backbone",
            f"{name} is known by its weights alone: its code is not part of the fingerprint",
        )
    ]
    if not isinstance(preprocess, Preprocess):
        preprocess = _IMAGENET
        notes.append(
            (
                "assumed-preprocess",
                f"{name} has no attribute 'preprocess' (a gan_metrics.Preprocess): its images are "
                "prepared as torchvision does for ImageNet (256, 224, bilinear)",
            )
        )
    layer = getattr(module, "default_layer", None)
    return Recipe(
        name=name,
        summary="a network of your own",
        build=functools.partial(copy.deepcopy, module),
        layers={},
        default_layer=layer if isinstance(layer, str) else OUTPUT,
        preprocess=preprocess,
        weights=None,
        warnings=tuple(notes),
    )
