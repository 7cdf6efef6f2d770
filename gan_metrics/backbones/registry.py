"""The registry of backbones, and the choice of a feature space by names.

A new backbone is an entry of :data:`REGISTRY`. Whole libraries are entries of :data:`LIBRARIES`, by
prefix: ``torchvision:NAME``, ``timm:NAME``, ``clip:MODEL/WEIGHTS``. Custom networks are modules or
``package.module:factory``. torch is imported only if a network must be built to find its layers.
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Union

from gan_metrics.backbones import library_recipes, torchvision_table
from gan_metrics.backbones.layers import cut_of
from gan_metrics.backbones.recipe import FeatureSpace, Layer, Library, Recipe
from gan_metrics.backbones.weights import (
    EMBEDDED_LITE0,
    PUBLISHED_INCEPTION,
    WeightsSource,
    find,
)
from gan_metrics.errors import MismatchError, UsageError, unknown_name
from gan_metrics.protocols.spec import (
    ALPHAS,
    EXIFS,
    POOLS,
    PRECISIONS,
    Decoding,
    FeatureSpec,
    Preprocess,
)
from gan_metrics.protocols.table import PYTORCH_FID_PREPROCESS, Protocol, protocol_for
from gan_metrics.protocols.table import REGISTRY as PROTOCOL_REGISTRY
from gan_metrics.utils.progress import Progress
from gan_metrics.utils.registry import Origin, Registry
from gan_metrics.utils.versions import installed_versions

if TYPE_CHECKING:
    from torch import nn

    from gan_metrics.backbones.network import Backbone

__all__ = [
    "BACKBONES",
    "LIBRARIES",
    "REGISTRY",
    "backbone_names",
    "built_in",
    "choose_backbone",
    "cited_by",
    "is_built_in",
    "library_of",
    "load_backbone",
    "origins_of",
    "recipe_of",
    "state_spec",
    "weights_source",
]

BackboneName = Union[str, "nn.Module", Recipe]
"""A name, a custom module, or the recipe of one of these."""


_INCEPTION = Recipe(
    name="inception",
    summary="the 2015 Inception of FID (pool3: 2048-d)",
    build="gan_metrics.backbones.inception:build",
    adapt="gan_metrics.backbones.inception:rename_keys",
    layers={
        "64": Layer("maxpool1", "avg"),
        "192": Layer("maxpool2", "avg"),
        "768": Layer("Mixed_6e", "avg"),
        "spatial": Layer("Mixed_6d.branch1x1", "flatten", channels=7),
        "pool3": Layer("avgpool", "avg"),
        "logits": Layer("fc", "none"),
        "logits_unbiased": Layer("fc.unbiased", "none"),
    },
    aliases={"2048": "pool3"},
    default_layer="pool3",
    preprocess=PYTORCH_FID_PREPROCESS,
    weights=PUBLISHED_INCEPTION,
    cite=("szegedy2016rethinking",),
)

_LITE0 = Recipe(
    name="efficientnet-lite0",
    summary="an ImageNet classifier that is part of the installation (1280-d)",
    build="gan_metrics.backbones.timm:build",
    model="tf_efficientnet_lite0",
    adapt="gan_metrics.backbones.timm:rename_by_order",
    layers={
        "conv_head": Layer("conv_head", "avg"),
        "conv_head_act": Layer("bn2", "avg"),
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
    cite=("tan2019efficientnet",),
)


def _dinov2(model: str, size: str, dimension: int) -> Recipe:
    """Return a DINOv2 without registers, like torch hub's, for images of 224 × 224 pixels."""
    name = f"dinov2-{model}"
    file = f"dinov2_{model}_pretrain.pth"
    url = f"https://dl.fbaipublicfiles.com/dinov2/dinov2_{model}/{file}"
    return Recipe(
        name=name,
        summary=f"the self-supervised DINOv2 (class token: {dimension}-d)",
        build="gan_metrics.backbones.dinov2:build",
        model=f"vit_{size}_patch14_dinov2",
        adapt="gan_metrics.backbones.dinov2:adapt",
        layers={"cls": Layer("norm", "cls")},
        aliases={"last_hidden_state": "cls"},
        default_layer="cls",
        preprocess=Preprocess(
            resize="exact",
            size=224,
            interpolation="pil-bicubic-uint8",
            crop=None,
            divisor=255.0,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        weights=WeightsSource(name, (file,), "", (url,)),
        cite=("oquab2024dinov2",),
    )


REGISTRY: Registry[Recipe] = Registry(
    "backbone",
    {
        recipe.name: recipe
        for recipe in (
            _INCEPTION,
            _LITE0,
            *map(torchvision_table.row, torchvision_table.SHORT_NAMES.values()),
            _dinov2("vits14", "small", 384),
            _dinov2("vitb14", "base", 768),
            _dinov2("vitl14", "large", 1024),
            _dinov2("vitg14", "giant", 1536),
        )
    },
)
"""The backbones with a name of their own, in the order of the listing."""

BACKBONES: Mapping[str, Recipe] = REGISTRY.view
"""Recipes by name."""

LIBRARIES: Registry[Library] = Registry(
    "library of backbones",
    {
        library.name: library
        for library in (torchvision_table.TORCHVISION, library_recipes.TIMM, library_recipes.CLIP)
    },
)
"""Libraries by prefix."""

_LPIPS_CITE = ("zhang2018unreasonable",)


def choose_backbone(
    backbone: BackboneName | None = None,
    *,
    layer: str | None = None,
    pool: str | None = None,
    protocol: str | None = None,
    metric: str | None = None,
    weights: str | Path | None = None,
    precision: str | None = None,
    alpha: str | None = None,
    exif: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> FeatureSpace:
    """Choose a feature space by names; find the weights and hash them.

    Args:
        backbone: A name, see :func:`recipe_of`; default: the protocol's, or ``"inception"``.
        layer: One of its layers, see :func:`~gan_metrics.backbones.layers.cut_of`; default: the
            protocol's, or the last pooling layer.
        pool: One of :data:`~gan_metrics.protocols.spec.POOLS`; default: the layer's own.
        protocol: A key of :data:`~gan_metrics.protocols.table.PROTOCOLS`.
        metric: The protocol's metric; default: its main feature space.
        weights: A file; ``"random"``; default: the registered ones.
        precision: One of :data:`~gan_metrics.protocols.spec.PRECISIONS`; default ``"fp32"``.
        alpha: One of :data:`~gan_metrics.protocols.spec.ALPHAS`; default: the protocol's.
        exif: One of :data:`~gan_metrics.protocols.spec.EXIFS`; default: the protocol's.
        seed: Seed of random weights.
        progress: Called with the number of bytes if the weights are downloaded.

    Raises:
        UsageError: For an unknown name.
        MismatchError: If the protocol is not defined for the backbone.
        WeightsError: If the weights are unavailable or fail their hash.
    """
    recipe, rules, template = _resolve_names(backbone, protocol, metric)
    if recipe.weights is None and not recipe.identity:
        recipe = importlib.import_module("gan_metrics.backbones.custom").identified(recipe)
    named = layer or template.layer or recipe.default_layer
    if not named:
        raise UsageError(
            f"{recipe.name} has several classifiers and no last pooling layer; choose a layer with "
            f"--layer ({', '.join(recipe.layers)}, or a module: gan-metrics layers {recipe.name})"
        )
    stated = state_spec(
        recipe,
        layer=named,
        pool=pool,
        protocol=rules.name,
        metric=metric,
        precision=precision,
        alpha=alpha or rules.decoding.alpha,
        exif=exif or rules.decoding.exif,
    )
    cut = cut_of(recipe, str(stated.layer))[1]
    own = stated.layer == template.layer  # the template's pooling applies to its layer only
    file, sha256, notes = _find_weights(recipe, weights, seed, progress)
    spec = replace(
        stated,
        pool=stated.pool or (template.pool if own else None) or cut.pool,
        weights_sha256=sha256,
        precision=stated.precision or "fp32",
    )
    decoding = Decoding(alpha or rules.decoding.alpha, exif or rules.decoding.exif)
    warnings = (*notes, *recipe.warnings)
    return FeatureSpace(recipe, cut, spec, rules, decoding, file, seed, warnings)


def _resolve_names(
    backbone: BackboneName | None, protocol: str | None, metric: str | None
) -> tuple[Recipe, Protocol, FeatureSpec]:
    """Return the backbone, the protocol, and its template for a metric in that backbone."""
    if backbone is None and protocol is not None:
        backbone = protocol_for(protocol).template(metric).backbone
    recipe = recipe_of(backbone if backbone is not None else "inception")
    rules = protocol_for(protocol, recipe.name)
    return recipe, rules, rules.template(metric, recipe.name)


def _find_weights(
    recipe: Recipe, weights: str | Path | None, seed: int, progress: Progress | None
) -> tuple[Path | str | None, str, list[tuple[str, str]]]:
    """Return the weights (a file, ``"random"``, or ``None``), their identity, and warnings."""
    if weights == "random":
        if recipe.weights is None:
            raise UsageError(
                f"{recipe.name} has its own weights; make them random in your own code, with your "
                "own seed"
            )
        return (
            "random",
            _random_identity(recipe, seed),
            [("random-weights", f"{recipe.name} has random weights (seed {seed})")],
        )
    if recipe.weights is None and weights is None:
        return None, recipe.identity, []
    source = recipe.weights or WeightsSource(recipe.name, (), "")
    file = find(source, weights, progress=progress)
    if file.sha256.startswith(source.sha256_prefix):
        return file.path, file.sha256, []
    message = (
        f"{file.path.name} is not the published weights file of {recipe.name} "
        f"(sha256 {file.sha256[:8]}…, not {source.sha256_prefix}…)"
    )
    return file.path, file.sha256, [("unpublished-weights", message)]


def recipe_of(backbone: BackboneName) -> Recipe:
    """Return the recipe of a backbone's name.

    Args:
        backbone: A key of :data:`BACKBONES`; ``torchvision:NAME[.WEIGHTS]``;
            ``timm:NAME[.WEIGHTS]``; ``clip:MODEL/WEIGHTS``; ``package.module:factory``, which is
            imported and called; or a ``torch.nn.Module``.

    Raises:
        UsageError: If there is no such backbone.
    """
    if isinstance(backbone, Recipe):
        return backbone
    if not isinstance(backbone, str):
        own = importlib.import_module("gan_metrics.backbones.custom")
        module_recipe: Recipe = own.recipe_of_module(backbone)
        return module_recipe
    if backbone in REGISTRY.registered():
        return REGISTRY[backbone]
    prefix, _, name = backbone.partition(":")
    if library := library_of(backbone):
        return library.recipe(name)
    if backbone in REGISTRY:  # from a plug-in
        return REGISTRY[backbone]
    if name and prefix:
        if near := difflib.get_close_matches(prefix, LIBRARIES, cutoff=0.7):
            raise UsageError(f"unknown backbone {backbone!r}. Did you mean {near[0]}:{name}?")
        own = importlib.import_module("gan_metrics.backbones.custom")
        factory_recipe: Recipe = own.recipe_from_factory(backbone)
        return factory_recipe
    known = [*BACKBONES, *torchvision_table.all_names()]
    if not difflib.get_close_matches(backbone, known, cutoff=0.5):
        known = [*BACKBONES, *(library.form for library in LIBRARIES.values())]
    raise unknown_name("backbone", backbone, known)


def library_of(backbone: str) -> Library | None:
    """Return the library whose prefix a backbone's name has, or ``None``."""
    prefix, _, name = backbone.partition(":")
    if not (prefix and name):
        return None
    return LIBRARIES.get(prefix)


def origins_of(backbone: str) -> tuple[Origin, ...]:
    """Return the plug-in of a backbone; empty for built-in ones."""
    library = library_of(backbone)
    found = REGISTRY.origin(backbone) or (library and LIBRARIES.origin(library.name))
    return (found,) if found else ()


def cited_by(backbone: str | None) -> tuple[str, ...]:
    """Return what to cite for a backbone, by its name in a feature space."""
    if backbone is None:
        return ()
    if backbone.startswith("lpips-"):
        return _LPIPS_CITE
    if library := library_of(backbone):
        return library.cite
    return REGISTRY[backbone].cite if backbone in REGISTRY else ()


def built_in(name: str | None, by: str) -> str | None:
    """Return a backbone's name from a file's header, if the header may choose it.

    Args:
        name: The name in the header, or ``None``.
        by: Description of the file, for the message.

    Raises:
        MismatchError: If the backbone is not built in.
    """
    if name is not None and not is_built_in(name):
        raise MismatchError(
            f"{by} has the backbone {name!r}, which is not built in; a file never chooses what is "
            "imported or downloaded, so repeat it with --backbone"
        )
    return name


def is_built_in(name: str) -> bool:
    """Whether a file's header may choose this backbone: its metadata is part of this package."""
    return name in REGISTRY.built_in() or name in torchvision_table.all_names()


def backbone_names(pattern: str | None = None) -> list[str]:
    """Return names of backbones.

    Args:
        pattern: With ``*``, such as ``"timm:*dinov2*"``; default: those of :data:`BACKBONES`.
    """
    if pattern is None:
        return list(BACKBONES)
    found = fnmatch.filter(BACKBONES, pattern)
    for library in LIBRARIES.values():
        prefix = f"{pattern.partition(':')[0]}:"
        if library.built_in or (":" in pattern and fnmatch.fnmatch(f"{library.name}:", prefix)):
            found += library.names(pattern)
    return found


def weights_source(backbone: str) -> WeightsSource:
    """Return where the weights of a backbone are found.

    Raises:
        UsageError: If there is no such backbone, or it has its own weights.
    """
    source = recipe_of(backbone).weights
    if source is None:
        raise UsageError(f"{backbone} is a custom network with its own weights")
    return source


def state_spec(
    backbone: BackboneName | None = None,
    *,
    layer: str | None = None,
    pool: str | None = None,
    protocol: str | None = None,
    metric: str | None = None,
    weights: str | Path | None = None,
    precision: str | None = None,
    alpha: str | None = None,
    exif: str | None = None,
    seed: int = 0,
) -> FeatureSpec:
    """Return what names state about the feature space; other fields stay open.

    Args:
        backbone: As for :func:`choose_backbone`. If it is not given but another name needs it,
            ``"inception"``.
        layer: One of its layers.
        pool: The pooling of feature maps.
        protocol: The protocol.
        metric: The protocol's metric.
        weights: A file, or ``"random"``.
        precision: Arithmetic of the network.
        alpha: Handling of transparency.
        exif: Handling of orientation.
        seed: Seed of random weights.

    Raises:
        UsageError: For an unknown name.
        MismatchError: If the protocol is not defined for the backbone.
        WeightsError: If the weights file does not exist.
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
    recipe, rules, template = _resolve_names(backbone, protocol, metric)
    departures = None
    if alpha or exif:
        decoding = Decoding(alpha or rules.decoding.alpha, exif or rules.decoding.exif)
        departures = decoding.departures(rules.decoding)
    sha256 = None
    if weights is not None:
        random = weights == "random"
        source = recipe.weights or WeightsSource(recipe.name, (), "")
        sha256 = _random_identity(recipe, seed) if random else find(source, weights).sha256
    return FeatureSpec(
        backbone=recipe.name,
        layer=cut_of(recipe, layer)[0] if layer else None,
        pool=pool,
        weights_sha256=sha256,
        preprocess=(template.preprocess or recipe.preprocess) if protocol else None,
        precision=precision,
        departures=departures,
        plugins=_plugins(recipe, rules if protocol else None),
    )


def _plugins(recipe: Recipe, rules: Protocol | None) -> tuple[tuple[str, str], ...] | None:
    """Return the plug-ins of a backbone and its preprocessing; ``None`` if all are built in."""
    found = list(origins_of(recipe.name))
    if rules is not None and (origin := PROTOCOL_REGISTRY.origin(rules.name)):
        found.append(origin)
    return tuple(sorted({(origin.name, origin.version or "") for origin in found})) or None


def _random_identity(recipe: Recipe, seed: int) -> str:
    """Return the identity of random weights: the seed, and the versions of the libraries."""
    library = library_of(recipe.name)
    used = ["torch", "torchvision", "timm", *(() if library is None else library.packages)]
    return ",".join([f"random:seed={seed}", *installed_versions(*used)])


def load_backbone(
    name: BackboneName = "inception",
    *,
    layer: str | None = None,
    pool: str | None = None,
    protocol: str | None = None,
    weights: str | Path | None = None,
    precision: str | None = None,
    device: str = "auto",
    engine: str = "local",
    seed: int = 0,
) -> Backbone:
    """Load a network, cut at a layer: it maps ``uint8`` images to ``float32`` features.

    Args:
        name: A backbone's name, see :func:`recipe_of`, or a ``torch.nn.Module``.
        layer: A short name, or the dotted name of any module (``NAME:in`` for its input); default:
            the last pooling layer.
        pool: ``"avg"``, ``"max"``, ``"cls"``, ``"flatten"`` or ``"none"``; default: the layer's.
        protocol: The preprocessing: a key of :data:`~gan_metrics.protocols.table.PROTOCOLS`.
        weights: A file; ``"random"`` for seeded random ones; default: the registered ones.
        precision: ``"fp32"`` (default), ``"tf32"``, ``"bf16"``, ``"fp16"`` or ``"int8"``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        engine: ``"local"``: torch; ``"openvino"``: OpenVINO, on a CPU in float32.
        seed: Seed of random weights.

    Returns:
        A callable from ``N × 3 × H × W`` ``uint8`` RGB to ``N × D`` ``float32``.

    Raises:
        UsageError: For an unknown name or an unavailable device.
        WeightsError: If the weights are unavailable, fail their hash or do not match.
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
    from gan_metrics.backbones.network import Backbone  # imports torch

    return Backbone(choice, device, engine)
