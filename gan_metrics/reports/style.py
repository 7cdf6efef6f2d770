"""Colors, markers and file formats of figures."""

from __future__ import annotations

from pathlib import Path

from gan_metrics.errors import UsageError
from gan_metrics.files.download import check_target
from gan_metrics.utils.optional import require
from gan_metrics.utils.text import as_text

__all__ = ["DRAWN", "FIGURES", "check_figure_format", "legend_text", "series_style"]

# Okabe & Ito's colors, distinguishable with any kind of color vision; the first is for real images.
# Their black is not used, because it is invisible on a dark page.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
# In addition to colors, for readers and printers without color.
_MARKERS = (
    "circle", "triangle", "square", "diamond", "inverted_triangle", "hex", "star", "plus"
)  # fmt: skip
_DASHES = ("solid", "dashed", "dotted", "dashdot")

DRAWN = {
    "circle": "o", "triangle": "^", "square": "s", "diamond": "D",
    "inverted_triangle": "v", "hex": "h", "star": "*", "plus": "P",
}  # fmt: skip
"""Markers by matplotlib's names."""

FIGURES = (".png", ".svg", ".pdf")


def series_style(number: int) -> tuple[str, str, str]:
    """Return color, marker and dash of a set of images; 0 is for real images only."""
    if not number:
        return _COLORS[0], _MARKERS[0], _DASHES[0]
    place = number - 1
    colors, markers = len(_COLORS) - 1, len(_MARKERS) - 1
    return (
        _COLORS[1 + place % colors],
        _MARKERS[1 + place % markers],
        _DASHES[1 + place % (len(_DASHES) - 1)],
    )


def check_figure_format(path: Path) -> None:
    """Refuse a file that a figure cannot be written to, before any work starts.

    Raises:
        UsageError: For another extension, without matplotlib, or for a folder.
    """
    check_target(path)
    if path.suffix.lower() not in FIGURES:
        raise UsageError(f"{path}: figures are written as {', '.join(FIGURES)}; use one of these")
    require("matplotlib", "report")


def legend_text(label: str) -> str:
    """Return a name for a legend; matplotlib omits names that begin with an underscore."""
    return f"{' ' if label.startswith('_') else ''}{as_text(label)}"
