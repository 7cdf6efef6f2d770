"""Write a feature map as a picture, or as a page with the image under the pointer."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.analysis.projection import FeatureMap
from gan_metrics.errors import UsageError
from gan_metrics.files.download import atomic_path, check_target
from gan_metrics.reports.style import DRAWN, FIGURES, legend_text, series_style
from gan_metrics.reports.thumbnails import Thumbnails
from gan_metrics.utils.optional import require
from gan_metrics.utils.text import as_text

__all__ = ["check_map_format", "map_plot", "save_map"]

_THUMBNAILS = 5000
"""Largest number of images in a page; more are subsampled evenly."""


def check_map_format(path: Path) -> None:
    """Refuse a file that a map cannot be written to, before any work starts.

    Raises:
        UsageError: For another extension, a missing extra, or a folder.
    """
    check_target(path)
    suffix = path.suffix.lower()
    if suffix not in (".html", *FIGURES):
        raise UsageError(f"{path}: maps can be .html, {', '.join(FIGURES)}; use one of these")
    require("bokeh" if suffix == ".html" else "matplotlib", "maps")


def save_map(drawn: FeatureMap, path: Path) -> None:
    """Write the picture or the page.

    Args:
        drawn: The result of :func:`gan_metrics.analysis.projection.feature_map`.
        path: ``….html`` (self-contained), ``….png``, ``….svg`` or ``….pdf``.

    Raises:
        UsageError: For another extension, or a missing extra.
        ResourceError: If it cannot be written.
    """
    check_map_format(path)
    if path.suffix.lower() == ".html":
        text = _page(drawn)
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        return
    picture = _picture(drawn, path.suffix.lower().removeprefix("."))
    with atomic_path(path) as temporary:
        temporary.write_bytes(picture)


def _groups(drawn: FeatureMap) -> list[tuple[str, Any, str, str]]:
    """Return label, rows, color and marker of each group, in order of their first image."""
    labels = np.array(drawn.groups)
    every = list(dict.fromkeys(drawn.groups))
    first = 1 if every[0].startswith("fake") else 0  # color 0 is for real images only
    return [
        (label, np.flatnonzero(labels == label), *series_style(number)[:2])
        for number, label in enumerate(every, first)
    ]


def _title(drawn: FeatureMap) -> str:
    spec = drawn.feature_spec
    method = {"tsne": "t-SNE", "umap": "UMAP"}[drawn.method]
    return f"{method} of {len(drawn.names)} images, {spec.backbone or '?'} {spec.layer or ''}"


def _picture(drawn: FeatureMap, format_: str) -> bytes:
    require("matplotlib", "maps")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    groups = _groups(drawn)
    size = float(np.clip(4000 / len(drawn.names), 4, 36))
    for label, rows, color, marker in groups:
        axes.scatter(
            drawn.points[rows, 0], drawn.points[rows, 1], s=size, c=color, alpha=0.75,
            marker=DRAWN[marker], linewidths=0, label=f"{legend_text(label)} ({len(rows)})",
        )  # fmt: skip
    axes.set_title(_title(drawn), fontsize=11, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    if len(groups) <= 20:
        legend = axes.legend(loc="best", fontsize=9)
        for text in legend.get_texts():
            text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format_, dpi=150)
    return buffer.getvalue()


def _page(drawn: FeatureMap) -> str:
    require("bokeh", "maps")
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    size, quality = (96, 75) if len(drawn.names) <= 2000 else (56, 65)
    plot = map_plot(drawn, size, quality)
    plot.title, plot.width, plot.height = _title(drawn), 1000, 800
    plot.toolbar.active_scroll = "auto"
    return file_html(plot, INLINE, title=_title(drawn))


def map_plot(drawn: FeatureMap, size: int, quality: int) -> Any:
    """Return the map as a Bokeh figure that shows the image under the pointer.

    Args:
        drawn: The result of :func:`gan_metrics.analysis.projection.feature_map`.
        size: Size of the images, in pixels.
        quality: Quality of their JPEGs, 1–95.
    """
    require("bokeh", "maps")
    from bokeh.models import ColumnDataSource, HoverTool
    from bokeh.plotting import figure

    pictures = [Thumbnails(source, size, drawn.decoding) for source in drawn.sources]
    plot: Any = figure(
        match_aspect=True, tools="pan,wheel_zoom,box_zoom,reset,save",
        x_axis_location=None, y_axis_location=None,
    )  # fmt: skip
    plot.grid.visible = False
    radius = float(np.clip(2000 / len(drawn.names), 5, 10))
    shown = set(np.linspace(0, len(drawn.names) - 1, _THUMBNAILS).astype(int).tolist())
    for label, rows, color, marker in _groups(drawn):
        data = ColumnDataSource(
            {
                "x": drawn.points[rows, 0],
                "y": drawn.points[rows, 1],
                "name": [as_text(drawn.names[i]) for i in rows],
                "group": [as_text(label)] * len(rows),
                "image": [
                    pictures[drawn.sets[i]].uri(drawn.names[i], quality) if int(i) in shown else ""
                    for i in rows
                ],
            }
        )
        plot.scatter(
            "x", "y", source=data, marker=marker, size=radius, fill_color=color, line_color=None,
            fill_alpha=0.75, legend_label=f"{as_text(label)} ({len(rows)})",
        )  # fmt: skip
    plot.add_tools(HoverTool(tooltips=_TOOLTIP))
    plot.legend.click_policy = "hide"
    return plot


_TOOLTIP = """
<div style="max-width: 12rem">
<img src="@image" alt="" style="display: block; max-width: 96px; max-height: 96px">
<b>@group</b><br><span style="overflow-wrap: anywhere">@name</span>
</div>
"""
