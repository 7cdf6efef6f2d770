"""Recipes of torchvision's ImageNet classifiers: weights, preprocessing and layers. No torch.

``torchvision.json`` has torchvision's metadata; ``python -m gan_metrics.backbones.torchvision``
prints it again. A name without weights means ``IMAGENET1K_V1``, the source of features in the
literature; ``torchvision:resnet50.IMAGENET1K_V2`` selects other weights.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from gan_metrics.backbones.recipe import Layer, Library, Recipe
from gan_metrics.backbones.weights import WeightsSource
from gan_metrics.errors import unknown_name
from gan_metrics.protocols.spec import Preprocess

__all__ = ["SHORT_NAMES", "TORCHVISION", "all_names", "row"]

SHORT_NAMES: Mapping[str, str] = {
    "inception-torchvision": "inception_v3",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    **{f"efficientnet-b{i}": f"efficientnet_b{i}" for i in range(8)},
    "vit-b-16": "vit_b_16",
    **{f"convnext-{size}": f"convnext_{size}" for size in ("tiny", "small", "base", "large")},
}
"""Names that are also valid without ``torchvision:``."""

_PAPERS: Mapping[str, tuple[str, ...]] = {
    "inception": ("szegedy2016rethinking",),
    "vgg": ("simonyan2015very",),
    "resnet": ("he2016deep",),
    "efficientnet": ("tan2019efficientnet",),
    "vit": ("dosovitskiy2021image",),
    "convnext": ("liu2022convnet",),
}
"""Keys of what to cite, by the beginning of a short name."""

_LONG_NAMES = {model: name for name, model in SHORT_NAMES.items()}

_MAP, _VECTOR, _TOKEN = "avg", "none", "cls"


def all_names() -> list[str]:
    """Return every ``torchvision:NAME``, with and without the name of its weights."""
    models = dict.fromkeys(key.partition(".")[0] for key in _facts())
    return [f"torchvision:{name}" for name in (*models, *_facts())]


def row(model: str) -> Recipe:
    """Return the recipe of a classifier.

    Args:
        model: ``NAME`` or ``NAME.WEIGHTS`` in torchvision, with ``_``.

    Raises:
        UsageError: If there is no such classifier.
    """
    facts = _facts()
    name, _, weights = model.partition(".")
    default = next((key for key in facts if key.partition(".")[0] == name), None)
    key = f"{name}.{weights}" if weights else default
    if key is None or key not in facts:
        raise unknown_name("backbone", f"torchvision:{model}", all_names())
    known = facts[key]
    filename = known["url"].rpartition("/")[2]
    short = _LONG_NAMES.get(name, f"torchvision:{name}")
    full = short if key == default else f"torchvision:{key}"
    layers, default_layer = _layers(name)
    hashed = re.search(r"-([0-9a-f]{8,})\.pth$", filename)
    return Recipe(
        name=full,
        summary=f"torchvision's {name}, {key.partition('.')[2]}",
        build="gan_metrics.backbones.torchvision:build",
        model=f"{name}@{known['crop']}" if name.startswith("vit_") else name,
        adapt="gan_metrics.backbones.torchvision:rename_keys",
        layers=layers,
        aliases=_aliases(name),
        cite=next((keys for start, keys in _PAPERS.items() if full.startswith(start)), ()),
        default_layer=default_layer,
        preprocess=Preprocess(
            resize="shorter",
            size=known["resize"],
            interpolation=f"pil-{known['interpolation']}-uint8",
            crop=known["crop"],
            divisor=255.0,
            mean=tuple(known["mean"]),
            std=tuple(known["std"]),
        ),
        weights=WeightsSource(
            backbone=full,
            filenames=(filename,),
            sha256_prefix=hashed[1] if hashed else "",
            urls=(known["url"],),
        ),
    )


@functools.cache
def _facts() -> dict[str, Any]:
    text = resources.files("gan_metrics.backbones").joinpath("torchvision.json").read_text()
    return dict(json.loads(text))


_CONVOLUTIONS = {
    "11": (1, 1, 2, 2, 2),
    "13": (2,) * 5,
    "16": (2, 2, 3, 3, 3),
    "19": (2, 2, 4, 4, 4),
}


def _layers(name: str) -> tuple[dict[str, Layer], str]:
    """Return the short names of a network's layers, in order, and the default layer."""
    family = next(pattern for pattern in _FAMILIES if re.match(pattern, name))
    if family == "vgg":
        return _vgg(name), "pool5"
    cuts, default = _FAMILIES[family]
    return {short: Layer(path, pool) for short, (path, pool) in cuts.items()}, default


def _vgg(name: str) -> dict[str, Layer]:
    """Return the layers conv1_1, relu1_1, …, pool5, avgpool, fc6, fc6_relu, fc7, fc7_relu, logits.

    The names are those of Simonyan & Zisserman (2015), arXiv 1409.1556, in Caffe's model.
    """
    layers, at = {}, 0
    steps = ("conv", "bn", "relu") if name.endswith("_bn") else ("conv", "relu")
    for block, count in enumerate(_CONVOLUTIONS[re.sub(r"\D", "", name)], start=1):
        for i in range(1, count + 1):
            for step in steps:
                layers[f"{step}{block}_{i}"] = Layer(f"features.{at}", _MAP)
                at += 1
        layers[f"pool{block}"] = Layer(f"features.{at}", _MAP)
        at += 1
    return {**layers, "avgpool": Layer("avgpool", "flatten"), **_fully_connected(0, 3)}


def _fully_connected(fc6: int, fc7: int) -> dict[str, Layer]:
    return {
        "fc6": Layer(f"classifier.{fc6}", _VECTOR),
        "fc6_relu": Layer(f"classifier.{fc6 + 1}", _VECTOR),
        "fc7": Layer(f"classifier.{fc7}", _VECTOR),
        "fc7_relu": Layer(f"classifier.{fc7 + 1}", _VECTOR),
        "logits": Layer("classifier.6", _VECTOR),
    }


_STAGES = {
    "maxpool": ("maxpool", _MAP),
    **{f"layer{i}": (f"layer{i}", _MAP) for i in range(1, 5)},
    "avgpool": ("avgpool", _MAP),
    "logits": ("fc", _VECTOR),
}

_FAMILIES: Mapping[str, tuple[Mapping[str, tuple[str, str]], str]] = {
    "alexnet": (
        {
            **{f"conv{i}": (f"features.{at}", _MAP) for i, at in enumerate((0, 3, 6, 8, 10), 1)},
            "pool5": ("features.12", _MAP),
            "avgpool": ("avgpool", "flatten"),
            **{n: (cut.path, cut.pool) for n, cut in _fully_connected(1, 4).items()},
        },
        "pool5",
    ),
    "vgg": ({}, "pool5"),
    "resnet|resnext|wide_resnet": (_STAGES, "avgpool"),
    "densenet": (
        {"avgpool": ("classifier:in", _VECTOR), "logits": ("classifier", _VECTOR)},
        "avgpool",
    ),
    "googlenet|inception_v3": (
        {"avgpool": ("avgpool", _MAP), "logits": ("fc", _VECTOR)},
        "avgpool",
    ),
    "mobilenet_v2|mnasnet": (
        {"avgpool": ("classifier:in", _VECTOR), "logits": ("classifier", _VECTOR)},
        "avgpool",
    ),
    "shufflenet": ({"avgpool": ("fc:in", _VECTOR), "logits": ("fc", _VECTOR)}, "avgpool"),
    "squeezenet": ({"avgpool": ("features", _MAP), "logits": ("", _VECTOR)}, "avgpool"),
    "efficientnet_b": (
        {
            "conv_head": ("features.8.0", _MAP),
            "conv_head_act": ("features.8", _MAP),
            "avgpool": ("avgpool", _MAP),
            "logits": ("classifier", _VECTOR),
        },
        "avgpool",
    ),
    "efficientnet_v2|mobilenet_v3|convnext": (
        {"avgpool": ("avgpool", _MAP), "logits": ("classifier", _VECTOR)},
        "avgpool",
    ),
    "regnet": ({"avgpool": ("avgpool", _MAP), "logits": ("fc", _VECTOR)}, "avgpool"),
    "maxvit": (
        {
            "avgpool": ("classifier.0", _MAP),
            "pre_logits": ("classifier.4", _VECTOR),
            "logits": ("classifier", _VECTOR),
        },
        "avgpool",
    ),
    "vit": (
        {"last_hidden_state": ("encoder", _TOKEN), "logits": ("heads", _VECTOR)},
        "last_hidden_state",
    ),
    "swin": ({"avgpool": ("avgpool", _MAP), "logits": ("head", _VECTOR)}, "avgpool"),
}
"""Layers (short name to path and pooling, in order) and the default layer, by a pattern for the
beginning of a network's name."""


def _aliases(name: str) -> dict[str, str]:
    if name == "inception_v3":
        return {"pool3": "avgpool", "2048": "avgpool"}
    if name.startswith(("vgg", "alexnet")):
        return {"fc8": "logits"}
    return {}


TORCHVISION = Library(
    "torchvision",
    "torchvision:NAME",
    recipe=row,
    names=lambda pattern: fnmatch.filter(all_names(), pattern),
    built_in=True,
)
