"""Plan which feature spaces each metric and each set needs.

All layers of one network are read in one pass.
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
"""Kinds of features with a layer name of their own; the first existing name is used."""

_WITHOUT = {
    "logits": "it needs class logits, but {backbone} has no layer of that name",
    "spatial": "it needs the 2015 Inception's spatial features, which {backbone} does not have",
}

_OWN = {"clip": (CLIP, "cmmd", "cmmd"), "dinov2": (DINOV2, "dgm-eval", "fd_dinov2")}
"""Kinds of features with a network of their own, and the protocol that defines them."""


@dataclass(frozen=True)
class Plan:
    """Which metric is computed in which feature space.

    Attributes:
        rules: The protocol, or ``None``.
        rows: Metrics that can be computed, by name as requested.
        spaces: For each name, the space in which images are embedded.
        not_computed: Reasons by name, for the other metrics.
        failed: Errors by name, for metrics whose network has no weights available.
        as_in_protocol: Names of metrics that are computed in the protocol's own network.
        main: Name of the network of the images' main space; ``None`` without images.
    """

    rules: Protocol | None
    rows: Mapping[str, Metric]
    spaces: Mapping[str, FeatureSpace]
    not_computed: Mapping[str, str]
    failed: Mapping[str, WeightsError]
    as_in_protocol: frozenset[str]
    main: str | None

    def metrics_of(self, role: Role) -> list[str]:
        """Return the names of the metrics that use features of the sets of a role."""
        return [
            name
            for name, row in self.rows.items()
            if row.needs not in PIXEL_INPUTS
            and (role != "real" or row.n_sets == 2 or row.shares_bandwidth)
            and (role != "held_out" or row.needs_held_out)
        ]

    def spaces_for(self, given: AnySet, role: Role) -> list[FeatureSpace]:
        """Return the spaces in which the images of a set must be embedded."""
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
        """Return a set in the feature space of a metric.

        Args:
            given: The set.
            name: The metric's name, as requested.
            role: The role of the set: real, generated or held-out.
            features: The features of its images in every space of :meth:`spaces_for`.
        """
        if isinstance(given, Statistics):
            return given.for_kind(self.rows[name].needs)
        if isinstance(given, Features):
            return given
        stored = self.stored_statistics(given, name, role)
        return features[self.spaces[name].spec] if stored is None else stored

    def stored_statistics(self, given: ImageSet, name: str, role: Role) -> Statistics | None:
        """Return the statistics stored with a set's images, if they suffice for a metric."""
        row = self.rows[name]
        kept = given.stored.get(row.needs)
        if kept is None or not _moments_suffice(row, role):
            return None
        space = self.spaces.get(name)
        return None if space is not None and kept.spec.differences(space.spec) else kept

    def ignores_statistics(self, given: AnySet, name: str, role: Role) -> bool:
        """Whether stored statistics are not used because they belong to another space."""
        if not isinstance(given, ImageSet):
            return False
        row = self.rows[name]
        held = _moments_suffice(row, role) and row.needs in given.stored
        return held and self.stored_statistics(given, name, role) is None

    def arguments(
        self, given: Mapping[str, Mapping[str, Any]], options: Options
    ) -> dict[str, dict[str, Any]]:
        """Return the arguments of each metric: the protocol's, overridden by the caller's.

        The caller's seed overrides the protocol's.
        """
        merged: dict[str, dict[str, Any]] = {}
        for row in self.rows.values() if self.rules is not None else ():
            if self.rules is not None and row.name in self.as_in_protocol:
                merged[row.name] = dict(self.rules.metrics[row.name].arguments)
                if options.seed is not None:
                    merged[row.name].pop("seed", None)
        for name, arguments in given.items():
            merged.setdefault(name, {}).update(arguments)
        return merged

    @property
    def moments(self) -> bool:
        """Whether a metric uses means and covariances."""
        return any(row.covariances for row in self.rows.values())


def make_plan(
    rows: Request,
    sets: InputSets,
    choice: FeatureSpace | None,
    options: Options,
) -> Plan:
    """Decide what can be computed, and from which features.

    Args:
        rows: Metrics by name, as requested.
        sets: The sets.
        choice: The feature space chosen for the images; ``None`` without images.
        options: The user's options.

    Nothing is downloaded for a metric that was not requested by name.
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
    as_in_protocol = {
        row.name
        for name, row in can.items()
        if rules is not None
        and row.name in rules.metrics
        and _runs_in_protocol_network(row, rules, spaces.get(name), sets.every)
    }
    main = None if choice is None else choice.recipe.name
    return Plan(rules, can, spaces, cannot, failed, frozenset(as_in_protocol), main)


def _rules(
    rows: Request, sets: Sequence[AnySet], choice: FeatureSpace | None, options: Options
) -> Protocol | None:
    """Return the protocol of the images' space, of the command, or of a file's header.

    Raises:
        MismatchError: If two files state protocols that define a metric differently.
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
                f"the files use the protocols {' and '.join(map(str, names))}, which define "
                f"{row.name} differently; name one of them with --protocol"
            )
    return stated[0] if stated else None


def _runs_in_protocol_network(
    row: Metric, rules: Protocol, space: FeatureSpace | None, sets: Sequence[AnySet]
) -> bool:
    """Whether a metric is computed in the network that the protocol uses for it."""
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
    """Return the feature space of a metric, or the reason why it cannot be computed."""
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
    """Return the space of another layer of the same network, with its own preprocessing.

    Args:
        choice: A space of that network.
        template: Names the layer; its pooling and preprocessing override the defaults.
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
    """Return the space of another network, if the metric was requested by name."""
    backbone, protocol, metric = place
    if not wanted:
        return f"it needs {backbone}: request it by name"
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
    """Return a set's statistics of the metric's kind of features, if its file holds them."""
    return given.for_kind(row.needs) if isinstance(given, Statistics) else given


def _why_not(row: Metric, sets: InputSets, missing: str | None, claimed: FeatureSpec) -> str | None:
    """Return why a metric cannot be computed from these sets; ``None`` if it can.

    Args:
        row: The metric.
        sets: The sets.
        missing: Why its images have no feature space, or ``None``.
        claimed: The user's options about files that do not state their space.
    """
    if row.n_sets == 2 and sets.real is None:
        return "it compares two sets, but no real images are given"
    if row.needs_held_out and sets.held_out is None:
        return "it needs held-out real images (--held-out)"
    for role, given in sets:
        if (role == "real" and row.n_sets == 1) or (role == "held_out" and not row.needs_held_out):
            continue
        if isinstance(given, ImageSet):
            if missing is not None:
                return missing
            continue
        held = _of_kind(given, row)
        if isinstance(held, Statistics) and not _moments_suffice(row, role):
            what = held.description
            return f"it needs images or features, but only the moments of {what} are known"
        spec = held.spec.filled_from(claimed)
        if row.needs in _LAYERS and not _is_of(spec, row.needs):
            return f"it needs {row.needs}, but {held.description} holds {_described(spec)}"
        if row.needs == "dinov2" and (spec.backbone, spec.layer or "cls") != (DINOV2, "cls"):
            network = spec.backbone or "an unstated network (--backbone declares it)"
            return (
                f"it needs class tokens of {DINOV2}, but {held.description} holds features of "
                f"{network}, layer {spec.layer or 'not stated'}"
            )
    return None


def _why_no_images(row: Metric, fakes: Sequence[AnySet], *, wanted: bool) -> str | None:
    """Return why a metric of images or of a generator cannot be computed, or ``None``."""
    for fake in fakes:
        source = fake.source if isinstance(fake, ImageSet) else None
        if row.needs == "generator" and not isinstance(source, Generated):
            return "it needs a generator (--generator)"
        if source is None:
            return f"it needs images, but {fake.description} does not hold images"
    return None if wanted else "it needs LPIPS and its weights: request it by name"


def _moments_suffice(row: Metric, role: Role) -> bool:
    """Whether a metric needs only mean and covariance of a set."""
    return row.accepts_statistics == "both" or (role == "real" and row.accepts_statistics == "real")


def _is_of(spec: FeatureSpec, need: str) -> bool:
    """Whether features are of the kind that a metric needs, with its pooling."""
    if spec.layer not in _LAYERS[need]:
        return False
    return need != "spatial" or spec.pool == "flatten"


def _described(spec: FeatureSpec) -> str:
    if spec.layer is None:
        return "features of an unstated layer (--layer declares it)"
    return f"features of {spec.layer}, pool {spec.pool or 'not stated'}"
