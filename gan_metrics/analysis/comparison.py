"""Compare generators: a ranking, and which differences are significant."""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.errors import InputError, UsageError
from gan_metrics.evaluation.compute import Evaluation
from gan_metrics.evaluation.run import Arguments, evaluate_sets
from gan_metrics.generators.generated import Generated
from gan_metrics.inputs.options import Options, takes_options
from gan_metrics.inputs.sets import Input
from gan_metrics.metrics import registry
from gan_metrics.metrics.estimate import difference_error
from gan_metrics.results.methods_text import bibtex_of, methods_of
from gan_metrics.results.result import MetricResult, rounded_text
from gan_metrics.utils.result_warning import ResultWarning, unique
from gan_metrics.utils.tables import text_table
from gan_metrics.utils.text import as_text, dumps

__all__ = ["Comparison", "Difference", "Standing", "compare", "names_of", "rank"]

_LEVEL = 0.05
"""Significance level."""


@dataclass(frozen=True)
class Standing:
    """One generator in the ranking.

    Attributes:
        name: The generator.
        value: Value of the metric that ranks; with several runs their mean, of absolute values if
            zero is best.
        standard_error: Standard error of ``value``, or ``None``.
        results: For each run, results by metric.
        spread: Standard deviation over runs, divisor R − 1; ``None`` for a single run.
    """

    name: str
    value: float
    standard_error: float | None
    results: Sequence[Mapping[str, MetricResult]]
    spread: float | None = None

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric over the runs; ``None`` if a run lacks it."""
        if not all(metric in run for run in self.results):
            return None
        return float(np.mean(_of_runs(metric, [run[metric].value for run in self.results])))

    def error(self, metric: str) -> float | None:
        """Return the standard error of :meth:`mean`; ``None`` if a run lacks the metric."""
        runs = [run[metric] for run in self.results if metric in run]
        if len(runs) < len(self.results):
            return None
        if len(runs) == 1:
            return runs[0].standard_error
        values = _of_runs(metric, [run.value for run in runs])
        return float(np.std(values, ddof=1)) / math.sqrt(len(runs))


@dataclass(frozen=True)
class Difference:
    """The difference between two neighbors in the ranking.

    Attributes:
        better: The generator with the better value.
        worse: The other generator.
        difference: Difference of the values, ≥ 0.
        standard_error: Standard error of the difference, without the part that both generators
            share; ``None`` if unknown.
        p_value: Probability of a difference at least as large if the two were equal; ``None``
            without a standard error.
        distinct: Whether the difference is significant at the 5 % level; ``None``: unknown.
    """

    better: str
    worse: str
    difference: float
    standard_error: float | None
    p_value: float | None

    @property
    def distinct(self) -> bool | None:
        """Whether the difference is significant at the 5 % level; ``None``: unknown."""
        return None if self.p_value is None else self.p_value < _LEVEL

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "better": self.better,
            "worse": self.worse,
            "difference": self.difference,
            "standard_error": self.standard_error,
            "p_value": self.p_value,
            "distinct": self.distinct,
        }

    def __str__(self) -> str:
        if self.distinct is None:
            return "unknown (the difference has no error bar)"
        chance = (
            f"p = {self.p_value:.2g}" if self.p_value and self.p_value >= 1e-4 else "p < 0.0001"
        )
        if self.distinct:
            return f"significantly better than the next ({chance})"
        return f"not significantly different from the next ({chance})"


@dataclass(frozen=True)
class Comparison:
    """Generators, best first.

    Attributes:
        metric: The metric that ranks, as requested.
        standings: The generators, best first.
        differences: The difference of each generator to the next one.
        not_computed: Reasons for missing metrics, by name.
        warnings: Pairs of a code and a message.
    """

    metric: str
    standings: Sequence[Standing]
    differences: Sequence[Difference]
    not_computed: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[ResultWarning] = ()

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics with values; the one that ranks is first."""
        names = [name for s in self.standings for run in s.results for name in run]
        return list(dict.fromkeys([self.metric, *names]))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as printed by ``--json``."""
        return {
            "metric": self._label(self.metric),
            "ranking": [
                {
                    "rank": rank,
                    "name": s.name,
                    "value": s.value,
                    "standard_error": s.standard_error,
                    "runs": len(s.results),
                    "spread": s.spread,
                    "results": [[r.to_json() for r in run.values()] for run in s.results],
                }
                for rank, s in enumerate(self.standings, 1)
            ],
            "differences": [d.to_json() for d in self.differences],
            "not_computed": [{"metric": m, "reason": r} for m, r in self.not_computed.items()],
            "warnings": [{"code": code, "message": message} for code, message in self.warnings],
        }

    def methods(self) -> str:
        """Return a methods paragraph for the best generator, and how the others are ranked."""
        best = self.standings[0]
        others = ", ".join(as_text(s.name) for s in self.standings[1:])
        ranked = f"; those of {others} were computed in the same way" if others else ""
        return (
            f"{methods_of(list(best.results[0].values()))} These values are those of "
            f"{as_text(best.name)}{ranked}. "
            "A difference between two generators is significant if redraws of equal generators "
            f"would differ as much in less than {_LEVEL:.0%} of cases."
        )

    def bibtex(self) -> str:
        """Return BibTeX entries of everything to cite."""
        return bibtex_of(list(self.standings[0].results[0].values()))

    def dumps(self, indent: int | None = None) -> str:
        """Return the JSON document as a string; NaN is never written."""
        return dumps(self.to_json(), indent)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and rows of the table as text."""
        several = any(s.spread is not None for s in self.standings)
        labels = [self._label(metric) for metric in self.metrics]
        counts = [sum(r[self.metric].n_fake or 0 for r in s.results) for s in self.standings]
        unequal = len(set(counts)) > 1
        heads = ["rank", "generator", *(["images"] if unequal else []), *labels]
        heads += ["spread over runs"] if several else []
        heads.append(f"significant in {labels[0]}?")
        rows = []
        for rank, standing in enumerate(self.standings):
            row = [str(rank + 1), as_text(standing.name)]
            row += [str(counts[rank])] if unequal else []
            row += [_shown(standing, metric) for metric in self.metrics]
            if several:
                runs = len(standing.results)
                spread = standing.spread
                row.append("one run" if spread is None else f"{spread:.4g} ({runs} runs)")
            row.append("" if rank == len(self.differences) else str(self.differences[rank]))
            rows.append(row)
        return heads, rows

    def to_text(self) -> str:
        """Return the table with aligned columns, missing metrics, and the provenance."""
        heads, rows = self.table()
        results = [run[self.metric] for s in self.standings for run in s.results]
        images, *provenance = results[0].provenance()
        if len({(r.n_real, r.n_fake) for r in results}) == 1:
            provenance.insert(0, f"{images} each" if results[0].sides == 2 else images)
        return "\n".join([text_table(heads, rows, "plain"), *self._missing(), "", *provenance])

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        return text_table(*self.table(), "github")

    def to_latex(self) -> str:
        """Return the table in LaTeX; needs the package ``booktabs``."""
        return text_table(*self.table(), "latex_booktabs")

    def to_csv(self) -> str:
        """Return CSV with one line for each generator and full numbers."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        labels = [self._label(metric) for metric in self.metrics]
        columns = [column for m in labels for column in (m, f"{m}_standard_error")]
        writer.writerow(["rank", "generator", "runs", "spread", *columns, "p_value_to_next"])
        for rank, standing in enumerate(self.standings):
            values = [v for m in self.metrics for v in (standing.mean(m), standing.error(m))]
            last = rank == len(self.differences)
            p_value = None if last else self.differences[rank].p_value
            head = [rank + 1, as_text(standing.name), len(standing.results), standing.spread]
            writer.writerow(["" if v is None else v for v in [*head, *values, p_value]])
        return out.getvalue()

    def __str__(self) -> str:
        return self.to_text()

    def _label(self, metric: str) -> str:
        """Return a metric's name in this feature space, such as ``fd`` for ``fid``."""
        runs = (run for s in self.standings for run in s.results if metric in run)
        return next((run[metric].metric for run in runs), metric)

    def _missing(self) -> list[str]:
        return [f"{name}: not computed: {why}" for name, why in self.not_computed.items()]


@takes_options
def compare(
    real: Input,
    fakes: Sequence[Input] | Mapping[str, Input | Sequence[Input]],
    *,
    metrics: str | Sequence[str] = "fid",
    held_out: Input | None = None,
    arguments: Arguments | None = None,
    options: Options,
) -> Comparison:
    """Rank generators, and report which differences between neighbors are significant.

    The difference of two values with the same real images has a smaller error than the difference
    of independent values: the part of the error that both share through the real images is
    excluded (influences, or values on half-samples, of the real images are subtracted one by one).
    A difference is significant if chance alone would make one as large in less than 5 % of draws.

    This concerns redrawing the images. Training again with another seed changes FID about three
    times as much (arXiv 2606.20536). To include this, give several runs of each generator: the
    spread over runs is then the error bar, with Welch's test; a generator with one run is assumed
    to have the spread of the others.

    Args:
        real: Real images, as for :func:`gan_metrics.fid`.
        fakes: The generators' images: a sequence, or a mapping of names to images or to several
            runs.
        metrics: Names of metrics or families; the first one ranks.
        held_out: Held-out real images, as for :func:`gan_metrics.evaluate`.
        arguments: Keyword arguments by metric.
        options: Keywords of :class:`~gan_metrics.inputs.options.Options`.

    Raises:
        UsageError: For fewer than two generators, or an unknown name.
        GanMetricsError: As for :func:`gan_metrics.fid`.
    """
    models = _models(fakes)
    rows = registry.expand(metrics)
    runs = [run for inputs in models.values() for run in inputs]
    measured = evaluate_sets(rows, real, runs, options, held_out=held_out, arguments=arguments)
    waiting = iter(measured)
    groups = {name: [next(waiting) for _ in inputs] for name, inputs in models.items()}
    return rank(groups, rows)


def rank(groups: Mapping[str, Sequence[Evaluation]], rows: registry.Request) -> Comparison:
    """Rank generators whose metrics were computed in one pass.

    Args:
        groups: Evaluations of the runs of each generator, by name.
        rows: Metrics by name, as requested; the first one ranks.

    Raises:
        GanMetricsError: If the first metric could not be computed.
    """
    leading = next(iter(rows))
    measured = [run for runs in groups.values() for run in runs]
    for one in measured:
        if leading in one.errors:
            raise one.errors[leading]
        if leading in one.not_computed:
            raise InputError(f"{leading} cannot be computed: {one.not_computed[leading]}")
    same = _same_sets(measured)
    _refuse_repeated_runs(groups, same)
    standings = [_standing(name, leading, group) for name, group in groups.items()]
    better = rows[leading].better
    standings.sort(
        key=lambda s: abs(s.value) if better == "zero" else s.value, reverse=better == "higher"
    )
    differences = [
        _difference(a, b, leading, groups, zero=better == "zero")
        for a, b in itertools.pairwise(standings)
    ]
    missing = {name: str(e) for one in measured for name, e in one.errors.items()}
    every = [w for one in measured for r in one.results.values() for w in r.warnings]
    return Comparison(
        metric=leading,
        standings=standings,
        differences=differences,
        not_computed={**measured[0].not_computed, **missing},
        warnings=unique([*every, *_unequal(measured, leading), *_repeated(same)]),
    )


def _models(
    fakes: Sequence[Input] | Mapping[str, Input | Sequence[Input]],
) -> dict[str, list[Input]]:
    """Return the runs of each generator by name."""
    if isinstance(fakes, str | os.PathLike):
        fakes = [fakes]
    if isinstance(fakes, Mapping):
        models: dict[str, list[Input]] = {
            str(name): [*given] if isinstance(given, list | tuple) else [given]
            for name, given in fakes.items()
        }
    else:
        models = dict(zip(names_of(fakes), ([fake] for fake in fakes), strict=True))
    if empty := [name for name, runs in models.items() if not runs]:
        raise UsageError(f"the generator {empty[0]!r} has no images; give at least one set")
    if len(models) < 2:
        raise UsageError(
            f"a comparison needs at least two generators, not {len(models)}; for a single one "
            "use evaluate"
        )
    return models


def names_of(fakes: Sequence[Input]) -> list[str]:
    """Return a name for each set: the last part of its path, or the whole path if not unique."""
    paths = [
        os.fspath(f)
        if isinstance(f, str | os.PathLike)
        else (f.description if isinstance(f, Generated) else "")
        for f in fakes
    ]
    short = [Path(p).name or p for p in paths]
    names = [
        s if p and short.count(s) == 1 else p or f"generator {i}"
        for i, (s, p) in enumerate(zip(short, paths, strict=True), 1)
    ]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{twice} is given twice; give each generator once")
    return names


def _standing(name: str, metric: str, runs: Sequence[Evaluation]) -> Standing:
    values = _of_runs(metric, [run.results[metric].value for run in runs])
    if len(runs) == 1:
        error, spread = runs[0].results[metric].standard_error, None
    else:
        spread = float(np.std(values, ddof=1))
        error = spread / math.sqrt(len(values))
    return Standing(name, float(np.mean(values)), error, [run.results for run in runs], spread)


def _of_runs(metric: str, values: Sequence[float]) -> Sequence[float]:
    """Return the values to average over runs: distances from zero if zero is the best value."""
    row = registry.entry_of(metric.partition("@")[0])
    zero = row is not None and row.better == "zero" and len(values) > 1
    return [abs(value) for value in values] if zero else values


def _difference(
    a: Standing,
    b: Standing,
    metric: str,
    groups: Mapping[str, Sequence[Evaluation]],
    *,
    zero: bool,
) -> Difference:
    """Compute the difference of two neighbors in the ranking.

    Args:
        a: The better generator.
        b: The worse generator.
        metric: The metric that ranks.
        groups: Runs of each generator by name.
        zero: Whether zero is the best value, so that distances from it are compared.
    """
    first, second = groups[a.name], groups[b.name]
    gap = abs(abs(a.value) - abs(b.value)) if zero else abs(a.value - b.value)
    error: float | None
    freedom = math.inf
    if len(first) == len(second) == 1:
        pair = [runs[0].estimates[metric] for runs in (first, second)]
        if zero:
            pair = [one.mirrored() if one.value < 0 else one for one in pair]
        error = difference_error(*pair)
    else:
        error, freedom = _welch(a, b)
    return Difference(a.name, b.name, gap, error, _p_value(gap, error, freedom))


def _welch(a: Standing, b: Standing) -> tuple[float, float]:
    """Return the error of a difference over runs and its degrees of freedom (Welch, Satterthwaite).

    A generator with a single run is assumed to have the other generator's spread.
    """
    spreads = [s.spread for s in (a, b) if s.spread is not None]
    parts, weights = [], []
    for standing in (a, b):
        runs = len(standing.results)
        spread = spreads[0] if standing.spread is None else standing.spread
        parts.append(spread**2 / runs)
        weights.append(parts[-1] ** 2 / (runs - 1) if standing.spread is not None else 0.0)
    if len(spreads) == 1:
        return math.sqrt(sum(parts)), max(len(a.results), len(b.results)) - 1
    return math.sqrt(sum(parts)), sum(parts) ** 2 / sum(weights) if sum(weights) else math.inf


def _p_value(gap: float, error: float | None, freedom: float) -> float | None:
    from scipy import stats

    if error is None:
        return None
    if error == 0:
        return 1.0 if gap == 0 else 0.0
    return float(2 * stats.t.sf(gap / error, freedom))


def _same_sets(measured: Sequence[Evaluation]) -> list[tuple[int, int]]:
    """Return pairs of positions of identical sets, by the digest of their images."""
    pairs = itertools.combinations(range(len(measured)), 2)
    return [
        (i, j)
        for i, j in pairs
        if measured[i].digest is not None and measured[i].digest == measured[j].digest
    ]


def _refuse_repeated_runs(
    groups: Mapping[str, Sequence[Evaluation]], same: Sequence[tuple[int, int]]
) -> None:
    """Refuse a generator with one run given twice, which would make its spread too small."""
    owner = [name for name, runs in groups.items() for _ in runs]
    for i, j in same:
        if owner[i] == owner[j]:
            raise InputError(f"two runs of {owner[i]!r} have the same images; give each run once")


def _repeated(same: Sequence[tuple[int, int]]) -> list[ResultWarning]:
    if not same:
        return []
    return [("same-images", f"{len(same)} pairs of generators have exactly the same images")]


def _unequal(measured: Sequence[Evaluation], metric: str) -> list[ResultWarning]:
    counts = sorted({one.results[metric].n_fake or 0 for one in measured})
    if len(counts) < 2:
        return []
    return [
        (
            "unequal-counts",
            f"the generators have from {counts[0]} to {counts[-1]} images, but {metric} depends on "
            "the number; use equal numbers (--max-images)",
        )
    ]


def _shown(standing: Standing, metric: str) -> str:
    value = standing.mean(metric)
    return "–" if value is None else rounded_text(value, standing.error(metric))
