"""The three types of sets: images, features or statistics."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gan_metrics.features.features import Features
from gan_metrics.generators.generated import Generated
from gan_metrics.images.sources import (
    ImageSource,
)
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.statistics import Statistics

__all__ = [
    "AnySet",
    "EmbeddedSet",
    "ImageSet",
    "Input",
    "InputSets",
    "Role",
    "stated_protocol",
    "stated_space",
]

Input = str | os.PathLike[str] | Statistics | Features | Generated | Iterable[Any]
"""A set of images by its path, URL or name (:func:`~gan_metrics.inputs.opening.open_source`), a
file of statistics or of features, ``ref:NAME`` for registered statistics, or one of these as an
object; the images that a generator draws; or a tensor, array, list, dataset or loader of images."""

Role = Literal["real", "fake", "held_out"]
"""The role of a set in an evaluation."""


@dataclass(frozen=True)
class ImageSet:
    """Images that must be embedded.

    Attributes:
        source: The images.
        stored: Statistics stored in the same file, by the kind of their features. In ADM's
            reference batches they describe more images than the file holds.
        kind: The kind of the source, such as ``"a folder of images"``; empty for objects.
        plugins: Pairs of a distribution and its version: the plug-in whose reader opened it.
    """

    source: ImageSource
    stored: Mapping[str, Statistics] = field(default_factory=dict)
    kind: str = ""
    plugins: tuple[tuple[str, str], ...] = ()

    @property
    def description(self) -> str:
        """Description of the image source."""
        return self.source.description


EmbeddedSet = Features | Statistics
"""A set in a feature space: the input of metrics."""

AnySet = ImageSet | EmbeddedSet


@dataclass(frozen=True)
class InputSets:
    """The sets of an evaluation.

    Attributes:
        real: The real images, or ``None``.
        fakes: The generated sets.
        held_out: Held-out real images, or ``None``.
    """

    real: AnySet | None
    fakes: Sequence[AnySet]
    held_out: AnySet | None = None

    def __iter__(self) -> Iterator[tuple[Role, AnySet]]:
        """Iterate over all sets with their roles: real, generated, held-out."""
        if self.real is not None:
            yield "real", self.real
        for fake in self.fakes:
            yield "fake", fake
        if self.held_out is not None:
            yield "held_out", self.held_out

    @property
    def every(self) -> list[AnySet]:
        """Return all sets, in the order of iteration."""
        return [one for _, one in self]

    def of_role(self, role: Role) -> list[AnySet]:
        """Return the sets of one role."""
        return [one for own, one in self if own == role]


def stated_space(given: AnySet) -> FeatureSpec | None:
    """Return the feature space that a set or its stored statistics state."""
    if isinstance(given, ImageSet):
        return next((kept.spec for kept in given.stored.values()), None)
    return given.spec


def stated_protocol(given: AnySet) -> str | None:
    """Return the protocol that a set or its stored statistics state."""
    if isinstance(given, ImageSet):
        return next((kept.protocol for kept in given.stored.values()), None)
    return given.protocol
