"""Write queries and their matches side by side, as a picture or a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gan_metrics.analysis.nearest_images import SearchResult
from gan_metrics.errors import UsageError
from gan_metrics.files.download import atomic_path, check_target
from gan_metrics.images.encode import save_sheet
from gan_metrics.reports.templates import render
from gan_metrics.reports.thumbnails import Thumbnails

__all__ = ["check_search_format", "save_search_result"]

_ROWS_OF_PICTURE = 40
_ROWS_OF_PAGE = 200


def check_search_format(path: Path) -> None:
    """Refuse a file that matches cannot be written to, before any work starts.

    Raises:
        UsageError: If its extension is neither ``.html`` nor ``.png``, or it is a folder.
    """
    check_target(path)
    if path.suffix.lower() not in (".html", ".png"):
        raise UsageError(f"{path}: matches are written as .html or .png; use one of these")


def save_search_result(matches: SearchResult, path: Path) -> int:
    """Write the picture or the page; queries with the closest matches come first.

    Args:
        matches: The result of :func:`gan_metrics.analysis.nearest_images.search`.
        path: ``….html`` (self-contained) or ``….png``.

    Returns:
        The number of shown queries: at most 200 on a page and 40 in a picture.

    Raises:
        UsageError: For another extension.
        ResourceError: If it cannot be written.
    """
    check_search_format(path)
    as_page = path.suffix.lower() == ".html"
    order = matches.distances[:, 0].argsort(kind="stable")
    shown = [int(i) for i in order[: _ROWS_OF_PAGE if as_page else _ROWS_OF_PICTURE]]
    size = 128 if as_page else 112
    queries = Thumbnails(matches.query_source, size, matches.decoding)
    found = Thumbnails(matches.gallery_source, size, matches.decoding)
    if as_page:
        _page(matches, path, shown, queries, found)
    else:
        _picture(matches, path, shown, queries, found, size)
    return len(shown)


def _picture(
    matches: SearchResult,
    path: Path,
    shown: list[int],
    queries: Thumbnails,
    found: Thumbnails,
    size: int,
) -> None:
    rows = []
    for i in shown:
        name = matches.query[i]
        cells = [(queries.pixels(name), "query")]
        cells += [(found.pixels(n), f"{d:.4f} {n}") for n, d in matches.of(i)]
        rows.append((name, cells))
    save_sheet(path, rows, cell=size)


def _page(
    matches: SearchResult, path: Path, shown: list[int], queries: Thumbnails, found: Thumbnails
) -> None:
    limit = matches.flag_below
    rows: list[dict[str, Any]] = [
        {
            "name": matches.query[i],
            "image": queries.uri(matches.query[i]),
            "matches": [
                {
                    "name": name,
                    "distance": f"{distance:.4f}",
                    "image": found.uri(name, 75),
                    "flagged": limit is not None and distance < limit,
                }
                for name, distance in matches.of(i)
            ],
        }
        for i in shown
    ]
    page = render("matches.html", matches=matches, rows=rows, flagged=matches.flagged())
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
