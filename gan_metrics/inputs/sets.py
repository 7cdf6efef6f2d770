"""One side of a comparison, on its way from what was given to what is compared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import InputError, UsageError
from gan_metrics.features.features import Features
from gan_metrics.features.files import claims_features, read_features
from gan_metrics.files.probe import probe
from gan_metrics.generators.generated import Generated
from gan_metrics.images.sources import (
    ArraySource,
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
from gan_metrics.metrics.moments import Moments
from gan_metrics.protocols.spec import FeatureSpec
from gan_metrics.stats.files import Reference, claims_statistics, read_reference
from gan_metrics.stats.references import open_reference
from gan_metrics.stats.statistics import Statistics
from gan_metrics.utils.result_warning import ResultWarning

__all__ = ["Input", "Side", "open_side"]

Input = str | os.PathLike[str] | Statistics | Features | Generated | Iterable[Any]
"""A set of images by its path, URL or name (:func:`~gan_metrics.images.sources.open_source`), a
file of statistics or of features, ``ref:NAME`` for registered statistics, or one of these as an
object; the images that a generator draws; or a tensor, array, list, dataset or loader of images."""


@dataclass(frozen=True)
class Side:
    """One side: images, statistics or features; and, once embedded, images and their features.

    Attributes:
        source: The images.
        statistics: Their moments.
        features: Their features.
        stored: Kind of features to the moments that a file holds of it, beside the above.
    """

    source: ImageSource | None = None
    statistics: Statistics | None = None
    features: Features | None = None
    stored: Mapping[str, Statistics] = field(default_factory=dict)

    def of(self, kind: str) -> Side:
        """The side as the moments that its file holds of a kind of features, if it does."""
        kept = self.stored.get(kind) if self.source is None else None
        return self if kept is None else replace(self, statistics=kept)

    def called(self, description: str) -> Side:
        """The same statistics or features under the name of where they come from."""
        statistics = self.statistics and replace(self.statistics, description=description)
        features = self.features and replace(self.features, description=description)
        stored = {k: replace(one, description=description) for k, one in self.stored.items()}
        return replace(self, statistics=statistics, features=features, stored=stored)

    @property
    def stated(self) -> FeatureSpec | None:
        """The feature space that its file speaks of, also if it holds images beside moments."""
        kept = next(iter(self.stored.values()), None)
        return self.spec or (None if kept is None else kept.spec)

    @property
    def known(self) -> Features | Statistics:
        """What is known of its images, once they are embedded."""
        known = self.features or self.statistics
        assert known is not None  # noqa: S101
        return known

    @property
    def moments(self) -> Moments:
        """Mean and covariance, once they are known."""
        return self.known.moments

    @property
    def array(self) -> npt.NDArray[np.float32] | None:
        """The features, once they are known; ``None`` where only the moments are."""
        return None if self.features is None else self.features.array

    @property
    def count(self) -> int | None:
        """How many images there are, if it is known."""
        return self.moments.n if self.features is None else len(self.features.array)

    @property
    def dim(self) -> int:
        """The number of dimensions, once it is known.

        Raises:
            UsageError: When the features are maps, not vectors.
        """
        if self.features is None:
            return self.moments.dim
        shape = self.features.array.shape
        if len(shape) != 2:
            raise UsageError(
                f"{self.description} has maps of shape {shape[1:]}, and vectors are needed: choose "
                "another --pool"
            )
        return int(shape[1])

    @property
    def spec(self) -> FeatureSpec | None:
        """The feature space, if it is known."""
        known = self.features or self.statistics
        return None if known is None else known.spec

    @property
    def protocol(self) -> str | None:
        """The name of the protocol they were made by, if it is known."""
        known = self.features or self.statistics or next(iter(self.stored.values()), None)
        return None if known is None else known.protocol

    @property
    def digest(self) -> str | None:
        """What stands for the set: the hash of its files, else that of its features or moments."""
        known = self.features or self.statistics
        if known is None:
            return None
        return known.identity

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """Pairs of a name and a reason for the images that were left out."""
        if self.statistics is not None:
            listed = self.statistics.source.get("skipped_files", ())
            return [(str(name), str(reason)) for name, reason in listed]
        return () if self.features is None else self.features.skipped

    @property
    def resolutions(self) -> set[tuple[int, int]]:
        """Width and height of its images, as far as they are known."""
        if self.statistics is not None:
            size = self.statistics.resolution
            return set() if size is None else {size}
        return set() if self.features is None else set(self.features.tally.sizes)

    @property
    def warnings(self) -> Sequence[ResultWarning]:
        """What a reader of its number should know."""
        known = self.features or self.statistics
        return () if known is None else known.warnings

    @property
    def description(self) -> str:
        """What it is, for a person."""
        if self.statistics is not None:
            return self.statistics.description or "the statistics"
        if self.features is not None:
            return self.features.description or "the features"
        assert self.source is not None  # noqa: S101
        return self.source.description


def open_side(given: Input, options: Options, *, single: bool = False) -> Side:
    """Look at what was given.

    Args:
        given: A path or an object.
        options: Whether folders below are entered.
        single: Whether one image file is a set.

    Raises:
        UsageError: When it is of another type, or no reference has that name.
        InputError: When nothing is there, or it cannot be read.
        WeightsError: When a registered reference cannot be had.
    """
    if isinstance(given, Statistics):
        return Side(statistics=given)
    if isinstance(given, Features):
        return Side(features=given)
    if isinstance(given, Generated):
        return Side(source=given)
    if is_object(given):
        return Side(source=open_object(given))
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
        return _of_reference(open_reference(name, progress=options.get("progress")))
    if is_remote(given):
        return _open_remote(Place(os.fspath(given)), options)
    if single and is_image(given):
        return Side(source=SingleSource(Path(given)))
    found = probe(given)
    if claims_features(found):
        features = read_features(found)
        if features.array.ndim == 4 and features.spec == FeatureSpec():
            raise InputError(
                f"{os.fspath(given)} holds {features.array.dtype} of shape {features.array.shape} "
                "without a header: images must be uint8, 0–255, and features n × D"
            )
        return Side(features=features)
    if claims_statistics(found):
        return _of_reference(read_reference(found))
    if is_image_batch(found):
        batch = ArraySource(found)
        batch.prepare()
        return Side(source=batch)
    return Side(source=open_source(given, recursive=options.get("recursive", True)))


def _open_remote(place: Place, options: Options) -> Side:
    """What lies at a URL; a file that may hold statistics or features is copied and looked at."""
    if Path(place.name).suffix.lower() not in _WHOLE:
        return Side(source=open_source(place.url, recursive=options.get("recursive", True)))
    copy = place.fetch()
    with place.speaks_for(copy):
        found = open_side(copy.path, options).called(place.url)
    if found.source is None:
        return found
    return replace(found, source=Copied(place, copy, found.source))


_WHOLE = frozenset((".npy", ".npz", ".parquet", ".pkl", ".pt", ".pth", ".safetensors"))
"""Extensions of remote files that may be statistics or features."""

_REGISTERED = "ref:"
"""Before the name of a registered reference."""


def _of_reference(found: Reference) -> Side:
    """What a file of statistics holds: the main ones, or images with statistics beside them."""
    if found.images is not None:
        return Side(source=found.images, stored=found.statistics.kinds)
    return Side(statistics=found.statistics, stored=found.statistics.kinds)
