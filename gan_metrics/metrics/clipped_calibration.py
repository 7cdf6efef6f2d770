"""Calibration of the clipped metrics: the median radius, and the coverage of good images.

Clipped coverage is calibrated as follows (Salvy et al. 2025, arXiv 2507.01761): if j of the m
generated images are as good as real ones and the others are in no ball, the number of images in a
ball is beta-binomial, and the expected score is ::

    f(j) = (1/k) Σ_i min(i, k) C(j, i) B(k + i, n − k + j − i) / B(k, n − k),   f(j) = 0 for j < k
         = 1 − (1/k) Σ_{i<k} (k − i) C(j, i) B(k + i, n − k + j − i) / B(k, n − k)

The result is the share of j = 0 … m with f(j) below the score.
"""

from __future__ import annotations

import math

import numpy as np

from gan_metrics.utils.array_types import Floats

__all__ = ["calibrated", "expected_coverage", "squared_median"]


_EQUAL = 1e-12
"""Relative difference below which scores are equal."""


def squared_median(squared: Floats) -> float:
    """Return the square of the median of the roots; exact if it is one of them."""
    n = len(squared)
    ordered = np.partition(squared, ((n - 1) // 2, n // 2))
    low, high = float(ordered[(n - 1) // 2]), float(ordered[n // 2])
    return low if low == high else ((math.sqrt(low) + math.sqrt(high)) / 2) ** 2


def expected_coverage(j: int, k: int, n: int) -> float:
    """Return f(j) of the module, from the ratios of successive terms."""
    if j < k:
        return 0.0
    t, i = np.arange(k), np.arange(k - 1)
    first = np.log((n - k + t) / (n - k + j + t)).sum()
    ratios = np.log((j - i) / (i + 1) * ((k + i) / (n - k + j - i - 1)))
    logs = first + np.concatenate([[0.0], np.cumsum(ratios)])
    return 1.0 - float(((k - t) * np.exp(logs)).sum()) / k


def calibrated(score: float, k: int, n: int, m: int) -> float:
    """Return the share of j = 0 … m with f(j) < score; f is increasing."""
    low, high = 0, m + 1
    while low < high:
        middle = (low + high) // 2
        if expected_coverage(middle, k, n) < score * (1 - _EQUAL):
            low = middle + 1
        else:
            high = middle
    return low / (m + 1)
