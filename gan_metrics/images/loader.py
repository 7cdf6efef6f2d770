"""Load batches of a source: images are decoded ahead of the network, in threads or processes."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from gan_metrics.errors import ResourceError
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.images.pipeline import (
    THREADS,
    DecodedImage,
    EncodedImage,
    load_image,
    work_ahead,
)
from gan_metrics.images.sources import ImageSource
from gan_metrics.protocols.spec import Decoding

__all__ = ["Batch", "load"]

_TINY = 1 << 11
"""Pixels of an image below which two threads are slower than one, waiting for the GIL."""

_WAITING = 1e-3
"""Seconds per tiny image above which the time is spent waiting, for example for a server."""

_PIECE = 8
"""Images per task of a thread, unless they are tiny: starting a task takes time too."""

_AHEAD = 2
"""Batches that are decoded ahead, so that the network never waits."""


@dataclass(frozen=True)
class Batch:
    """Decoded images, grouped by size.

    Attributes:
        indices: Index in the source of each decoded image, in the order of :meth:`groups`.
        metadata: Metadata of each of these.
        failures: Error messages by index, for images that could not be decoded.
        digests: SHA-256 of the encoded bytes by index, for readable images.
    """

    indices: tuple[int, ...]
    metadata: tuple[ImageMetadata, ...]
    failures: dict[int, str]
    digests: dict[int, bytes]
    _buffer: torch.Tensor
    _sizes: tuple[tuple[int, int], ...]

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory; called by torch's loader in its own thread."""
        return replace(self, _buffer=self._buffer.pin_memory())

    def groups(self, device: torch.device) -> list[torch.Tensor]:
        """Return the pixels on a device: tensors ``uint8``, ``N × 3 × H × W``, one for each size.

        All sizes are copied in one transfer, from pinned memory if the device is a GPU.
        """
        buffer = self._buffer
        if device.type == "cuda":
            buffer = buffer if buffer.is_pinned() else buffer.pin_memory()
        buffer = buffer.to(device, non_blocking=True)
        groups, start = [], 0
        for (height, width), same in itertools.groupby(self._sizes):
            n = len(list(same))
            end = start + n * 3 * height * width
            groups.append(buffer[start:end].view(n, 3, height, width))
            start = end
        return groups


def load(
    source: ImageSource,
    images: Iterable[int | EncodedImage],
    decoding: Decoding,
    *,
    batch_size: int,
    workers: int,
    pin: bool = False,
) -> Iterator[Batch]:
    """Read and decode images ahead of their use.

    Args:
        source: The set.
        images: Indices of images, or images that were already read, in this order; iterated as
            they are needed.
        decoding: Handling of alpha and orientation.
        batch_size: Images per batch, ≥ 1.
        workers: Number of decoding processes; 0 uses threads of this process.
        pin: Whether batches of worker processes are put into pinned memory.

    Yields:
        The batches, in order. Images that fail are in ``failures``; no error is raised for them.

    Raises:
        ResourceError: If a worker process dies.
    """
    remaining = iter(images)
    if workers == 0:
        yield from _in_threads(source, remaining, decoding, batch_size)
        return
    loader = DataLoader(
        _Decoder(source, decoding),
        batch_sampler=iter(lambda: list(itertools.islice(remaining, batch_size)), []),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
    )
    batches = iter(loader)
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):
            raise
        _unlock(batches)
        raise ResourceError(
            f"a decoding process died, perhaps for lack of memory: {error}; "
            "try fewer --workers, or --workers 0"
        ) from error


def _unlock(batches: object) -> None:
    """Release the locks of a loader whose process died, so that it can end.

    torch reports the death by raising from a signal handler, at any point of this thread, possibly
    just after it acquired the lock of a queue. Then nobody would release the lock, and the end of
    the loader and of Python would wait forever.
    """
    for queue in getattr(batches, "_index_queues", ()):
        lock = getattr(queue, "_notempty", None)
        if lock is not None:
            lock.acquire(timeout=1)  # a living thread releases it within this time
            lock.release()


class _Decoder(Dataset[DecodedImage]):
    """The dataset that torch's worker processes run."""

    def __init__(self, source: ImageSource, decoding: Decoding) -> None:
        self._source = source
        self._decoding = decoding

    def __getitem__(self, image: int | EncodedImage) -> DecodedImage:
        return load_image(self._source, image, self._decoding)


def _collate(images: list[DecodedImage]) -> Batch | None:
    """Group images by size, with all pixels in one flat buffer.

    Returns:
        The batch; ``None`` without images.
    """
    if not images:
        return None
    good = sorted(
        (
            (image.pixels, image.metadata, image.index)
            for image in images
            if image.pixels is not None
        ),
        key=lambda item: item[0].shape,
    )
    flat = [pixels.reshape(-1) for pixels, _, _ in good]
    return Batch(
        indices=tuple(index for _, _, index in good),
        metadata=tuple(metadata for _, metadata, _ in good if metadata is not None),
        failures={image.index: image.failure for image in images if image.failure is not None},
        digests={image.index: image.digest for image in images if image.digest is not None},
        _buffer=torch.from_numpy(np.concatenate(flat) if flat else np.empty(0, np.uint8)),
        _sizes=tuple((pixels.shape[1], pixels.shape[2]) for pixels, _, _ in good),
    )


def _in_threads(
    source: ImageSource,
    images: Iterator[int | EncodedImage],
    decoding: Decoding,
    batch_size: int,
) -> Iterator[Batch]:
    """Yield batches decoded by threads; the first images decide how they are distributed.

    No reference to an image is kept here once its batch is yielded.
    """
    begun, tiny = _first(source, images, decoding, min(_PIECE, batch_size))
    size = batch_size if tiny else min(_PIECE, batch_size)

    def pieces() -> Iterator[Sequence[int | EncodedImage | DecodedImage]]:
        yield [begun.popleft() for _ in range(len(begun))]
        while piece := list(itertools.islice(images, size)):
            yield piece

    def load_piece(piece: Sequence[int | EncodedImage | DecodedImage]) -> deque[DecodedImage]:
        return deque(
            image if isinstance(image, DecodedImage) else load_image(source, image, decoding)
            for image in piece
        )

    decoded = work_ahead(
        source,
        load_piece,
        pieces(),
        ahead=lambda: math.ceil(_AHEAD * batch_size / size),
        threads=1 if tiny else THREADS,
        name="decode",
    )
    with contextlib.closing(decoded):
        each = (piece.popleft() for piece in decoded for _ in range(len(piece)))
        yield from iter(lambda: _collate(list(itertools.islice(each, batch_size))), None)


def _first(
    source: ImageSource, images: Iterator[int | EncodedImage], decoding: Decoding, n: int
) -> tuple[deque[DecodedImage], bool]:
    """Return the first images, and whether they are so small that one thread is faster."""
    found: deque[DecodedImage] = deque()
    quickest = math.inf
    for image in itertools.islice(images, n):
        start = time.perf_counter()
        found.append(load_image(source, image, decoding))
        quickest = min(quickest, time.perf_counter() - start)
    sizes = [image.pixels[0].size for image in found if image.pixels is not None]
    return found, bool(sizes) and max(sizes) < _TINY and quickest < _WAITING
