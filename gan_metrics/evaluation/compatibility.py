"""Checks that sets and options match: the same feature space and the same resolution."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.backbones.registry import is_built_in, state_spec
from gan_metrics.errors import MismatchError
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import AnySet, EmbeddedSet, ImageSet
from gan_metrics.protocols.spec import FeatureSpec, require_same_space
from gan_metrics.protocols.table import protocol_for
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.result_warning import ResultWarning

__all__ = [
    "backbone_name",
    "check_options_match",
    "check_resolutions",
    "check_same_space",
    "check_stated_spaces",
    "common_protocol",
    "common_space",
    "declared_warnings",
]


def backbone_name(backbone: object) -> str | None:
    """Return the name of a backbone given as an option; ``None`` for a module or no backbone."""
    name = getattr(backbone, "name", backbone)
    return name if isinstance(name, str) else None


def check_stated_spaces(sets: Sequence[AnySet], chosen: FeatureSpec) -> None:
    """Refuse features and statistics of another space than the options choose.

    A file with statistics of several kinds of features passes if one kind matches.

    Raises:
        MismatchError: If a space differs; the message lists the fields.
    """
    for given in sets:
        if isinstance(given, ImageSet):
            continue
        others = given.others.values() if isinstance(given, Statistics) else ()
        if all(spec.differences(chosen) for spec in (given.spec, *(one.spec for one in others))):
            require_same_space(given.spec, chosen, given.description, "the command")


def _space_of_options(sets: Sequence[EmbeddedSet], options: Options) -> FeatureSpec:
    """Return what the options state about the space of sets that are all embedded already."""
    backbone = next((one.spec.backbone for one in sets if one.spec.backbone), None)
    named = options.backbone
    if named is None and backbone and is_built_in(backbone):
        named = backbone
    return state_spec(
        named,
        layer=options.layer,
        pool=options.pool,
        protocol=options.protocol,
        weights=options.weights_of(backbone_name(named) or "inception"),
        precision=options.precision,
        alpha=options.alpha,
        exif=options.exif,
        seed=options.seed_or_default,
    )


def common_space(
    sets: Sequence[EmbeddedSet], choice: FeatureSpace | None, options: Options
) -> tuple[FeatureSpec, tuple[str, ...]]:
    """Return the feature space of one or two sets, and its fields that a file does not state.

    Fields that a file does not state are taken from the options. If these are not given either,
    2048-dimensional features are assumed to come from the default backbone, which usually makes
    such files.

    Args:
        sets: One or more sets; the first and the last are compared.
        choice: The space that images were embedded in; ``None`` if there were no images.
        options: The user's options.

    Raises:
        MismatchError: If the sets have different spaces or dimensions.
    """
    first, last = sets[0], sets[-1]
    require_same_space(first.spec, last.spec, first.description, last.description)
    if first.dim != last.dim:
        raise MismatchError(
            f"{first.description} has {first.dim} dimensions and {last.description} has "
            f"{last.dim}, so they come from different layers; choose the matching one with --layer"
        )
    spec = first.spec.filled_from(last.spec)
    if choice is None:
        stated = _space_of_options([first, last], options)
        names = " and ".join(one.description for one in (first, last))
        require_same_space(spec, stated, names, "the command")
        spec = spec.filled_from(stated)
    by_convention = {
        name for one in (first, last) if isinstance(one, Statistics) for name in one.declared
    }
    declared = {*by_convention, *first.spec.unstated(), *last.spec.unstated()}
    if choice is None and not spec.backbone and first.dim == 2048:
        default = replace(protocol_for(None).template(), pool="avg", departures=())
        spec = spec.filled_from(default)
    return spec, tuple(sorted(declared))


def check_same_space(sets: Sequence[EmbeddedSet]) -> None:
    """Refuse sets of different feature spaces, as far as they state them.

    Raises:
        MismatchError: If the spaces differ; the message lists the fields.
    """
    for one, other in itertools.combinations(sets, 2):
        require_same_space(one.spec, other.spec, one.description, other.description)


def declared_warnings(declared: Sequence[str]) -> list[ResultWarning]:
    """Return a warning about fields of the feature space that a file does not state."""
    if not declared:
        return []
    message = f"a file does not state its {', '.join(declared)}; the command's values are assumed"
    return [("declared", message)]


def check_options_match(given: AnySet, options: Options) -> None:
    """Refuse options that contradict the feature space of features or statistics.

    Raises:
        MismatchError: If they differ; the message lists the fields.
    """
    if not isinstance(given, ImageSet):
        stated = _space_of_options([given], options)
        require_same_space(given.spec, stated, given.description, "the command")


def check_resolutions(sets: Sequence[EmbeddedSet]) -> None:
    """Refuse to compare statistics of images of one size with images of other sizes.

    Raises:
        MismatchError: If the sizes differ.
    """
    sizes = [one.resolutions for one in sets]
    stated = any(isinstance(one, Statistics) for one in sets)
    if len(sets) == 2 and stated and all(sizes) and not sizes[0] & sizes[1]:
        shown = [", ".join(f"{w}×{h}" for w, h in sorted(some)[:3]) for some in sizes]
        raise MismatchError(
            f"{sets[0].description} has images of {shown[0]} and {sets[1].description} of "
            f"{shown[1]}: the distance between different resolutions says nothing about the "
            "generator; use statistics of images of the same size"
        )


def common_protocol(sets: Sequence[EmbeddedSet], choice: FeatureSpace | None) -> str | None:
    """Return the name of the protocol that all sets share; ``None`` if it is unknown."""
    if choice is not None:
        return choice.protocol.name
    return next((one.protocol for one in sets if one.protocol), None)
