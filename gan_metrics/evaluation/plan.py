"""From metrics and what was given to feature spaces: what is embedded into which, for whom.

Every space that is a cut of one network is read from one pass of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gan_metrics.backbones.layers import cut_of
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.backbones.registry import choose_backbone
from gan_metrics.errors import MismatchError, WeightsError
from gan_metrics.features.features import Features
from gan_metrics.generators.generated import Generated
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import (
    AnySet,
    EmbeddedSet,
    ImageSet,
    InputSets,
    Role,
    stated_protocol,
    stated_space,
)
from gan_metrics.metrics.registry import PIXEL_INPUTS, Metric, Request
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.protocols.table import CLIP, DINOV2, PROTOCOLS, Protocol, protocol_for
from gan_metrics.stats.statistics import Statistics

__all__ = ["Plan", "make_plan", "other_layer"]

_LAYERS = {"logits": ("logits_unbiased", "logits"), "spatial": ("spatial",)}
"""Kinds of features that are a layer of a name of their own; of several, the first there is."""

_WITHOUT = {
    "logits": "it needs class logits, and {backbone} has no layer of that name",
    "spatial": "it is defined on the 2015 Inception's spatial features, which {backbone} has not",
}

_OWN = {"clip": (CLIP, "cmmd", "cmmd"), "dinov2": (DINOV2, "dgm-eval", "fd_dinov2")}
"""Kinds of features that are of a network of their own: that, and where it is defined how."""


@dataclass(frozen=True)
class Plan:
    """What is computed in which space.

    Attributes:
        rules: The protocol, if one is known.
        rows: Name, as it was asked for, to metric, for those that can be computed.
        spaces: Name to the space that images are embedded into for it.
        not_computed: Name to the reason, for the others.
        failed: Name to the error, for those whose network's weights cannot be had.
        fitting: Names of the metrics that the protocol has, in the network that it has them in.
        main: Name of the network of the images' main space, if there are images.
    """

    rules: Protocol | None
    rows: Mapping[str, Metric]
    spaces: Mapping[str, FeatureSpace]
    not_computed: Mapping[str, str]
    failed: Mapping[str, WeightsError]
    fitting: frozenset[str]
    main: str | None

    def metrics_of(self, role: Role) -> list[str]:
        """Names of the metrics that take features of the sets of a role."""
        return [
            name
            for name, row in self.rows.items()
            if row.needs not in PIXEL_INPUTS
            and (role != "real" or row.n_sets == 2 or row.shares_bandwidth)
            and (role != "held_out" or row.needs_held_out)
        ]

    def spaces_for(self, given: AnySet, role: Role) -> list[FeatureSpace]:
        """The spaces that the images of a set have to be embedded in."""
        if not isinstance(given, ImageSet):
            return []
        return [
            self.spaces[name]
            for name in self.metrics_of(role)
            if self.stored_statistics(given, name, role) is None
        ]

    def embedded_set(
        self, given: AnySet, name: str, role: Role, features: Mapping[FeatureSpec, Features]
    ) -> EmbeddedSet:
        """A set in the space of a metric.

        Args:
            given: The set.
            name: The metric's name, as it was asked for.
            role: What the set is in the evaluation.
            features: The features of its images in every space of :meth:`spaces_for`.
        """
        if isinstance(given, Statistics):
            return given.for_kind(self.rows[name].needs)
        if isinstance(given, Features):
            return given
        stored = self.stored_statistics(given, name, role)
        return features[self.spaces[name].spec] if stored is None else stored

    def stored_statistics(self, given: ImageSet, name: str, role: Role) -> Statistics | None:
        """The statistics beside a set's images that serve a metric in place of the images."""
        row = self.rows[name]
        kept = given.stored.get(row.needs)
        if kept is None or not _moments_suffice(row, role):
            return None
        space = self.spaces.get(name)
        return None if space is not None and kept.spec.differences(space.spec) else kept

    def ignores_statistics(self, given: AnySet, name: str, role: Role) -> bool:
        """Whether statistics of a metric's kind lie beside images, but in another space."""
        if not isinstance(given, ImageSet):
            return False
        row = self.rows[name]
        held = _moments_suffice(row, role) and row.needs in given.stored
        return held and self.stored_statistics(given, name, role) is None

    def arguments(
        self, given: Mapping[str, Mapping[str, Any]], options: Options
    ) -> dict[str, dict[str, Any]]:
        """Each metric's arguments: the protocol's, and over them what the caller says.

        A seed that the caller names goes before the protocol's.
        """
        merged: dict[str, dict[str, Any]] = {}
        for row in self.rows.values() if self.rules is not None else ():
            if self.rules is not None and row.name in self.fitting:
                merged[row.name] = dict(self.rules.metrics[row.name].arguments)
                if options.seed is not None:
                    merged[row.name].pop("seed", None)
        for name, arguments in given.items():
            merged.setdefault(name, {}).update(arguments)
        return merged

    @property
    def moments(self) -> bool:
        """Whether a metric takes means and covariances."""
        return any(row.covariances for row in self.rows.values())


def make_plan(
    rows: Request,
    sets: InputSets,
    choice: FeatureSpace | None,
    options: Options,
) -> Plan:
    """Decide what can be computed, and from which features.

    Args:
        rows: Name, as it was asked for, to metric.
        sets: The sets.
        choice: The space that was chosen for the images, if there are any.
        options: What the user stated.

    Nothing is fetched for a metric that was not asked for by its name.
    """
    chosen = options.backbone is not None or any(
        space is not None and space.backbone for space in map(stated_space, sets.every)
    )
    found: dict[str, FeatureSpace] = {}
    missing: dict[str, str] = {}
    failed: dict[str, WeightsError] = {}
    made: dict[tuple[str, str | None], FeatureSpace] = {}
    for name, row in rows.items() if choice is not None else ():
        assert choice is not None  # noqa: S101
        if row.needs in PIXEL_INPUTS:
            continue
        try:
            space = _space(row, choice, options, made, chosen=chosen, wanted=name in rows.named)
        except WeightsError as error:
            failed[name] = error
            continue
        if isinstance(space, FeatureSpace):
            found[name] = space
        else:
            missing[name] = space
    claimed = FeatureSpec(backbone=_backbone_named(options), layer=options.layer, pool=options.pool)
    can: dict[str, Metric] = {}
    cannot: dict[str, str] = {}
    for name, row in rows.items():
        if name in failed:
            continue
        if row.needs in PIXEL_INPUTS:
            reason = _why_no_images(row, sets.fakes, wanted=name in rows.named)
        else:
            reason = _why_not(row, sets, missing.get(name), claimed)
        if reason is None:
            can[name] = row
        else:
            cannot[name] = reason
    spaces = {name: space for name, space in found.items() if name in can}
    rules = _rules(rows, sets.every, choice, options)
    fitting = {
        row.name
        for name, row in can.items()
        if rules is not None
        and row.name in rules.metrics
        and _runs_in_protocol_network(row, rules, spaces.get(name), sets.every)
    }
    main = None if choice is None else choice.recipe.name
    return Plan(rules, can, spaces, cannot, failed, frozenset(fitting), main)


def _rules(
    rows: Request, sets: Sequence[AnySet], choice: FeatureSpace | None, options: Options
) -> Protocol | None:
    """The protocol: of the images' space, of the command, or of a file's header.

    Raises:
        MismatchError: When two files state protocols that compute a metric in different ways.
    """
    if choice is not None:
        return choice.protocol
    if options.protocol:
        return protocol_for(options.protocol)
    found = dict.fromkeys(stated_protocol(one) for one in sets)
    names = [name for name in found if name in PROTOCOLS]
    stated = [PROTOCOLS[str(name)] for name in names]
    for row in rows.values():
        ways = [
            dict(p.metrics[row.name].arguments) if row.name in p.metrics else {} for p in stated
        ]
        if any(way != ways[0] for way in ways):
            raise MismatchError(
                f"the files are made by the protocols {' and '.join(map(str, names))}, which "
                f"compute {row.name} in different ways; name one of them with --protocol"
            )
    return stated[0] if stated else None


def _runs_in_protocol_network(
    row: Metric, rules: Protocol, space: FeatureSpace | None, sets: Sequence[AnySet]
) -> bool:
    """Whether a metric is computed in the network that the protocol has it in."""
    if row.needs in PIXEL_INPUTS:
        return True
    specs = [_of_kind(one, row).spec for one in sets if not isinstance(one, ImageSet)]
    known = [spec.backbone for spec in specs if spec.backbone]
    backbone = space.recipe.name if space is not None else next(iter(known), None)
    return rules.metrics[row.name].template.backbone in (None, backbone) or backbone is None


def _backbone_named(options: Options) -> str | None:
    return options.backbone if isinstance(options.backbone, str) else None


def _space(
    row: Metric,
    choice: FeatureSpace,
    options: Options,
    made: dict[tuple[str, str | None], FeatureSpace],
    *,
    chosen: bool,
    wanted: bool,
) -> FeatureSpace | str:
    """The space of a metric, or the reason why there is none."""
    rules, backbone = choice.protocol, choice.recipe.name
    if row.name in rules.metrics:
        template = rules.metrics[row.name].template
        if template == rules.template(None, backbone) and template.backbone is not None:
            return choice
        if template.backbone == backbone:
            return other_layer(choice, template)
        if template.backbone is not None and (not chosen or row.needs in _OWN):
            place = (template.backbone, rules.name, row.name)
            return _other(place, options, made, wanted=wanted)
    if row.needs in _OWN:
        own = _OWN[row.needs]
        if backbone == own[0] and row.needs == "dinov2":
            return other_layer(choice, PROTOCOLS[own[1]].template(own[2]))
        if backbone == own[0] or (chosen and row.needs == "clip"):
            return choice
        return _other(own, options, made, wanted=wanted)
    if row.needs not in _LAYERS:
        return choice
    layers = choice.recipe.layers
    layer = next((name for name in _LAYERS[row.needs] if name in layers), None)
    if layer is None:
        return _WITHOUT[row.needs].format(backbone=backbone)
    return other_layer(choice, replace(FeatureSpec(), layer=layer))


def other_layer(choice: FeatureSpace, template: FeatureSpec) -> FeatureSpace:
    """Another cut of the same network, with the pixels that it is defined for.

    Args:
        choice: A space of that network.
        template: Names the layer; pool and pixels where they are not the layer's and the choice's.
    """
    layer, cut = cut_of(choice.recipe, str(template.layer))
    spec = replace(
        choice.spec,
        layer=layer,
        pool=template.pool or cut.pool,
        preprocess=template.preprocess or choice.spec.preprocess,
    )
    return choice if spec == choice.spec else replace(choice, layer=cut, spec=spec)


def _other(
    place: tuple[str, str, str],
    options: Options,
    made: dict[tuple[str, str | None], FeatureSpace],
    *,
    wanted: bool,
) -> FeatureSpace | str:
    """The space of another network, if the metric was asked for by its name."""
    backbone, protocol, metric = place
    if not wanted:
        return f"it needs {backbone}: ask for it by name"
    template = protocol_for(protocol).template(metric)
    known = made.get((backbone, protocol))
    if known is None:
        known = choose_backbone(
            backbone,
            protocol=protocol,
            metric=metric,
            weights=options.weights_of(backbone, main=False),
            precision=options.precision,
            alpha=options.alpha,
            exif=options.exif,
            seed=options.seed_or_default,
            progress=options.progress,
        )
        made[backbone, protocol] = known
    return other_layer(known, template)


def _of_kind(given: EmbeddedSet, row: Metric) -> EmbeddedSet:
    """A set as the statistics of a metric's kind of features, if its file holds these."""
    return given.for_kind(row.needs) if isinstance(given, Statistics) else given


def _why_not(row: Metric, sets: InputSets, missing: str | None, claimed: FeatureSpec) -> str | None:
    """Why a metric cannot be computed from these sets.

    Args:
        row: The metric.
        sets: The sets.
        missing: Why there is no feature space for its images, if there is none.
        claimed: What the user states about files that do not state it themselves.
    """
    if row.n_sets == 2 and sets.real is None:
        return "it compares two sets, and there are no real images"
    if row.needs_held_out and sets.held_out is None:
        return "it needs real images that were not trained on (--held-out)"
    for role, given in sets:
        if (role == "real" and row.n_sets == 1) or (role == "held_out" and not row.needs_held_out):
            continue
        if isinstance(given, ImageSet):
            if missing is not None:
                return missing
            continue
        held = _of_kind(given, row)
        if isinstance(held, Statistics) and not _moments_suffice(row, role):
            return f"it needs images or features, and {held.description} holds moments alone"
        spec = held.spec.filled_from(claimed)
        if row.needs in _LAYERS and not _is_of(spec, row.needs):
            return f"it needs {row.needs}, and {held.description} holds {_described(spec)}"
        if row.needs == "dinov2" and (spec.backbone, spec.layer or "cls") != (DINOV2, "cls"):
            network = spec.backbone or "a network that it does not state (--backbone declares it)"
            return (
                f"it needs class tokens of {DINOV2}, and {held.description} holds features of "
                f"{network}, layer {spec.layer or 'not stated'}"
            )
    return None


def _why_no_images(row: Metric, fakes: Sequence[AnySet], *, wanted: bool) -> str | None:
    """Why a metric of images or of a generator cannot be computed."""
    for fake in fakes:
        source = fake.source if isinstance(fake, ImageSet) else None
        if row.needs == "generator" and not isinstance(source, Generated):
            return "it needs a generator (--generator)"
        if source is None:
            return f"it needs images, and {fake.description} holds none"
    return None if wanted else "it needs LPIPS and the weights of its network: ask for it by name"


def _moments_suffice(row: Metric, role: Role) -> bool:
    """Whether mean and covariance are all that a metric needs of a set."""
    return row.accepts_statistics == "both" or (role == "real" and row.accepts_statistics == "real")


def _is_of(spec: FeatureSpec, need: str) -> bool:
    """Whether features are of that kind, pooled as it says."""
    if spec.layer not in _LAYERS[need]:
        return False
    return need != "spatial" or spec.pool == "flatten"


def _described(spec: FeatureSpec) -> str:
    if spec.layer is None:
        return "features of a layer that it does not state (--layer declares it)"
    return f"features of {spec.layer}, pool {spec.pool or 'not stated'}"
