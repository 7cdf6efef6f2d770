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
    """Return models with weights, ``timm:NAME.WEIGHTS``, that match a pattern with ``*``."""
    names = (f"timm:{name}" for name in timm.list_pretrained())
    return [name for name in names if fnmatch.fnmatch(name, pattern)]


_TAP = "pre_logits_of_all"
"""Name of the added module for the features of a model with several classifiers."""


def build(model: str) -> nn.Module:
    """Return a model, newly initialized, with the number of classes of its weights.

    A model with several classifiers (distilled models, several branches) gets an additional module,
    which returns the output of timm's ``forward_head(…, pre_logits=True)``.
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
    """Return timm's description of a model as JSON: name, preprocessing, classifier, weights.

    Args:
        model: ``NAME`` or ``NAME.WEIGHTS`` in timm; without weights, timm's default.

    Raises:
        UsageError: If there is no such model, or its preprocessing is not supported (padded, or
            not square).
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
            f"timm:{name} needs {channels}×{height}×{width} by {pixels['crop_mode']!r}; supported "
            "are square RGB images, cropped at the center or squashed"
        )
    with torch.random.fork_rng(devices=[]):
        module = build(model).eval().to("meta")
    tokens = None
    if hasattr(module, "blocks") and hasattr(module, "norm"):
        with contextlib.suppress(UsageError):  # a norm that does not see all tokens
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
    """Return the shape of the output at a cut, for one image."""
    with torch.inference_mode():
        image = torch.empty(1, 3, size, size, device="meta")
        return tuple(run_until(module, image, [path])[path].shape[1:])


def adapt(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str
) -> dict[str, torch.Tensor]:
    """Convert the keys of a published file to the model's, with timm's own conversion."""
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
    if resized:  # timm would resample position embeddings
        return state
    try:
        overlay = {"state_dict": dict(state)}
        module = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception:  # not a format of timm; the caller reports the keys
        return state
    return dict(module.state_dict())


def rename_by_order(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str
) -> dict[str, torch.Tensor]:
    """Convert the keys of ``efficientnet-lite-pytorch`` to timm's; both list tensors in one order.

    ``num_batches_tracked``, which may exist in only one of them, is dropped. A file with timm's own
    keys is unchanged.
    """
    del model
    if not any(key.startswith("_conv_stem") for key in state):
        return state
    old = [key for key in state if not key.endswith("num_batches_tracked")]
    new = [key for key in expected if not key.endswith("num_batches_tracked")]
    if len(old) != len(new):
        return state
    return {n: state[o] for o, n in zip(old, new, strict=True)}
