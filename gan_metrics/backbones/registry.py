"""The networks there are, and what turns a name into a feature space. Imports no torch.

A backbone that is new is a row of :data:`BACKBONES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gan_metrics.backbones.choice import BackboneChoice, Layer, Recipe
from gan_metrics.backbones.weights import EMBEDDED_LITE0, PUBLISHED_INCEPTION, find
from gan_metrics.errors import MismatchError, unknown_name
from gan_metrics.protocols import PYTORCH_FID_PREPROCESS, protocol_for
from gan_metrics.specs import ALPHAS, EXIFS, POOLS, PRECISIONS, Decoding, FeatureSpec, Preprocess

if TYPE_CHECKING:
    from gan_metrics.backbones.network import Backbone

__all__ = ["BACKBONES", "choose_backbone", "load_backbone"]


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

    Raises:
        UsageError: For an unknown name.
        MismatchError: When the protocol is not defined for the backbone.
        WeightsError: When the weights cannot be had or fail their hash.
    """
    backbone = backbone or "inception"
    if backbone not in BACKBONES:
        raise unknown_name("backbone", backbone, BACKBONES)
    recipe = BACKBONES[backbone]
    rules = protocol_for(protocol, backbone)
    template = rules.metrics["fid"].template
    if template.backbone not in (None, backbone):
        raise MismatchError(
            f"protocol {rules.name!r} is defined for the backbone {template.backbone!r}, "
            f"not for {backbone!r}; leave --protocol out, or choose imagenet"
        )
    name = recipe.layer(layer or template.layer or recipe.default_layer)
    for kind, value, known in (("pool", pool, POOLS), ("precision", precision, PRECISIONS)):
        if value is not None and value not in known:
            raise unknown_name(kind, value, known)
    decoding = _decoding(rules.decoding, alpha, exif)
    notes: list[tuple[str, str]] = []
    path: Path | None = None
    if weights == "random":
        sha256 = f"random:seed={seed}"
        notes.append(("random-weights", f"{backbone} has random weights (seed {seed})"))
    else:
        file = find(recipe.weights, weights)
        path, sha256 = file.path, file.sha256
        if not sha256.startswith(recipe.weights.sha256_prefix):
            notes.append(
                (
                    "unpublished-weights",
                    f"{file.path.name} is not the published file of {backbone} "
                    f"(sha256 {sha256[:8]}…, not {recipe.weights.sha256_prefix}…)",
                )
            )
    spec = FeatureSpec(
        backbone=backbone,
        layer=name,
        pool=pool or template.pool or recipe.layers[name].pool,
        weights_sha256=sha256,
        preprocess=template.preprocess or recipe.preprocess,
        precision=precision or "fp32",
        departures=decoding.departures(rules.decoding),
    )
    return BackboneChoice(recipe, spec, rules, decoding, path, seed, tuple(notes))


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
        protocol: What is done to the pixels; see ``gan-metrics protocols``.
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


def _decoding(default: Decoding, alpha: str | None, exif: str | None) -> Decoding:

    for kind, value, known in (("alpha", alpha, ALPHAS), ("exif", exif, EXIFS)):
        if value is not None and value not in known:
            raise unknown_name(kind, value, known)
    return Decoding(alpha=alpha or default.alpha, exif=exif or default.exif)
