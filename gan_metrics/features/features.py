"""The features of a set of images."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import UsageError
from gan_metrics.images.metadata import MetadataSummary
from gan_metrics.metrics.moments import Moments, MomentsStream
from gan_metrics.protocols.spec import FeatureSpec

if TYPE_CHECKING:
    from gan_metrics.images.sources import ImageSource

__all__ = ["Features"]

_BLOCK = 4096
"""GrowingArray that moments take in at a time."""


@dataclass(frozen=True, eq=False)
class Features:
    """The features of a set of images.

    Attributes:
        names: Of the images, one for each row.
        array: ``float32``, ``n × D``; a memory map where it would fill the memory. Maps of an
            unpooled layer keep their shape, ``n × C × H × W``.
        spec: The feature space.
        skipped: Pairs of a name and a reason for the images that were left out.
        tally: Counts of the facts about the images.
        digest: SHA-256, in hex, over the SHA-256 of each image's bytes, in order.
        image_digests: SHA-256 of each image's bytes, one for each row; empty where unknown.
        warnings: Pairs of a code and a message.
        protocol: Name of the protocol they were made by.
        known_moments: Their moments, if they were computed on the way.
        description: Where they come from, for a person.
        source: The images they were computed from, where those can be read again.
    """

    names: Sequence[str]
    array: npt.NDArray[np.float32]
    spec: FeatureSpec
    skipped: Sequence[tuple[str, str]] = ()
    tally: MetadataSummary = field(default_factory=MetadataSummary)
    digest: str = ""
    image_digests: Sequence[bytes] = ()
    warnings: Sequence[tuple[str, str]] = ()
    protocol: str | None = None
    known_moments: Moments | None = None
    description: str = "the features"
    source: ImageSource | None = None

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.array)

    @property
    def dim(self) -> int:
        """The number of dimensions.

        Raises:
            UsageError: When the features are maps, not vectors.
        """
        if self.array.ndim != 2:
            raise UsageError(
                f"{self.description} has maps of shape {self.array.shape[1:]}, and vectors are "
                "needed: choose another --pool"
            )
        return int(self.array.shape[1])

    @property
    def resolutions(self) -> set[tuple[int, int]]:
        """Width and height of the images, as far as they are known."""
        return set(self.tally.sizes)

    @functools.cached_property
    def identity(self) -> str:
        """What stands for the set: the digest of its files, else SHA-256 of the rows, in hex."""
        return self.digest or hashlib.sha256(np.ascontiguousarray(self.array).data).hexdigest()

    @functools.cached_property
    def moments(self) -> Moments:
        """Mean and covariance.

        Raises:
            UsageError: When the features are maps, not vectors.
        """
        if self.known_moments is not None:
            return self.known_moments
        if self.array.ndim != 2:
            raise UsageError(
                f"these features are maps of shape {self.array.shape[1:]}; metrics need vectors"
            )
        stream = MomentsStream()
        for start in range(0, len(self.array), _BLOCK):
            stream.add(self.array[start : start + _BLOCK])
        return stream.finish()
