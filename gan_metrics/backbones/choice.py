"""What a backbone's name stands for, and what a command settled on. Data; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gan_metrics.backbones.weights import WeightsSource
from gan_metrics.errors import unknown_name
from gan_metrics.protocols import Protocol
from gan_metrics.specs import Decoding, FeatureSpec, Preprocess

__all__ = ["BackboneChoice", "Layer", "Recipe"]


@dataclass(frozen=True)
class Layer:
    """A named cut: the dotted path of a submodule, and how its output is pooled by default."""

    path: str
    pool: str


@dataclass(frozen=True)
class Recipe:
    """What a backbone's name stands for.

    Attributes:
        name: The name.
        summary: One line for the listing.
        build: ``"module:function"`` of this package that makes the network.
        rename: ``"module:function"`` that maps a weights file's keys to the network's.
        layers: Name to :class:`Layer`.
        aliases: Other names of layers.
        default_layer: The final pooling layer.
        preprocess: What the weights were trained with.
        weights: Where the weights are found.
    """

    name: str
    summary: str
    build: str
    rename: str
    layers: Mapping[str, Layer]
    aliases: Mapping[str, str]
    default_layer: str
    preprocess: Preprocess
    weights: WeightsSource

    def layer(self, name: str) -> str:
        """The layer's own name, from that or from an alias.

        Raises:
            UsageError: When the backbone has no such layer.
        """
        name = self.aliases.get(name, name)
        if name not in self.layers:
            raise unknown_name(f"layer of {self.name}", name, [*self.layers, *self.aliases])
        return name


@dataclass(frozen=True)
class BackboneChoice:
    """A feature space that is settled, before the network is built.

    Attributes:
        recipe: The backbone's row.
        spec: The feature space.
        protocol: The protocol that it was settled by.
        decoding: How files are decoded for it.
        weights: The weights file, or ``None`` for random weights.
        seed: Of the random weights.
        warnings: Pairs of a code and a message.
    """

    recipe: Recipe
    spec: FeatureSpec
    protocol: Protocol
    decoding: Decoding
    weights: Path | None
    seed: int = 0
    warnings: tuple[tuple[str, str], ...] = ()
