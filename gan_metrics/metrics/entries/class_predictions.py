"""Metrics of class predictions."""

from __future__ import annotations

from gan_metrics.metrics.entry import Command, Metric, Option
from gan_metrics.metrics.validation import DEALS, DRAW_NAMES, at_least, flag, one_of, or_none

__all__ = ["INCEPTION_SCORE", "INCEPTION_SCORE_COMMAND"]

INCEPTION_SCORE = Metric(
    "is",
    "Inception Score: sharp and varied class predictions, mean over splits",
    "gan_metrics.metrics.class_predictions:inception_score_estimate",
    "Salimans et al. 2016, arXiv 1606.03498",
    needs="logits",
    n_sets=1,
    arguments={
        "splits": at_least(1),
        "split_size": or_none(at_least(2)),
        "deal": one_of(*DEALS),
        "ddof": at_least(0, 1),
        "shuffle": flag,
        "draws": one_of(*DRAW_NAMES),
        "seed": at_least(0),
    },
    bounds=(1.0, None),
    better="higher",
    error_bar="leave-one-out within the splits; for the expected value at this n",
    label="IS",
    long_name="Inception Score (IS)",
    cite=("salimans2016improved",),
    settings=("splits",),
)

INCEPTION_SCORE_COMMAND = Command(
    "is",
    """Compute the Inception Score of FAKE: confident class predictions, and many classes.

    Images are shuffled with --seed before they are split.

    Examples:
      gan-metrics is fake/

      gan-metrics is fake/ --backbone efficientnet-lite0 --splits 1
    """,
    (
        Option(
            "splits",
            int,
            "Number of splits to average over (default: the protocol's, 10).",
            min=1,
            metavar="N",
        ),
    ),
)
