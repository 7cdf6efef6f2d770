"""From sets in their feature spaces to results: values, provenance and what to know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gan_metrics.errors import GanMetricsError, InputError
from gan_metrics.evaluation.compatibility import (
    agree_in_resolution,
    common_protocol,
    common_spec,
    declared_warnings,
)
from gan_metrics.evaluation.image_metrics import perceive
from gan_metrics.evaluation.plan import Plan
from gan_metrics.evaluation.warnings import (
    cautions_of,
    metric_cautions,
    pair_cautions,
    protocol_cautions,
)
from gan_metrics.generators.generated import Generated
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.sets import Side
from gan_metrics.metrics import registry
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.metrics.registry import Metric
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.results.result import MetricResult, plugins_used
from gan_metrics.utils.result_warning import ResultWarning, unique
from gan_metrics.utils.versions import versions

__all__ = ["Group", "Measured", "Sets", "Task", "score_sets", "told"]


@dataclass(frozen=True)
class Task:
    """What is computed by one protocol.

    Attributes:
        suffix: What the names of its results end in.
        options: Of the command, with this protocol.
        plan: What is computed in which space.
        arguments: Of each metric.
        error_bars: Whether error bars are wanted.
    """

    suffix: str
    options: Options
    plan: Plan
    arguments: Mapping[str, Mapping[str, Any]]
    error_bars: bool


@dataclass(frozen=True)
class Sets:
    """Sets of images in one feature space.

    Attributes:
        fake: The fake ones.
        real: The real ones, if there are any.
        held_out: Real ones that were not trained on, if there are any.
    """

    fake: Side
    real: Side | None = None
    held_out: Side | None = None

    @property
    def compared(self) -> list[Side]:
        """Real and fake images, if there are both."""
        return [self.fake] if self.real is None else [self.real, self.fake]

    @property
    def every(self) -> list[Side]:
        """All that there are."""
        return [*self.compared, *([] if self.held_out is None else [self.held_out])]


@dataclass(frozen=True)
class Group:
    """Metrics of the same features.

    Attributes:
        rows: Name, as it was asked for, to metric.
        sets: The images.
        task: What it is part of.
    """

    rows: Mapping[str, Metric]
    sets: Sets
    task: Task

    def compute(self, sets: Sets) -> dict[str, Estimate | GanMetricsError]:
        """The metrics of these sets, or of parts of them, by the row's name."""
        return registry.compute(
            self.rows.values(),
            sets.real,
            sets.fake,
            seed=self.task.options.get("seed", 0),
            error_bar=self.task.error_bars,
            arguments=self.task.arguments,
            held_out=sets.held_out,
        )


@dataclass(frozen=True)
class Measured:
    """What was found for one fake set.

    Attributes:
        results: Name, as it was asked for, to result.
        estimates: Name to estimate, whose influences or draws tell what two results share.
        errors: Name to the error, for what is impossible on these data.
        not_computed: Name to the reason, for what cannot be computed from what was given.
        digest: What stands for its images, if they are known.
        groups: What it was computed from.
        images: The sets in the main space, where single images were asked for.
    """

    results: Mapping[str, MetricResult]
    estimates: Mapping[str, Estimate]
    errors: Mapping[str, GanMetricsError]
    not_computed: Mapping[str, str]
    digest: str | None = None
    groups: Sequence[Group] = field(default=())
    images: Sets | None = None


def score_sets(
    task: Task,
    real: Mapping[str, Side] | None,
    fake: Mapping[str, Side],
    held_out: Mapping[str, Side] | None,
    about: dict[int, list[ResultWarning]],
) -> Measured:
    """The metrics of one fake set.

    Args:
        task: Which, and how.
        real: Name of each metric to the real images in its space.
        fake: The same of the fake ones.
        held_out: The same of the held-out ones, for the metrics that take them.
        about: Keeps what was found to say of a set, by its features.
    """
    plan, options = task.plan, task.options
    results: dict[str, MetricResult] = {}
    estimates: dict[str, Estimate] = {}
    errors: dict[str, GanMetricsError] = dict(plan.failed)
    groups = _groups(task, real, fake, held_out)
    for name, row in plan.rows.items():
        if row.needs in registry.OF_IMAGES:
            try:
                results[name], estimates[name] = _perceived(task, row, fake[name])
            except InputError:
                raise
            except GanMetricsError as error:
                errors[name] = error
    for group in groups:
        sets = group.sets
        choice = plan.spaces.get(next(iter(group.rows)))
        spec, declared = common_spec(sets.compared, choice, options)
        if sets.held_out is not None:
            _, more = common_spec([sets.fake, sets.held_out], choice, options)
            declared = tuple(sorted({*declared, *more}))
        agree_in_resolution(sets.compared)
        for side in sets.every:
            if id(side.known) not in about:
                about[id(side.known)] = cautions_of(side)
        try:
            found = group.compute(sets)
        except InputError as error:
            raise told(error, sets.every) from error
        pair = pair_cautions(*sets.compared) if len(sets.compared) == 2 else []
        for name, row in group.rows.items():
            estimate = found[row.name]
            theirs = sets.compared if row.sides == 2 else [sets.fake]
            everyone = [*theirs, *([] if sets.held_out is None else [sets.held_out])]
            if isinstance(estimate, GanMetricsError):
                errors[name] = told(estimate, everyone)
                continue
            estimates[name] = estimate
            results[name] = MetricResult(
                metric=_name_of(row, spec),
                value=estimate.value,
                standard_error=estimate.standard_error,
                n_real=theirs[0].count if row.sides == 2 else None,
                n_fake=theirs[-1].count,
                n_held_out=None if sets.held_out is None else sets.held_out.count,
                protocol=common_protocol(theirs, choice),
                feature_spec=spec,
                seed=options.get("seed", 0),
                arguments=task.arguments.get(row.name, {}),
                drawn=_drawn(options, everyone),
                fixed={
                    which: side.description
                    for which, side in zip(("real", "fake")[-len(theirs) :], theirs, strict=True)
                    if side.array is None
                },
                digests=tuple(side.digest for side in everyone),
                skipped_files=[item for side in everyone for item in side.skipped],
                declared=declared,
                terms=_terms(estimate),
                details={k: v for k, v in estimate.details.items() if not k.endswith("_term")},
                bounds=row.bounds,
                error_bar=row.error_bar if estimate.standard_error is not None else "",
                sides=row.sides,
                warnings=unique(
                    [
                        *(warning for side in everyone for warning in side.warnings),
                        *metric_cautions(row, theirs, spec, task.error_bars),
                        *protocol_cautions(row, plan, options),
                        *estimate.warnings,
                        *declared_warnings(declared),
                        *(caution for side in everyone for caution in about[id(side.known)]),
                        *(pair if len(theirs) == 2 else []),
                    ]
                ),
                versions=versions(),
                plugins=plugins_used(row.name, spec, common_protocol(theirs, choice)),
            )
    results = {name: results[name] for name in plan.rows if name in results}
    return Measured(results, estimates, errors, plan.not_computed, _digest(fake), groups)


def _perceived(task: Task, row: Metric, side: Side) -> tuple[MetricResult, Estimate]:
    """A metric of images or of a generator."""
    options, plan = task.options, task.plan
    arguments = task.arguments.get(row.name, {})
    found = perceive(
        row.name,
        side,
        options,
        arguments,
        error_bar=task.error_bars,
        alone=plan.main is None,
    )
    estimate = found.estimate
    result = MetricResult(
        metric=row.name,
        value=estimate.value,
        standard_error=estimate.standard_error,
        n_real=None,
        n_fake=found.count,
        protocol=plan.rules.name if plan.rules is not None and row.name in plan.fitting else None,
        feature_spec=found.spec,
        seed=options.get("seed", 0),
        arguments=arguments,
        drawn=_drawn(options, [side]),
        digests=(found.digest,),
        skipped_files=found.skipped,
        details=estimate.details,
        bounds=row.bounds,
        error_bar=row.error_bar if estimate.standard_error is not None else "",
        sides=1,
        warnings=unique(
            [*found.warnings, *protocol_cautions(row, plan, options), *estimate.warnings]
        ),
        versions=versions(),
        plugins=plugins_used(row.name, found.spec, plan.rules.name if plan.rules else None),
    )
    return result, estimate


def told(error: GanMetricsError, sides: Sequence[Side]) -> GanMetricsError:
    """The same error, saying whose images it is about: a single one, or all."""
    alone = [side for side in sides if side.count == 1]
    who = " and ".join(side.description for side in alone or sides)
    return type(error)(f"{who}: {error}")


def _drawn(options: Options, sides: Sequence[Side]) -> dict[str, int]:
    """Which images were drawn from the sets, if not all were taken."""
    most = options.get("max_images")
    if most is None:
        return {}
    made = [len(side.source.names) for side in sides if isinstance(side.source, Generated)]
    return {"max_images": most, **({"of_generated": made[0]} if made else {})}


def _groups(
    task: Task,
    real: Mapping[str, Side] | None,
    fake: Mapping[str, Side],
    held_out: Mapping[str, Side] | None,
) -> list[Group]:
    """Metrics whose sets have the same features, or the same moments."""
    found: dict[tuple[Any, ...], tuple[dict[str, Metric], Sets]] = {}
    rows = {n: row for n, row in task.plan.rows.items() if row.needs not in registry.OF_IMAGES}
    for name, row in rows.items():
        both = row.sides == 2 or row.bandwidth
        sets = Sets(
            fake[name],
            real[name] if real is not None and both else None,
            held_out[name] if held_out is not None and row.held_out else None,
        )
        key = (row.needs, row.held_out, *(id(side.known) for side in sets.every), both)
        found.setdefault(key, ({}, sets))[0][name] = row
    return [Group(rows, sets, task) for rows, sets in found.values()]


def _digest(spaces: Mapping[str, Side]) -> str | None:
    """What stands for a set: the hash of its files, else that of its features."""
    return next((side.digest for side in spaces.values() if side.features), None)


def _name_of(row: Metric, spec: FeatureSpec) -> str:
    """What the value calls itself: its metric's name only in the space that gives it that name."""
    space = (spec.backbone, spec.layer, spec.pool)
    random = str(spec.weights_sha256).startswith("random")
    if row.needs == "dinov2" and random:
        return "fd"
    pool3 = space == ("inception", "pool3", "avg") and not random
    return row.name if not row.elsewhere or pool3 else row.elsewhere


def _terms(estimate: Estimate) -> dict[str, float]:
    suffix = "_term"
    return {
        name.removesuffix(suffix): value
        for name, value in estimate.details.items()
        if name.endswith(suffix)
    }
