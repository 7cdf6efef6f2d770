"""Summaries of scores of single generated images: realism, rarity, authenticity."""

from __future__ import annotations

from gan_metrics.metrics.entry import Metric
from gan_metrics.metrics.validation import at_least

__all__ = ["AUTHPCT", "RARITY", "REALISM"]

_FUNCTION = "gan_metrics.metrics.per_sample:pointwise_estimates"
_ERROR_BAR = "half-samples of both sets; 1.0 to 1.4 times the true one"

REALISM = Metric(
    "realism",
    "realism: radius of a real k-NN ball divided by the distance to its center; median",
    _FUNCTION,
    "Kynkäänniemi et al. 2019, arXiv 1904.06991, section 5",
    arguments={"k": at_least(1)},
    bounds=(0.0, None),
    better="higher",
    error_bar=_ERROR_BAR,
    batched=True,
    long_name="median realism score",
    cite=("kynkaanniemi2019improved",),
    settings=("k",),
)

RARITY = Metric(
    "rarity",
    "radius of the smallest real k-NN ball around a generated image; mean of those inside one",
    _FUNCTION,
    "Han et al. 2023, arXiv 2206.08549",
    arguments={"k": at_least(1)},
    bounds=(0.0, None),
    better="lower",
    error_bar=_ERROR_BAR,
    batched=True,
    long_name="mean rarity score",
    cite=("han2023rarity",),
    settings=("k",),
)

AUTHPCT = Metric(
    "authpct",
    "percentage of images farther from their nearest real image than that from its own",
    _FUNCTION,
    "Alaa et al. 2022, arXiv 2102.08921",
    bounds=(0.0, 100.0),
    better="higher",
    error_bar=_ERROR_BAR,
    batched=True,
    long_name="percentage of authentic images (AuthPct)",
    cite=("alaa2022faithful",),
)
