"""Metrics: pure functions of arrays or moments. They read and print nothing.

Features are arrays of shape ``(n, D)``, of NumPy or torch, the real ones first. The NumPy paths
import no torch. :data:`~gan_metrics.metrics.registry.METRICS` lists all of them. Each
function has a variant ``*_estimate`` that returns the value with its error bar, an
:class:`Estimate`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_HOMES = {
    "class_predictions": ("inception_score",),
    "diversity": (
        "bandwidth",
        "fkea",
        "rke",
        "vendi",
    ),
    "estimate": ("Estimate",),
    "extrapolation": ("fd_infinity",),
    "feature_likelihood": ("fld",),
    "frechet": (
        "FrechetTerms",
        "frechet_directions",
        "frechet_distance",
        "frechet_influence",
        "frechet_standard_error",
        "frechet_terms",
    ),
    "frechet_gradient": ("frechet_sensitivity",),
    "manifold": (
        "clipped_coverage",
        "clipped_density",
        "coverage",
        "density",
        "p_precision",
        "p_recall",
        "prdc",
        "precision",
        "recall",
    ),
    "memorization": (
        "ct",
        "mifid",
    ),
    "mmd": (
        "cmmd",
        "kernel_distance",
        "kid",
    ),
    "moments": ("Moments",),
    "per_sample": (
        "Pointwise",
        "authentic",
        "authpct",
        "nearest_real",
        "nearest_reals",
        "pointwise",
        "rarity",
        "realism",
    ),
    "sliced_wasserstein": (
        "mind",
        "swd",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that the registry of metrics needs no NumPy."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'gan_metrics.metrics' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gan_metrics.metrics.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
