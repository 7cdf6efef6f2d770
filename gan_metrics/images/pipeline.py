"""Read, hash and decode images: a function for one image, and a pool of threads for many."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gan_metrics.errors import ImageError
from gan_metrics.images.decode import decode
from gan_metrics.images.metadata import ImageMetadata
from gan_metrics.images.sources.base import ImageSource
from gan_metrics.protocols.spec import Decoding

__all__ = [
    "THREADS",
    "DecodedImage",
    "EncodedImage",
    "HashedImages",
    "load_image",
    "read_image",
    "work_ahead",
]

THREADS = 2
"""Threads of a pool; Pillow and hashlib release the GIL for most of their work."""

_HELD_BYTES = 256 << 20
"""Encoded bytes held between hashing and decoding: more than a chunk of most sets."""

_READ_AHEAD = 128
"""Images that are read ahead."""

_FIRST = 8
"""Images that are read ahead before any size is known."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class EncodedImage:
    """One image of a source as stored.

    Attributes:
        index: Its index in the source.
        data: Its bytes; ``None`` if it is unreadable, or its bytes are not held in memory.
        digest: SHA-256 of its bytes; ``None`` if it is unreadable.
        failure: Why it is unreadable; ``None`` if it is readable.
    """

    index: int
    data: bytes | None
    digest: bytes | None
    failure: str | None


@dataclass(frozen=True)
class DecodedImage:
    """One image of a source, read and decoded.

    Attributes:
        index: Its index in the source.
        size: Length of the encoded bytes, 0 if it is unreadable.
        digest: SHA-256 of the encoded bytes; ``None`` if it is unreadable.
        pixels: ``uint8``, 3 × H × W, RGB; ``None`` if it cannot be decoded.
        metadata: Format, mode and size; ``None`` if it cannot be decoded.
        failure: Why it cannot be read or decoded; ``None`` if it can.
    """

    index: int
    size: int
    digest: bytes | None
    pixels: npt.NDArray[np.uint8] | None
    metadata: ImageMetadata | None
    failure: str | None


def read_image(source: ImageSource, index: int) -> EncodedImage:
    """Read and hash one image. A failure is recorded in the result.

    Raises:
        ResourceError: If the failure is not caused by the image.
    """
    try:
        data = source.read(index)
    except ImageError as error:
        return EncodedImage(index, None, None, str(error))
    return EncodedImage(index, data, hashlib.sha256(data).digest(), None)


def load_image(source: ImageSource, image: int | EncodedImage, decoding: Decoding) -> DecodedImage:
    """Read, hash and decode one image. A failure is recorded in the result.

    Args:
        source: The images.
        image: The index of the image, or the result of :func:`read_image`. It is read again only
            if its bytes are not held.
        decoding: Handling of alpha and orientation.

    Raises:
        ResourceError: If the failure is not caused by the image.
    """
    if not isinstance(image, EncodedImage):
        image = read_image(source, image)
    elif image.data is None and image.failure is None:
        image = read_image(source, image.index)
    index, data, digest = image.index, image.data, image.digest
    if data is None:
        return DecodedImage(index, 0, digest, None, None, image.failure)
    try:
        pixels, metadata = decode(data, decoding)
    except ImageError as error:
        return DecodedImage(index, len(data), digest, None, None, str(error))
    return DecodedImage(index, len(data), digest, pixels, metadata, None)


def work_ahead(
    source: ImageSource,
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    ahead: Callable[[], int],
    threads: int = THREADS,
    name: str = "images",
) -> Generator[_Result, None, None]:
    """Apply a function to items in threads, some items ahead of the requested one.

    Args:
        source: The source that the function reads. If reading runs a user's generator (attribute
            ``draws``), the end waits for the threads, because a running generator would change
            the user's random states.
        function: Called in the threads.
        items: Iterated in the caller's thread, as results are requested.
        ahead: Function that returns how many items may be processed ahead.
        threads: Number of threads.
        name: Prefix of the threads' names.

    Yields:
        The results, in the order of the items. An exception of the function is raised at its item.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    waiting: deque[Future[_Result]] = deque()
    remaining = iter(items)
    try:
        while True:
            for item in itertools.islice(remaining, max(0, ahead() + 1 - len(waiting))):
                waiting.append(pool.submit(function, item))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        interrupted = isinstance(sys.exc_info()[1], KeyboardInterrupt)
        wait = getattr(source, "draws", False) and not interrupted
        pool.shutdown(wait=wait, cancel_futures=True)


class HashedImages:
    """Images that are read and hashed ahead, in order, with their bytes kept for decoding.

    So an image is read once, although its hash is needed before it is known whether it must be
    decoded. At most 256 MiB are held; beyond that only hashes are kept, and images are read again
    for decoding.

    Args:
        source: The images.
        indices: Indices of the images, in this order.
    """

    def __init__(self, source: ImageSource, indices: Iterable[int]) -> None:
        self._sizes: dict[int, int] = {}
        self._held = 0
        self._count = self._bytes = 0
        self._images = work_ahead(
            source, partial(read_image, source), indices, ahead=self._room, name="read"
        )

    def take(self, n: int) -> list[EncodedImage]:
        """Return the next ``n`` images, with their bytes unless the limit is reached.

        Raises:
            ResourceError: If an image is unreadable for a reason outside of the image.
        """
        return [self._hold(image) for image in itertools.islice(self._images, n)]

    def release(self, index: int) -> None:
        """Release the bytes of an image."""
        self._held -= self._sizes.pop(index, 0)

    def close(self) -> None:
        """End the threads."""
        self._images.close()

    def _hold(self, image: EncodedImage) -> EncodedImage:
        size = len(image.data or b"")
        self._count += 1
        self._bytes += size
        if self._held + size > _HELD_BYTES:
            return replace(image, data=None)
        self._sizes[image.index] = size
        self._held += size
        return image

    def _room(self) -> int:
        """Return how many more images of the mean size so far can be held."""
        if not self._count:
            return _FIRST
        in_budget = (_HELD_BYTES - self._held) * self._count // max(1, self._bytes)
        return min(_READ_AHEAD, max(THREADS, in_budget))
