"""Kernel distances: maximum mean discrepancies."""

from __future__ import annotations

from gan_metrics.metrics.entry import Command, Metric, Option
from gan_metrics.metrics.validation import (
    DRAW_NAMES,
    MAX_DEGREE,
    at_least,
    number,
    one_of,
    or_none,
    positive,
)

__all__ = ["CMMD", "KID", "KID_COMMAND"]

KID = Metric(
    "kid",
    "unbiased squared MMD with a cubic kernel, mean over subsets",
    "gan_metrics.metrics.mmd:kid_estimate",
    "Bińkowski et al. 2018, arXiv 1801.01401",
    arguments={
        "subsets": at_least(1),
        "subset_size": or_none(at_least(2)),
        "degree": at_least(1, MAX_DEGREE),
        "gamma": or_none(positive),
        "coef0": number,
        "draws": one_of(*DRAW_NAMES),
        "draw_first": one_of("real", "fake"),
        "seed": at_least(0),
    },
    name_in_other_spaces="kd",
    error_bar="closed form, from the variance of the U-statistic and of the draw of subsets",
    label="KID",
    label_in_other_spaces="KD",
    long_name="Kernel Inception Distance (KID)",
    long_name_in_other_spaces="kernel distance (KD)",
    cite=("binkowski2018demystifying",),
    settings=("subsets", "subset_size"),
)

CMMD = Metric(
    "cmmd",
    "squared MMD with a Gaussian kernel on unit CLIP embeddings, × 1000",
    "gan_metrics.metrics.mmd:cmmd_estimate",
    "Jayasumana et al. 2024, arXiv 2401.09603",
    needs="clip",
    arguments={"sigma": or_none(positive), "scale": positive},
    bounds=(0.0, None),
    error_bar="closed form, from the variance of the V-statistic",
    long_name="CLIP maximum mean discrepancy (CMMD)",
    cite=("jayasumana2024rethinking",),
)

KID_COMMAND = Command(
    "kid",
    """Compute the kernel distance between REAL and FAKE: unbiased, suitable for few images.

    It can be negative, because an unbiased estimate of a small number is sometimes below zero.

    Examples:
      gan-metrics kid real/ fake/

      gan-metrics kid real/ fake/ --backbone efficientnet-lite0 --subset-size 500
    """,
    (
        Option(
            "subsets",
            int,
            "Number of random subsets to average over (default: the protocol's, 100).",
            min=1,
            metavar="N",
        ),
        Option(
            "subset_size",
            int,
            "Images per subset (default: the protocol's, 1000).",
            min=2,
            metavar="N",
        ),
    ),
)
