"""Compute the features of a source: chunks of all ranks, put together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gan_metrics.backbones.engines import ENGINES
from gan_metrics.backbones.recipe import FeatureSpace
from gan_metrics.distributed import Comm
from gan_metrics.errors import ComputationError, ImageError, InputError
from gan_metrics.features.cache import CHUNK
from gan_metrics.features.chunks import ChunkStream, ExtractedChunk, ExtractionOptions, draw_images
from gan_metrics.features.features import Features
from gan_metrics.files.growing_array import GrowingArray
from gan_metrics.files.packed_digests import UNREADABLE, PackedDigests
from gan_metrics.images.metadata import MetadataSummary
from gan_metrics.images.sources import ImageSource
from gan_metrics.metrics.moments import merged
from gan_metrics.utils.result_warning import unique

if TYPE_CHECKING:
    from gan_metrics.backbones.multi_space import Embedder

__all__ = ["extract"]


def extract(
    source: ImageSource,
    spaces: Sequence[FeatureSpace],
    networks: Callable[[], Embedder],
    how: ExtractionOptions,
) -> list[Features]:
    """Embed every image of a source, or take its features from the cache.

    Each image is decoded once and passes each network once, whatever the number of spaces. If
    several ranks work together, each one embeds its own chunks, and all ranks get all features.

    Args:
        source: The images.
        spaces: The feature spaces, with equal decoding.
        networks: Function that returns the networks of these spaces. Called, and torch imported,
            only if a chunk is missing.
        how: Options for batches, workers, bad images, cache and ranks.

    Returns:
        The features in each space.

    Raises:
        ImageError: For the first bad image, unless ``how.on_error`` is ``"skip"``.
        ComputationError: If no image is left, or a feature is not finite.
        ResourceError: If the disk is full, or a decoding process or a rank dies.
    """
    comm = how.comm
    indices = draw_images(len(source.names), how.max_images, how.seed)
    chunks = [indices[i : i + CHUNK] for i in range(0, len(indices), CHUNK)]
    own = [chunk for number, chunk in enumerate(chunks) if comm.owns(number)]
    stream: ChunkStream
    if distribute := ENGINES[how.engine].load("stream"):
        stream = distribute(source, spaces, how, own, len(indices))
    else:
        stream = ChunkStream(source, spaces, networks, how, own, len(indices))
    found = _Collected(source, spaces, how, len(indices))
    own_chunks = stream.run()
    with comm.fail_together():
        try:
            _same_images(source, comm)
            for first in range(0, len(chunks), comm.size):
                made = comm.gather(_reduce(next(own_chunks, None), how))
                for chunk, finished in zip(chunks[first : first + comm.size], made, strict=False):
                    assert finished is not None  # noqa: S101
                    found.take(chunk, finished)
                stream.report(min((first + comm.size) * CHUNK, len(indices)))
            next(own_chunks, None)  # finish the generator
            return found.features(indices, comm, stream)
        except Exception:
            own_chunks.close()  # now, because its threads may still be running
            raise


def _reduce(finished: ExtractedChunk | None, how: ExtractionOptions) -> ExtractedChunk | None:
    return finished if finished is None or how.features else finished.without_features()


def _same_images(source: ImageSource, comm: Comm) -> None:
    """Refuse ranks that find different images under the same path."""
    names = hashlib.sha256("\0".join(source.names).encode("utf-8", "surrogateescape")).digest()
    seen = comm.gather((len(source.names), names))
    for rank, other in enumerate(seen):
        if other != seen[0]:
            raise InputError(
                f"{source.description}: rank {rank} finds {other[0]} images and rank 0 "
                f"{seen[0][0]}" + (" of other names" if other[0] == seen[0][0] else "") + "; all "
                "ranks need the same files, for example on a shared file system"
            )


class _Collected:
    """Collected features of all chunks in each space, with the provenance of their images."""

    def __init__(
        self, source: ImageSource, spaces: Sequence[FeatureSpace], how: ExtractionOptions, n: int
    ) -> None:
        self._source, self._spaces, self._how = source, spaces, how
        self._rows = [GrowingArray(n) for _ in spaces]
        self._metadata = MetadataSummary()
        self._kept: list[int] = []
        self._skipped: list[tuple[str, str]] = []
        self._digest = hashlib.sha256()
        self._digests = PackedDigests(room=n)

    def take(self, indices: Sequence[int], finished: ExtractedChunk) -> None:
        """Add a chunk; chunks arrive in their order."""
        for position, reason in sorted(finished.failures.items()):
            name = self._source.names[indices[position]]
            if self._how.on_error == "raise":
                raise ImageError(
                    f"{os.path.join(self._source.description, name)!r}: {reason}. "
                    "--on-error skip leaves unreadable images out and lists them"
                )
            self._skipped.append((name, reason))
        here = [indices[position] for position in finished.chunks[0].positions]
        for i, chunk in enumerate(finished.chunks):
            self._check_finite(chunk.features, here)
            if here and self._how.moments:
                self._spaces[i].check_vectors(chunk.features.shape)
            if self._how.features:
                self._rows[i].add(chunk.features)
        for metadata in finished.chunks[0].metadata:
            self._metadata.add(metadata)
        self._kept += here
        for index in indices:
            self._digest.update(finished.digests.get(index, UNREADABLE))
        for index in here:
            self._digests.append(finished.digests[index])

    def features(self, indices: Sequence[int], comm: Comm, stream: ChunkStream) -> list[Features]:
        """Return the features of everything collected."""
        where = self._source.description
        if not self._kept:
            raise ComputationError(f"{where}: none of {len(indices)} images could be decoded")
        warnings = comm.gather([*self._source.warnings, *stream.warnings])
        notes = [note for one in warnings for note in one]
        if self._skipped:
            name, why = self._skipped[0]
            notes.append(
                (
                    "skipped-images",
                    f"{where}: {len(self._skipped)} of {len(indices)} images were left out, "
                    f"first {name!r}: {why}",
                )
            )
        decoding = self._spaces[0].decoding
        notes += [(code, f"{where}: {text}") for code, text in self._metadata.warnings(decoding)]
        return [
            Features(
                names=[self._source.names[index] for index in self._kept],
                array=self._array(i),
                spec=space.spec,
                skipped=self._skipped,
                tally=self._metadata,
                digest=self._digest.hexdigest(),
                image_digests=self._digests,
                warnings=unique([*space.warnings, *notes]),
                protocol=space.protocol.name,
                known_moments=merged(comm.gather(stream.moments(i))) if self._how.moments else None,
                description=where,
            )
            for i, space in enumerate(self._spaces)
        ]

    def _array(self, number: int) -> npt.NDArray[np.float32]:
        empty = np.empty((len(self._kept), 0), np.float32)
        return self._rows[number].array() if self._how.features else empty

    def _check_finite(self, features: npt.NDArray[np.float32], indices: Sequence[int]) -> None:
        finite = np.isfinite(features).all(axis=tuple(range(1, features.ndim)))
        if not finite.all():
            raise ComputationError(
                "the network returns NaN or infinity for "
                f"{self._source.names[indices[int(np.argmin(finite))]]!r} in "
                f"{self._source.description}; check that image, the weights and the precision"
            )
