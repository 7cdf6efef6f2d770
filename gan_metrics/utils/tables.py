"""Tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

__all__ = ["text_table"]

Style = Literal["plain", "github", "latex_booktabs"]


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]], style: Style = "plain") -> str:
    """Format a table of text with ``tabulate``.

    Args:
        heads: Column headings; empty: none.
        rows: The cells.
        style: ``"plain"`` columns, ``"github"`` Markdown, or LaTeX for the package ``booktabs``.
    """
    from tabulate import tabulate

    if style == "github":
        heads = [head.replace("|", "\\|") for head in heads]
        rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    drawn = tabulate(rows, heads, tablefmt=style, disable_numparse=True, preserve_whitespace=True)
    return "\n".join(line.rstrip() for line in drawn.splitlines())
