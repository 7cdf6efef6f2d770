"""From sides to their features: the space that a command settles on, and one pass into it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gan_metrics.backbones.engines import ENGINES
from gan_metrics.backbones.recipe import BackboneChoice
from gan_metrics.backbones.registry import built_in, choose_backbone, recipe_of
from gan_metrics.errors import MismatchError, UsageError, WeightsError
from gan_metrics.evaluation.compatibility import agree_before_weights, backbone_name
from gan_metrics.features.extraction import extract
from gan_metrics.features.features import Features
from gan_metrics.generators.generated import Generated
from gan_metrics.images.sources import ArraySource
from gan_metrics.inputs.options import Options, extraction_of, weights_of
from gan_metrics.inputs.sets import Side
from gan_metrics.protocols.spec import Decoding, FeatureSpec, must_agree
from gan_metrics.protocols.table import PROTOCOLS, protocol_for

if TYPE_CHECKING:
    from gan_metrics.backbones.multi_space import Embedder

__all__ = ["embed_all", "embed_spaces", "settle"]


def settle(sides: Sequence[Side], options: Options) -> BackboneChoice | None:
    """The feature space of the images, if there are any; a header chooses where nothing is named.

    Raises:
        MismatchError: When what is named is not what a header says.
    """
    stated = next((s for s in sides if s.stated and s.stated.backbone), None)
    wanted = FeatureSpec() if stated is None or stated.stated is None else stated.stated
    fixed = [side.description for side in sides if side.source is None or side.stored]
    if options.get("max_images") is not None and fixed:
        raise UsageError(
            f"max_images draws images from both sides, and {fixed[0]} is not given as images alone"
        )
    if all(side.source is None for side in sides):
        return None
    protocol, given = options.get("protocol"), options.get("backbone")
    recipe = None if given is None else recipe_of(given)
    if recipe is None and protocol is not None:
        named = protocol_for(protocol).template().backbone
        recipe = None if named is None else recipe_of(named)
    if recipe is not None and recipe.name != wanted.backbone:
        wanted, stated = FeatureSpec(), None  # nothing else of the header applies: it will differ
    described = stated.description if stated is not None else ""
    chosen = recipe or built_in(wanted.backbone, described)
    departures = dict(wanted.departures or ())
    if protocol is None and stated is not None:
        protocol = stated.protocol
        if protocol not in (None, *PROTOCOLS):
            raise MismatchError(f"the statistics are of the protocol {protocol!r}, unknown here")
    try:
        choice = choose_backbone(
            chosen,
            layer=options.get("layer") or wanted.layer,
            pool=options.get("pool") or wanted.pool,
            protocol=protocol,
            weights=weights_of(options, backbone_name(chosen) or "inception"),
            precision=options.get("precision") or wanted.precision,
            alpha=options.get("alpha") or departures.get("alpha"),
            exif=options.get("exif") or departures.get("exif"),
            seed=options.get("seed", 0),
            progress=options.get("progress"),
        )
    except WeightsError:  # what cannot be compared anyway needs no weights
        agree_before_weights(sides, chosen, protocol, options)
        raise
    for side in sides:
        held = [side.spec, *(kept.spec for kept in side.stored.values())]
        if side.spec is not None and all(s is None or s.differences(choice.spec) for s in held):
            must_agree(side.spec, choice.spec, side.description, "the command")
    return choice


def embed_all(
    sides: Sequence[Side],
    choice: BackboneChoice | None,
    options: Options,
    *,
    moments: bool = True,
    features: bool = True,
) -> list[Side]:
    """The sides with their images embedded in one space.

    Args:
        sides: What was given.
        choice: The feature space, if there are images.
        options: Batches, workers, faults, cache.
        moments: Whether the features are needed as vectors, and their moments computed on the way.
        features: Whether they are kept; else their moments alone.
    """
    if choice is None:
        return list(sides)
    spaces = [{"": choice} for _ in sides]
    done = embed_spaces(sides, spaces, options, moments=moments, features=features)
    return [found.get("", side) for side, found in zip(sides, done, strict=True)]


def embed_spaces(
    sides: Sequence[Side],
    wanted: Sequence[Mapping[str, BackboneChoice]],
    options: Options,
    *,
    moments: bool = True,
    features: bool = True,
) -> list[dict[str, Side]]:
    """Each side's images embedded in several spaces, in one pass; networks are built when needed.

    Args:
        sides: What was given.
        wanted: For each side, name to feature space.
        options: Batches, workers, faults, cache.
        moments: Whether the features are needed as vectors, and their moments computed on the way.
        features: Whether they are kept; else their moments alone.

    Returns:
        For each side, name to the side in that space; empty where there are no images.
    """
    every = list({id(c): c for named in wanted for c in named.values()}.values())

    @functools.cache
    def networks() -> Embedder:
        from gan_metrics.backbones.multi_space import Embedder

        return Embedder(options.get("device", "auto"), options.get("engine", "local"))

    how = replace(extraction_of(options), moments=moments, features=features)
    if any(c.recipe.weights is None for c in every):  # a network of the user's own may change
        how = replace(how, cache=None)
    done: list[dict[str, Side]] = []
    for side, named in zip(sides, wanted, strict=True):
        found: dict[str, Side] = {}
        if named and isinstance(side.source, ArraySource):
            side.source.prepare()
        ways: dict[Decoding, dict[FeatureSpec, BackboneChoice]] = {}
        for choice in named.values() if side.source is not None else ():
            ways.setdefault(choice.decoding, {})[choice.spec] = choice
        embedded: dict[FeatureSpec, Features] = {}
        drawn = isinstance(side.source, Generated)  # here, and never twice
        here = "local" if ENGINES[how.engine].stream else how.engine
        mine = replace(how, cache=None, workers=0, engine=here) if drawn else how
        for spaces in ways.values():
            assert side.source is not None  # noqa: S101
            made = extract(side.source, [*spaces.values()], networks, mine)
            made = [replace(m, spec=m.spec.with_plugins(side.plugins)) for m in made]
            embedded.update(zip(spaces, made, strict=True))
        for name, choice in named.items():
            if choice.spec in embedded:
                found[name] = replace(side, features=embedded[choice.spec])
        done.append(found)
    return done
