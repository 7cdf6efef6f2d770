"""How figures look, whoever draws them, and the files that pictures go into."""

from __future__ import annotations

from pathlib import Path

from gan_metrics.errors import UsageError
from gan_metrics.files.download import check_target
from gan_metrics.utils.optional import require
from gan_metrics.utils.text import as_text

__all__ = ["DRAWN", "FIGURES", "check_figure_format", "legend_text", "look"]

# Okabe & Ito's colours, which people with any kind of colour vision can tell apart; the first for
# the real images. Theirs has a black as well, which a dark page would swallow.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
# Beside the colours, for eyes and printers that see none.
_MARKERS = (
    "circle", "triangle", "square", "diamond", "inverted_triangle", "hex", "star", "plus"
)  # fmt: skip
_DASHES = ("solid", "dashed", "dotted", "dashdot")

DRAWN = {
    "circle": "o", "triangle": "^", "square": "s", "diamond": "D",
    "inverted_triangle": "v", "hex": "h", "star": "*", "plus": "P",
}  # fmt: skip
"""matplotlib's names of the markers."""

FIGURES = (".png", ".svg", ".pdf")


def look(number: int) -> tuple[str, str, str]:
    """Colour, marker and dash of a set of images; those of 0, the real ones, are no other's."""
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
    """Refuse a file that a figure cannot be drawn in, before any work is done for it.

    Raises:
        UsageError: When its extension is none of those, matplotlib is missing, or it is a folder.
    """
    check_target(path)
    if path.suffix.lower() not in FIGURES:
        raise UsageError(f"{path}: figures are drawn as {', '.join(FIGURES)}; name one")
    require("matplotlib", "report")


def legend_text(label: str) -> str:
    """A name in a legend; matplotlib would leave out one that begins with an underscore."""
    return f"{' ' if label.startswith('_') else ''}{as_text(label)}"
