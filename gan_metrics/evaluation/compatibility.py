"""Whether sides belong together: feature space, resolution, and what the command says of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gan_metrics.backbones.recipe import BackboneChoice
from gan_metrics.backbones.registry import is_built_in, state_spec
from gan_metrics.errors import MismatchError
from gan_metrics.inputs.options import Options, weights_of
from gan_metrics.inputs.sets import Side
from gan_metrics.protocols.spec import FeatureSpec, must_agree
from gan_metrics.protocols.table import protocol_for
from gan_metrics.utils.result_warning import ResultWarning

__all__ = [
    "agree_before_weights",
    "agree_in_resolution",
    "agree_with_command",
    "all_agree",
    "backbone_name",
    "common_protocol",
    "common_spec",
    "declared_warnings",
]


def agree_before_weights(
    sides: Sequence[Side], chosen: Any, protocol: str | None, options: Options
) -> None:
    """See that the command says nothing else than the files, as far as that needs no weights."""
    stated = state_spec(
        chosen,
        layer=options.get("layer"),
        pool=options.get("pool"),
        protocol=protocol,
        precision=options.get("precision"),
    )
    for side in sides:
        held = [side.spec, *(kept.spec for kept in side.stored.values())]
        if side.spec is not None and all(s is None or s.differences(stated) for s in held):
            must_agree(side.spec, stated, side.description, "the command")


def backbone_name(backbone: Any) -> str | None:
    """The name of what was given as a backbone, if it has one."""
    name = getattr(backbone, "name", backbone)
    return name if isinstance(name, str) else None


def _claimed(sides: Sequence[Side], options: Options) -> FeatureSpec:
    """What the command says about the space of sides that both have their features already."""
    given = options.get("backbone")
    backbone = next((s.spec.backbone for s in sides if s.spec and s.spec.backbone), None)
    named = given if given is not None else backbone if backbone and is_built_in(backbone) else None
    return state_spec(
        named,
        layer=options.get("layer"),
        pool=options.get("pool"),
        protocol=options.get("protocol"),
        weights=weights_of(options, backbone_name(named) or "inception"),
        precision=options.get("precision"),
        alpha=options.get("alpha"),
        exif=options.get("exif"),
        seed=options.get("seed", 0),
    )


def common_spec(
    sides: Sequence[Side], choice: BackboneChoice | None, options: Options
) -> tuple[FeatureSpec, tuple[str, ...]]:
    """The feature space of one or two sides, and the fields of it that a side did not state.

    What the files leave open is taken from the command. Where that is silent too, 2048 dimensions
    are taken for the default backbone's, which is what such files are made with.
    """
    sides = [sides[0], sides[-1]]
    one, other = (side.spec or FeatureSpec() for side in sides)
    must_agree(one, other, *(side.description for side in sides))
    dims = [side.dim for side in sides]
    if dims[0] != dims[1]:
        raise MismatchError(
            f"{sides[0].description} has {dims[0]} dimensions and {sides[1].description} "
            f"{dims[1]}: they are of different layers; choose the one that fits with --layer"
        )
    spec = one.filled_from(other)
    if choice is None:
        claimed = _claimed(sides, options)
        must_agree(spec, claimed, " and ".join(s.description for s in sides), "the command")
        spec = spec.filled_from(claimed)
    trusted = {name for side in sides if side.statistics for name in side.statistics.declared}
    declared = tuple(sorted({*trusted, *one.unstated(), *other.unstated()}))
    if choice is None and not spec.backbone and dims[0] == 2048:
        default = replace(protocol_for(None).template(), pool="avg", departures=())
        spec = spec.filled_from(default)
    return spec, declared


def all_agree(sides: Sequence[Side]) -> None:
    """See that several sides are of one feature space, as far as they state it.

    Raises:
        MismatchError: Naming the fields that differ.
    """
    stated = [(side, side.spec) for side in sides if side.spec is not None]
    for (one, spec), (other, theirs) in itertools.combinations(stated, 2):
        must_agree(spec, theirs, one.description, other.description)


def declared_warnings(declared: Sequence[str]) -> list[ResultWarning]:
    """What a reader should know of fields that a file did not state."""
    if not declared:
        return []
    message = f"a file does not state its {', '.join(declared)}: taken on trust"
    return [("declared", message)]


def agree_with_command(side: Side, options: Options) -> None:
    """Let a side that has its features already pass only if the command says nothing else of it.

    Raises:
        MismatchError: Naming the fields that differ.
    """
    if side.spec is not None:
        must_agree(side.spec, _claimed([side], options), side.description, "the command")


def agree_in_resolution(sides: Sequence[Side]) -> None:
    """Let statistics of images of one size pass only if the other side has images of that size.

    Raises:
        MismatchError: Naming both sizes.
    """
    sizes = [side.resolutions for side in sides]
    stated = any(side.statistics is not None for side in sides)
    if len(sides) == 2 and stated and all(sizes) and not sizes[0] & sizes[1]:
        shown = [", ".join(f"{w}×{h}" for w, h in sorted(some)[:3]) for some in sizes]
        raise MismatchError(
            f"{sides[0].description} is of images of {shown[0]} and {sides[1].description} of "
            f"{shown[1]}: at another resolution the distance says nothing about the generator; "
            "take the statistics of images of that size"
        )


def common_protocol(sides: Sequence[Side], choice: BackboneChoice | None) -> str | None:
    """The name of the protocol of both sides, if it is known."""
    if choice is not None:
        return choice.protocol.name
    return next((side.protocol for side in sides if side.protocol), None)
