"""Charts as pictures for a paper, with matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gan_metrics.files.download import atomic_path
from gan_metrics.reports.charts import Chart, Series
from gan_metrics.reports.style import DRAWN, check_figure_format, legend_text, series_style
from gan_metrics.utils.text import as_text

__all__ = ["save_chart"]


def save_chart(chart: Chart, path: Path) -> None:
    """Draw a chart.

    Args:
        chart: The chart.
        path: ``….png``, ``….svg`` or ``….pdf``.

    Raises:
        UsageError: For another extension, or without the extra ``report``.
        ResourceError: If it cannot be written.
    """
    check_figure_format(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(chart.categories)
    height = 3.2 if not rows else 1.1 + rows * max(0.3, 0.16 * len(chart.series))
    figure = Figure(figsize=(5.5, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if rows:
        (_stacked if chart.stacked else _across)(axes, chart)
        axes.set_yticks(range(rows), [as_text(c) for c in chart.categories], parse_math=False)
        axes.set_ylim(rows - 0.4, -0.6)
    else:
        for series in chart.series:
            _curve(axes, series)
    if chart.logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    if chart.ticks:
        axes.set_xticks([place for place, _ in chart.ticks], [text for _, text in chart.ticks])
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, axis="x" if rows else "both")
    if len({series.label for series in chart.series if series.label}) > 1:
        legend = axes.legend(fontsize=8, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=200)


def _curve(axes: Any, series: Series) -> None:
    color, marker, dash = series_style(series.color)
    label = _label(series)
    ends = [*zip(series.x, series.low, series.high, strict=False)]
    bands = [e for e in ends if None not in e]
    if series.style in ("line", "both") and 1 < len(bands) == len(ends):
        axes.fill_between(*zip(*bands, strict=True), color=color, alpha=0.2, linewidth=0)
    elif bands:
        places, low, high = zip(*bands, strict=True)
        axes.vlines(places, low, high, color=color)
    style = {"line": dash, "both": "solid", "dashed": "dashed", "points": ""}[series.style]
    mark = DRAWN[marker] if series.style in ("points", "both") else ""
    axes.plot(
        series.x, series.y, color=color, linestyle=style, marker=mark, markersize=4, label=label
    )


def _across(axes: Any, chart: Chart) -> None:
    for number, series in enumerate(chart.series):
        color, marker, _ = series_style(series.color)
        places = chart.places(number)
        for place, low, high in zip(places, series.low, series.high, strict=False):
            if low is not None and high is not None:
                axes.hlines(place, low, high, color=color)
        axes.plot(
            series.x, places, color=color, marker=DRAWN[marker], linestyle="", label=_label(series)
        )


def _stacked(axes: Any, chart: Chart) -> None:
    left = [0.0] * len(chart.categories)
    for number, series in enumerate(chart.series):
        axes.barh(
            range(len(left)), series.x, left=left, height=0.5, color=series_style(series.color)[0],
            hatch="//" if number % 2 else None, edgecolor="white", label=_label(series),
        )  # fmt: skip
        left = [start + value for start, value in zip(left, series.x, strict=True)]


def _label(series: Series) -> str | None:
    return legend_text(series.label) or None
