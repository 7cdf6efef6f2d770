"""Networks from timm: any of its models, and the embedded ``efficientnet-lite0``."""

from __future__ import annotations

import contextlib
import fnmatch
import math
from typing import Any

import timm
import torch
from torch import nn

from gan_metrics.backbones.cut import CutPoint, run_until
from gan_metrics.backbones.recipe import INPUT
from gan_metrics.errors import UsageError, unknown_name

__all__ = ["adapt", "all_names", "build", "describe", "rename_by_order"]

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def all_names(pattern: str = "*") -> list[str]:
    """Models with weights, ``timm:NAME.WEIGHTS``, that match a pattern with ``*``."""
    names = (f"timm:{name}" for name in timm.list_pretrained())
    return [name for name in names if fnmatch.fnmatch(name, pattern)]


_TAP = "pre_logits_of_all"
"""Name of the module that sees the features of a model with several classifiers."""


def build(model: str) -> nn.Module:
    """A model, freshly initialised, with as many classes as its weights have.

    One that has several classifiers (distilled ones, several branches) gets a module more, which
    passes on what timm's own ``forward_head(…, pre_logits=True)`` gives.
    """
    module: Any = timm.create_model(model, pretrained=False)
    if isinstance(module.pretrained_cfg.get("classifier"), list | tuple):
        module.add_module(_TAP, nn.Identity())

        def forward(x: torch.Tensor) -> object:
            maps = module.forward_features(x)
            getattr(module, _TAP)(module.forward_head(maps, pre_logits=True))
            return module.forward_head(maps)

        module.forward = forward
    network: nn.Module = module
    return network


def describe(model: str) -> dict[str, Any]:
    """What timm says of a model, as JSON: full name, pixels, classifier, places of its weights.

    Args:
        model: ``NAME`` or ``NAME.WEIGHTS`` in timm; without weights' name, timm's default.

    Raises:
        UsageError: When there is none of that name, or its pixels are prepared in a way that is
            not provided for (padded, or not square).
    """
    config = None
    with contextlib.suppress(RuntimeError):  # an unknown tag
        config = timm.models.get_pretrained_cfg(model) if ":" not in model else None
    if config is None or not timm.is_model(model):
        raise unknown_name("backbone", f"timm:{model}", all_names())
    name = ".".join(filter(None, (config.architecture, config.tag)))
    data: Any = timm.data
    pixels = data.resolve_data_config(pretrained_cfg=dict(vars(config)))
    channels, height, width = pixels["input_size"]
    if channels != 3 or height != width or pixels["crop_mode"] not in ("center", "squash"):
        raise UsageError(
            f"timm:{name} wants {channels}×{height}×{width} by {pixels['crop_mode']!r}; provided "
            "for are square RGB images, cropped at the centre or squashed"
        )
    with torch.random.fork_rng(devices=[]):
        module = build(model).eval().to("meta")
    tokens = None
    if hasattr(module, "blocks") and hasattr(module, "norm"):
        with contextlib.suppress(UsageError):  # a norm that is not on the way of all tokens
            if len(_shape(module, height, "norm")) == 2:
                tokens = "cls" if getattr(module, "global_pool", "avg") == "token" else "avg"
    classifier = config.classifier
    if isinstance(classifier, list | tuple):
        before = _TAP
    else:
        before = f"{classifier}{INPUT}" if classifier else ""
    pool = CutPoint(before, "", _shape(module, height, before), 0).pool
    return {
        "name": name,
        "resize": "shorter" if pixels["crop_mode"] == "center" else "exact",
        "size": math.floor(height / pixels["crop_pct"]),
        "crop": height,
        "interpolation": f"pil-{pixels['interpolation']}-uint8",
        "mean": list(pixels["mean"]),
        "std": list(pixels["std"]),
        "pre_logits": [before, pool],
        "tokens": tokens,
        "hub": config.hf_hub_id,
        "hub_files": [config.hf_hub_filename] if config.hf_hub_filename else list(_HUB_FILES),
        "url": config.url or None,
    }


def _shape(module: nn.Module, size: int, path: str) -> tuple[int, ...]:
    """Of what there is at a cut, for one image."""
    with torch.inference_mode():
        image = torch.empty(1, 3, size, size, device="meta")
        return tuple(run_until(module, image, [path])[path].shape[1:])


def adapt(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str
) -> dict[str, torch.Tensor]:
    """From the keys of a published file to the model's, by timm's own conversion."""
    fits = state.keys() == expected.keys() and all(
        state[key].shape == expected[key].shape for key in state
    )
    if fits:
        return state
    config: Any = timm.models.get_pretrained_cfg(model)
    heads = config.classifier if isinstance(config.classifier, list | tuple) else ()
    heads = (*heads, str(config.classifier))
    resized = [
        key
        for key in state.keys() & expected.keys()
        if state[key].shape != expected[key].shape and not key.startswith(heads)
    ]
    if resized:  # timm would resample a table of positions to another size of images
        return state
    try:
        overlay = {"state_dict": dict(state)}
        module = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception:  # it fits in no way that timm knows; the keys that differ will be named
        return state
    return dict(module.state_dict())


def rename_by_order(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str
) -> dict[str, torch.Tensor]:
    """From the keys of ``efficientnet-lite-pytorch`` to timm's, which list their tensors alike.

    ``num_batches_tracked``, which only one of them may have, is left out. A file that has timm's
    own keys passes as it is.
    """
    del model
    if not any(key.startswith("_conv_stem") for key in state):
        return state
    old = [key for key in state if not key.endswith("num_batches_tracked")]
    new = [key for key in expected if not key.endswith("num_batches_tracked")]
    if len(old) != len(new):
        return state
    return {n: state[o] for o, n in zip(old, new, strict=True)}
