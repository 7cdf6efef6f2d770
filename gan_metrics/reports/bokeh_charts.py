"""Interactive charts with Bokeh: zoom, and numbers under the pointer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gan_metrics.reports.charts import Chart, Series
from gan_metrics.reports.style import series_style
from gan_metrics.utils.optional import require
from gan_metrics.utils.text import as_text

__all__ = ["drawn_chart"]

_ROW = 34
"""Height in pixels of a row of a chart with categories."""

_SOFT = "#767676"
"""A gray that is readable on white and on black."""


def drawn_chart(chart: Chart) -> Any:
    """Return a chart as a Bokeh figure of the page's width."""
    require("bokeh", "report")
    from bokeh.models import FixedTicker
    from bokeh.plotting import figure

    rows = list(chart.categories)
    scale = "log" if chart.logarithmic else "linear"
    across: dict[str, Any] = {"x_axis_type": scale, "y_axis_type": scale}
    if rows:
        bars = 1 if chart.stacked else len(chart.series)
        across = {
            "y_range": (len(rows) - 0.4, -0.6),
            "height": 90 + max(_ROW, 14 * bars) * len(rows),
        }
    plot: Any = figure(
        sizing_mode="stretch_width", toolbar_location=None if rows else "right", active_drag=None,
        active_scroll=None, tools="pan,box_zoom,wheel_zoom,reset,save",
        **{"height": 340, **across},
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.xaxis.axis_label, plot.yaxis.axis_label = chart.x_label, chart.y_label
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = _SOFT, 0.3
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = None
    if chart.ticks:
        plot.xaxis.ticker = FixedTicker(ticks=[place for place, _ in chart.ticks])
        plot.xaxis.major_label_overrides = dict(chart.ticks)
    if rows:
        plot.yaxis.ticker = FixedTicker(ticks=list(range(len(rows))))
        plot.yaxis.major_label_overrides = {i: as_text(name) for i, name in enumerate(rows)}
        plot.ygrid.grid_line_color = None
        (_stacked if chart.stacked else _across)(plot, chart)
    else:
        for series in chart.series:
            _curve(plot, series)
    if plot.legend:
        if len({series.label for series in chart.series if series.label}) < 2:
            plot.legend.visible = False
        else:
            plot.add_layout(plot.legend[0], "above")
            plot.legend.orientation = "horizontal"
            plot.legend.background_fill_color = plot.legend.border_line_color = None
            plot.legend.click_policy = "hide"
    return plot


def _curve(plot: Any, series: Series) -> None:
    color, marker, dash = series_style(series.color)
    data = {"x": list(series.x), "y": list(series.y)}
    legend = {"legend_label": as_text(series.label)} if series.label else {}
    whiskers = [*zip(series.x, series.low, series.high, strict=False)]
    whole = all(low is not None for _, low, _ in whiskers)
    if series.style in ("line", "both") and whole and len(whiskers) > 1:
        plot.varea(list(series.x), list(series.low), list(series.high), color=color, alpha=0.2)
    else:
        _whiskers(plot, whiskers, color, upright=True)
    if series.style in ("line", "both"):
        line = {"line_dash": dash if series.style == "line" else "solid", "line_width": 2}
        plot.line("x", "y", source=_source(data), color=color, **line, **legend)
    if series.style == "dashed":
        plot.line("x", "y", source=_source(data), color=color, line_dash="dashed")
    if series.style in ("points", "both"):
        drawn = plot.scatter(
            "x", "y", source=_source(data), color=color, marker=marker, size=8, **legend
        )
        _tell(plot, drawn, [(series.label or "value", "@y{%0.5g}")])


def _across(plot: Any, chart: Chart) -> None:
    """Draw dots in rows; several series are below each other."""
    for number, series in enumerate(chart.series):
        color, marker, _ = series_style(series.color)
        places = chart.places(number)
        _whiskers(plot, [*zip(places, series.low, series.high, strict=False)], color, upright=False)
        data = {"x": list(series.x), "y": places, "row": [as_text(c) for c in chart.categories]}
        drawn = plot.scatter(
            "x", "y", source=_source(data), color=color, marker=marker, size=9,
            legend_label=as_text(series.label),
        )  # fmt: skip
        _tell(plot, drawn, [("", "@row"), (series.label, "@x{%0.5g}")])


def _stacked(plot: Any, chart: Chart) -> None:
    """Draw bars in rows; several series follow each other."""
    from bokeh.core.properties import value

    left = [0.0] * len(chart.categories)
    for number, series in enumerate(chart.series):
        color, _, _ = series_style(series.color)
        right = [start + value for start, value in zip(left, series.x, strict=True)]
        data = {
            "y": list(range(len(left))), "left": left, "right": right, "value": list(series.x),
            "row": [as_text(c) for c in chart.categories],
        }  # fmt: skip
        drawn = plot.hbar(
            y="y", left="left", right="right", height=0.5, source=_source(data), color=color,
            hatch_pattern=value("right_diagonal_line" if number % 2 else "blank"), hatch_alpha=0.3,
            legend_label=as_text(series.label),
        )  # fmt: skip
        _tell(plot, drawn, [("", "@row"), (series.label, "@value{%0.5g}")])
        left = right


def _whiskers(
    plot: Any,
    ends: Sequence[tuple[float, float | None, float | None]],
    color: str,
    *,
    upright: bool,
) -> None:
    known = [(p, low, high) for p, low, high in ends if low is not None and high is not None]
    if not known:
        return
    places, low, high = (list(part) for part in zip(*known, strict=True))
    corners = (places, low, places, high) if upright else (low, places, high, places)
    plot.segment(*corners, color=color, line_width=2)


def _tell(plot: Any, drawn: Any, lines: list[tuple[str, str]]) -> None:
    """Set the text under the pointer."""
    from bokeh.models import HoverTool

    formats: dict[str, Any] = dict.fromkeys(("@x", "@y", "@value"), "printf")
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=lines, formatters=formats, visible=False))


def _source(data: dict[str, Any]) -> Any:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource(data)
