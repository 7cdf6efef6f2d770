"""Draw attributions: which regions of images raise or lower the distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.analysis.attribution import Attribution, ImageAttribution
from gan_metrics.files.download import atomic_path
from gan_metrics.reports.style import check_figure_format
from gan_metrics.utils.optional import require
from gan_metrics.utils.text import as_text

__all__ = ["save_attribution"]

_PAIRS = 4
"""Pairs of an image and its overlay per row."""

_COLORS = "RdBu_r"
"""Red raises the distance, blue lowers it; distinguishable with any kind of color vision."""


def save_attribution(found: Attribution, path: Path) -> None:
    """Draw each image next to its overlay: red regions raise the distance, blue ones lower it.

    Args:
        found: The result of :func:`gan_metrics.attribute`.
        path: ``….png``, ``….svg`` or ``….pdf``.

    Raises:
        UsageError: For another extension, or without the extra ``report``.
        ResourceError: If it cannot be written.
    """
    check_figure_format(path)
    require("matplotlib", "report")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_PAIRS, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(3.4 * columns, 1.95 * rows + 0.45), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.asarray(figure.subplots(rows, 2 * columns, squeeze=False))
    for one in axes.flat:
        one.set_axis_off()
    for image, pair in zip(found, axes.reshape(rows * columns, 2), strict=False):
        _draw(image, *pair)
    spec = found.feature_spec
    figure.suptitle(
        f"Regions that raise (red) and lower (blue) the distance: {spec.backbone}, {found.layer}",
        fontsize=9,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)


def _draw(image: ImageAttribution, plain: Any, overlay: Any) -> None:
    height, width = image.pixels.shape[:2]
    plain.imshow(image.pixels)
    plain.set_title(_short(as_text(image.name)), fontsize=7, parse_math=False)
    grey = image.pixels.mean(axis=2)
    overlay.imshow(grey, cmap="gray", vmin=0, vmax=255)
    limit = float(np.abs(image.places).max()) or 1.0
    overlay.imshow(
        image.places,
        cmap=_COLORS,
        vmin=-limit,
        vmax=limit,
        alpha=0.6,
        interpolation="bilinear",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )
    overlay.set_title(f"influence {image.influence:+.4g}", fontsize=7)


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"
