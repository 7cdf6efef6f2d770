"""What users pass as a set of images, as one of three types: images, features or statistics."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gan_metrics.errors import InputError, UsageError
from gan_metrics.features.features import Features
from gan_metrics.features.files import is_features, load_features
from gan_metrics.generators.generated import Generated
from gan_metrics.images.sources import (
    Copied,
    ImageSource,
    Place,
    SingleSource,
    is_image,
    is_image_batch,
    is_object,
    is_remote,
    open_object,
    open_source,
)
from gan_metrics.inputs.options import Options
from gan_metrics.inputs.readers import read_by_plugin
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.peer_files import (
    Reference,
    is_features_tensor,
    is_reference,
    read_features_tensor,
    read_reference,
)
from gan_metrics.stats.references import open_reference
from gan_metrics.stats.statistics import Statistics

__all__ = [
    "AnySet",
    "EmbeddedSet",
    "ImageSet",
    "Input",
    "InputSets",
    "Role",
    "open_set",
    "stated_protocol",
    "stated_space",
]

Input = str | os.PathLike[str] | Statistics | Features | Generated | Iterable[Any]
"""A set of images by its path, URL or name (:func:`~gan_metrics.images.sources.open_source`), a
file of statistics or of features, ``ref:NAME`` for registered statistics, or one of these as an
object; the images that a generator draws; or a tensor, array, list, dataset or loader of images."""

Role = Literal["real", "fake", "held_out"]
"""What a set is in an evaluation."""


@dataclass(frozen=True)
class ImageSet:
    """Images that have to be embedded.

    Attributes:
        source: The images.
        stored: Statistics that their file holds beside them, by the kind of their features. In
            ADM's reference batches they are of more images than the file holds.
        plugins: Pairs of a distribution and its version: the plug-in whose reader opened it.
    """

    source: ImageSource
    stored: Mapping[str, Statistics] = field(default_factory=dict)
    plugins: tuple[tuple[str, str], ...] = ()

    @property
    def description(self) -> str:
        """Where the images come from."""
        return self.source.description


EmbeddedSet = Features | Statistics
"""A set in a feature space: what metrics take."""

AnySet = ImageSet | EmbeddedSet


@dataclass(frozen=True)
class InputSets:
    """The sets of an evaluation.

    Attributes:
        real: The real images, if there are any.
        fakes: The generated sets.
        held_out: Real images that the generators were not trained on, if there are any.
    """

    real: AnySet | None
    fakes: Sequence[AnySet]
    held_out: AnySet | None = None

    def __iter__(self) -> Iterator[tuple[Role, AnySet]]:
        """Every set with its role: real, generated, held out."""
        if self.real is not None:
            yield "real", self.real
        for fake in self.fakes:
            yield "fake", fake
        if self.held_out is not None:
            yield "held_out", self.held_out

    @property
    def every(self) -> list[AnySet]:
        """Every set, in the order of iteration."""
        return [one for _, one in self]

    def of_role(self, role: Role) -> list[AnySet]:
        """The sets of one role."""
        return [one for own, one in self if own == role]


def stated_space(given: AnySet) -> FeatureSpec | None:
    """The feature space that a set states, or that the statistics beside its images do."""
    if isinstance(given, ImageSet):
        return next((kept.spec for kept in given.stored.values()), None)
    return given.spec


def stated_protocol(given: AnySet) -> str | None:
    """The protocol that a set states, or that the statistics beside its images do."""
    if isinstance(given, ImageSet):
        return next((kept.protocol for kept in given.stored.values()), None)
    return given.protocol


def open_set(given: Input, options: Options, *, single: bool = False) -> AnySet:
    """Open what a user passed as a set of images.

    Args:
        given: A set in any form; see :data:`Input`.
        options: Whether folders below are read (``recursive``), and the progress of downloads.
        single: Whether one image file is a set too.

    Raises:
        UsageError: When it is of another type, or no reference has that name.
        InputError: When nothing is there, or it cannot be read.
        WeightsError: When a registered reference cannot be fetched.
    """
    if isinstance(given, Statistics | Features):
        return given
    if isinstance(given, Generated):
        return ImageSet(given)
    if is_object(given):
        return ImageSet(open_object(given))
    if not isinstance(given, str | os.PathLike):
        raise UsageError(
            f"expected a path, images, statistics or features, not {type(given).__name__}; "
            "generators go into gan_metrics.Generated(generator, n), features into "
            "gan_metrics.Features(names, array, spec)"
        )
    if os.fspath(given) == "":
        raise InputError("a side is empty text; give a folder of images or a statistics file")
    if isinstance(given, str) and given.startswith(_REGISTERED):
        name = given.removeprefix(_REGISTERED)
        return _of_reference(open_reference(name, progress=options.progress))
    if is_remote(given):
        return _open_remote(Place(os.fspath(given)), options)
    if single and is_image(given):
        return ImageSet(SingleSource(Path(given)))
    if is_features_tensor(given):
        array = read_features_tensor(given)
        names = [str(i) for i in range(len(array))]
        return Features(names, array, FeatureSpec(), description=os.fspath(given))
    if is_features(given) and not is_image_batch(given):
        features = load_features(given)
        if features.array.ndim == 4 and features.spec == FeatureSpec():
            raise InputError(
                f"{os.fspath(given)} holds {features.array.dtype} of shape {features.array.shape} "
                "without a header: images must be uint8, 0–255, and features n × D"
            )
        return features
    if is_reference(given):
        return _of_reference(read_reference(given))
    try:
        return ImageSet(open_source(given, recursive=options.recursive))
    except InputError:
        found = read_by_plugin(given, options)
        if found is None:
            raise
        return _from_plugin(*found)


def _from_plugin(found: Any, plugins: tuple[tuple[str, str], ...]) -> AnySet:
    """What the reader of a plug-in returned."""
    if isinstance(found, Statistics | Features):
        return replace(found, spec=found.spec.with_plugins(plugins))
    return ImageSet(found, plugins=plugins)


def _open_remote(place: Place, options: Options) -> AnySet:
    """What lies at a URL; a file that may hold statistics or features is copied and opened."""
    if Path(place.name).suffix.lower() not in _WHOLE:
        return ImageSet(open_source(place.url, recursive=options.recursive))
    copy = place.fetch()
    with place.speaks_for(copy):
        found = open_set(copy.path, options)
    if isinstance(found, ImageSet):
        stored = {k: replace(one, description=place.url) for k, one in found.stored.items()}
        return ImageSet(Copied(place, copy, found.source), stored)
    if isinstance(found, Features):
        return replace(found, description=place.url)
    others = {k: replace(one, description=place.url) for k, one in found.others.items()}
    return replace(found, description=place.url, others=others)


_WHOLE = frozenset((".npy", ".npz", ".parquet", ".pkl", ".pt", ".pth", ".safetensors"))
"""Extensions of remote files that may be statistics or features."""

_REGISTERED = "ref:"
"""Before the name of a registered reference."""


def _of_reference(found: Reference) -> AnySet:
    """What a file of statistics holds: the main ones, or images with statistics beside them."""
    if found.images is not None:
        return ImageSet(found.images, found.statistics)
    (_, main), *others = found.statistics.items()
    return replace(main, others=dict(others))
