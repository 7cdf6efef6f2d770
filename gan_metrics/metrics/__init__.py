"""Metrics: pure functions of arrays or moments. No input or output, no printing.

Features are arrays of shape ``(n, D)``, of NumPy or torch, the real ones first. The NumPy paths
import no torch. :data:`~gan_metrics.metrics.registry.METRICS` lists what there is; beside each
function stands one that gives an :class:`Estimate`, the value with its error bar.
"""

from gan_metrics.metrics.class_predictions import inception_score
from gan_metrics.metrics.diversity import bandwidth, fkea, rke, vendi
from gan_metrics.metrics.estimate import Estimate
from gan_metrics.metrics.extrapolation import fd_infinity
from gan_metrics.metrics.feature_likelihood import fld
from gan_metrics.metrics.frechet import (
    FrechetTerms,
    frechet_directions,
    frechet_distance,
    frechet_influence,
    frechet_standard_error,
    frechet_terms,
)
from gan_metrics.metrics.frechet_gradient import frechet_sensitivity
from gan_metrics.metrics.manifold import (
    clipped_coverage,
    clipped_density,
    coverage,
    density,
    p_precision,
    p_recall,
    prdc,
    precision,
    recall,
)
from gan_metrics.metrics.memorization import ct, mifid
from gan_metrics.metrics.mmd import cmmd, kernel_distance, kid
from gan_metrics.metrics.moments import Moments
from gan_metrics.metrics.per_sample import (
    Pointwise,
    authentic,
    authpct,
    nearest_real,
    nearest_reals,
    pointwise,
    rarity,
    realism,
)
from gan_metrics.metrics.sliced_wasserstein import mind, swd

__all__ = [
    "Estimate",
    "FrechetTerms",
    "Moments",
    "Pointwise",
    "authentic",
    "authpct",
    "bandwidth",
    "clipped_coverage",
    "clipped_density",
    "cmmd",
    "coverage",
    "ct",
    "density",
    "fd_infinity",
    "fkea",
    "fld",
    "frechet_directions",
    "frechet_distance",
    "frechet_influence",
    "frechet_sensitivity",
    "frechet_standard_error",
    "frechet_terms",
    "inception_score",
    "kernel_distance",
    "kid",
    "mifid",
    "mind",
    "nearest_real",
    "nearest_reals",
    "p_precision",
    "p_recall",
    "pointwise",
    "prdc",
    "precision",
    "rarity",
    "realism",
    "recall",
    "rke",
    "swd",
    "vendi",
]
