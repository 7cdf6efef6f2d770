"""Thumbnails of the images of a set."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gan_metrics.images.encode import thumbnail
from gan_metrics.images.pipeline import load_image
from gan_metrics.images.sources import ImageSource
from gan_metrics.protocols.spec import Decoding

__all__ = ["Thumbnails", "data_uri"]

_GREY = 200


class Thumbnails:
    """Thumbnails of the images of a source, by name.

    Args:
        source: The images; ``None``: no images are available.
        size: Longest side, in pixels.
        decoding: How the images are decoded.
    """

    def __init__(
        self, source: ImageSource | None, size: int, decoding: Decoding | None = None
    ) -> None:
        self._source, self._size = source, size
        self._decoding = decoding or Decoding()
        names: Sequence[str] = () if source is None else source.names
        self._positions = {name: i for i, name in enumerate(names)}

    def pixels(self, name: str) -> npt.NDArray[np.uint8]:
        """Return a decoded image, ``H × W × 3``; a gray square if it is not available."""
        position = self._positions.get(name)
        if self._source is not None and position is not None:
            pixels = load_image(self._source, position, self._decoding).pixels
            if pixels is not None:
                return np.ascontiguousarray(pixels.transpose(1, 2, 0))
        return np.full((self._size, self._size, 3), _GREY, np.uint8)

    def uri(self, name: str, quality: int = 80) -> str:
        """Return an image as a ``data:`` URI; empty if it is not available."""
        if name not in self._positions:
            return ""
        return data_uri(self.pixels(name), self._size, quality)


def data_uri(pixels: npt.NDArray[np.uint8], size: int, quality: int = 80) -> str:
    """Return a small JPEG of an image as a ``data:`` URI.

    Args:
        pixels: ``uint8``, ``H × W × 3``.
        size: Longest side in pixels.
        quality: Quality of the JPEG, 1–95.
    """
    small = thumbnail(pixels.transpose(2, 0, 1), size, quality)
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()
