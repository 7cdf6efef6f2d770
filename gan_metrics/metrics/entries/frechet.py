"""Fréchet distances."""

from __future__ import annotations

from gan_metrics.metrics.entries.error_bars import INFLUENCE
from gan_metrics.metrics.entry import Command, Metric, Option
from gan_metrics.metrics.validation import DIVISORS, at_least, one_of

__all__ = ["FD_DINOV2", "FD_INFINITY", "FID", "FID_COMMAND", "SFID"]

_FUNCTION = "gan_metrics.metrics.frechet:frechet_estimate"
_DIRECTIONS, _DIVISOR = at_least(0), one_of(*DIVISORS)

FID = Metric(
    "fid",
    "Fréchet distance between Gaussians fitted to the two sets",
    _FUNCTION,
    "Heusel et al. 2017, arXiv 1706.08500",
    accepts_statistics="both",
    arguments={"directions": _DIRECTIONS, "divisor": _DIVISOR},
    bounds=(0.0, None),
    name_in_other_spaces="fd",
    error_bar=(
        f"{INFLUENCE}, not for the whole distributions; up to 1.4 times too wide if the sets are "
        "nearly equal"
    ),
    label="FID",
    label_in_other_spaces="FD",
    long_name="Fréchet Inception Distance (FID)",
    long_name_in_other_spaces="Fréchet distance (FD)",
    cite=("heusel2017gans",),
    states_divisor=True,
)

FD_INFINITY = Metric(
    "fd_infinity",
    "Fréchet distance, extrapolated to infinitely many generated images",
    "gan_metrics.metrics.extrapolation:fd_infinity_estimate",
    "Chong & Forsyth 2020, arXiv 1911.07023",
    accepts_statistics="real",
    arguments={"sizes": at_least(2)},
    error_bar=(
        "closed form, from the influence of each image and the scatter about the line; 0.8 to "
        "1.1 times the true one"
    ),
    long_name="Fréchet distance extrapolated to infinitely many generated images (FD∞)",
    cite=("chong2020effectively",),
)

SFID = Metric(
    "sfid",
    "Fréchet distance of spatial features, 7 × 17 × 17",
    _FUNCTION,
    "Nash et al. 2021, arXiv 2103.03841; as ADM's evaluator",
    needs="spatial",
    accepts_statistics="both",
    arguments={"directions": _DIRECTIONS, "divisor": _DIVISOR},
    bounds=(0.0, None),
    error_bar=f"{INFLUENCE}, not for the whole distributions",
    label="sFID",
    long_name="spatial Fréchet Inception Distance (sFID)",
    cite=("nash2021generating",),
    states_divisor=True,
)

FD_DINOV2 = Metric(
    "fd_dinov2",
    "Fréchet distance of DINOv2's class tokens",
    _FUNCTION,
    "Stein et al. 2023, arXiv 2306.04675",
    needs="dinov2",
    accepts_statistics="both",
    arguments={"directions": _DIRECTIONS},
    bounds=(0.0, None),
    error_bar=f"{INFLUENCE}, not for the whole distributions",
    long_name="Fréchet distance in DINOv2 features (FD-DINOv2)",
    cite=("stein2023exposing",),
    states_divisor=True,
)

FID_COMMAND = Command(
    "fid",
    """Compute the Fréchet distance between REAL and FAKE, with its error bar.

    The result is called FID in the 2015 Inception's pool3, and FD in any other feature space. The
    95 % interval is for the expected value at these sample sizes; the distance between the whole
    distributions is lower. If the sets are nearly equal it is up to 1.4 times too wide.

    Examples:
      gan-metrics fid real/ fake/

      gan-metrics fid cifar10.npz fake/ --json

      gan-metrics fid real/ fake/ --backbone efficientnet-lite0   (offline)

      gan-metrics fid real/ fake/ --directions 5   (where the sets differ)

      gan-metrics fid real/ fake/ --on-error skip --append log.jsonl

      gan-metrics fid real/ --generator package.module:function   (no files)
    """,
    (
        Option(
            "directions",
            int,
            "Number of directions to list that contribute most to the distance.",
            default=0,
            min=0,
            max=16,
            metavar="N",
            show_default=True,
        ),
    ),
)
