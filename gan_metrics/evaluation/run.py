"""The main path: from the user's inputs to results.

:func:`evaluate_sets` reads top to bottom: open the sets, choose the feature space, plan the
metrics, check that the sets match, extract features in one pass, compute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gan_metrics.errors import InputError, UsageError, WeightsError
from gan_metrics.evaluation.compatibility import check_same_space
from gan_metrics.evaluation.compute import (
    Evaluation,
    FeatureSets,
    ProtocolRun,
    SetWarnings,
    compute,
)
from gan_metrics.evaluation.extract import choose_feature_space, embed
from gan_metrics.evaluation.image_metrics import network_of
from gan_metrics.evaluation.plan import make_plan
from gan_metrics.evaluation.warnings import set_and_feature_warnings, unused_statistics_warning
from gan_metrics.features.features import Features
from gan_metrics.inputs.opening import open_set
from gan_metrics.inputs.options import Options, takes_options
from gan_metrics.inputs.sets import (
    AnySet,
    EmbeddedSet,
    ImageSet,
    Input,
    InputSets,
    Role,
    stated_protocol,
)
from gan_metrics.metrics import registry
from gan_metrics.metrics.registry import Request
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.results.result import EvaluationResult

__all__ = ["Arguments", "evaluate_by_protocols", "evaluate_sets", "score"]

Arguments = Mapping[str, Mapping[str, Any]]
"""Keyword arguments by metric."""


def evaluate_sets(
    request: Request,
    real: Input | None,
    fakes: Sequence[Input],
    options: Options,
    *,
    held_out: Input | None = None,
    error_bars: bool = True,
    arguments: Arguments | None = None,
    main_sets: bool = False,
) -> list[Evaluation]:
    """Compute metrics of several generated sets and one real set, in one pass over the images.

    Args:
        request: Metrics by name, as requested.
        real: The real images, or ``None``.
        fakes: The generated sets.
        options: The options.
        held_out: Held-out real images, or ``None``.
        error_bars: Whether to compute error bars.
        arguments: Keyword arguments by metric.
        main_sets: Whether to return :attr:`Evaluation.main_sets`, for single images.

    Returns:
        One evaluation for each generated set.

    Raises:
        GanMetricsError: As for :func:`gan_metrics.fid`.
    """
    found = evaluate_by_protocols(
        request,
        real,
        fakes,
        options,
        held_out=held_out,
        error_bars=error_bars,
        arguments=arguments,
        main_sets=main_sets,
    )
    return [by_protocol[None] for by_protocol in found]


def evaluate_by_protocols(
    request: Request,
    real: Input | None,
    fakes: Sequence[Input],
    options: Options,
    *,
    protocols: Sequence[str | None] = (None,),
    held_out: Input | None = None,
    error_bars: bool = True,
    arguments: Arguments | None = None,
    main_sets: bool = False,
) -> list[dict[str | None, Evaluation]]:
    """Do the same as :func:`evaluate_sets` with several protocols, decoding images once.

    Args:
        request: Metrics by name, as requested.
        real: The real images, or ``None``.
        fakes: The generated sets.
        options: The options.
        protocols: Names of protocols; ``None``: that of the options or of a file's header.
        held_out: Held-out real images, or ``None``.
        error_bars: Whether to compute error bars.
        arguments: Keyword arguments by metric.
        main_sets: Whether to return :attr:`Evaluation.main_sets`, for single images.

    Returns:
        For each generated set, a mapping of protocols to evaluations.

    Raises:
        GanMetricsError: As for :func:`gan_metrics.fid`.
    """
    checked = registry.check_arguments(arguments)
    sets = InputSets(
        real=None if real is None else open_set(real, options),
        fakes=[open_set(fake, options) for fake in fakes],
        held_out=None if held_out is None else open_set(held_out, options),
    )
    if list(protocols) != [None]:
        _refuse_embedded_sets(sets)
    else:
        sets = _drop_unneeded_images(sets, request, options)
    _check_network_is_needed(request, options, main_sets)

    runs: dict[str | None, ProtocolRun] = {}
    failed: dict[str | None, WeightsError] = {}
    for protocol in protocols:
        own = options if protocol is None else replace(options, protocol=protocol)
        try:
            runs[protocol] = _plan_run(request, sets, own, checked, error_bars, main_sets)
        except WeightsError as error:
            if protocol is None:
                raise
            failed[protocol] = error
    _check_weights(list(runs.values()), options)

    features = _extract(sets, list(runs.values()), options, main_sets)

    found: list[dict[str | None, Evaluation]] = [{} for _ in sets.fakes]
    for protocol in protocols:
        if protocol in failed:
            nothing = Evaluation({}, {}, dict.fromkeys(request, failed[protocol]), {})
            for one in found:
                one[protocol] = nothing
            continue
        for one, evaluation in zip(
            found, _compute_run(runs[protocol], sets, features, main_sets), strict=True
        ):
            one[protocol] = evaluation
    return found


@takes_options
def score(
    metrics: str | Iterable[str],
    real: Input | None,
    fake: Input,
    *,
    held_out: Input | None = None,
    error_bars: bool = True,
    arguments: Arguments | None = None,
    options: Options,
) -> EvaluationResult:
    """Do the same as :func:`gan_metrics.evaluate`, but raise if a named metric has no value.

    Args:
        metrics: Names of metrics or families.
        real: Real images, in any form of :data:`~gan_metrics.inputs.sets.Input`; ``None`` for
            metrics of the generated images only.
        fake: Generated images, in any of these forms.
        held_out: Held-out real images, for ``ct`` and ``fld``.
        error_bars: Whether to compute error bars.
        arguments: Keyword arguments by metric.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`.

    Raises:
        GanMetricsError: As for :func:`gan_metrics.fid`; ``InputError`` if the inputs lack the
            features that a metric needs.
    """
    request = registry.expand(metrics)
    [found] = evaluate_sets(
        request,
        real,
        [fake],
        options,
        held_out=held_out,
        error_bars=error_bars,
        arguments=arguments,
    )
    for error in found.errors.values():
        raise error
    for name, reason in found.not_computed.items():
        raise InputError(f"{name} cannot be computed: {reason}")
    return EvaluationResult(found.results)


def _plan_run(
    request: Request,
    sets: InputSets,
    options: Options,
    arguments: Mapping[str, Mapping[str, Any]],
    error_bars: bool,
    main_sets: bool,
) -> ProtocolRun:
    """Choose the feature space of a protocol and plan its metrics."""
    embeds = main_sets or _takes_features(request)
    space = choose_feature_space(sets.every, options) if embeds else None
    plan = make_plan(request, sets, space, options)
    return ProtocolRun(options, plan, plan.arguments(arguments, options), error_bars, space)


def _extract(
    sets: InputSets, runs: Sequence[ProtocolRun], options: Options, main_sets: bool
) -> list[dict[FeatureSpec, Features]]:
    """Embed the images of every set in all spaces that the runs need, in one pass."""
    wanted = []
    for role, given in sets:
        spaces = [space for run in runs for space in run.plan.spaces_for(given, role)]
        if main_sets and isinstance(given, ImageSet):
            spaces += [run.space for run in runs if run.space is not None]
        wanted.append(spaces)
    moments = main_sets or any(run.plan.moments for run in runs)
    return embed(sets.every, wanted, options, moments=moments)


def _compute_run(
    run: ProtocolRun,
    sets: InputSets,
    features: Sequence[Mapping[FeatureSpec, Features]],
    main_sets: bool,
) -> list[Evaluation]:
    """Compute one protocol's metrics of every generated set."""
    plan = run.plan
    by_role: dict[Role, list[dict[str, EmbeddedSet]]] = {"real": [], "fake": [], "held_out": []}
    main: dict[Role, list[EmbeddedSet]] = {"real": [], "fake": [], "held_out": []}
    known_warnings: SetWarnings = {}
    for (role, given), mine in zip(sets, features, strict=True):
        embedded = {
            name: plan.embedded_set(given, name, role, mine) for name in plan.metrics_of(role)
        }
        for name, one in embedded.items():
            if isinstance(one, Features) and plan.ignores_statistics(given, name, role):
                warnings = set_and_feature_warnings(one)
                known_warnings[one] = [unused_statistics_warning(one), *warnings]
        by_role[role].append(embedded)
        if main_sets:
            main[role].append(_in_main_space(given, run, mine))
    for name in plan.metrics_of("fake"):
        check_same_space([embedded[name] for embedded in by_role["fake"]])
    [real] = by_role["real"] or [{}]
    [held_out] = by_role["held_out"] or [{}]
    run = _with_shared_bandwidth(run, real, by_role["fake"])
    found = []
    for number, (given, embedded) in enumerate(zip(sets.fakes, by_role["fake"], strict=True)):
        feature_sets = {
            name: FeatureSets(one, real.get(name), held_out.get(name))
            for name, one in embedded.items()
        }
        images = given if isinstance(given, ImageSet) else None
        evaluation = compute(run, feature_sets, images, known_warnings)
        if main_sets:
            sets_here = FeatureSets(
                main["fake"][number],
                next(iter(main["real"]), None),
                next(iter(main["held_out"]), None),
            )
            evaluation = replace(evaluation, main_sets=sets_here)
        found.append(evaluation)
    return found


def _in_main_space(
    given: AnySet, run: ProtocolRun, features: Mapping[FeatureSpec, Features]
) -> EmbeddedSet:
    """Return a set in the feature space that the options choose."""
    if not isinstance(given, ImageSet):
        return given
    assert run.space is not None  # noqa: S101  (there are images)
    return features[run.space.spec]


def _takes_features(request: Request) -> bool:
    return any(row.needs not in registry.PIXEL_INPUTS for row in request.values())


def _refuse_embedded_sets(sets: InputSets) -> None:
    """Refuse features and statistics if several protocols are compared."""
    for given in sets.every:
        if not isinstance(given, ImageSet) or given.stored:
            raise UsageError(
                f"several protocols need images in both sets, but {given.description} holds "
                "features or statistics of one protocol"
            )


def _check_network_is_needed(request: Request, options: Options, main_sets: bool) -> None:
    """Refuse options that choose a network for features if no metric uses features."""
    if main_sets or _takes_features(request):
        return
    for name in ("backbone", "layer", "pool", "precision"):
        if getattr(options, name) is not None:
            raise UsageError(
                f"{' and '.join(request)} uses LPIPS, which has its own networks: omit --{name} "
                f"(or choose one with --set {next(iter(request))}.net=vgg)"
            )


def _check_weights(runs: Sequence[ProtocolRun], options: Options) -> None:
    """Refuse one weights file for several main networks, and one that no network uses."""
    given = options.weights
    mains = {run.plan.main for run in runs if run.plan.main is not None}
    used = {space.recipe.name for run in runs for space in run.plan.spaces.values()} | mains
    used |= {
        network_of(row.name, run.arguments.get(row.name, {}))
        for run in runs
        for row in run.plan.rows.values()
        if row.network
    }
    named = [name for name in given if name] if isinstance(given, Mapping) else []
    unused = [name for name in named if name not in used]
    if unused and used:
        raise UsageError(
            f"--weights {unused[0]}=…: no metric here uses {unused[0]}, only "
            f"{' and '.join(sorted(used))}"
        )
    main = given.get("") if isinstance(given, Mapping) else given
    if main not in (None, "random") and len(mains) > 1:
        raise UsageError(
            f"--weights {main} is ambiguous between {' and '.join(sorted(mains))}: name the "
            "network, for example --weights inception=FILE"
        )


def _drop_unneeded_images(sets: InputSets, request: Request, options: Options) -> InputSets:
    """Replace images by the statistics stored with them if no metric needs images.

    If no other set has images, no network is needed either. This applies only if the options
    choose the feature space of the statistics.
    """
    image_sets = [one for one in sets.every if isinstance(one, ImageSet)]
    stated = {stated_protocol(one) for one in sets.every}
    chosen = (options.backbone, options.layer, options.pool, options.weights)
    other_protocol = options.protocol is not None and options.protocol not in stated
    other_space = other_protocol or any(one is not None for one in chosen)
    of_moments = all(row.accepts_statistics == "both" for row in request.values())
    if other_space or not of_moments or not all(one.stored for one in image_sets):
        return sets
    return InputSets(
        real=None if sets.real is None else _stored_or_itself(sets.real),
        fakes=[_stored_or_itself(one) for one in sets.fakes],
        held_out=None if sets.held_out is None else _stored_or_itself(sets.held_out),
    )


def _stored_or_itself(given: AnySet) -> AnySet:
    """Return the statistics stored with a set's images; the set itself if there are no images."""
    if not isinstance(given, ImageSet):
        return given
    (_, main), *others = given.stored.items()
    return replace(main, others=dict(others))


def _with_shared_bandwidth(
    run: ProtocolRun,
    real: Mapping[str, EmbeddedSet],
    fakes: Sequence[Mapping[str, EmbeddedSet]],
) -> ProtocolRun:
    """Use the first set's bandwidth for all generated sets if there are no real images."""
    arguments = {name: dict(given) for name, given in run.arguments.items()}
    for name, row in run.plan.rows.items():
        if not row.shares_bandwidth or len(fakes) < 2:
            continue
        known = name in real and real[name].array is not None
        if known or fakes[0][name].array is None:
            continue
        sigma = registry.bandwidth_of(fakes[0][name], run.options.seed_or_default)
        mine = arguments.setdefault(row.name, {})
        if sigma is not None and mine.get("sigma") is None:
            mine["sigma"] = sigma
    return replace(run, arguments=arguments)
