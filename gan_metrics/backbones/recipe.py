"""Data about backbones: layers, recipes, libraries and feature spaces. Does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_metrics.backbones.weights import WeightsSource
from gan_metrics.errors import UsageError
from gan_metrics.protocols.spec import Decoding, FeatureSpec, Preprocess
from gan_metrics.protocols.table import Protocol

__all__ = ["INPUT", "LAYOUTS", "OUTPUT", "FeatureSpace", "Layer", "Library", "Recipe"]

INPUT = ":in"
"""Suffix of a path for the input of the module instead of its output."""

LAYOUTS = ("NCHW", "NHWC")

OUTPUT = "output"
"""Name of the layer that is the network's own output."""


@dataclass(frozen=True)
class Layer:
    """A cut of a network.

    Attributes:
        path: Dotted name of a submodule, for its output; with ``:in`` at the end, for its input;
            empty: the network's own output.
        pool: Default pooling; one of :data:`~gan_metrics.protocols.spec.POOLS`.
        layout: ``"NCHW"`` or ``"NHWC"``: the channel axis of a map.
        channels: Of a map, only this many first channels, position by position; 0: all.
    """

    path: str
    pool: str
    layout: str = "NCHW"
    channels: int = 0


@dataclass(frozen=True)
class Recipe:
    """The definition of a backbone.

    Attributes:
        name: The name.
        summary: One line for the listing.
        build: Builds the network: ``"module:function"`` of this package, called with ``model``; or
            a function without arguments.
        model: The name of the network in its library.
        adapt: ``"module:function"`` of (a file's state dict, the network's, ``model``) that
            converts the file's keys to the network's; empty if they are equal.
        layers: :class:`Layer` by short name. Every dotted name of a module is also a layer.
        aliases: Other names of layers.
        default_layer: The last pooling layer; empty if there is none and one must be named.
        preprocess: The preprocessing that the weights were trained with.
        weights: Where the weights are found; ``None``: a custom network with its own weights.
        identity: For a network without a weights file, the hash of its weights and code; empty
            until it is built.
        warnings: Pairs of a code and a message for every result with this backbone.
        cite: What to cite: keys of ``results/citations.bib``, or BibTeX entries.
    """

    name: str
    summary: str
    build: str | Callable[[], Any]
    layers: Mapping[str, Layer]
    default_layer: str
    preprocess: Preprocess
    weights: WeightsSource | None
    model: str = ""
    adapt: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    warnings: tuple[tuple[str, str], ...] = ()
    cite: tuple[str, ...] = ()

    @property
    def input_size(self) -> int:
        """Height and width of the network's input, in pixels."""
        return self.preprocess.crop or self.preprocess.size or 224

    def short_name(self, layer: str) -> str | None:
        """Return a layer's own name for its name, alias or path; ``None`` if unknown."""
        layer = self.aliases.get(layer, layer)
        if layer in self.layers:
            return layer
        path = "" if layer == OUTPUT else layer
        whole = (name for name, cut in self.layers.items() if cut.path == path and not cut.channels)
        return next(whole, None)


@dataclass(frozen=True)
class Library:
    """A library of networks whose names have a common prefix.

    Attributes:
        name: The prefix without its colon, such as ``"timm"``.
        form: Form of its names, such as ``"timm:NAME"``.
        recipe: Function that returns the recipe of a model, by its name without the prefix.
        names: Function that returns the names, with prefix, that match a pattern with ``*``.
        packages: Distributions, in addition to torch, whose versions determine random weights.
        cite: What to cite for its networks; see :class:`Recipe`.
        built_in: Whether its metadata is part of this package, so that files may choose its
            networks, and patterns without a prefix find them.
    """

    name: str
    form: str
    recipe: Callable[[str], Recipe]
    names: Callable[[str], list[str]]
    packages: tuple[str, ...] = ()
    cite: tuple[str, ...] = ()
    built_in: bool = False


@dataclass(frozen=True)
class FeatureSpace:
    """A complete feature space, before the network is built.

    Attributes:
        recipe: The recipe of the backbone.
        layer: The layer.
        spec: The identity of the feature space.
        protocol: The protocol that defines it.
        decoding: How files are decoded for it.
        weights: The weights file; ``"random"``; ``None``: the network's own weights.
        seed: Seed of random weights.
        warnings: Pairs of a code and a message.
    """

    recipe: Recipe
    layer: Layer
    spec: FeatureSpec
    protocol: Protocol
    decoding: Decoding
    weights: Path | str | None
    seed: int = 0
    warnings: tuple[tuple[str, str], ...] = ()

    def check_vectors(self, shape: Sequence[int]) -> None:
        """Refuse features that are not vectors.

        Args:
            shape: Shape of the features of some images.

        Raises:
            UsageError: If they are maps.
        """
        if len(shape) != 2:
            raise UsageError(
                f"layer {self.spec.layer!r} with pool {self.spec.pool} has feature maps of shape "
                f"{tuple(shape[1:])}, but metrics need vectors: choose another --pool"
            )
