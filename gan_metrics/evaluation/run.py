"""Metrics of several fake sets against one real set: planned, embedded in one pass, computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import Unpack

from gan_metrics.errors import GanMetricsError, InputError, UsageError, WeightsError
from gan_metrics.evaluation.compatibility import all_agree
from gan_metrics.evaluation.compute import Measured, Sets, Task, score_sets
from gan_metrics.evaluation.extract import embed_spaces, settle
from gan_metrics.evaluation.image_metrics import network_of
from gan_metrics.evaluation.plan import Plan, make_plan
from gan_metrics.evaluation.warnings import cautions_of
from gan_metrics.inputs.options import Options, check_options
from gan_metrics.inputs.sets import Input, Side, open_side
from gan_metrics.metrics import registry
from gan_metrics.metrics.registry import Request
from gan_metrics.results.result import EvaluationResult
from gan_metrics.utils.result_warning import ResultWarning

__all__ = ["Arguments", "measure", "score"]

Arguments = Mapping[str, Mapping[str, Any]]
"""Name of a metric to its keyword arguments."""


def measure(
    real: Input | None,
    fakes: Sequence[Input],
    rows: Request,
    *,
    options: Options,
    held_out: Input | None = None,
    error_bars: bool = True,
    arguments: Arguments | None = None,
    protocols: Sequence[str] = (),
    images: bool = False,
) -> list[Measured]:
    """Compute metrics of several fake sets against one real set, which is looked at once.

    Args:
        real: The real images, if there are any.
        fakes: The fake sets.
        rows: Name, as it was asked for, to metric.
        options: See :class:`Options`.
        held_out: Real images that the generators were not trained on, if there are any.
        error_bars: Whether error bars are wanted.
        arguments: Name of a metric to keyword arguments of it.
        protocols: Compute all of it by each of these, and name the results
            ``metric@protocol``; images are decoded once. Empty: by the one of the options.
        images: Whether the sets are wanted in the main space, as :attr:`Measured.images`.

    Raises:
        GanMetricsError: As for :func:`fid`.
    """
    check_options(options)
    settled = registry.check_arguments(arguments)
    given = [] if real is None else [open_side(real, options)]
    given += [open_side(fake, options) for fake in fakes]
    given += [] if held_out is None else [open_side(held_out, options)]
    if protocols and (fixed := [s.description for s in given if s.source is None or s.stored]):
        raise UsageError(
            f"several protocols need images on both sides, and {fixed[0]} holds what one made of "
            "them"
        )
    given = _without_idle_images(given, rows, options, protocols)
    roles = ["real"] * (real is not None) + ["fake"] * len(fakes)
    roles += ["held_out"] * (held_out is not None)
    of_features = any(row.needs not in registry.OF_IMAGES for row in rows.values())
    if not of_features and not images:
        _refuse_network(options, rows)
    tasks = []
    failed: dict[str, GanMetricsError] = {}
    choice = None
    for suffix, asked in _by_protocol(options, protocols):
        try:
            choice = settle(given, asked) if of_features or images else None
        except WeightsError as error:
            if not suffix:
                raise
            failed.update({name + suffix: error for name in rows})
            continue
        plan = make_plan(rows, dict(_by_role(roles, given)), choice, asked)
        tasks.append(Task(suffix, asked, plan, plan.arguments(settled, asked), error_bars))
    _check_weights(tasks, options)
    wanted = [
        {
            name + task.suffix: space
            for task in tasks
            for name, space in task.plan.of_side(side, role).items()
        }
        for side, role in zip(given, roles, strict=True)
    ]
    if images and choice is not None:
        for spaces in wanted:
            spaces[_IMAGES] = choice
    moments = images or any(task.plan.moments for task in tasks)
    embedded = embed_spaces(given, wanted, options, moments=moments)
    found = [_measure_task(task, given, embedded, roles) for task in tasks]
    joined = [_joined([measured[i] for measured in found], failed) for i in range(len(fakes))]
    if not images:
        return joined
    sides = [one.get(_IMAGES, side) for side, one in zip(given, embedded, strict=True)]
    by_role = dict(_by_role(roles, sides))
    others = {role: sides[0] for role, sides in by_role.items() if role != "fake"}
    return [
        replace(one, images=Sets(fake, **others))
        for one, fake in zip(joined, by_role["fake"], strict=True)
    ]


def score(
    metrics: str | Iterable[str],
    real: Input | None,
    fake: Input,
    *,
    held_out: Input | None = None,
    error_bars: bool = True,
    arguments: Arguments | None = None,
    **options: Unpack[Options],
) -> EvaluationResult:
    """As :func:`evaluate`, but every metric that was named must come out.

    Args:
        metrics: Names of metrics or families.
        real: As for :func:`evaluate`.
        fake: The same.
        held_out: The same.
        error_bars: Whether error bars are wanted.
        arguments: As for :func:`evaluate`.
        options: See :class:`Options`.

    Raises:
        GanMetricsError: As for :func:`fid`; ``InputError`` when what was given does not have the
            features that a metric needs.
    """
    rows = registry.expand(metrics)
    found = measure(
        real,
        [fake],
        rows,
        held_out=held_out,
        error_bars=error_bars,
        arguments=arguments,
        options=options,
    )[0]
    for error in found.errors.values():
        raise error
    for name, reason in found.not_computed.items():
        raise InputError(f"{name} cannot be computed: {reason}")
    return EvaluationResult(found.results)


_IMAGES = "images"
"""Stands for the main space where single images are asked for; no metric has this name."""


def _by_role(roles: Sequence[str], sides: Sequence[Side]) -> Iterator[tuple[str, list[Side]]]:
    """``"real"``, ``"fake"`` and ``"held_out"``, those that there are, with their sides."""
    for role in dict.fromkeys(roles):
        yield role, [side for one, side in zip(roles, sides, strict=True) if one == role]


def _refuse_network(options: Options, rows: Request) -> None:
    """Refuse what chooses a network of features, where no metric takes features."""
    for name in ("backbone", "layer", "pool", "precision"):
        if options.get(name) is not None:
            raise UsageError(
                f"{' and '.join(rows)} is computed by LPIPS, which has networks of its own: leave "
                f"--{name} out (--set {next(iter(rows))}.net=vgg chooses one)"
            )


def _check_weights(tasks: Sequence[Task], options: Options) -> None:
    """Refuse one weights file for several main networks, and one that no network takes."""
    given = options.get("weights")
    used = {space.recipe.name for task in tasks for space in task.plan.spaces.values()}
    used |= {task.plan.main for task in tasks if task.plan.main is not None}
    used |= {
        network_of(row.name, task.arguments.get(row.name, {}))
        for task in tasks
        for row in task.plan.rows.values()
        if row.network
    }
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
        groups=[group for part in parts for group in part.groups],
    )


def _measure_task(
    task: Task,
    given: Sequence[Side],
    embedded: Sequence[Mapping[str, Side]],
    roles: Sequence[str],
) -> list[Measured]:
    """Of each fake set, by one protocol."""
    plan, options = task.plan, task.options
    known = [
        {
            name: plan.stored(side, name, role) or found.get(name + task.suffix, side.of(row.needs))
            for name, row in plan.rows.items()
            if role != "held_out" or row.held_out
        }
        for side, found, role in zip(given, embedded, roles, strict=True)
    ]
    reals = next((one for one, role in zip(known, roles, strict=True) if role == "real"), None)
    held = next((one for one, role in zip(known, roles, strict=True) if role == "held_out"), None)
    generated = [one for one, role in zip(known, roles, strict=True) if role == "fake"]
    for name in plan.rows:
        all_agree([one[name] for one in generated])
    settled = {name: dict(given) for name, given in task.arguments.items()}
    for name, sigma in _shared_bandwidth(plan, reals, generated, options).items():
        if settled.get(name, {}).get("sigma") is None:
            settled.setdefault(name, {})["sigma"] = sigma
    task = replace(task, arguments=settled)
    about: dict[int, list[ResultWarning]] = {}
    for side, one, role in zip(given, known, roles, strict=True):
        for name in one:
            if plan.unused(side, name, role) and one[name].features is not None:
                about[id(one[name].known)] = cautions_of(one[name], unused=side)
    found_here = [score_sets(task, reals, fake, held, about) for fake in generated]
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
        groups=measured.groups,
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
