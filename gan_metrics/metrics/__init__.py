"""Metrics: pure functions of arrays or moments. No input or output, no printing.

The NumPy paths import no torch.
"""

from gan_metrics.metrics.frechet import (
    FrechetTerms,
    frechet_distance,
    frechet_influence,
    frechet_standard_error,
    frechet_terms,
)
from gan_metrics.moments import Moments

__all__ = [
    "FrechetTerms",
    "Moments",
    "frechet_distance",
    "frechet_influence",
    "frechet_standard_error",
    "frechet_terms",
]
