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
"""Rows that are added to the moments at a time."""


@dataclass(frozen=True, eq=False)
class Features:
    """The features of a set of images.

    Attributes:
        names: Names of the images, one for each row.
        array: ``float32``, ``n × D``; memory-mapped if large. Unpooled feature maps keep their
            shape, ``n × C × H × W``.
        spec: The feature space.
        skipped: Name and reason for each image that was left out.
        tally: Counts of the images' metadata.
        digest: SHA-256 in hex of the SHA-256 of each image's bytes, in order.
        image_digests: SHA-256 of each image's bytes, one for each row; empty if unknown.
        warnings: Pairs of a code and a message.
        protocol: Name of the protocol.
        known_moments: Their moments, if already computed.
        description: Where they come from, in words.
        source: The images, if they can be read again.
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
        """Number of images."""
        return len(self.array)

    @property
    def dim(self) -> int:
        """Number of dimensions.

        Raises:
            UsageError: If the features are maps, not vectors.
        """
        if self.array.ndim != 2:
            raise UsageError(
                f"{self.description} has feature maps of shape {self.array.shape[1:]}, but vectors "
                "are needed: choose another --pool"
            )
        return int(self.array.shape[1])

    @property
    def resolutions(self) -> set[tuple[int, int]]:
        """Width and height of the images, as far as known."""
        return set(self.tally.sizes)

    @functools.cached_property
    def identity(self) -> str:
        """Identity of the set: the digest of its files, else the SHA-256 of the rows, in hex."""
        return self.digest or hashlib.sha256(np.ascontiguousarray(self.array).data).hexdigest()

    @functools.cached_property
    def moments(self) -> Moments:
        """Return mean and covariance.

        Raises:
            UsageError: If the features are maps, not vectors.
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
