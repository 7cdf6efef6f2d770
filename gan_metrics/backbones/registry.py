"""The networks there are, and what turns a name into a feature space. Imports no torch.

A backbone that is new is a row of :data:`BACKBONES`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gan_metrics.backbones.choice import BackboneChoice, Layer, Recipe
from gan_metrics.backbones.weights import EMBEDDED_LITE0, PUBLISHED_INCEPTION, find
from gan_metrics.downloads import Progress
from gan_metrics.errors import MismatchError, unknown_name
from gan_metrics.protocols import PYTORCH_FID_PREPROCESS, protocol_for
from gan_metrics.specs import ALPHAS, EXIFS, POOLS, PRECISIONS, Decoding, FeatureSpec, Preprocess

if TYPE_CHECKING:
    from gan_metrics.backbones.network import Backbone

__all__ = ["BACKBONES", "choose_backbone", "load_backbone", "recipe_of", "state_spec"]


BACKBONES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe(
                name="inception",
                summary="the 2015 Inception of FID (pool3: 2048-d)",
                build="gan_metrics.backbones.inception:build",
                rename="gan_metrics.backbones.inception:rename_keys",
                layers={
                    "64": Layer("maxpool1", "avg"),
                    "192": Layer("maxpool2", "avg"),
                    "768": Layer("Mixed_6e", "avg"),
                    "pool3": Layer("avgpool", "avg"),
                    "logits": Layer("fc", "none"),
                    "logits_unbiased": Layer("fc.unbiased", "none"),
                },
                aliases={"2048": "pool3"},
                default_layer="pool3",
                preprocess=PYTORCH_FID_PREPROCESS,
                weights=PUBLISHED_INCEPTION,
            ),
            Recipe(
                name="efficientnet-lite0",
                summary="an ImageNet classifier that comes with the installation (1280-d)",
                build="gan_metrics.backbones.timm:build_efficientnet_lite0",
                rename="gan_metrics.backbones.timm:rename_by_order",
                layers={
                    "global_pool": Layer("global_pool", "none"),
                    "logits": Layer("classifier", "none"),
                },
                aliases={"avgpool": "global_pool", "1280": "global_pool"},
                default_layer="global_pool",
                preprocess=Preprocess(
                    resize="shorter",
                    size=256,
                    interpolation="pil-bicubic-uint8",
                    crop=224,
                    divisor=1.0,
                    mean=(127.0, 127.0, 127.0),
                    std=(128.0, 128.0, 128.0),
                ),
                weights=EMBEDDED_LITE0,
            ),
        )
    }
)


def choose_backbone(
    backbone: str | None = None,
    *,
    layer: str | None = None,
    pool: str | None = None,
    protocol: str | None = None,
    weights: str | Path | None = None,
    precision: str | None = None,
    alpha: str | None = None,
    exif: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> BackboneChoice:
    """Settle what a command's names mean, find the weights and hash them.

    Args:
        backbone: A key of :data:`BACKBONES`; ``"inception"`` by default.
        layer: A layer of it; its final pooling layer by default.
        pool: One of :data:`~gan_metrics.specs.POOLS`; the layer's own by default.
        protocol: A key of :data:`~gan_metrics.protocols.PROTOCOLS`.
        weights: A file; ``"random"``; by default the registered ones.
        precision: One of :data:`~gan_metrics.specs.PRECISIONS`; ``"fp32"`` by default.
        alpha: One of :data:`~gan_metrics.specs.ALPHAS`; the protocol's way by default.
        exif: One of :data:`~gan_metrics.specs.EXIFS`; the protocol's way by default.
        seed: Of random weights.
        progress: Told of the bytes, should the weights be downloaded.

    Raises:
        UsageError: For an unknown name.
        MismatchError: When the protocol is not defined for the backbone.
        WeightsError: When the weights cannot be had or fail their hash.
    """
    backbone = backbone or "inception"
    recipe = recipe_of(backbone)
    rules = protocol_for(protocol, backbone)
    stated = state_spec(
        backbone,
        layer=layer,
        pool=pool,
        protocol=rules.name,
        precision=precision,
        alpha=alpha or rules.decoding.alpha,
        exif=exif or rules.decoding.exif,
    )
    name = stated.layer or recipe.default_layer
    notes: list[tuple[str, str]] = []
    path: Path | None = None
    if weights == "random":
        sha256 = _random_identity(seed)
        notes.append(("random-weights", f"{backbone} has random weights (seed {seed})"))
    else:
        file = find(recipe.weights, weights, progress=progress)
        path, sha256 = file.path, file.sha256
        if not sha256.startswith(recipe.weights.sha256_prefix):
            notes.append(
                (
                    "unpublished-weights",
                    f"{file.path.name} is not the published file of {backbone} "
                    f"(sha256 {sha256[:8]}…, not {recipe.weights.sha256_prefix}…)",
                )
            )
    template = rules.metrics["fid"].template
    spec = replace(
        stated,
        layer=name,
        pool=stated.pool or template.pool or recipe.layers[name].pool,
        weights_sha256=sha256,
        precision=stated.precision or "fp32",
    )
    decoding = Decoding(alpha or rules.decoding.alpha, exif or rules.decoding.exif)
    return BackboneChoice(recipe, spec, rules, decoding, path, seed, tuple(notes))


def recipe_of(backbone: str) -> Recipe:
    """The row of a backbone.

    Raises:
        UsageError: When there is none of that name.
    """
    if backbone not in BACKBONES:
        raise unknown_name("backbone", backbone, BACKBONES)
    return BACKBONES[backbone]


def state_spec(
    backbone: str | None = None,
    *,
    layer: str | None = None,
    pool: str | None = None,
    protocol: str | None = None,
    weights: str | Path | None = None,
    precision: str | None = None,
    alpha: str | None = None,
    exif: str | None = None,
    seed: int = 0,
) -> FeatureSpec:
    """What a command's names say about the feature space, and no more: the rest stays open.

    Args:
        backbone: As for :func:`choose_backbone`, as are the others. Where it is left open and
            another name cannot be understood without it, ``"inception"``.
        layer: A layer of it.
        pool: What turns maps into vectors.
        protocol: What is done to the pixels.
        weights: A file, or ``"random"``.
        precision: Of the network.
        alpha: What is done with transparency.
        exif: What is done with orientation.
        seed: Of random weights.

    Raises:
        UsageError: For an unknown name.
        MismatchError: When the protocol is not defined for the backbone.
        WeightsError: When the weights file is not there.
    """
    for kind, value, known in (
        ("pool", pool, POOLS),
        ("precision", precision, PRECISIONS),
        ("alpha", alpha, ALPHAS),
        ("exif", exif, EXIFS),
    ):
        if value is not None and value not in known:
            raise unknown_name(kind, value, known)
    if backbone is None and not any((layer, protocol, weights, alpha, exif)):
        return FeatureSpec(pool=pool, precision=precision)
    recipe = recipe_of(backbone or "inception")
    rules = protocol_for(protocol, recipe.name)
    template = rules.metrics["fid"].template
    if template.backbone not in (None, recipe.name):
        raise MismatchError(
            f"protocol {rules.name!r} is defined for the backbone {template.backbone!r}, "
            f"not for {recipe.name!r}; leave --protocol out, or choose imagenet"
        )
    departures = None
    if alpha or exif:
        decoding = Decoding(alpha or rules.decoding.alpha, exif or rules.decoding.exif)
        departures = decoding.departures(rules.decoding)
    sha256 = None
    if weights is not None:
        random = weights == "random"
        sha256 = _random_identity(seed) if random else find(recipe.weights, weights).sha256
    named = layer or template.layer
    return FeatureSpec(
        backbone=recipe.name,
        layer=recipe.layer(named) if named else None,
        pool=pool,
        weights_sha256=sha256,
        preprocess=(template.preprocess or recipe.preprocess) if protocol else None,
        precision=precision,
        departures=departures,
    )


def _random_identity(seed: int) -> str:
    """What stands in place of a hash: the seed, and the versions of what draws the weights."""
    used = [f"{p}={importlib.metadata.version(p)}" for p in ("torch", "torchvision", "timm")]
    return ",".join([f"random:seed={seed}", *used])


def load_backbone(
    name: str = "inception",
    *,
    layer: str | None = None,
    pool: str | None = None,
    protocol: str | None = None,
    weights: str | Path | None = None,
    precision: str | None = None,
    device: str = "auto",
    seed: int = 0,
) -> Backbone:
    """A network, cut at a layer: ``uint8`` images in, ``float32`` features out.

    Args:
        name: A key of :data:`BACKBONES`.
        layer: A layer of it; its final pooling layer by default.
        pool: ``"avg"``, ``"max"``, ``"cls"``, ``"flatten"`` or ``"none"``.
        protocol: What is done to the pixels: a key of :data:`~gan_metrics.protocols.PROTOCOLS`.
        weights: A file; ``"random"`` for seeded random ones; by default the registered ones.
        precision: ``"fp32"`` (default), ``"tf32"``, ``"bf16"`` or ``"fp16"``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        seed: Of random weights.

    Returns:
        A callable from ``N × 3 × H × W`` ``uint8`` RGB to ``N × D`` ``float32``.

    Raises:
        UsageError: For an unknown name or a device that is not there.
        WeightsError: When the weights cannot be had, fail their hash or do not fit.
    """
    choice = choose_backbone(
        name,
        layer=layer,
        pool=pool,
        protocol=protocol,
        weights=weights,
        precision=precision,
        seed=seed,
    )
    from gan_metrics.backbones.network import Backbone  # this is where torch is imported

    return Backbone(choice, device)
