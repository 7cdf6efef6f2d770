"""Image towers of CLIP, from open_clip."""

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
    """Every ``clip:MODEL/PRETRAINED`` that matches a pattern with ``*``."""
    names = (f"clip:{model}/{weights}" for model, weights in _open_clip().list_pretrained())
    return [name for name in names if fnmatch.fnmatch(name, pattern)]


def build(model: str) -> nn.Module:
    """The image tower of ``MODEL/PRETRAINED``, freshly initialised."""
    name, _, weights = model.partition("/")
    config = _open_clip().get_pretrained_cfg(name, weights)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it warns of having no weights yet
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
            f"clip:{model} has a text tower that needs transformers ({error}); pip install "
            "transformers, or choose another"
        ) from error
    finally:
        logging.disable(before)
    visual: Any = whole.visual
    if getattr(visual, "output_tokens", False):  # of the embedding and the tokens, the first
        visual.output_tokens = False
    tower: nn.Module = visual
    return tower


def describe(model: str) -> dict[str, Any]:
    """What open_clip says of ``MODEL/PRETRAINED``, as JSON: pixels and places of its weights.

    Raises:
        UsageError: When there is none of that name, its pixels are prepared in a way that is not
            provided for, or open_clip is not installed.
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
            f"clip:{model} wants images of {size} by {mode!r}; provided for are square images, "
            "cropped at the centre or squashed"
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
    """The image tower's part of a whole CLIP's weights."""
    del model
    if state.keys() >= expected.keys():
        return {key: state[key] for key in expected}
    marked = {key.removeprefix("module."): value for key, value in state.items()}
    tower = {k.removeprefix("visual."): v for k, v in marked.items() if k.startswith("visual.")}
    return tower or state


def _open_clip() -> ModuleType:
    return require("open_clip", "clip")
