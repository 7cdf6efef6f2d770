"""Compute results from embedded sets: values, provenance and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.errors import ComputationError, GanMetricsError, InputError
from gan_metrics.evaluation.compatibility import (
    check_resolutions,
    common_protocol,
    common_space,
    declared_warnings,
)
from gan_metrics.evaluation.image_metrics import compute_image_metric
from gan_metrics.evaluation.plan import Plan
from gan_metrics.evaluation.warnings import (
    held_out_warnings,
    metric_warnings,
    pair_warnings,
    protocol_warnings,
    set_and_feature_warnings,
)
from gan_metrics.generators.generated import Generated
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import EmbeddedSet, ImageSet
from gan_metrics.metrics import registry
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.metrics.registry import Metric
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.results.result import MetricResult, plugins_used
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.result_warning import ResultWarning, unique
from gan_metrics.utils.versions import versions

__all__ = [
    "Evaluation",
    "FeatureSets",
    "MetricGroup",
    "ProtocolRun",
    "SetWarnings",
    "compute",
    "with_set_names",
]

SetWarnings = dict[EmbeddedSet, list[ResultWarning]]
"""Warnings about single sets in a feature space, each computed once."""


@dataclass(frozen=True)
class ProtocolRun:
    """The metrics to compute with one protocol.

    Attributes:
        options: The options, with this protocol.
        plan: Which metric is computed in which feature space.
        arguments: Keyword arguments by metric.
        error_bars: Whether to compute error bars.
        space: The feature space of the images; ``None`` without images.
    """

    options: Options
    plan: Plan
    arguments: Mapping[str, Mapping[str, Any]]
    error_bars: bool
    space: FeatureSpace | None


@dataclass(frozen=True)
class FeatureSets:
    """Sets in one feature space.

    Attributes:
        fake: The generated images.
        real: The real images; ``None`` for metrics of the generated images only.
        held_out: Held-out real images, or ``None``.
    """

    fake: EmbeddedSet
    real: EmbeddedSet | None = None
    held_out: EmbeddedSet | None = None

    @property
    def compared(self) -> list[EmbeddedSet]:
        """Return the real (if given) and generated images."""
        return [self.fake] if self.real is None else [self.real, self.fake]

    @property
    def every(self) -> list[EmbeddedSet]:
        """Return all sets: real, generated, held-out."""
        return [*self.compared, *([] if self.held_out is None else [self.held_out])]


@dataclass(frozen=True)
class MetricGroup:
    """Metrics that use the same sets in the same feature space.

    Attributes:
        rows: Metrics by name, as requested.
        sets: The sets.
        run: The protocol's run to which they belong.
    """

    rows: Mapping[str, Metric]
    sets: FeatureSets
    run: ProtocolRun

    def compute(self, sets: FeatureSets) -> dict[str, Estimate | GanMetricsError]:
        """Compute the metrics of these sets, or of parts of them; by the metric's own name."""
        return registry.compute(
            self.rows.values(),
            sets.real,
            sets.fake,
            seed=self.run.options.seed_or_default,
            error_bar=self.run.error_bars,
            arguments=self.run.arguments,
            held_out=sets.held_out,
        )


@dataclass(frozen=True)
class Evaluation:
    """Everything that was computed for one generated set by one protocol.

    Attributes:
        results: Results by name, as requested.
        estimates: Estimates by name; their influences and draws show what two results share.
        errors: Errors by name, for metrics that are impossible on these data.
        not_computed: Reasons by name, for metrics that these inputs do not allow.
        digest: Digest of the generated set, if known.
        groups: The metrics with the sets they were computed from.
        space: The feature space of the images; ``None`` without images.
        main_sets: The sets in that space, if single images were requested.
    """

    results: Mapping[str, MetricResult]
    estimates: Mapping[str, Estimate]
    errors: Mapping[str, GanMetricsError]
    not_computed: Mapping[str, str]
    digest: str | None = None
    groups: Sequence[MetricGroup] = field(default=())
    space: FeatureSpace | None = None
    main_sets: FeatureSets | None = None


def compute(
    run: ProtocolRun,
    sets: Mapping[str, FeatureSets],
    images: ImageSet | None,
    known_warnings: SetWarnings,
) -> Evaluation:
    """Compute all metrics of one generated set by one protocol.

    Args:
        run: The protocol's run.
        sets: For each metric of features, the sets in its feature space.
        images: The generated images, for metrics of images or of a generator.
        known_warnings: Warnings about single sets; new ones are added.

    Raises:
        InputError: If a set has another form than a metric accepts.
        MismatchError: If the sets have different feature spaces.
    """
    plan = run.plan
    results: dict[str, MetricResult] = {}
    estimates: dict[str, Estimate] = {}
    errors: dict[str, GanMetricsError] = dict(plan.failed)
    for name, row in plan.rows.items():
        if row.needs in registry.PIXEL_INPUTS and images is not None:
            try:
                results[name], estimates[name] = _of_images(run, row, images)
            except InputError:
                raise
            except GanMetricsError as error:
                errors[name] = error
    groups = _groups(run, sets)
    for group in groups:
        space = plan.spaces.get(next(iter(group.rows)))
        spec, declared = _common_space(group.sets, space, run.options)
        check_resolutions(group.sets.compared)
        for one in group.sets.every:
            if one not in known_warnings:
                known_warnings[one] = set_and_feature_warnings(one)
        try:
            found = group.compute(group.sets)
        except InputError as error:
            raise with_set_names(error, group.sets.every) from error
        pair = pair_warnings(*group.sets.compared) if group.sets.real is not None else []
        for name, row in group.rows.items():
            used = _used_sets(row, group.sets)
            estimate = found[row.name]
            if isinstance(estimate, GanMetricsError):
                errors[name] = with_set_names(estimate, used.every)
                continue
            overlaps: list[ResultWarning] = []
            if row.needs_held_out and used.held_out is not None:
                try:
                    overlaps = held_out_warnings(used.held_out, used.real, used.fake)
                except ComputationError as error:
                    errors[name] = error
                    continue
            warnings = [
                *overlaps,
                *(warning for one in used.every for warning in one.warnings),
                *metric_warnings(row, used.compared, spec, run.error_bars),
                *protocol_warnings(row, plan, run.options),
                *estimate.warnings,
                *declared_warnings(declared),
                *(warning for one in used.every for warning in known_warnings[one]),
                *(pair if used.real is not None else []),
            ]
            estimates[name] = estimate
            results[name] = _result(run, row, estimate, used, space, spec, declared, warnings)
    return Evaluation(
        results={name: results[name] for name in plan.rows if name in results},
        estimates=estimates,
        errors=errors,
        not_computed=plan.not_computed,
        digest=_digest(one.fake for one in sets.values()),
        groups=groups,
        space=run.space,
    )


def _common_space(
    sets: FeatureSets, space: FeatureSpace | None, options: Options
) -> tuple[FeatureSpec, tuple[str, ...]]:
    """Return the feature space of all sets, and its fields that a file does not state."""
    spec, declared = common_space(sets.compared, space, options)
    if sets.held_out is not None:
        _, more = common_space([sets.fake, sets.held_out], space, options)
        declared = tuple(sorted({*declared, *more}))
    return spec, declared


def _used_sets(row: Metric, sets: FeatureSets) -> FeatureSets:
    """Return the sets of a metric's result: without real images for a metric of one set."""
    return FeatureSets(sets.fake, sets.real if row.n_sets == 2 else None, sets.held_out)


def _result(
    run: ProtocolRun,
    row: Metric,
    estimate: Estimate,
    sets: FeatureSets,
    space: FeatureSpace | None,
    spec: FeatureSpec,
    declared: Sequence[str],
    warnings: Iterable[ResultWarning],
) -> MetricResult:
    """Return the result of a metric of features, with its provenance."""
    roles = {"fake": sets.fake} if sets.real is None else {"real": sets.real, "fake": sets.fake}
    protocol = common_protocol(sets.compared, space)
    return MetricResult(
        metric=_displayed_name(row, spec),
        value=estimate.value,
        standard_error=estimate.standard_error,
        n_real=None if sets.real is None else sets.real.count,
        n_fake=sets.fake.count,
        n_held_out=None if sets.held_out is None else sets.held_out.count,
        protocol=protocol,
        feature_spec=spec,
        seed=run.options.seed_or_default,
        arguments=run.arguments.get(row.name, {}),
        drawn=_drawn(run.options, sets.every),
        fixed={role: one.description for role, one in roles.items() if isinstance(one, Statistics)},
        digests=tuple(one.identity for one in sets.every),
        skipped_files=[pair for one in sets.every for pair in one.skipped],
        declared=declared,
        terms=_terms(estimate),
        details={k: v for k, v in estimate.details.items() if not k.endswith(_TERM)},
        bounds=row.bounds,
        error_bar=row.error_bar if estimate.standard_error is not None else "",
        sides=row.n_sets,
        warnings=unique(warnings),
        versions=versions(),
        plugins=plugins_used(row.name, spec, protocol),
    )


def _of_images(run: ProtocolRun, row: Metric, images: ImageSet) -> tuple[MetricResult, Estimate]:
    """Return the result of a metric of images or of a generator."""
    options, plan = run.options, run.plan
    arguments = run.arguments.get(row.name, {})
    found = compute_image_metric(
        row.name,
        images,
        options,
        arguments,
        error_bar=run.error_bars,
        alone=plan.main is None,
    )
    estimate = found.estimate
    result = MetricResult(
        metric=row.name,
        value=estimate.value,
        standard_error=estimate.standard_error,
        n_real=None,
        n_fake=found.count,
        protocol=plan.rules.name
        if plan.rules is not None and row.name in plan.as_in_protocol
        else None,
        feature_spec=found.spec,
        seed=options.seed_or_default,
        arguments=arguments,
        drawn=_drawn(options, [images]),
        digests=(found.digest,),
        skipped_files=found.skipped,
        details=estimate.details,
        bounds=row.bounds,
        error_bar=row.error_bar if estimate.standard_error is not None else "",
        sides=1,
        warnings=unique(
            [*found.warnings, *protocol_warnings(row, plan, options), *estimate.warnings]
        ),
        versions=versions(),
        plugins=plugins_used(row.name, found.spec, plan.rules.name if plan.rules else None),
    )
    return result, estimate


def with_set_names(error: GanMetricsError, sets: Sequence[EmbeddedSet]) -> GanMetricsError:
    """Return the error with the names of its sets: of one-image sets, or else of all."""
    single = [one for one in sets if one.count == 1]
    names = " and ".join(one.description for one in single or sets)
    return type(error)(f"{names}: {error}")


def _drawn(options: Options, sets: Sequence[EmbeddedSet | ImageSet]) -> dict[str, int]:
    """Return how many images were drawn from the sets, if not all were used."""
    if options.max_images is None:
        return {}
    sources = [None if isinstance(one, Statistics) else one.source for one in sets]
    generated = [len(one.names) for one in sources if isinstance(one, Generated)]
    return {
        "max_images": options.max_images,
        **({"of_generated": generated[0]} if generated else {}),
    }


def _groups(run: ProtocolRun, sets: Mapping[str, FeatureSets]) -> list[MetricGroup]:
    """Group the metrics of features by the sets that they use."""
    found: dict[tuple[Any, ...], tuple[dict[str, Metric], FeatureSets]] = {}
    for name, given in sets.items():
        row = run.plan.rows[name]
        both = row.n_sets == 2 or row.shares_bandwidth
        used = FeatureSets(
            given.fake,
            given.real if both else None,
            given.held_out if row.needs_held_out else None,
        )
        key = (row.needs, row.needs_held_out, both, used)
        found.setdefault(key, ({}, used))[0][name] = row
    return [MetricGroup(rows, used, run) for rows, used in found.values()]


def _digest(spaces: Iterable[EmbeddedSet]) -> str | None:
    """Return the digest of a set of images, if features of it are known."""
    return next((one.identity for one in spaces if not isinstance(one, Statistics)), None)


def _displayed_name(row: Metric, spec: FeatureSpec) -> str:
    """Return the metric's name, or its name outside of the space that gives it its name."""
    space = (spec.backbone, spec.layer, spec.pool)
    random = str(spec.weights_sha256).startswith("random")
    if row.needs == "dinov2" and random:
        return "fd"
    pool3 = space == ("inception", "pool3", "avg") and not random
    return row.name if not row.name_in_other_spaces or pool3 else row.name_in_other_spaces


_TERM = "_term"


def _terms(estimate: Estimate) -> dict[str, float]:
    """Return the details whose names end in ``_term``; they add up to the value."""
    return {
        name.removesuffix(_TERM): value
        for name, value in estimate.details.items()
        if name.endswith(_TERM)
    }
