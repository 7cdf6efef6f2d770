"""Metrics of images or of a generator, which take no features: LPIPS diversity, path length."""

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
    "mean perceptual distance (LPIPS) between pairs of fakes",
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
    error_bar="closed form, for redraws of images and pairs",
    long_name="mean LPIPS between pairs of images",
    cite=("zhu2017toward",),
    settings=("pairs",),
    network="alex",
)

PPL = Metric(
    "ppl",
    "perceptual path length: how far images move when a generator's latents do",
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
    error_bar="that of a trimmed mean, for redraws of the paths",
    label="PPL",
    long_name="perceptual path length (PPL)",
    cite=("karras2019style",),
    settings=("space", "sampling"),
    network="vgg",
)

PPL_COMMAND = Command(
    "ppl",
    """The perceptual path length of a generator: how smoothly images follow its latents.

    By default as torch-fidelity and torchmetrics have it (z, end, straight, 64 pixels); --protocol
    stylegan3 goes along paths in w.

    Examples:
      gan-metrics ppl --generator package.module:function --n-fake 10000

      gan-metrics ppl --generator package.module:function --protocol stylegan3
    """,
    (
        Option("space", str, "Where paths lie.", metavar="z|w"),
        Option(
            "sampling",
            str,
            "At any place of a path, or where it begins.",
            metavar="full|end",
        ),
    ),
    missing="a path length is that of a generator: give --generator, and no images",
)

LPIPS_COMMAND = Command(
    "lpips_diversity",
    """The diversity of FAKE: the mean perceptual distance (LPIPS) between pairs of its images.

    It needs the extra lpips, and the weights of the network.

    Examples:
      gan-metrics lpips fake/

      gan-metrics lpips fake/ --within-class --resize 256
    """,
    (
        Option("pairs", int, "Pairs that are drawn (default: 1000).", min=2, metavar="N"),
        Option("within_class", bool, "Pairs of one class folder alone.", default=False),
        Option("resize", int, "Bring images to a square of this size.", min=1, metavar="N"),
        Option("net", str, "Network (default: alex).", metavar="alex|vgg|squeeze"),
    ),
)
