"""Custom networks: a module from Python, or ``package.module:factory``."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from gan_metrics.backbones.recipe import OUTPUT, Recipe
from gan_metrics.errors import UsageError
from gan_metrics.protocols.spec import Preprocess
from gan_metrics.utils.imports import import_object
from gan_metrics.utils.stdout import prints_to_stderr

__all__ = ["identified", "recipe_from_factory", "recipe_of_module"]

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
    """Return the recipe of a module, which is copied: later changes of the original have no effect.

    The module's attribute ``preprocess``, a :class:`~gan_metrics.protocols.spec.Preprocess`, states
    the preprocessing that its weights were trained with; ``default_layer``, the dotted name of a
    submodule, states the default layer. By default the module's own output is used.
    """
    name = f"module:{type(module).__module__}.{type(module).__qualname__}"
    try:
        return _recipe(name, copy.deepcopy(module).cpu().float())
    except Exception as error:
        raise UsageError(
            f"cannot copy or read {name} ({type(error).__name__}: {error}); give "
            "package.module:function that makes it instead"
        ) from error


def recipe_from_factory(name: str) -> Recipe:
    """Return the recipe of the network from a user's function, which is imported and called.

    Args:
        name: ``package.module:function``, importable from the installation or current folder.

    Raises:
        UsageError: If the function does not exist, fails, or does not return a module.
    """
    try:
        factory = import_object(name, current_folder=True)
        module = factory
        if callable(factory) and not isinstance(factory, nn.Module):
            with torch.random.fork_rng(devices=[]), prints_to_stderr():
                module = factory()
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise UsageError(
            f"--backbone {name}: {type(error).__name__}: {error}. Expected "
            "package.module:function, importable from here, that returns a torch.nn.Module"
        ) from error
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"--backbone {name} returns {type(module).__name__}, not a torch.nn.Module"
        )
    try:
        return _recipe(name, module.cpu().float())
    except Exception as error:
        raise UsageError(
            f"--backbone {name}: cannot read its weights ({type(error).__name__}: {error})"
        ) from error


def identified(recipe: Recipe) -> Recipe:
    """Return the recipe of a plug-in's network without a weights file, with the network's hash.

    Raises:
        UsageError: If the network cannot be built.
    """
    build: Any = recipe.build
    try:
        with torch.random.fork_rng(devices=[]), prints_to_stderr():
            module = import_object(build)(recipe.model) if isinstance(build, str) else build()
        identity = _identity(module.cpu().float())
    except (Exception, SystemExit) as error:  # the plug-in's code may raise anything
        raise UsageError(
            f"the plug-in's backbone {recipe.name} cannot be built "
            f"({type(error).__name__}: {error})"
        ) from error
    note = (
        "own-backbone",
        f"{recipe.name} has no weights file, so data that its code reads from elsewhere is not in "
        "the fingerprint, and its features are not cached",
    )
    return replace(
        recipe,
        build=functools.partial(copy.deepcopy, module),
        identity=identity,
        warnings=(*recipe.warnings, note),
    )


def _identity(module: nn.Module) -> str:
    """Return the SHA-256 of a module's state, structure and source code of its classes."""
    digest = hashlib.sha256(repr(module).encode())
    tensors = {**dict(module.named_buffers()), **module.state_dict()}
    for key, value in sorted(tensors.items()):
        digest.update(f"{key} ".encode() + _content(value))
    kinds = {kind for part in module.modules() for kind in type(part).__mro__}
    for kind in sorted(kinds, key=lambda k: f"{k.__module__}.{k.__qualname__}"):
        if kind.__module__.partition(".")[0] not in _LIBRARIES:
            with contextlib.suppress(OSError, TypeError):  # defined at a prompt
                digest.update(inspect.getsource(kind).encode())
    for path, part in module.named_modules():
        for key, value in sorted(vars(part).items()):
            if not key.startswith("_"):
                digest.update(f"{path}.{key} ".encode() + _content(value))
    return digest.hexdigest()


def _content(value: object) -> bytes:
    """Return the content of an attribute as bytes, as far as possible."""
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().flatten()
        return f"{value.dtype} {tuple(value.shape)} ".encode() + (
            flat.view(torch.uint8).numpy().tobytes() if value.numel() else b""
        )
    if isinstance(value, list | tuple):
        return b"[" + b",".join(map(_content, value)) + b"]"
    if isinstance(value, dict):
        return _content([part for key in sorted(value, key=str) for part in (key, value[key])])
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | Preprocess):
        return repr(value).encode()
    return f"{type(value).__module__}.{type(value).__qualname__}".encode()


_LIBRARIES = ("builtins", "torch", "torchvision", "timm", "open_clip", "typing")


def _recipe(name: str, module: nn.Module) -> Recipe:
    preprocess = getattr(module, "preprocess", None)
    notes = [
        (
            "own-backbone",
            f"{name} is a custom network, so data that its code reads from elsewhere is not in the "
            "fingerprint, and its features are not cached",
        )
    ]
    if not isinstance(preprocess, Preprocess):
        preprocess = _IMAGENET
        notes.append(
            (
                "assumed-preprocess",
                f"{name} has no attribute 'preprocess' (a gan_metrics.Preprocess): torchvision's "
                "preprocessing for ImageNet is used (256, 224, bilinear)",
            )
        )
    layer = getattr(module, "default_layer", None)
    return Recipe(
        name=name,
        summary="a custom network",
        build=functools.partial(copy.deepcopy, module),
        layers={},
        default_layer=layer if isinstance(layer, str) else OUTPUT,
        preprocess=preprocess,
        weights=None,
        identity=_identity(module),
        warnings=tuple(notes),
    )
