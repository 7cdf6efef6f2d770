"""Metrics of several fake sets against one real set: planned, embedded in one pass, computed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_metrics.cautions import feature_cautions, pair_cautions, set_cautions
from gan_metrics.errors import GanMetricsError, InputError
from gan_metrics.metrics import registry
from gan_metrics.metrics.estimates import Estimate
from gan_metrics.metrics.registry import Metric, Request
from gan_metrics.options import Options, check_options
from gan_metrics.plan import CLIP, Plan, make_plan
from gan_metrics.results import MetricResult, Warning_, unique, versions
from gan_metrics.sides import (
    Input,
    Side,
    all_agree,
    common_protocol,
    common_spec,
    declared_warnings,
    embed_spaces,
    open_side,
    settle,
)
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
) -> list[Measured]:
    """Compute metrics of several fake sets against one real set, which is looked at once.

    Args:
        real: The real images, if there are any.
        fakes: The fake sets.
        rows: Name, as it was asked for, to metric.
        options: See :class:`Options`.
        error_bars: Whether error bars are wanted.
        arguments: Name of a metric to keyword arguments of it.

    Raises:
        GanMetricsError: As for :func:`fid`.
    """
    check_options(options)
    settled = registry.check_arguments(arguments)
    given = [] if real is None else [open_side(real, options)]
    given += [open_side(fake, options) for fake in fakes]
    choice = settle(given, options)
    first = None if real is None else given[0]
    others = given[len(given) - len(fakes) :]
    plan = make_plan(rows, first, others, choice, options)
    wanted = [plan.of_side(real=side is first) for side in given]
    spaces = embed_spaces(given, wanted, options, moments=plan.moments)
    known = [
        {need: found.get(need, side) for need in {row.needs for row in plan.rows.values()}}
        for side, found in zip(given, spaces, strict=True)
    ]
    reals = None if real is None else known[0]
    generated = known[len(known) - len(fakes) :]
    for need in {row.needs for row in plan.rows.values()}:
        all_agree([one[need] for one in generated])
    for name, sigma in _shared_bandwidth(plan, reals, generated, options).items():
        if settled.get(name, {}).get("sigma") is None:
            settled.setdefault(name, {})["sigma"] = sigma
    about: dict[int, list[Warning_]] = {}
    return [
        _measure_one(plan, reals, fake, options, error_bars, settled, about) for fake in generated
    ]


def _shared_bandwidth(
    plan: Plan,
    real: Mapping[str, Side] | None,
    fakes: Sequence[Mapping[str, Side]],
    options: Options,
) -> dict[str, float]:
    """Where no real images give one bandwidth to several fake sets, that of the first of them."""
    rows = {row.name: row for row in plan.rows.values() if row.bandwidth}
    found: dict[str, float] = {}
    for name, row in rows.items():
        known = real is not None and real[row.needs].array is not None
        array = fakes[0][row.needs].array
        if len(fakes) > 1 and not known and array is not None:
            sigma = registry.bandwidth_of(fakes[0][row.needs], options.get("seed", 0))
            if sigma is not None:
                found[name] = sigma
    return found


def _measure_one(
    plan: Plan,
    real: Mapping[str, Side] | None,
    fake: Mapping[str, Side],
    options: Options,
    error_bars: bool,
    arguments: Arguments,
    about: dict[int, list[Warning_]],
) -> Measured:
    """Of one fake set; ``about`` keeps what was found to say of a set, by its features."""
    results: dict[str, MetricResult] = {}
    estimates: dict[str, Estimate] = {}
    errors: dict[str, GanMetricsError] = {}
    files: list[Warning_] | None = None
    for need in dict.fromkeys(row.needs for row in plan.rows.values()):
        rows = {name: row for name, row in plan.rows.items() if row.needs == need}
        sides = [fake[need]]
        if real is not None and any(row.sides == 2 or row.bandwidth for row in rows.values()):
            sides.insert(0, real[need])
        choice = plan.spaces.get(need)
        spec, declared = common_spec(sides, choice, options)
        if files is None and len(sides) == 2:
            files = pair_cautions(*sides)
        for side in sides:
            if id(side.known) not in about:
                about[id(side.known)] = [*set_cautions(side), *feature_cautions(side)]
        try:
            found = registry.compute(
                rows.values(),
                sides[0] if len(sides) == 2 else None,
                sides[-1],
                seed=options.get("seed", 0),
                error_bar=error_bars,
                arguments=arguments,
            )
        except InputError as error:
            raise _told(error, sides) from error
        for name, row in rows.items():
            estimate = found[row.name]
            theirs = sides if row.sides == 2 else sides[-1:]
            if isinstance(estimate, GanMetricsError):
                errors[name] = _told(estimate, theirs)
                continue
            estimates[name] = estimate
            results[name] = MetricResult(
                metric=row.name if not row.elsewhere or _is_pool3(spec) else row.elsewhere,
                value=estimate.value,
                standard_error=estimate.standard_error,
                n_real=theirs[0].count if row.sides == 2 else None,
                n_fake=theirs[-1].count,
                protocol=common_protocol(theirs, choice),
                feature_spec=spec,
                seed=options.get("seed", 0),
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
                        *_row_warnings(row, theirs, spec, error_bars),
                        *estimate.warnings,
                        *declared_warnings(declared),
                        *(caution for side in theirs for caution in about[id(side.known)]),
                        *((files or []) if len(theirs) == 2 else []),
                    ]
                ),
                versions=versions(),
            )
    results = {name: results[name] for name in plan.rows if name in results}
    return Measured(results, estimates, errors, plan.not_computed, _digest(fake))


def _told(error: GanMetricsError, sides: Sequence[Side]) -> GanMetricsError:
    """The same error, saying whose images it is about: a single one, or all."""
    alone = [side for side in sides if side.count == 1]
    who = " and ".join(side.description for side in alone or sides)
    return type(error)(f"{who}: {error}")


def _digest(spaces: Mapping[str, Side]) -> str | None:
    """What stands for a set: the hash of its files, else that of its features."""
    features = next((side.features for side in spaces.values() if side.features), None)
    if features is None:
        return None
    return features.digest or hashlib.sha256(np.ascontiguousarray(features.array).data).hexdigest()


def _is_pool3(spec: FeatureSpec) -> bool:
    """Whether it is the space that FID and KID have their names from."""
    space = (spec.backbone, spec.layer, spec.pool)
    return space == ("inception", "pool3", "avg") and not str(spec.weights_sha256).startswith(
        "random"
    )


def _terms(estimate: Estimate) -> dict[str, float]:
    suffix = "_term"
    return {
        name.removesuffix(suffix): value
        for name, value in estimate.details.items()
        if name.endswith(suffix)
    }


def _row_warnings(
    row: Metric, sides: Sequence[Side], spec: FeatureSpec, error_bars: bool
) -> list[Warning_]:
    """What a reader of this metric's number should know."""
    found: list[Warning_] = []
    for side in sides if row.moments else ():
        n, dim = side.count, side.dim
        if n is not None and n <= dim:
            found.append(
                (
                    "few-images",
                    f"{side.description}: {n} images for {dim} dimensions; the covariance is "
                    "singular and the distance far above that of the population (an error bar is "
                    "then the infinitesimal jackknife in the span of the sample)",
                )
            )
    fixed = [side.description for side in sides if side.array is None]
    if error_bars and len(fixed) == len(sides):
        found.append(
            (
                "no-error-bar",
                "both sides are known by their moments alone, so there is no error bar",
            )
        )
    elif error_bars and fixed:
        found.append(
            (
                "reference-fixed",
                f"{fixed[0]} is known by its moments alone: the error bar holds it fixed",
            )
        )
    if row.needs == "clip" and spec.backbone != CLIP:
        found.append(
            (
                "not-clip",
                f"{row.name} in {spec.backbone or 'unknown'} features: published values are made "
                f"with {CLIP}",
            )
        )
    if row.needs == "logits" and (spec.backbone, spec.layer) != ("inception", "logits_unbiased"):
        found.append(
            (
                "other-logits",
                f"{row.name} with the classes of {spec.backbone or 'an unknown network'}: "
                "published values are made with the 2015 Inception's 1008 logits without bias",
            )
        )
    return found
