"""Diversity of one set: Vendi scores and Rényi entropies."""

from __future__ import annotations

from gan_metrics.metrics.entries.error_bars import INFLUENCE
from gan_metrics.metrics.entry import Command, Metric, Option
from gan_metrics.metrics.validation import (
    MAX_FEATURES,
    MIN_FEATURES,
    at_least,
    or_none,
    order,
    positive,
)

__all__ = ["FKEA", "RKE", "VENDI", "VENDI_COMMAND"]

VENDI = Metric(
    "vendi",
    "effective number of different images: spectrum of cosine similarities",
    "gan_metrics.metrics.diversity:vendi_estimate",
    "Friedman & Dieng 2022, arXiv 2210.02410",
    n_sets=1,
    arguments={"q": order},
    bounds=(1.0, None),
    better="higher",
    error_bar=INFLUENCE,
    long_name="Vendi score",
    cite=("friedman2023vendi",),
    settings=("q",),
)

RKE = Metric(
    "rke",
    "effective number of modes: Rényi entropy of order 2, Gaussian kernel",
    "gan_metrics.metrics.diversity:rke_estimate",
    "Jalali et al. 2023, NeurIPS",
    n_sets=1,
    arguments={"sigma": or_none(positive)},
    bounds=(1.0, None),
    better="higher",
    error_bar=f"{INFLUENCE}; sigma held fixed",
    shares_bandwidth=True,
    long_name="Rényi kernel entropy score (RKE)",
    cite=("jalali2023information",),
    settings=("sigma",),
)

FKEA = Metric(
    "fkea",
    "Vendi score with a Gaussian kernel by random Fourier features",
    "gan_metrics.metrics.diversity:fkea_estimate",
    "Ospanov et al. 2024, arXiv 2407.02961",
    n_sets=1,
    arguments={
        "sigma": or_none(positive),
        "features": at_least(MIN_FEATURES, MAX_FEATURES),
        "q": order,
    },
    bounds=(1.0, None),
    better="higher",
    error_bar=f"{INFLUENCE}; sigma held fixed",
    shares_bandwidth=True,
    long_name="Vendi score by random Fourier features (FKEA)",
    cite=("ospanov2024towards",),
    settings=("sigma", "q", "features"),
)

VENDI_COMMAND = Command(
    "vendi",
    """The Vendi score of FAKE: the effective number of different images.

    Between 1 (all images are alike) and their number. It does not measure whether they look real.

    Examples:
      gan-metrics vendi fake/

      gan-metrics vendi fake/ --q 0.5 --backbone efficientnet-lite0
    """,
    (
        Option(
            "q",
            float,
            "Order q > 0: small values give rare images more weight.",
            default=1.0,
            show_default=True,
            always=True,
        ),
    ),
)
