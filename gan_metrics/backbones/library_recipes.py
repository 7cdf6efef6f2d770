"""Recipes of networks from libraries: ``timm:NAME`` and ``clip:MODEL/WEIGHTS``. No torch.

A model's description by timm or open_clip is computed once and cached; here it becomes a recipe.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from gan_metrics.backbones.metadata_cache import cached_json
from gan_metrics.backbones.recipe import Layer, Library, Recipe
from gan_metrics.backbones.weights import WeightsSource
from gan_metrics.protocols.spec import Preprocess

__all__ = ["CLIP", "TIMM", "clip_recipe", "timm_recipe"]


_MODULES = {"timm": "gan_metrics.backbones.timm", "clip": "gan_metrics.backbones.open_clip"}
"""Modules that build a library's networks, by library."""


def timm_recipe(model: str) -> Recipe:
    """Return the recipe of a timm model.

    Its default layer ``pre_logits`` is the input of its classifier: the pooled map of a
    convolutional network, the tokens of a transformer pooled by timm.

    Args:
        model: ``NAME`` or ``NAME.WEIGHTS`` in timm.

    Raises:
        UsageError: If there is no such model.
    """
    return _described("timm", model, _timm)


def _timm(facts: dict[str, Any]) -> Recipe:
    layers = {"pre_logits": Layer(*facts["pre_logits"]), "logits": Layer("", "none")}
    if facts["tokens"] is not None:
        layers = {"last_hidden_state": Layer("norm", facts["tokens"]), **layers}
    return _recipe("timm", facts, layers, "pre_logits", adapt="adapt")


def clip_recipe(model: str) -> Recipe:
    """Return the recipe of a CLIP image encoder; its default layer is the image embedding.

    Args:
        model: ``MODEL/WEIGHTS`` in open_clip, such as ``ViT-L-14-336/openai``.

    Raises:
        UsageError: If there is no such model, or open_clip is not installed.
    """
    return _described("clip", model, _clip)


def _clip(facts: dict[str, Any]) -> Recipe:
    layers = {"embedding": Layer("", "none")}
    return _recipe("clip", facts, layers, "embedding", adapt="image_tower")


def _described(library: str, model: str, parse: Callable[[dict[str, Any]], Recipe]) -> Recipe:
    def compute() -> object:
        return importlib.import_module(_MODULES[library]).describe(model)

    return cached_json(("describe", library, model), compute, parse)


def _recipe(
    library: str, facts: dict[str, Any], layers: dict[str, Layer], default: str, *, adapt: str
) -> Recipe:
    module = _MODULES[library]
    name = f"{library}:{facts['name']}"
    # Prefer the hub's copy to the original: it is safetensors, with one layout.
    url = None if facts["hub"] else facts["url"]
    filename = url.rpartition("/")[2] if url else None
    hashed = re.search(r"-([0-9a-f]{8,})\.[a-z]+$", filename or "")
    return Recipe(
        name=name,
        summary=f"{facts['name']} of {library}",
        build=f"{module}:build",
        model=facts["name"],
        adapt=f"{module}:{adapt}",
        layers=layers,
        default_layer=default,
        preprocess=Preprocess(
            resize=facts["resize"],
            size=int(facts["size"]),
            interpolation=facts["interpolation"],
            crop=int(facts["crop"]),
            divisor=255.0,
            mean=tuple(facts["mean"]),
            std=tuple(facts["std"]),
        ),
        weights=WeightsSource(
            backbone=name,
            filenames=(filename,) if filename else (),
            sha256_prefix=hashed[1] if hashed else "",
            urls=(url,) if url else (),
            hub=facts["hub"],
            hub_files=tuple(facts["hub_files"]) if facts["hub"] else (),
        ),
    )


def _names(library: str) -> Callable[[str], list[str]]:
    def names(pattern: str) -> list[str]:
        module = importlib.import_module(_MODULES[library])
        found: list[str] = module.all_names(pattern)
        return found

    return names


TIMM = Library("timm", "timm:NAME", recipe=timm_recipe, names=_names("timm"))
CLIP = Library(
    "clip",
    "clip:MODEL/WEIGHTS",
    recipe=clip_recipe,
    names=_names("clip"),
    packages=("open-clip-torch",),
    cite=("radford2021learning",),
)
