"""Memorization: do generated images copy training images?"""

from __future__ import annotations

from gan_metrics.metrics.entries.error_bars import INFLUENCE
from gan_metrics.metrics.entry import Command, Metric
from gan_metrics.metrics.validation import at_least, or_none, positive

__all__ = ["CT", "FLD", "MEMORIZATION_COMMAND", "MIFID"]

CT = Metric(
    "ct",
    "test of copying: are generated images closer to the training images than held-out ones?",
    "gan_metrics.metrics.memorization:ct_estimate",
    "Meehan et al. 2020, arXiv 2004.05675",
    arguments={"components": at_least(1), "cells": at_least(1)},
    better="zero",
    error_bar="closed form (DeLong), for redrawing generated and held-out images",
    needs_held_out=True,
    long_name="three-sample test of copying (C_T)",
    cite=("meehan2020nonparametric",),
)

MIFID = Metric(
    "mifid",
    "Fréchet distance divided by the mean distance to the most similar training image",
    "gan_metrics.metrics.memorization:mifid_estimate",
    "Bai et al. 2021, arXiv 2106.03062",
    arguments={"tau": positive},
    bounds=(0.0, None),
    error_bar=f"{INFLUENCE}; 1.1 to 1.6 times the true one",
    needs_covariance=True,
    long_name="memorization-informed Fréchet distance (MiFID)",
    cite=("bai2021training",),
)

FLD = Metric(
    "fld",
    "likelihood of held-out images: density of generated vs. training images",
    "gan_metrics.metrics.feature_likelihood:fld_estimate",
    "Jiralerspong et al. 2023, arXiv 2302.04440",
    arguments={"most": or_none(at_least(2))},
    error_bar="closed form, for redrawing generated and held-out images; 1.3 times the true one",
    needs_held_out=True,
    long_name="Feature Likelihood Divergence (FLD)",
    cite=("jiralerspong2023feature",),
)

MEMORIZATION_COMMAND = Command(
    "memorization",
    """Test whether FAKE copies REAL, its training images: AuthPct, C_T, MiFID and FLD.

    C_T and FLD need --held-out, real images that were not used in training. evaluate --top lists
    near copies.

    Examples:
      gan-metrics memorization train/ fake/ --held-out test/

      gan-metrics evaluate train/ fake/ --metrics authpct,mifid --top 20
    """,
    missing=(
        "C_T and FLD need real images that were not used in training: give --held-out SET; or "
        "compute the others with evaluate --metrics authpct,mifid"
    ),
)
