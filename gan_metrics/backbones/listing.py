"""List the layers of a network."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass, replace
from typing import Any

import torch

from gan_metrics.backbones.build import list_cuts
from gan_metrics.backbones.cut import CutPoint, run_until
from gan_metrics.backbones.network import Backbone
from gan_metrics.backbones.recipe import INPUT, Recipe
from gan_metrics.backbones.registry import choose_backbone, recipe_of

__all__ = ["LayerFacts", "list_layers"]

_BATCH, _REPEATS = 4, 3


@dataclass(frozen=True)
class LayerFacts:
    """One layer.

    Attributes:
        path: Dotted name of the module; empty: the network's own output.
        names: Short names and aliases.
        shape: Shape of its output for one image, without the batch.
        pool: Default pooling.
        parameters: Number of parameters up to this layer, including it.
        parameters_above: Number of parameters of the rest, which a pass to this layer does not use.
        seconds: Measured time per image of a pass to this layer.
        share: Share of the time of a full pass.
    """

    path: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    pool: str
    parameters: int
    parameters_above: int
    seconds: float | None = None
    share: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "layer": self.path,
            "names": list(self.names),
            "shape": list(self.shape),
            "pool": self.pool,
            "parameters": self.parameters,
            "parameters_above": self.parameters_above,
            "seconds_per_image": self.seconds,
            "share_of_time": self.share,
        }


def list_layers(backbone: str, *, time: bool = False) -> list[LayerFacts]:
    """Return every layer of a network, in the order of a forward pass.

    Args:
        backbone: A name, as for :func:`gan_metrics.load_backbone`.
        time: Whether to measure passes that end at layers with a short name.

    Raises:
        UsageError: If there is no such backbone.
    """
    recipe = recipe_of(backbone)
    points = list_cuts(recipe)
    total = max(point.parameters for point in points)
    rows: list[LayerFacts] = []
    for point in points:
        cut = next((c for c in recipe.layers.values() if c.path == point.path), None)
        rows.append(
            LayerFacts(
                path=point.path,
                names=_names(recipe, point.path),
                shape=point.shape,
                pool=cut.pool if cut else point.pool,
                parameters=point.parameters,
                parameters_above=total - point.parameters,
            )
        )
    for cut in recipe.layers.values():
        if cut.path.endswith(INPUT):
            by_path = {point.path: point for point in points}
            _insert_input(rows, cut.path, _names(recipe, cut.path), cut.pool, by_path)
    return _timed(recipe, rows) if time else rows


def _names(recipe: Recipe, path: str) -> tuple[str, ...]:
    short = [name for name, cut in recipe.layers.items() if cut.path == path]
    return (*short, *(alias for alias, name in recipe.aliases.items() if name in short))


def _insert_input(
    rows: list[LayerFacts],
    path: str,
    names: tuple[str, ...],
    pool: str,
    points: dict[str, CutPoint],
) -> None:
    """Insert the row of a module's input before the first module inside it."""
    module = path.removesuffix(INPUT)
    inside = (module, f"{module}.")
    at = next(i for i, r in enumerate(rows) if r.path == inside[0] or r.path.startswith(inside[1]))
    before = rows[at - 1]
    shape = points[module].input_shape
    rows.insert(at, replace(before, path=path, names=names, pool=pool, shape=shape))


def _timed(recipe: Recipe, rows: list[LayerFacts]) -> list[LayerFacts]:
    """Add the time of passes that end at named layers, with random weights on the CPU."""
    weights = None if recipe.weights is None else "random"
    backbone = Backbone(choose_backbone(recipe.name, weights=weights), "cpu")
    size = recipe.input_size
    images = torch.zeros(_BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)

    def measure(path: str) -> float:
        taken = []
        for _ in range(1 + _REPEATS):
            start = clock.perf_counter()
            with torch.inference_mode():
                run_until(backbone.module, images, [path])
            taken.append(clock.perf_counter() - start)
        return min(taken[1:]) / _BATCH  # other programs can only add time

    whole = measure("")
    timed = []
    for row in rows:
        seconds = measure(row.path) if row.names else None
        share = None if seconds is None else seconds / whole
        timed.append(replace(row, seconds=seconds, share=share))
    return timed
