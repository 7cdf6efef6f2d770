"""Pixels as the plainest of image files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["netpbm"]


def netpbm(pixels: npt.NDArray[np.uint8]) -> bytes:
    """An image as a binary PPM, or PGM where it is grey.

    Args:
        pixels: ``uint8``, H × W × 3 or H × W × 1.
    """
    height, width, channels = pixels.shape
    kind = b"P6" if channels == 3 else b"P5"
    return b"%s\n%d %d\n255\n" % (kind, width, height) + pixels.tobytes()
