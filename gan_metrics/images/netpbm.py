"""Encode pixels as netpbm, the simplest image format."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["netpbm"]


def netpbm(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return an image as a binary PPM, or PGM if it is gray.

    Args:
        pixels: ``uint8``, H × W × 3 or H × W × 1.
    """
    height, width, channels = pixels.shape
    kind = b"P6" if channels == 3 else b"P5"
    return b"%s\n%d %d\n255\n" % (kind, width, height) + pixels.tobytes()
