"""The registry of metrics, and the computation of several metrics in one feature space.

A new metric is a function in this package, an entry in ``metrics/entries/``, a name in the table
below, and a paragraph in ``docs/metrics.md``. Entries with the same function are computed by one
call of it and share its work.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from gan_metrics.errors import ComputationError, GanMetricsError, UsageError, unknown_name
from gan_metrics.metrics.entry import PIXEL_INPUTS, Metric
from gan_metrics.utils.imports import import_object
from gan_metrics.utils.registry import Origin, Registry

if TYPE_CHECKING:
    from gan_metrics.metrics.estimate import Estimate
    from gan_metrics.metrics.moments import Moments
    from gan_metrics.utils.array_types import AnyArray

__all__ = [
    "ALL",
    "COMMANDS",
    "FAMILIES",
    "METRICS",
    "PIXEL_INPUTS",
    "REGISTRY",
    "Metric",
    "Request",
    "Sample",
    "add_metric",
    "bandwidth_of",
    "check_arguments",
    "compute",
    "entry_of",
    "expand",
]

PIXEL_INPUTS = PIXEL_INPUTS

ALL = "all"
"""Instead of names: every metric that the inputs allow."""

_ENTRIES = "gan_metrics.metrics.entries"

REGISTRY: Registry[Metric] = Registry(
    "metric",
    {
        "fid": f"{_ENTRIES}.frechet:FID",
        "fd_infinity": f"{_ENTRIES}.frechet:FD_INFINITY",
        "sfid": f"{_ENTRIES}.frechet:SFID",
        "fd_dinov2": f"{_ENTRIES}.frechet:FD_DINOV2",
        "kid": f"{_ENTRIES}.mmd:KID",
        "cmmd": f"{_ENTRIES}.mmd:CMMD",
        "mind": f"{_ENTRIES}.sliced_wasserstein:MIND",
        "swd": f"{_ENTRIES}.sliced_wasserstein:SWD",
        "is": f"{_ENTRIES}.class_predictions:INCEPTION_SCORE",
        "precision": f"{_ENTRIES}.manifold:PRECISION",
        "recall": f"{_ENTRIES}.manifold:RECALL",
        "density": f"{_ENTRIES}.manifold:DENSITY",
        "coverage": f"{_ENTRIES}.manifold:COVERAGE",
        "clipped_density": f"{_ENTRIES}.manifold:CLIPPED_DENSITY",
        "clipped_coverage": f"{_ENTRIES}.manifold:CLIPPED_COVERAGE",
        "p_precision": f"{_ENTRIES}.manifold:P_PRECISION",
        "p_recall": f"{_ENTRIES}.manifold:P_RECALL",
        "vendi": f"{_ENTRIES}.diversity:VENDI",
        "rke": f"{_ENTRIES}.diversity:RKE",
        "fkea": f"{_ENTRIES}.diversity:FKEA",
        "realism": f"{_ENTRIES}.per_sample:REALISM",
        "rarity": f"{_ENTRIES}.per_sample:RARITY",
        "authpct": f"{_ENTRIES}.per_sample:AUTHPCT",
        "ct": f"{_ENTRIES}.memorization:CT",
        "mifid": f"{_ENTRIES}.memorization:MIFID",
        "fld": f"{_ENTRIES}.memorization:FLD",
        "lpips_diversity": f"{_ENTRIES}.image_metrics:LPIPS_DIVERSITY",
        "ppl": f"{_ENTRIES}.image_metrics:PPL",
    },
)
"""The metrics, in the order of the listing."""

METRICS: Mapping[str, Metric] = REGISTRY.view
"""Entries by name."""

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "fid": f"{_ENTRIES}.frechet:FID_COMMAND",
        "kid": f"{_ENTRIES}.mmd:KID_COMMAND",
        "is": f"{_ENTRIES}.class_predictions:INCEPTION_SCORE_COMMAND",
        "prdc": f"{_ENTRIES}.manifold:PRDC_COMMAND",
        "vendi": f"{_ENTRIES}.diversity:VENDI_COMMAND",
        "memorization": f"{_ENTRIES}.memorization:MEMORIZATION_COMMAND",
        "ppl": f"{_ENTRIES}.image_metrics:PPL_COMMAND",
        "lpips": f"{_ENTRIES}.image_metrics:LPIPS_COMMAND",
    },
)
"""Location of the :class:`~gan_metrics.metrics.entry.Command` of each metric and family, in the
order of the help."""

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "prdc": ("precision", "recall", "density", "coverage"),
        "clipped": ("clipped_density", "clipped_coverage"),
        "probabilistic": ("p_precision", "p_recall"),
        "diversity": ("vendi", "rke", "fkea"),
        "memorization": ("authpct", "ct", "mifid", "fld"),
    }
)
"""Families: names that mean several metrics."""


def add_metric(entry: Metric, origin: Origin) -> None:
    """Add the metric of a plug-in.

    Raises:
        UsageError: If its name is in use, also by a family or as a metric's other name.
    """
    taken = [*FAMILIES, ALL, *_aliases(REGISTRY.registered())]
    if entry.name_in_other_spaces and entry.name_in_other_spaces in (
        *REGISTRY.registered(),
        *taken,
    ):
        raise UsageError(f"the metric {entry.name_in_other_spaces!r} is registered already")
    REGISTRY.add(entry.name, entry, origin, taken)


def entry_of(name: str) -> Metric | None:
    """Return a metric's entry, by its name or its name in other feature spaces; else ``None``."""
    if name in REGISTRY.registered():  # first, because other names load plug-ins
        return REGISTRY[name]
    known = _aliases(REGISTRY.registered()).get(name)
    if known is None and name not in REGISTRY:
        known = _aliases(REGISTRY).get(name)
    return REGISTRY.get(known or name)


def _aliases(names: Iterable[str]) -> dict[str, str]:
    """Return the names of metrics by their name in other feature spaces."""
    return {
        REGISTRY[name].name_in_other_spaces: name
        for name in names
        if REGISTRY[name].name_in_other_spaces
    }


class Sample(Protocol):
    """One set of images in one feature space.

    Attributes:
        array: ``float32``, ``n × D``; ``None`` if only the moments are known.
    """

    @property
    def array(self) -> AnyArray:
        """The features."""
        ...

    @property
    def moments(self) -> Moments:
        """The moments of the features."""
        ...


class Request(Mapping[str, Metric]):
    """Requested metrics: entries by name, as requested (a family: its members).

    Args:
        rows: The entries by name.
        named: Names that were requested explicitly, not by ``"all"``.

    Attributes:
        named: Names that were requested explicitly, not by ``"all"``.
    """

    def __init__(self, rows: Mapping[str, Metric], named: Iterable[str]) -> None:
        self._rows = dict(rows)
        self.named = frozenset(named)

    def __getitem__(self, name: str) -> Metric:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def expand(names: str | Iterable[str]) -> Request:
    """Return the entries of requested names.

    Args:
        names: Names of metrics or families, or ``"all"``; comma-separated text, or several names.

    Raises:
        UsageError: For an unknown name (with the nearest names), or without any name.
    """
    if not isinstance(names, Iterable) or isinstance(names, bytes):
        raise UsageError(f"metrics must be names of metrics, such as ['fid', 'kid'], not {names!r}")
    given = names.split(",") if isinstance(names, str) else list(names)
    requested = [str(name).strip().lower() for name in given if str(name).strip()]
    if not requested:
        raise UsageError(f"no metric is named; known are {', '.join([*METRICS, *FAMILIES])}, all")
    rows: dict[str, Metric] = {}
    named: set[str] = set()
    for name in requested:
        if name == ALL:
            members: Sequence[str] = tuple(METRICS)
        else:
            members = FAMILIES.get(name, (name,))
        for member in members:
            row = entry_of(member)
            if row is None:
                known = [*METRICS, *FAMILIES, *_aliases(METRICS), ALL]
                raise unknown_name("metric", name, known)
            rows.setdefault(member, row)
            if name != ALL:
                named.add(member)
    return Request(rows, named)


def compute(
    rows: Iterable[Metric],
    real: Sample | None,
    fake: Sample,
    *,
    seed: int = 0,
    error_bar: bool = True,
    arguments: Mapping[str, Mapping[str, Any]] | None = None,
    held_out: Sample | None = None,
) -> dict[str, Estimate | GanMetricsError]:
    """Compute metrics of two sets in one feature space, each function called once.

    Args:
        rows: The metrics; all need the same kind of features.
        real: The real images; ``None`` for metrics of the generated images only.
        fake: The generated images.
        seed: Seed of all random numbers.
        error_bar: Whether to compute error bars.
        arguments: Keyword arguments by metric.
        held_out: Held-out real images, for metrics that need them.

    Returns:
        Estimates by name, or the error of a metric that failed.
    """
    sets = {"real": real, "fake": fake, "held_out": held_out}
    calls: dict[str | Callable[..., Any], list[Metric]] = {}
    for row in dict.fromkeys(rows):
        calls.setdefault(row.function, []).append(row)
    found: dict[str, Estimate | GanMetricsError] = {}
    for together in calls.values():
        found.update(_attempt(together, sets, seed, error_bar, arguments or {}))
    return found


def check_arguments(
    arguments: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, dict[str, Any]]:
    """Refuse unknown arguments and invalid values before any work.

    Returns:
        Arguments by the name of the metric's entry.

    Raises:
        UsageError: For an unknown metric or argument, or an invalid value.
    """
    settled: dict[str, dict[str, Any]] = {}
    if not isinstance(arguments, Mapping | None):
        raise UsageError(
            "arguments must be a mapping of metrics to their arguments, such as "
            f"{{'precision': {{'k': 5}}}}, not {arguments!r}"
        )
    for name, given in (arguments or {}).items():
        if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
            raise UsageError(f"arguments of {name} must be a mapping such as {{'k': 5}}: {given!r}")
        members = FAMILIES.get(name, (name,))
        rows = [row for member in members if (row := entry_of(member)) is not None]
        if not rows:
            raise unknown_name("metric", name, [*METRICS, *FAMILIES, *_aliases(METRICS)])
        for argument in given:
            if not any(argument in row.arguments for row in rows):
                takes = list(dict.fromkeys(a for row in rows for a in row.arguments))
                near = difflib.get_close_matches(argument, takes, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                known = ", ".join(takes) or "none"
                raise UsageError(f"{name} has no argument {argument!r}; it has {known}.{hint}")
        for row in rows:
            mine = {key: value for key, value in given.items() if key in row.arguments}
            for argument, value in mine.items():
                row.arguments[argument](f"{name}.{argument}", value)
            settled.setdefault(row.name, {}).update(mine)
    return settled


def _attempt(
    rows: Sequence[Metric],
    given: Mapping[str, Sample | None],
    seed: int,
    error_bar: bool,
    arguments: Mapping[str, Mapping[str, Any]],
) -> dict[str, Estimate | GanMetricsError]:
    """Call a function; if it fails for several metrics, call it for each of them."""
    try:
        return _call(rows, given, seed, error_bar, arguments)
    except GanMetricsError as error:
        if not isinstance(error, ComputationError):
            raise
        if len(rows) == 1:
            return {rows[0].name: error}
    except Exception as error:
        origin = REGISTRY.origin(rows[0].name)
        if origin is None:
            raise
        why = f"the function of the plug-in {origin} failed ({type(error).__name__}: {error})"
        return {row.name: ComputationError(why) for row in rows}
    alone: dict[str, Estimate | GanMetricsError] = {}
    for row in rows:
        alone.update(_attempt([row], given, seed, error_bar, arguments))
    return alone


def _call(
    rows: Sequence[Metric],
    given: Mapping[str, Sample | None],
    seed: int,
    error_bar: bool,
    arguments: Mapping[str, Mapping[str, Any]],
) -> dict[str, Estimate | GanMetricsError]:
    first = rows[0]
    function = import_object(first.function) if isinstance(first.function, str) else first.function
    names = ["fake"] if first.n_sets == 1 else ["real", "fake"]
    sets = [one for name in names if (one := given[name]) is not None]
    data = [one.moments if one.array is None else one.array for one in sets]
    how: dict[str, Any] = {"seed": seed, "error_bar": error_bar}
    if first.batched:
        theirs = {row.name: dict(arguments.get(row.name, {})) for row in rows}
        values = function(*data, [row.name for row in rows], arguments=theirs, **how)
        return {name: _as_estimate(value) for name, value in values.items()}
    if first.needs_held_out:
        assert given["held_out"] is not None  # noqa: S101
        data.append(given["held_out"].array)
    if first.covariances:
        how["moments"] = tuple(one.moments for one in sets)
    found: dict[str, Estimate | GanMetricsError] = {}
    for row in rows:
        mine: dict[str, Any] = dict(arguments.get(row.name, {}))
        if row.shares_bandwidth and mine.get("sigma") is None and given["real"] is not None:
            mine["sigma"] = bandwidth_of(given["real"], seed)
        found[row.name] = _as_estimate(function(*data, **{**how, **mine}))
    return found


def _as_estimate(value: Any) -> Estimate | GanMetricsError:  # noqa: ANN401
    """Return the result of a metric's function, also a plain number, as an estimate."""
    from gan_metrics.metrics.estimate import Estimate

    return value if isinstance(value, Estimate | GanMetricsError) else Estimate(float(value))


def bandwidth_of(real: Sample, seed: int) -> float | None:
    """Return the bandwidth of a set, used for all generators that are compared with it."""
    from gan_metrics.metrics.diversity import bandwidth

    return None if real.array is None else bandwidth(real.array, seed=seed) or None
