"""Networks from torchvision."""

from __future__ import annotations

import json
import re
from typing import Any

import torch
import torchvision
from torch import nn

__all__ = ["build", "catalogue", "rename_keys"]

_ARGUMENTS: dict[str, dict[str, Any]] = {
    # Their weights come from TensorFlow: the network converts ImageNet's normalization to 2x − 1.
    "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "googlenet": {"transform_input": True, "aux_logits": True, "init_weights": False},
}

_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")


def build(model: str) -> nn.Module:
    """Return a classifier, newly initialized.

    Args:
        model: Its name in torchvision; ``name@size`` if the weights are for images of another size
            than the network's own.
    """
    name, _, size = model.partition("@")
    arguments = _ARGUMENTS.get(name, {}) | ({"image_size": int(size)} if size else {})
    module: nn.Module = torchvision.models.get_model(name, weights=None, **arguments)
    return module


def rename_keys(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], model: str
) -> dict[str, torch.Tensor]:
    """Convert the keys of a published file to those of :func:`build`; old DenseNets differ."""
    del expected, model
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}


def catalogue() -> dict[str, dict[str, Any]]:
    """Return the URL and the preprocessing of the weights by ``NAME.WEIGHTS``, as data."""
    rows = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(name):
            how = weights.transforms()
            rows[f"{name}.{weights.name}"] = {
                "url": weights.url,
                "resize": how.resize_size[0],
                "crop": how.crop_size[0],
                "interpolation": how.interpolation.value,
                "mean": list(how.mean),
                "std": list(how.std),
            }
    return rows


if __name__ == "__main__":  # writes torchvision.json
    print("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in catalogue().items()))  # noqa: T201
    print("}")  # noqa: T201
