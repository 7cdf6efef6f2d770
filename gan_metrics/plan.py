"""From metrics and what was given to feature spaces: what is embedded into which, for whom.

Every space that is a cut of one network is read from one pass of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gan_metrics.backbones.choice import BackboneChoice
from gan_metrics.backbones.registry import choose_backbone
from gan_metrics.metrics.registry import Metric, Request
from gan_metrics.options import Options
from gan_metrics.sides import Side
from gan_metrics.specs import FeatureSpec

__all__ = ["CLIP", "Plan", "make_plan"]

CLIP = "clip:ViT-L-14-336/openai"
"""What CMMD is defined on."""

_LAYERS = {"logits": ("logits_unbiased", "logits"), "spatial": ("spatial",)}
"""Kinds of features that are a layer of a name of their own; of several, the first there is."""

_WITHOUT = {
    "logits": "it needs class logits, and {backbone} has no layer of that name",
    "spatial": "it is defined on the 2015 Inception's spatial features, which {backbone} has not",
}


@dataclass(frozen=True)
class Plan:
    """What is computed in which space.

    Attributes:
        rows: Name, as it was asked for, to metric, for those that can be computed.
        spaces: Kind of features to the space that images are embedded into.
        not_computed: Name to the reason, for the others.
    """

    rows: Mapping[str, Metric]
    spaces: Mapping[str, BackboneChoice]
    not_computed: Mapping[str, str]

    def of_side(self, real: bool) -> dict[str, BackboneChoice]:
        """The spaces that the images of one side are embedded into."""
        needs = {r.needs for r in self.rows.values() if not real or r.sides == 2 or r.bandwidth}
        return {need: space for need, space in self.spaces.items() if need in needs}

    @property
    def moments(self) -> bool:
        """Whether a metric takes means and covariances."""
        return any(row.moments for row in self.rows.values())


def make_plan(
    rows: Request,
    real: Side | None,
    fakes: Sequence[Side],
    choice: BackboneChoice | None,
    options: Options,
) -> Plan:
    """Decide what can be computed, and from which features.

    Args:
        rows: Name, as it was asked for, to metric.
        real: The real side; ``None``: there is none.
        fakes: The fake sides.
        choice: The space that was settled for the images, if there are any.
        options: What else the command says.

    Nothing is fetched for a metric that was not asked for by its name.
    """
    sides = [*fakes] if real is None else [real, *fakes]
    named = options.get("backbone") is not None or any(side.spec is not None for side in sides)
    spaces: dict[str, BackboneChoice] = {}
    missing: dict[str, str] = {}
    for need in dict.fromkeys(row.needs for row in rows.values()):
        wanted = any(row.needs == need and name in rows.named for name, row in rows.items())
        space = _space(need, choice, options, chosen=named, wanted=wanted)
        if isinstance(space, BackboneChoice):
            spaces[need] = space
        elif space:
            missing[need] = space
    claimed = FeatureSpec(layer=options.get("layer"), pool=options.get("pool"))
    can: dict[str, Metric] = {}
    cannot: dict[str, str] = {}
    for name, row in rows.items():
        reason = _obstacle(row, real, fakes, missing, claimed)
        if reason is None:
            can[name] = row
        else:
            cannot[name] = reason
    needed = {row.needs for row in can.values()}
    return Plan(can, {n: s for n, s in spaces.items() if n in needed}, cannot)


def _space(
    need: str, choice: BackboneChoice | None, options: Options, *, chosen: bool, wanted: bool
) -> BackboneChoice | str | None:
    """The space of a kind of features; the reason why there is none; ``None``: none is needed."""
    if choice is None:
        return None
    if need == "clip" and not chosen:
        if not wanted:
            return f"it needs CLIP: ask for it by name, or choose --backbone {CLIP}"
        return choose_backbone(
            CLIP,
            precision=options.get("precision"),
            alpha=options.get("alpha"),
            exif=options.get("exif"),
            progress=options.get("progress"),
        )
    if need not in _LAYERS:
        return choice
    layers = choice.recipe.layers
    layer = next((name for name in _LAYERS[need] if name in layers), None)
    if layer is None:
        return _WITHOUT[need].format(backbone=choice.recipe.name)
    spec = replace(choice.spec, layer=layer, pool=layers[layer].pool)
    return choice if spec == choice.spec else replace(choice, layer=layers[layer], spec=spec)


def _obstacle(
    row: Metric,
    real: Side | None,
    fakes: Sequence[Side],
    missing: Mapping[str, str],
    claimed: FeatureSpec,
) -> str | None:
    """Why a metric cannot be computed from what was given.

    ``claimed`` is what the command says of files that do not say it themselves.
    """
    if row.sides == 2 and real is None:
        return "it compares two sets, and there are no real images"
    sides = [(side, False) for side in fakes]
    if row.sides == 2 and real is not None:
        sides.insert(0, (real, True))
    for side, is_real in sides:
        if side.source is not None:
            if row.needs in missing:
                return missing[row.needs]
            continue
        enough = row.moments == "both" or (is_real and row.moments == "real")
        if side.statistics is not None and not enough:
            return f"it needs images or features, and {side.description} holds moments alone"
        if row.needs in _LAYERS:
            spec = (side.spec or FeatureSpec()).filled_from(claimed)
            if not _is_of(spec, row.needs):
                return f"it needs {row.needs}, and {side.description} holds {_named(spec)}"
    return None


def _is_of(spec: FeatureSpec, need: str) -> bool:
    """Whether features are of that kind, pooled as it says."""
    if spec.layer not in _LAYERS[need]:
        return False
    return need != "spatial" or spec.pool == "flatten"


def _named(spec: FeatureSpec) -> str:
    if spec.layer is None:
        return "features of a layer that it does not state (--layer declares it)"
    return f"features of {spec.layer}, pool {spec.pool or 'not stated'}"
