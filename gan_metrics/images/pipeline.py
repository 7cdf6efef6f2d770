"""Read, hash and decode images: one function for one image, one pool of threads for many."""

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
"""Threads of a pool; Pillow and hashlib release the interpreter lock for most of their work."""

_HELD_BYTES = 256 << 20
"""Encoded bytes held between hashing and decoding: more than a chunk of most sets."""

_READ_AHEAD = 128
"""Images that are read ahead of the one that is asked for."""

_FIRST = 8
"""Images that are read ahead while no size is known."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class EncodedImage:
    """One image of a source as it is stored.

    Attributes:
        index: Its index in the source.
        data: Its bytes; ``None``: it cannot be read, or its bytes are not held in memory.
        digest: SHA-256 of its bytes; ``None``: it cannot be read.
        failure: Why it cannot be read; ``None``: it can.
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
        size: Length of the encoded bytes, 0 where it cannot be read.
        digest: SHA-256 of the bytes that were decoded; ``None``: it cannot be read.
        pixels: ``uint8``, 3 × H × W, RGB; ``None``: it cannot be decoded.
        metadata: Format, mode and size; ``None``: it cannot be decoded.
        failure: Why it cannot be read or decoded; ``None``: it can.
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
        ResourceError: When the failure is not the fault of the image.
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
        image: The index of the image, or what :func:`read_image` returned. It is read again only
            if its bytes are not held.
        decoding: What to do with alpha and orientation.

    Raises:
        ResourceError: When the failure is not the fault of the image.
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
    """Apply a function to items in threads, some items ahead of the one that is asked for.

    Args:
        source: What the function reads. Where reading runs a generator of the user (attribute
            ``draws``), the end waits for the threads: a generator that still runs would change
            random states that belong to its owner.
        function: Called in the threads.
        items: Iterated in the thread of the caller, as the results are taken.
        ahead: Returns how many items are in work beside the one that is asked for.
        threads: How many threads.
        name: The prefix of the threads' names.

    Yields:
        The results, in the order of the items. An exception of the function is raised in its place.
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
    """Images that are read and hashed ahead, in order, and whose bytes are held to be decoded.

    An image is so read once although its hash is needed before it is known whether it must be
    decoded. At most 256 MiB are held; of images beyond that only the hash is kept, and
    whoever decodes them reads them again.

    Args:
        source: The images.
        indices: Which of them, in this order.
    """

    def __init__(self, source: ImageSource, indices: Iterable[int]) -> None:
        self._sizes: dict[int, int] = {}
        self._held = 0
        self._count = self._bytes = 0
        self._images = work_ahead(
            source, partial(read_image, source), indices, ahead=self._room, name="read"
        )

    def take(self, n: int) -> list[EncodedImage]:
        """The next ``n`` images, each with its bytes unless the limit is reached.

        Raises:
            ResourceError: When an image cannot be read, and not for its own fault.
        """
        return [self._hold(image) for image in itertools.islice(self._images, n)]

    def release(self, index: int) -> None:
        """Note that the bytes of an image are no longer needed."""
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
        """How many images of the mean size so far fit beside those that are held."""
        if not self._count:
            return _FIRST
        fitting = (_HELD_BYTES - self._held) * self._count // max(1, self._bytes)
        return min(_READ_AHEAD, max(THREADS, fitting))
