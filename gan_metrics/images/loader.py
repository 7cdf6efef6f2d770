"""From a source to batches: decoded ahead of the network, in threads or in processes."""

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
"""Pixels of an image below which two threads take longer than one: they wait for the lock."""

_WAITING = 1e-3
"""Seconds for a tiny image from which on they go by with waiting, say for a server."""

_PIECE = 8
"""Images that a thread takes at a time, unless they are tiny: handing over takes time as well."""

_AHEAD = 2
"""Batches that wait decoded, so that the network never does."""


@dataclass(frozen=True)
class Batch:
    """Decoded images, those of one size beside each other.

    Attributes:
        indices: The index in the source of each image that was decoded, in the order of
            :meth:`groups`.
        metadata: Of each of these.
        failures: Index to what went wrong, for the images that could not be decoded.
        digests: Index to SHA-256 of the encoded bytes, for every image that could be read.
    """

    indices: tuple[int, ...]
    metadata: tuple[ImageMetadata, ...]
    failures: dict[int, str]
    digests: dict[int, bytes]
    _buffer: torch.Tensor
    _sizes: tuple[tuple[int, int], ...]

    def pin_memory(self) -> Batch:
        """The same in pinned memory; called by torch's loader, in a thread of its own."""
        return replace(self, _buffer=self._buffer.pin_memory())

    def groups(self, device: torch.device) -> list[torch.Tensor]:
        """The pixels on a device: tensors ``uint8``, ``N × 3 × H × W``, one for each size.

        All sizes cross the bus as one transfer, from pinned memory where the device is a GPU.
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
        images: Which images of it, in this order, by their indices or already read; iterated as
            they are needed.
        decoding: What to do with alpha and orientation.
        batch_size: Images per batch, ≥ 1.
        workers: Processes that decode; 0 decodes in threads of this process.
        pin: Whether the worker processes' batches are put into pinned memory.

    Yields:
        The batches, in order. An image that fails is in ``failures``; nothing is raised for it.

    Raises:
        ResourceError: When a worker process dies.
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
            f"a decoding process died (killed for lack of memory?): {error}; "
            "try fewer --workers, or --workers 0"
        ) from error


def _unlock(batches: object) -> None:
    """Give back the locks of a loader one of whose processes died, so that it can be ended.

    torch tells of the death by raising from a signal's handler, wherever this thread happens to be:
    perhaps where it has just taken the lock of a queue, which then nobody gives back, and for which
    the loader's end, and that of Python, would wait for ever.
    """
    for queue in getattr(batches, "_index_queues", ()):
        lock = getattr(queue, "_notempty", None)
        if lock is not None:
            lock.acquire(timeout=1)  # whoever is alive gives it back within that
            lock.release()


class _Decoder(Dataset[DecodedImage]):
    """What torch's worker processes run."""

    def __init__(self, source: ImageSource, decoding: Decoding) -> None:
        self._source = source
        self._decoding = decoding

    def __getitem__(self, image: int | EncodedImage) -> DecodedImage:
        return load_image(self._source, image, self._decoding)


def _collate(images: list[DecodedImage]) -> Batch | None:
    """Put images of one size beside each other, all pixels into one flat buffer.

    Returns:
        ``None`` where there are no images.
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
    """Batches that threads of this process decode; the first images decide how they share them.

    No reference to an image is kept here once its batch is given out.
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
    """The first images, and whether they are so small that two threads take longer than one."""
    found: deque[DecodedImage] = deque()
    quickest = math.inf
    for image in itertools.islice(images, n):
        start = time.perf_counter()
        found.append(load_image(source, image, decoding))
        quickest = min(quickest, time.perf_counter() - start)
    sizes = [image.pixels[0].size for image in found if image.pixels is not None]
    return found, bool(sizes) and max(sizes) < _TINY and quickest < _WAITING
