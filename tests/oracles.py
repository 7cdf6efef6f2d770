"""Naive definitions, written for being read; slow and obvious."""

from __future__ import annotations

import numpy as np
import scipy.linalg


def frechet_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, by SciPy's matrix square root."""
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cov_x @ cov_y)
    shift = x.mean(0) - y.mean(0)
    return float(shift @ shift + np.trace(cov_x + cov_y - 2 * np.real(root)))


def frechet_nuclear(x: np.ndarray, y: np.ndarray) -> float:
    """Exact for any n: the nuclear norm of the product of the two centred feature matrices."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    centred_x = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    centred_y = (y - y.mean(0)) / np.sqrt(len(y) - 1)
    shift = x.mean(0) - y.mean(0)
    traces = (centred_x**2).sum() + (centred_y**2).sum()
    nuclear = np.linalg.svd(centred_x @ centred_y.T, compute_uv=False).sum()
    return float(shift @ shift + traces - 2 * nuclear)


def bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """Bilinear with half-pixel centres and no antialiasing, pixel by pixel; ``H × W``."""
    height, width = image.shape
    out = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            y = max((i + 0.5) * height / size - 0.5, 0.0)
            x = max((j + 0.5) * width / size - 0.5, 0.0)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            dy, dx = y - y0, x - x0
            out[i, j] = (
                image[y0, x0] * (1 - dy) * (1 - dx)
                + image[y0, x1] * (1 - dy) * dx
                + image[y1, x0] * dy * (1 - dx)
                + image[y1, x1] * dy * dx
            )
    return out
