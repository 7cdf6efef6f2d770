"""From sets of images to features: choose the feature space, then embed in one pass."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gan_metrics.backbones.engines import ENGINES
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.backbones.registry import built_in, choose_backbone, recipe_of, state_spec
from gan_metrics.errors import MismatchError, UsageError, WeightsError
from gan_metrics.evaluation.compatibility import backbone_name, check_stated_spaces
from gan_metrics.features.chunks import ExtractionOptions
from gan_metrics.features.extraction import extract
from gan_metrics.features.features import Features
from gan_metrics.generators.generated import Generated
from gan_metrics.images.sources import ArraySource
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import (
    AnySet,
    EmbeddedSet,
    ImageSet,
    stated_protocol,
    stated_space,
)
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import PROTOCOLS, protocol_for

if TYPE_CHECKING:
    from gan_metrics.backbones.multi_space import Embedder

__all__ = ["choose_feature_space", "embed", "embed_in_one_space"]


def choose_feature_space(sets: Sequence[AnySet], options: Options) -> FeatureSpace | None:
    """Choose backbone, layer, pooling, preprocessing and weights for the images.

    The choice comes from the options, else from the header of a statistics or features file, else
    from the defaults.

    Returns:
        The feature space; ``None`` if no set holds images.

    Raises:
        UsageError: For an unknown name, or ``max_images`` with features or statistics.
        MismatchError: If the options contradict a header.
        WeightsError: If the weights are unavailable.
    """
    fixed = [one for one in sets if not isinstance(one, ImageSet) or one.stored]
    if options.max_images is not None and fixed:
        raise UsageError(
            f"max_images draws images from both sets, but {fixed[0].description} does not consist "
            "of images only"
        )
    if not any(isinstance(one, ImageSet) for one in sets):
        return None
    stating = next((one for one in sets if (s := stated_space(one)) and s.backbone), None)
    header = None if stating is None else stated_space(stating)
    recipe = None if options.backbone is None else recipe_of(options.backbone)
    if recipe is None and options.protocol is not None:
        named = protocol_for(options.protocol).template().backbone
        recipe = None if named is None else recipe_of(named)
    if header is not None and recipe is not None and recipe.name != header.backbone:
        header, stating = None, None  # the header describes another backbone
    if header is None or stating is None:
        header, where, protocol = FeatureSpec(), "", options.protocol
    else:
        where, protocol = stating.description, options.protocol or stated_protocol(stating)
    if protocol != options.protocol and protocol not in PROTOCOLS:
        raise MismatchError(f"the statistics have the protocol {protocol!r}, which is unknown")
    chosen = recipe or built_in(header.backbone, where)
    departures = dict(header.departures or ())
    try:
        choice = choose_backbone(
            chosen,
            layer=options.layer or header.layer,
            pool=options.pool or header.pool,
            protocol=protocol,
            weights=options.weights_of(backbone_name(chosen) or "inception"),
            precision=options.precision or header.precision,
            alpha=options.alpha or departures.get("alpha"),
            exif=options.exif or departures.get("exif"),
            seed=options.seed_or_default,
            progress=options.progress,
        )
    except WeightsError:  # report incomparable sets first
        stated = state_spec(
            chosen,
            layer=options.layer,
            pool=options.pool,
            protocol=protocol,
            precision=options.precision,
        )
        check_stated_spaces(sets, stated)
        raise
    check_stated_spaces(sets, choice.spec)
    return choice


def embed_in_one_space(
    sets: Sequence[AnySet],
    choice: FeatureSpace | None,
    options: Options,
    *,
    moments: bool = True,
    keep_features: bool = True,
) -> list[EmbeddedSet]:
    """Embed the image sets among some sets in one space; return other sets unchanged.

    Args:
        sets: The sets.
        choice: The feature space; ``None`` if no set holds images.
        options: Batch size, workers, handling of bad images, cache.
        moments: Whether features must be vectors, with moments computed in the same pass.
        keep_features: Whether to keep features; otherwise only their moments.
    """
    wanted = [[] if choice is None else [choice] for _ in sets]
    found = embed(sets, wanted, options, moments=moments, keep_features=keep_features)
    return [
        one if not isinstance(one, ImageSet) else next(iter(spaces.values()))
        for one, spaces in zip(sets, found, strict=True)
    ]


def embed(
    sets: Sequence[AnySet],
    wanted: Sequence[Sequence[FeatureSpace]],
    options: Options,
    *,
    moments: bool = True,
    keep_features: bool = True,
) -> list[dict[FeatureSpec, Features]]:
    """Embed each image set in several spaces, with one decode per image and one pass per network.

    Networks are built, and torch is imported, only if features are missing in the cache.

    Args:
        sets: The sets.
        wanted: For each set, the spaces in which its images are needed.
        options: Batch size, workers, handling of bad images, cache.
        moments: Whether features must be vectors, with moments computed in the same pass.
        keep_features: Whether to keep features; otherwise only their moments.

    Returns:
        For each set, a mapping of feature spaces to features; empty for features and statistics.

    Raises:
        UsageError: If the spaces of one set need different decoding.
        GanMetricsError: As for :func:`~gan_metrics.features.extraction.extract`.
    """
    every = [choice for spaces in wanted for choice in spaces]
    if len({choice.decoding for choice in every}) > 1:
        names = sorted({choice.protocol.name for choice in every})
        raise UsageError(
            f"the protocols {' and '.join(names)} decode images differently: name one of them, or "
            "set --alpha and --exif"
        )
    how = replace(options.extraction(), moments=moments, features=keep_features)
    if any(choice.recipe.weights is None for choice in every):  # a custom network may change
        how = replace(how, cache=None)

    @functools.cache
    def networks() -> Embedder:
        from gan_metrics.backbones.multi_space import Embedder

        return Embedder(options.device, options.engine)

    found: list[dict[FeatureSpec, Features]] = []
    for given, choices in zip(sets, wanted, strict=True):
        spaces = {choice.spec: choice for choice in choices}
        if not isinstance(given, ImageSet) or not spaces:
            found.append({})
            continue
        if isinstance(given.source, ArraySource):
            given.source.prepare()
        drawn = isinstance(given.source, Generated)
        made = extract(
            given.source,
            [*spaces.values()],
            networks,
            _of_generator(how) if drawn else how,
        )
        features = (
            replace(one, source=given.source, spec=one.spec.with_plugins(given.plugins))
            for one in made
        )
        found.append(dict(zip(spaces, features, strict=True)))
    return found


def _of_generator(how: ExtractionOptions) -> ExtractionOptions:
    """Return options for a generator, which draws in this process and is never cached."""
    engine = "local" if ENGINES[how.engine].stream else how.engine
    return replace(how, cache=None, workers=0, engine=engine)
