"""Metrics of several fake sets against one real set: planned, embedded in one pass, computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gan_metrics.agreement import (
    agree_in_resolution,
    all_agree,
    common_protocol,
    common_spec,
    declared_warnings,
)
from gan_metrics.cautions import (
    cautions_of,
    metric_cautions,
    pair_cautions,
    protocol_cautions,
)
from gan_metrics.embedding import embed_spaces, settle
from gan_metrics.errors import GanMetricsError, InputError, UsageError, WeightsError
from gan_metrics.metrics import registry
from gan_metrics.metrics.estimates import Estimate
from gan_metrics.metrics.registry import Metric, Request
from gan_metrics.options import Options, check_options
from gan_metrics.plan import Plan, make_plan
from gan_metrics.results import MetricResult, Warning_, unique, versions
from gan_metrics.sides import Input, Side, open_side
from gan_metrics.specs import FeatureSpec

__all__ = ["Arguments", "Measured", "measure"]

Arguments = Mapping[str, Mapping[str, Any]]
"""Name of a metric to its keyword arguments."""


@dataclass(frozen=True)
class Measured:
    """What was found for one fake set.

    Attributes:
        results: Name, as it was asked for, to result.
        estimates: Name to estimate, whose influences or draws tell what two results share.
        errors: Name to the error, for what is impossible on these data.
        not_computed: Name to the reason, for what cannot be computed from what was given.
        digest: What stands for its images, if they are known.
    """

    results: Mapping[str, MetricResult]
    estimates: Mapping[str, Estimate]
    errors: Mapping[str, GanMetricsError]
    not_computed: Mapping[str, str]
    digest: str | None = None


def measure(
    real: Input | None,
    fakes: Sequence[Input],
    rows: Request,
    *,
    options: Options,
    error_bars: bool = True,
    arguments: Arguments | None = None,
    protocols: Sequence[str] = (),
) -> list[Measured]:
    """Compute metrics of several fake sets against one real set, which is looked at once.

    Args:
        real: The real images, if there are any.
        fakes: The fake sets.
        rows: Name, as it was asked for, to metric.
        options: See :class:`Options`.
        error_bars: Whether error bars are wanted.
        arguments: Name of a metric to keyword arguments of it.
        protocols: Compute all of it by each of these, and name the results
            ``metric@protocol``; images are decoded once. Empty: by the one of the options.

    Raises:
        GanMetricsError: As for :func:`fid`.
    """
    check_options(options)
    settled = registry.check_arguments(arguments)
    given = [] if real is None else [open_side(real, options)]
    given += [open_side(fake, options) for fake in fakes]
    if protocols and (fixed := [s.description for s in given if s.source is None or s.stored]):
        raise UsageError(
            f"several protocols need images on both sides, and {fixed[0]} holds what one made of "
            "them"
        )
    given = _without_idle_images(given, rows, options, protocols)
    first = None if real is None else given[0]
    others = given[len(given) - len(fakes) :]
    tasks = []
    failed: dict[str, GanMetricsError] = {}
    for suffix, asked in _by_protocol(options, protocols):
        try:
            choice = settle(given, asked)
        except WeightsError as error:
            if not suffix:
                raise
            failed.update({name + suffix: error for name in rows})
            continue
        plan = make_plan(rows, first, others, choice, asked)
        tasks.append(_Task(suffix, asked, plan, plan.arguments(settled, asked)))
    _check_weights(tasks, options)
    wanted = [
        {
            name + task.suffix: space
            for task in tasks
            for name, space in task.plan.of_side(side, real=side is first).items()
        }
        for side in given
    ]
    moments = any(task.plan.moments for task in tasks)
    embedded = embed_spaces(given, wanted, options, moments=moments)
    found = [_measure_task(task, given, embedded, first, error_bars) for task in tasks]
    return [_joined([measured[i] for measured in found], failed) for i in range(len(fakes))]


def _check_weights(tasks: Sequence[_Task], options: Options) -> None:
    """Refuse one weights file for several main networks, and one that no network takes."""
    given = options.get("weights")
    used = {space.recipe.name for task in tasks for space in task.plan.spaces.values()}
    used |= {task.plan.main for task in tasks if task.plan.main is not None}
    idle = (
        [name for name in given if name and name not in used] if isinstance(given, Mapping) else []
    )
    if idle and used:
        raise UsageError(
            f"--weights {idle[0]}=…: nothing here is computed in {idle[0]}, but in "
            f"{' and '.join(sorted(used))}"
        )
    named = given.get("") if isinstance(given, Mapping) else given
    mains = {task.plan.main for task in tasks if task.plan.main is not None}
    if named not in (None, "random") and len(mains) > 1:
        raise UsageError(
            f"--weights {named} cannot be meant for {' and '.join(sorted(mains))}: name the "
            "network, as in --weights inception=FILE"
        )


@dataclass(frozen=True)
class _Task:
    """What is computed by one protocol: what its names end in, options, plan and arguments."""

    suffix: str
    options: Options
    plan: Plan
    arguments: dict[str, dict[str, Any]]


def _without_idle_images(
    given: Sequence[Side], rows: Request, options: Options, protocols: Sequence[str]
) -> list[Side]:
    """The sides without images that no metric asks for, as the moments beside them serve it.

    Then no network is needed either, if there are no other images. Only where the command names no
    other space than theirs.
    """
    idle = all(side.stored for side in given if side.source is not None)
    named = [options.get(name) for name in ("backbone", "layer", "pool", "weights", "protocol")]
    stored = {side.protocol for side in given if side.stored}
    named[-1] = None if {named[-1]} <= stored else named[-1]
    asked = any(value is not None for value in named) or bool(protocols)
    if not idle or asked or not all(row.moments == "both" for row in rows.values()):
        return list(given)
    return [
        replace(side, source=None, statistics=next(iter(side.stored.values())))
        if side.source is not None
        else side
        for side in given
    ]


def _by_protocol(options: Options, protocols: Sequence[str]) -> Iterator[tuple[str, Options]]:
    if not protocols:
        yield "", options
    for name in protocols:
        asked = options.copy()
        asked["protocol"] = name
        yield f"@{name}", asked


def _joined(parts: Sequence[Measured], failed: Mapping[str, GanMetricsError]) -> Measured:
    """What was found by several protocols, as one; and what could not even be begun."""
    if len(parts) == 1 and not failed:
        return parts[0]
    return Measured(
        results={name: found for part in parts for name, found in part.results.items()},
        estimates={name: found for part in parts for name, found in part.estimates.items()},
        errors={**{n: error for part in parts for n, error in part.errors.items()}, **failed},
        not_computed={name: why for part in parts for name, why in part.not_computed.items()},
        digest=parts[0].digest if parts else None,
    )


def _measure_task(
    task: _Task,
    given: Sequence[Side],
    embedded: Sequence[Mapping[str, Side]],
    first: Side | None,
    error_bars: bool,
) -> list[Measured]:
    """Of each fake set, by one protocol."""
    plan, options = task.plan, task.options
    known = [
        {
            name: plan.stored(side, name, side is first)
            or found.get(name + task.suffix, side.of(row.needs))
            for name, row in plan.rows.items()
        }
        for side, found in zip(given, embedded, strict=True)
    ]
    reals = None if first is None else known[0]
    generated = known[0 if first is None else 1 :]
    for name in plan.rows:
        all_agree([one[name] for one in generated])
    settled = task.arguments
    for name, sigma in _shared_bandwidth(plan, reals, generated, options).items():
        if settled.get(name, {}).get("sigma") is None:
            settled.setdefault(name, {})["sigma"] = sigma
    about: dict[int, list[Warning_]] = {}
    for side, one in zip(given, known, strict=True):
        for name in plan.rows:
            if plan.unused(side, name, side is first) and one[name].features is not None:
                about[id(one[name].known)] = cautions_of(one[name], unused=side)
    found_here = [_measure_one(task, reals, fake, error_bars, about) for fake in generated]
    if not task.suffix:
        return found_here
    return [_renamed(measured, task.suffix) for measured in found_here]


def _renamed(measured: Measured, suffix: str) -> Measured:
    """The same under names that say the protocol."""
    return Measured(
        results={name + suffix: found for name, found in measured.results.items()},
        estimates={name + suffix: found for name, found in measured.estimates.items()},
        errors={name + suffix: error for name, error in measured.errors.items()},
        not_computed={name + suffix: why for name, why in measured.not_computed.items()},
        digest=measured.digest,
    )


def _shared_bandwidth(
    plan: Plan,
    real: Mapping[str, Side] | None,
    fakes: Sequence[Mapping[str, Side]],
    options: Options,
) -> dict[str, float]:
    """Where no real images give one bandwidth to several fake sets, that of the first of them."""
    found: dict[str, float] = {}
    for name, row in plan.rows.items():
        known = real is not None and real[name].array is not None
        if row.bandwidth and len(fakes) > 1 and not known and fakes[0][name].array is not None:
            sigma = registry.bandwidth_of(fakes[0][name], options.get("seed", 0))
            if sigma is not None:
                found[row.name] = sigma
    return found


def _measure_one(
    task: _Task,
    real: Mapping[str, Side] | None,
    fake: Mapping[str, Side],
    error_bars: bool,
    about: dict[int, list[Warning_]],
) -> Measured:
    """Of one fake set; ``about`` keeps what was found to say of a set, by its features."""
    plan, options = task.plan, task.options
    results: dict[str, MetricResult] = {}
    estimates: dict[str, Estimate] = {}
    errors: dict[str, GanMetricsError] = dict(plan.failed)
    for group in _groups(plan, real, fake):
        rows = {name: plan.rows[name] for name in group}
        sides = [fake[group[0]]]
        if real is not None and any(row.sides == 2 or row.bandwidth for row in rows.values()):
            sides.insert(0, real[group[0]])
        choice = plan.spaces.get(group[0])
        spec, declared = common_spec(sides, choice, options)
        agree_in_resolution(sides)
        pair = pair_cautions(*sides) if len(sides) == 2 else []
        for side in sides:
            if id(side.known) not in about:
                about[id(side.known)] = cautions_of(side)
        try:
            found = registry.compute(
                rows.values(),
                sides[0] if len(sides) == 2 else None,
                sides[-1],
                seed=options.get("seed", 0),
                error_bar=error_bars,
                arguments=task.arguments,
            )
        except InputError as error:
            raise _told(error, sides) from error
        for name, row in rows.items():
            estimate = found[row.name]
            theirs = sides if row.sides == 2 else sides[-1:]
            if isinstance(estimate, GanMetricsError):
                errors[name] = _told(estimate, theirs)
                continue
            arguments = task.arguments.get(row.name, {})
            estimates[name] = estimate
            results[name] = MetricResult(
                metric=_name_of(row, spec),
                value=estimate.value,
                standard_error=estimate.standard_error,
                n_real=theirs[0].count if row.sides == 2 else None,
                n_fake=theirs[-1].count,
                protocol=common_protocol(theirs, choice),
                feature_spec=spec,
                seed=options.get("seed", 0),
                arguments=arguments,
                drawn=_drawn(options),
                fixed={
                    which: side.description
                    for which, side in zip(("real", "fake")[-len(theirs) :], theirs, strict=True)
                    if side.array is None
                },
                digests=tuple(side.digest for side in theirs),
                skipped_files=[item for side in theirs for item in side.skipped],
                declared=declared,
                terms=_terms(estimate),
                details={k: v for k, v in estimate.details.items() if not k.endswith("_term")},
                bounds=row.bounds,
                error_bar=row.error_bar if estimate.standard_error is not None else "",
                sides=row.sides,
                warnings=unique(
                    [
                        *(warning for side in theirs for warning in side.warnings),
                        *metric_cautions(row, theirs, spec, error_bars),
                        *protocol_cautions(row, plan, options),
                        *estimate.warnings,
                        *declared_warnings(declared),
                        *(caution for side in theirs for caution in about[id(side.known)]),
                        *(pair if len(theirs) == 2 else []),
                    ]
                ),
                versions=versions(),
            )
    results = {name: results[name] for name in plan.rows if name in results}
    return Measured(results, estimates, errors, plan.not_computed, _digest(fake))


def _drawn(options: Options) -> dict[str, int]:
    """Which images were drawn from the sets, if not all were taken."""
    most = options.get("max_images")
    return {} if most is None else {"max_images": most}


def _groups(
    plan: Plan, real: Mapping[str, Side] | None, fake: Mapping[str, Side]
) -> list[list[str]]:
    """Names of metrics whose sides have the same features, or the same moments."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for name, row in plan.rows.items():
        both = row.sides == 2 or row.bandwidth
        reals = id(real[name].known) if real is not None and both else None
        found.setdefault((row.needs, id(fake[name].known), reals), []).append(name)
    return list(found.values())


def _told(error: GanMetricsError, sides: Sequence[Side]) -> GanMetricsError:
    """The same error, saying whose images it is about: a single one, or all."""
    alone = [side for side in sides if side.count == 1]
    who = " and ".join(side.description for side in alone or sides)
    return type(error)(f"{who}: {error}")


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
