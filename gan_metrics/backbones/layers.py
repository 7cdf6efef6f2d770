"""Find the cut of a layer's name. Imports torch only for names that are not listed."""

from __future__ import annotations

import importlib
from typing import Any

from gan_metrics.backbones.metadata_cache import cached_json
from gan_metrics.backbones.recipe import LAYOUTS, OUTPUT, Layer, Recipe
from gan_metrics.protocols.spec import POOLS

__all__ = ["cut_of"]


def cut_of(recipe: Recipe, name: str) -> tuple[str, Layer]:
    """Return a layer's own name and its cut.

    Args:
        recipe: The backbone.
        name: A short name, an alias, the dotted name of a module, with ``:in`` at the end for its
            input, or ``"output"``.

    Raises:
        UsageError: If the backbone has no such layer; the message suggests the nearest names.
    """
    short = recipe.short_name(name)
    if short is not None:
        return short, recipe.layers[short]

    def compute() -> object:
        building = importlib.import_module("gan_metrics.backbones.build")
        return list(building.find_cut(recipe, "" if name == OUTPUT else name))

    own = recipe.weights is None  # the code of a custom network may change

    def parse(value: Any) -> Layer:
        pool, layout = value
        if pool not in POOLS or layout not in LAYOUTS:
            raise ValueError(f"{value!r} is not a cut")
        return Layer("" if name == OUTPUT else name, pool, layout)

    if own:
        return name, parse(compute())
    return name, cached_json(("cut", recipe.name, name), compute, parse)
