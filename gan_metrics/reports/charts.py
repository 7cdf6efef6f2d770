"""Content of the figures of a report, independent of the drawing library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gan_metrics.metrics.registry import METRICS
from gan_metrics.reports.data import GeneratorReport, Report
from gan_metrics.reports.training_log import History
from gan_metrics.results.result import MetricResult, rounded_text

__all__ = ["Chart", "Series", "charts_of", "history_charts"]

_REAL = "real images"
"""Name of the real images next to generators; no folder has this name."""

_BARS = 40
"""Largest number of classes in a figure; the table has all."""


@dataclass(frozen=True)
class Series:
    """Points of one kind.

    Attributes:
        label: Name of the series.
        x: Horizontal values; of a chart with categories, the values.
        y: Vertical values; empty for a chart with categories.
        low: Lower ends of intervals or of a band, ``None`` if missing.
        high: Upper ends.
        style: ``"line"``, ``"points"``, ``"both"`` or ``"dashed"``.
        color: 0 for real images; else the number of the generator, which sets its color, marker
            and dash in :mod:`gan_metrics.reports.style`.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float] = ()
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    style: str = "line"
    color: int = 0


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        key: Key such as ``"spectrum"``.
        title: A short title.
        about: How to read it.
        x_label: Label of the horizontal axis.
        y_label: Label of the vertical axis.
        series: The series.
        categories: Names of the rows of a chart with horizontal values, from top to bottom.
        stacked: Whether the values of a row are stacked bars.
        logarithmic: Whether both axes are logarithmic.
        ticks: Labels of horizontal positions; empty: the numbers.
        heads: Headings of the table of numbers.
        rows: Rows of the table of numbers.
    """

    key: str
    title: str
    about: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    categories: Sequence[str] = ()
    stacked: bool = False
    logarithmic: bool = False
    ticks: Sequence[tuple[float, str]] = ()
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)

    def places(self, number: int) -> list[float]:
        """Return the vertical positions of the values of a series, with the first row at 0.

        Several series are below each other within a row.

        Args:
            number: Number of the series.
        """
        several = len(self.series)
        shift = 0.5 * (number / (several - 1) - 0.5) if several > 1 else 0.0
        return [row + shift for row in range(len(self.categories))]


def charts_of(found: Report) -> list[Chart]:
    """Return the figures for which a report has data, in their order on the page."""
    one = [_comparison(found), _terms(found), _spectrum(found), _growth(found), _prdc(found)]
    logs = [] if found.history is None else history_charts(found.history)
    return [chart for chart in [*one, _classes(found), *logs] if chart]


def _number(value: float) -> str:
    return f"{value:.5g}"


def _interval(result: MetricResult) -> tuple[float | None, float | None]:
    return (None, None) if result.ci95 is None else result.ci95


def _dots(
    generators: Sequence[GeneratorReport], names: Sequence[str]
) -> tuple[list[Series], list[list[str]]]:
    """Return series of some metrics of each generator with intervals, and a table of them."""
    series, rows = [], []
    for color, one in enumerate(generators, 1):
        results = [one.scores[name] for name in names]
        ends = [_interval(result) for result in results]
        low, high = zip(*ends, strict=True) if ends else ((), ())
        values = [result.value for result in results]
        series.append(Series(one.name, values, low=low, high=high, style="points", color=color))
        rows.append(
            [one.name, *(rounded_text(result.value, result.standard_error) for result in results)]
        )
    return series, rows


def _comparison(found: Report) -> Chart | None:
    if found.comparison is None:
        return None
    ranked = found.comparison.standings
    metric = found.comparison.metric
    by_name = {one.name: one for one in found.generators}
    results = [by_name[standing.name].scores[metric] for standing in ranked]
    ends = [_interval(result) for result in results]
    verdicts = [*map(str, found.comparison.differences), ""]
    return Chart(
        "comparison",
        f"Generators by {results[0].metric}, best first",
        "Points with 95 % intervals. Whether the difference of two neighbors is significant is in "
        "the table: intervals may overlap although the difference is significant.",
        results[0].metric,
        "",
        [
            Series(
                results[0].metric,
                [result.value for result in results],
                low=[low for low, _ in ends],
                high=[high for _, high in ends],
                style="points",
                color=1,
            )
        ],
        categories=[standing.name for standing in ranked],
        heads=["generator", results[0].metric, "compared with the next"],
        rows=[
            [standing.name, rounded_text(result.value, result.standard_error), text]
            for standing, result, text in zip(ranked, results, verdicts, strict=True)
        ],
    )


def _terms(found: Report) -> Chart | None:
    with_terms = [
        (one, next((r for r in one.scores.values() if r.terms), None)) for one in found.generators
    ]
    parts = [(one, r) for one, r in with_terms if r is not None]
    parts = [(one, r) for one, r in parts if r.metric == parts[0][1].metric]
    if not parts:
        return None
    names = list(parts[0][1].terms)
    return Chart(
        "terms",
        "Terms of the distance",
        "The mean term grows if all images are shifted in the same way, for example in color or "
        "sharpness; the covariance term if their variation differs, for example fewer kinds of "
        "images.",
        parts[0][1].metric,
        "",
        [
            Series(f"{name} term", [result.terms[name] for _, result in parts], color=color)
            for color, name in enumerate(names)
        ],
        categories=[one.name for one, _ in parts],
        stacked=True,
        heads=["", *(f"{name} term" for name in names)],
        rows=[[one.name, *(_number(result.terms[n]) for n in names)] for one, result in parts],
    )


def _spectrum(found: Report) -> Chart:
    sets = [(_REAL, found.real_spectrum), *((g.name, g.spectrum) for g in found.generators)]
    places = sorted({1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000})
    return Chart(
        "spectrum",
        "Eigenvalues of both covariances",
        "Variance of the features along each principal direction. Generated images below real ones "
        "vary less; a curve ends if there are no more images than directions.",
        "principal direction",
        "variance",
        [
            Series(name, np.arange(1, len(values) + 1).tolist(), values.tolist(), color=color)
            for color, (name, values) in enumerate(sets)
        ],
        logarithmic=True,
        heads=["direction", *(name for name, _ in sets)],
        rows=[
            [str(i), *(_number(values[i - 1]) if i <= len(values) else "" for _, values in sets)]
            for i in places
            if any(i <= len(values) for _, values in sets)
        ],
    )


def _growth(found: Report) -> Chart | None:
    parts = [g for g in found.generators if "fd_infinity" in g.scores]
    if not parts:
        return None
    series, rows = [], []
    every: set[int] = set()
    for color, one in enumerate(parts, 1):
        result = one.scores["fd_infinity"]
        sizes = list(result.details["sizes"])
        distances = list(result.details["distances"])
        every.update(sizes)
        ends = [0.0, 1.0 / min(sizes)]
        slope = float(result.details["slope"])
        low, high = _interval(result)
        series += [
            Series(one.name, [1.0 / n for n in sizes], distances, style="points", color=color),
            Series("", ends, [result.value + slope * x for x in ends], style="dashed", color=color),
            Series("", [0.0], [result.value], [low], [high], "points", color),
        ]
        rows += [[one.name, str(n), _number(d)] for n, d in zip(sizes, distances, strict=True)]
        rows.append([one.name, "∞", rounded_text(result.value, result.standard_error)])
    marked = _apart(sorted(every))
    return Chart(
        "growth",
        "FD vs. number of images",
        "The distance is a line in 1 / n: few images give too high a distance. The left end is the "
        "estimate for infinitely many.",
        "number of generated images",
        "distance",
        series,
        ticks=[(0.0, "∞"), *((1.0 / n, str(n)) for n in marked)],
        heads=["", "generated images", "distance"],
        rows=rows,
    )


def _apart(sizes: Sequence[int]) -> list[int]:
    """Return sizes whose inverses are far enough apart, and from 0, for axis labels."""
    step = 0.12 / min(sizes)
    found: list[int] = []
    for size in sorted(sizes, reverse=True):
        if 1.0 / size > (1.0 / found[-1] if found else 0.0) + step:
            found.append(size)
    return found


def _prdc(found: Report) -> Chart | None:
    wanted = ("precision", "recall", "density", "coverage")
    parts = [g for g in found.generators if all(name in g.scores for name in wanted)]
    if not parts:
        return None
    series, rows = _dots(parts, wanted)
    return Chart(
        "prdc",
        "Fidelity vs. diversity",
        "Precision and density: whether generated images are among the real ones. Recall and "
        "coverage: whether real images are among the generated ones. Density can exceed 1.",
        "",
        "",
        series,
        categories=list(wanted),
        heads=["", *wanted],
        rows=rows,
    )


def _classes(found: Report) -> Chart | None:
    parts = [g for g in found.generators if g.scores.per_class is not None]
    parts = [g for g in parts if g.scores.per_class.values]
    if not parts:
        return None
    metric = next(iter(parts[0].scores.per_class.values))
    values = [g.scores.per_class.values[metric] for g in parts]
    first = values[0]
    names = [name for name in first if all(name in one for one in values)]
    known = [n for n in names if all(one[n].value is not None for one in values)]
    if not known:
        return None
    rows = METRICS.values()
    better = next(
        (row.better for row in rows if metric in (row.name, row.name_in_other_spaces)), "lower"
    )
    known.sort(key=lambda name: _badness(float(first[name].value), better), reverse=True)
    shown = known[:_BARS]
    cut = f" Only the {_BARS} worst of {len(known)} are shown." if known[_BARS:] else ""
    counts = parts[0].scores.per_class.counts
    fakes = ["generated images"] if len(parts) == 1 else []  # generators may differ in numbers
    return Chart(
        "classes",
        f"{metric} of each class",
        "Compare classes with each other, at equal numbers of images: with few images, the "
        f"value of a class differs from that of the whole set.{cut}",
        metric,
        "",
        [
            Series(g.name, [float(one[n].value or 0.0) for n in shown], style="points", color=color)
            for color, (g, one) in enumerate(zip(parts, values, strict=True), 1)
        ],
        categories=shown,
        heads=["class", _REAL, *fakes, *(g.name for g in parts)],
        rows=[
            [
                name,
                *("–" if n is None else str(n) for n in counts[name][: 1 + len(fakes)]),
                *(one[name].to_text() for one in values),
            ]
            for name in names
        ],
    )


def _badness(value: float, better: str) -> float:
    return {"lower": value, "higher": -value, "zero": abs(value)}[better]


def history_charts(log: History) -> list[Chart]:
    """Return one chart for each curve of a training log."""
    return [_curve(log, name, number) for number, name in enumerate(log.curves, 1)]


def _curve(log: History, metric: str, number: int) -> Chart:
    points = log.curves[metric]
    half = [None if p.standard_error is None else 1.96 * p.standard_error for p in points]
    axis = "step" if log.steps else "evaluation"
    banded = any(h is not None for h in half)
    return Chart(
        "history" if number == 1 else f"history-{number}",
        f"{metric} over the training",
        f"From {log.description}{', with 95 % intervals' if banded else ''}.",
        axis,
        metric,
        [
            Series(
                metric,
                [float(p.step) for p in points],
                [p.value for p in points],
                [None if h is None else p.value - h for p, h in zip(points, half, strict=True)],
                [None if h is None else p.value + h for p, h in zip(points, half, strict=True)],
                "both",
                1,
            )
        ],
        heads=[axis, metric, "standard error"],
        rows=[
            [
                str(p.step),
                _number(p.value),
                "" if p.standard_error is None else _number(p.standard_error),
            ]
            for p in points
        ],
    )
