"""Image encoders of CLIP, from open_clip."""

from __future__ import annotations

import fnmatch
import logging
from types import ModuleType
from typing import Any

import torch
from torch import nn

from gan_metrics.errors import UsageError, unknown_name
from gan_metrics.utils.optional import require

__all__ = ["all_names", "build", "describe", "image_tower"]

_RESIZE = {"shortest": "shorter", "squash": "exact"}


def all_names(pattern: str = "*") -> list[str]:
    """Return every ``clip:MODEL/PRETRAINED`` that matches a pattern with ``*``."""
    names = (f"clip:{model}/{weights}" for model, weights in _open_clip().list_pretrained())
    return [name for name in names if fnmatch.fnmatch(name, pattern)]


def build(model: str) -> nn.Module:
    """Return the image encoder of ``MODEL/PRETRAINED``, newly initialized."""
    name, _, weights = model.partition("/")
    config = _open_clip().get_pretrained_cfg(name, weights)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it warns that no weights are loaded
    try:
        whole = _open_clip().create_model(
            name,
            pretrained=None,
            load_weights=False,
            pretrained_text=False,
            force_quick_gelu=bool(config.get("quick_gelu")),
        )
    except (ImportError, RuntimeError) as error:
        if "transformers" not in str(error).lower():
            raise
        raise UsageError(
            f"clip:{model} has a text encoder that needs transformers ({error}); pip install "
            "transformers, or choose another model"
        ) from error
    finally:
        logging.disable(before)
    visual: Any = whole.visual
    if getattr(visual, "output_tokens", False):  # the embedding, without the tokens
        visual.output_tokens = False
    tower: nn.Module = visual
    return tower


def describe(model: str) -> dict[str, Any]:
    """Return open_clip's description of ``MODEL/PRETRAINED`` as JSON: preprocessing and weights.

    Raises:
        UsageError: If there is no such model, its preprocessing is not supported, or open_clip is
            not installed.
    """
    open_clip = _open_clip()
    name, _, weights = model.partition("/")
    config = open_clip.get_pretrained_cfg(name, weights)
    if not config:
        raise unknown_name("backbone", f"clip:{model}", all_names())
    size = open_clip.get_model_config(name)["vision_cfg"].get("image_size", 224)
    mode = config.get("resize_mode") or "shortest"
    if not isinstance(size, int) or mode not in _RESIZE:
        raise UsageError(
            f"clip:{model} needs images of {size} by {mode!r}; supported are square images, "
            "cropped at the center or squashed"
        )
    hub, _, file = (config.get("hf_hub") or "").rpartition("/")
    return {
        "name": f"{name}/{weights}",
        "resize": _RESIZE[mode],
        "size": size,
        "crop": size,
        "interpolation": f"pil-{config.get('interpolation') or 'bicubic'}-uint8",
        "mean": list(config.get("mean") or open_clip.OPENAI_DATASET_MEAN),
        "std": list(config.get("std") or open_clip.OPENAI_DATASET_STD),
        "hub": hub or None,
        "hub_files": [file] if file else ["open_clip_model.safetensors",
                                          "open_clip_pytorch_model.bin"],
        "url": config.get("url") or None,
    }  # fmt: skip


def image_tower(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str
) -> dict[str, torch.Tensor]:
    """Return the image encoder's part of the weights of a whole CLIP."""
    del model
    if state.keys() >= expected.keys():
        return {key: state[key] for key in expected}
    marked = {key.removeprefix("module."): value for key, value in state.items()}
    tower = {k.removeprefix("visual."): v for k, v in marked.items() if k.startswith("visual.")}
    return tower or state


def _open_clip() -> ModuleType:
    return require("open_clip", "clip")
