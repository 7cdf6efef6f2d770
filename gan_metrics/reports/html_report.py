"""The HTML report: one self-contained page about generators."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_metrics.errors import UsageError
from gan_metrics.files.download import atomic_path, check_target
from gan_metrics.images.encode import overlay
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.reports.bokeh_charts import drawn_chart
from gan_metrics.reports.charts import charts_of
from gan_metrics.reports.data import GeneratorReport, Near, Report
from gan_metrics.reports.maps import map_plot
from gan_metrics.reports.templates import render
from gan_metrics.reports.thumbnails import Thumbnails, data_uri
from gan_metrics.results.methods_text import bibtex_of
from gan_metrics.results.result import MetricResult, rounded_text
from gan_metrics.utils.optional import require
from gan_metrics.utils.result_warning import ResultWarning
from gan_metrics.utils.text import as_text
from gan_metrics.utils.versions import versions

__all__ = ["check_report_format", "save_report"]

_SIZE, _QUALITY = 128, 82
"""Thumbnails in galleries: longest side in pixels, and JPEG quality."""

_DOTS, _DOT_QUALITY = 56, 65
"""Thumbnails under the pointer on the map."""


def check_report_format(path: Path) -> None:
    """Refuse a file that the report cannot be written to, before any work starts.

    Raises:
        UsageError: If it is not an ``.html``, Bokeh is missing, or it is a folder.
    """
    check_target(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path}: a report is an HTML page; give a file name ending in .html")
    require("bokeh", "report")


def save_report(found: Report, path: str | os.PathLike[str]) -> Path:
    """Write the report as one self-contained page.

    Args:
        found: The result of :func:`gan_metrics.report`.
        path: ``….html``.

    Raises:
        UsageError: For another extension, or without the extra ``report``.
        ResourceError: If it cannot be written.
    """
    path = Path(path)
    check_report_format(path)
    from bokeh.embed import components
    from bokeh.resources import Resources

    charts = charts_of(found)
    plots = {chart.key: drawn_chart(chart) for chart in charts}
    if found.map is not None:
        plots["map"] = map_plot(found.map, _DOTS, _DOT_QUALITY)
        plots["map"].update(sizing_mode="stretch_width", height=560)
        plots["map"].toolbar.logo = None
        plots["map"].background_fill_color = plots["map"].border_fill_color = None
        plots["map"].legend.background_fill_color = None
    script, divs = components(plots)
    images = _Images(found)
    page = render(
        "report.html",
        title=_title(found),
        found=found,
        warnings=_by_code(found.warnings),
        results=_results(found),
        names=_metrics(found),
        charts=charts,
        divs=divs,
        chart_script=script,
        bokeh_script=Resources(mode="inline", components=["bokeh"]).render_js(),
        provenance=_provenance(found),
        bibtex=bibtex_of([result for g in found.generators for result in g.scores.values()]),
        space=_space(found.feature_spec),
        elsewhere=_elsewhere(found),
        sections=[_section(number, one, images) for number, one in enumerate(found.generators)],
        images=json.dumps({"pictures": images.pictures, "details": images.details}).replace(
            "<", "\\u003c"
        ),
        versions=versions(),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def _title(found: Report) -> str:
    names = ", ".join(as_text(one.name) for one in found.generators)
    return f"{names} vs. {as_text(found.real)}"


def _by_code(warnings: Sequence[ResultWarning]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for code, message in warnings:
        grouped.setdefault(code, []).append(message)
    return grouped


def _provenance(found: Report) -> list[list[str]]:
    """Return the provenance of all parts: pairs of a word and a value."""
    lines: dict[str, list[str]] = {}
    several = len(found.generators) > 1
    for one in found.generators:
        for result in one.scores.values():
            for line in result.provenance():
                name, _, value = line.strip().partition("  ")
                if several and name in ("images", "left out"):
                    value += f" ({as_text(one.name)})"
                lines.setdefault(name, []).append(value.strip())
    return [[name, value] for name, values in lines.items() for value in dict.fromkeys(values)]


def _space(spec: FeatureSpec) -> str:
    return f"{spec.backbone or '?'} {spec.layer or '?'}"


def _elsewhere(found: Report) -> dict[str, str]:
    """Return the metrics of other feature spaces than that of the pictures, and their spaces."""
    own = found.feature_spec.fingerprint()
    return {
        result.metric: _space(result.feature_spec)
        for one in found.generators
        for result in one.scores.values()
        if result.feature_spec.fingerprint() != own
    }


def _metrics(found: Report) -> list[str]:
    """Return the names of metrics with a value for some generator."""
    return list(dict.fromkeys(name for one in found.generators for name in one.scores))


def _results(found: Report) -> list[dict[str, Any]]:
    """Return the rows of the table of scores."""
    rows = []
    for name in _metrics(found):
        known = [one.scores[name] for one in found.generators if name in one.scores]
        cells = []
        for one in found.generators:
            result = one.scores.get(name)
            ends = None if result is None else result.ci95
            cells.append(
                {
                    "value": "–" if result is None else _rounded(result),
                    "number": "" if result is None else repr(result.value),
                    "ends": "" if ends is None else f"{ends[0]:.4g} … {ends[1]:.4g}",
                    "why": one.scores.not_computed.get(name, ""),
                }
            )
        rows.append({"metric": known[0].metric, "about": known[0].error_bar, "cells": cells})
    return rows


def _rounded(result: MetricResult) -> str:
    return rounded_text(result.value, result.standard_error)


class _Images:
    """The images of the page, each once, with the scores shown for each.

    Attributes:
        pictures: Images as URIs by key; empty if not available.
        details: What a click on an image shows, by key, with the key of its picture.
    """

    def __init__(self, found: Report) -> None:
        self._real = Thumbnails(found.real_source, _SIZE, found.decoding)
        self._fakes = [Thumbnails(g.source, _SIZE, found.decoding) for g in found.generators]
        self._keys: dict[tuple[int, bool, str], str] = {}
        self._places: dict[tuple[int, str], str] = {}
        self.pictures: dict[str, str] = {}
        self.details: dict[str, dict[str, Any]] = {}

    def key(self, number: int, name: str, *, real: bool) -> str:
        """Return the key of an image in the section of a generator."""
        key_parts = (number, real, name)
        if key_parts not in self._keys:
            key = self._keys[key_parts] = f"i{len(self._keys)}"
            picture = self._picture(number, name, real)
            self.details[key] = {"name": as_text(name), "picture": picture}
        return self._keys[key_parts]

    def uri(self, key: str) -> str:
        """Return the picture of a key."""
        return self.pictures[self.details[key]["picture"]]

    def describe(self, key: str, facts: list[tuple[str, str]], near: list[Any]) -> None:
        """Set what a click on an image shows."""
        self.details[key].update(facts=facts, near=near)

    def _picture(self, number: int, name: str, real: bool) -> str:
        owner = (-1 if real else number, name)
        if owner not in self._places:
            place = self._places[owner] = f"p{len(self._places)}"
            source = self._real if real else self._fakes[number]
            self.pictures[place] = source.uri(name, _QUALITY)
        return self._places[owner]


def _section(number: int, one: GeneratorReport, images: _Images) -> dict[str, Any]:
    """Return what the page shows of a generator's images."""
    rows = {}
    copies = set()
    if one.scores.per_image is not None:
        looked = one.scores.per_image
        places = {name: i for i, name in enumerate(looked.names)}
        copies = {row["name"] for row in looked.near_copies()}
        fakes = {name for gallery in one.galleries if not gallery.real for name in gallery.names}
        rows = {name: looked.row(places[name]) for name in fakes if name in places}
        reach = {row["name"]: row["reach"] for row in looked.uncovered()}
    else:
        reach = {}
    galleries = []
    for gallery in one.galleries:
        is_copies = gallery.key == "copies"
        shown = []
        for name in gallery.names:
            key = images.key(number, name, real=gallery.real)
            near: Near = (one.near_real if gallery.real else one.near).get(name, ())
            facts = _facts(rows.get(name)) if not gallery.real else _reach(reach.get(name))
            if name in copies and not gallery.real:
                facts.append(("near copy", "yes"))
            others = [
                [images.key(number, other, real=not gallery.real), f"{distance:.4g}"]
                for other, distance in near
            ]
            images.describe(key, facts, others)
            shown.append(
                {
                    "key": key,
                    "name": as_text(name),
                    "uri": images.uri(key),
                    "is_copy": name in copies and not gallery.real,
                    "fact": _caption(facts, _CAPTIONS.get(gallery.key, "")),
                    "near": images.uri(others[0][0]) if others and is_copies else "",
                }
            )
        galleries.append({"gallery": gallery, "images": shown})
    return {"generator": one, "number": number, "galleries": galleries, "places": _places(one)}


_CAPTIONS = {
    "realistic": "realism",
    "unrealistic": "realism",
    "rare": "rarity",
    "copies": "nearest real at",
}
"""Score below the images of a gallery, if it is not the first one."""


def _caption(facts: Sequence[tuple[str, str]], wanted: str) -> tuple[str, str] | None:
    return next((fact for fact in facts if fact[0] == wanted), facts[0] if facts else None)


def _facts(row: dict[str, Any] | None) -> list[tuple[str, str]]:
    if row is None:
        return []
    facts = [("influence", f"{row['influence']:+.4g}")]
    if row["realism"] is not None:
        facts.append(("realism", f"{row['realism']:.3g}"))
        rarity = row["rarity"]
        facts.append(("rarity", "outside every ball" if rarity is None else f"{rarity:.3g}"))
        facts.append(("nearest real at", f"{row['nearest_distance']:.4g}"))
    return facts


def _reach(reach: float | None) -> list[tuple[str, str]]:
    return [] if reach is None else [("nearest generated at", f"{reach:.3g} times the radius")]


def _places(one: GeneratorReport) -> Sequence[dict[str, Any]]:
    """Return images and their overlays with regions that raise the distance in red."""
    found = []
    for image in one.places or ():
        limit = float(np.abs(image.places).max()) or 1.0
        found.append(
            {
                "name": as_text(image.name),
                "influence": f"{image.influence:+.4g}",
                "plain": data_uri(image.pixels, 160, _QUALITY),
                "overlay": data_uri(overlay(image.pixels, image.places / limit), 160, _QUALITY),
            }
        )
    return found
