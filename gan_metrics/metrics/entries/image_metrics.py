"""Metrics of images or of a generator, which use no features: LPIPS diversity, path length."""

from __future__ import annotations

from gan_metrics.metrics.entry import Command, Metric, Option
from gan_metrics.metrics.validation import (
    DRAW_NAMES,
    NETS,
    PATHS,
    SAMPLINGS,
    SPACES,
    at_least,
    flag,
    one_of,
    or_none,
    percentage,
    positive,
)

__all__ = ["LPIPS_COMMAND", "LPIPS_DIVERSITY", "PPL", "PPL_COMMAND"]

LPIPS_DIVERSITY = Metric(
    "lpips_diversity",
    "mean perceptual distance (LPIPS) between pairs of generated images",
    "gan_metrics.evaluation.image_metrics:lpips_diversity_of",
    "Zhu et al. 2017, arXiv 1711.11586",
    needs="images",
    n_sets=1,
    arguments={
        "net": one_of(*NETS),
        "pairs": at_least(2),
        "within_class": flag,
        "resize": or_none(at_least(1)),
    },
    bounds=(0.0, None),
    better="higher",
    error_bar="closed form, for redrawing images and pairs",
    long_name="mean LPIPS between pairs of images",
    cite=("zhu2017toward",),
    settings=("pairs",),
    network="alex",
)

PPL = Metric(
    "ppl",
    "perceptual path length: how far images move with a generator's latents",
    "gan_metrics.evaluation.image_metrics:path_length_of",
    "Karras et al. 2019, arXiv 1812.04948",
    needs="generator",
    n_sets=1,
    arguments={
        "net": one_of(*NETS),
        "space": one_of(*SPACES),
        "sampling": one_of(*SAMPLINGS),
        "interpolation": one_of(*PATHS),
        "epsilon": positive,
        "resize": or_none(at_least(1)),
        "enlarge": flag,
        "discard": percentage,
        "upper": one_of("lower", "higher"),
        "draws": one_of(*DRAW_NAMES),
        "seed": at_least(0),
    },
    bounds=(0.0, None),
    error_bar="standard error of a trimmed mean, for redrawing the paths",
    label="PPL",
    long_name="perceptual path length (PPL)",
    cite=("karras2019style",),
    settings=("space", "sampling"),
    network="vgg",
)

PPL_COMMAND = Command(
    "ppl",
    """Compute the perceptual path length: how smoothly images follow a generator's latents.

    The defaults are those of torch-fidelity and torchmetrics (space z, end, linear, 64 pixels);
    --protocol stylegan3 uses paths in w.

    Examples:
      gan-metrics ppl --generator package.module:function --n-fake 10000

      gan-metrics ppl --generator package.module:function --protocol stylegan3
    """,
    (
        Option("space", str, "Space of the paths.", metavar="z|w"),
        Option(
            "sampling",
            str,
            "Position on the path: random (full) or its start (end).",
            metavar="full|end",
        ),
    ),
    missing="ppl needs a generator instead of images: give --generator",
)

LPIPS_COMMAND = Command(
    "lpips_diversity",
    """Compute the diversity of FAKE: the mean perceptual distance (LPIPS) between pairs of images.

    It needs the extra lpips, and the weights of the network.

    Examples:
      gan-metrics lpips fake/

      gan-metrics lpips fake/ --within-class --resize 256
    """,
    (
        Option("pairs", int, "Number of pairs to draw (default: 1000).", min=2, metavar="N"),
        Option("within_class", bool, "Use only pairs of the same class folder.", default=False),
        Option("resize", int, "Resize images to a square of this size.", min=1, metavar="N"),
        Option("net", str, "Network (default: alex).", metavar="alex|vgg|squeeze"),
    ),
)
