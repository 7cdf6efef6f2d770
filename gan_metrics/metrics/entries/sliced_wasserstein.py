"""Sliced Wasserstein distances."""

from __future__ import annotations

from gan_metrics.metrics.entries.error_bars import INFLUENCE
from gan_metrics.metrics.entry import Metric
from gan_metrics.metrics.validation import at_least

__all__ = ["MIND", "SWD"]

MIND = Metric(
    "mind",
    "sliced squared Wasserstein distance times 3 D, of equally many images",
    "gan_metrics.metrics.sliced_wasserstein:mind_estimate",
    "Berthet et al. 2026, arXiv 2605.06797",
    arguments={"directions": at_least(0)},
    bounds=(0.0, None),
    error_bar=INFLUENCE,
    long_name="sliced distance MIND",
    cite=("arxiv2605.06797",),
)

SWD = Metric(
    "swd",
    "sliced squared 2-Wasserstein distance",
    "gan_metrics.metrics.sliced_wasserstein:swd_estimate",
    "Rabin et al. 2011",
    arguments={"directions": at_least(0)},
    bounds=(0.0, None),
    error_bar=INFLUENCE,
    long_name="squared sliced 2-Wasserstein distance (SWD)",
    cite=("rabin2011wasserstein",),
)
