"""What a backbone's name stands for, and what a command settled on. Data; imports no torch."""

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
"""At the end of a cut's path: what goes into the module, instead of what comes out of it."""

LAYOUTS = ("NCHW", "NHWC")

OUTPUT = "output"
"""The name of the cut that is the network's own output."""


@dataclass(frozen=True)
class Layer:
    """A cut.

    Attributes:
        path: The dotted name of a submodule, whose output it is; with ``:in`` at its end, its
            input; empty: the network's own output.
        pool: How it becomes a vector by default; one of :data:`~gan_metrics.protocols.spec.POOLS`.
        layout: ``"NCHW"`` or ``"NHWC"``: where a map has its channels.
        channels: Of a map, the first so many channels alone, place by place; 0: all.
    """

    path: str
    pool: str
    layout: str = "NCHW"
    channels: int = 0


@dataclass(frozen=True)
class Recipe:
    """What a backbone's name stands for.

    Attributes:
        name: The name.
        summary: One line for the listing.
        build: Makes the network: ``"module:function"`` of this package, which is given ``model``;
            or a function without arguments.
        model: The name of the network in its library.
        adapt: ``"module:function"`` of (a file's state dict, the network's, ``model``) that maps
            the first to the keys of the second; empty where the keys are the same.
        layers: Short names to :class:`Layer`. Every dotted name of a module is a layer besides.
        aliases: Other names of layers.
        default_layer: The final pooling layer; empty where there is none, and one must be named.
        preprocess: What the weights were trained with.
        weights: Where the weights are found; ``None``: the network is the user's own and brings
            them.
        identity: Of a network without a weights file: the hash of its weights and its code; empty
            until it is built.
        warnings: Pairs of a code and a message for every result in this backbone.
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
        """Height and width of what the network takes in, in pixels."""
        return self.preprocess.crop or self.preprocess.size or 224

    def short_name(self, layer: str) -> str | None:
        """The layer's own name, from that, from an alias or from its path; else ``None``."""
        layer = self.aliases.get(layer, layer)
        if layer in self.layers:
            return layer
        path = "" if layer == OUTPUT else layer
        whole = (name for name, cut in self.layers.items() if cut.path == path and not cut.channels)
        return next(whole, None)


@dataclass(frozen=True)
class Library:
    """A library of networks whose names begin with a prefix.

    Attributes:
        name: The prefix without its colon, such as ``"timm"``.
        form: How its names are written, such as ``"timm:NAME"``.
        recipe: The recipe of a model, from its name without the prefix.
        names: The names, prefix included, that match a pattern with ``*``.
        packages: Distributions whose versions determine random weights, beside torch's.
        cite: What to cite for its networks; see :class:`Recipe`.
        built_in: Whether what it knows is part of this package, so that files may choose it, and
            patterns without a prefix find it.
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
    """A feature space that is settled, before the network is built.

    Attributes:
        recipe: The backbone's row.
        layer: The cut.
        spec: The feature space.
        protocol: The protocol that it was settled by.
        decoding: How files are decoded for it.
        weights: The weights file; ``"random"``; ``None``: those that the network brings.
        seed: Of the random weights.
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
        """Refuse features of a shape that no metric takes.

        Args:
            shape: Of the features of some images.

        Raises:
            UsageError: When they are maps.
        """
        if len(shape) != 2:
            raise UsageError(
                f"layer {self.spec.layer!r} with pool {self.spec.pool} gives maps of shape "
                f"{tuple(shape[1:])}; metrics need vectors: choose another --pool"
            )
