"""Metrics of k-nearest-neighbor balls: precision, recall, density, coverage and their variants."""

from __future__ import annotations

from gan_metrics.metrics.entry import Check, Command, Metric, Option
from gan_metrics.metrics.validation import ARITHMETICS, at_least, flag, one_of, or_none, positive

__all__ = [
    "CLIPPED_COVERAGE",
    "CLIPPED_DENSITY",
    "COVERAGE",
    "DENSITY",
    "PRDC_COMMAND",
    "PRECISION",
    "P_PRECISION",
    "P_RECALL",
    "RECALL",
]

_SIZES: dict[str, Check] = {"most": or_none(at_least(2)), "most_real": or_none(at_least(2))}
_ROUNDED: dict[str, Check] = {
    "strict": or_none(flag),
    "arithmetic": one_of(*ARITHMETICS),
    **_SIZES,
}
_PROBABILISTIC: dict[str, Check] = {"a": positive}


def _entry(
    name: str,
    summary: str,
    source: str,
    cite: str,
    arguments: dict[str, Check] | None = None,
    *,
    upper: float | None = 1.0,
    counts: bool = False,
) -> Metric:
    return Metric(
        name,
        summary,
        "gan_metrics.metrics.manifold:manifold_estimates",
        source,
        arguments={"k": at_least(1), **(arguments or {})},
        bounds=(0.0, upper),
        better="higher",
        error_bar=(
            "half-samples of both sets; measured at 0.8 to 1.4 times the true one for similar "
            "numbers of images, 0.4 to 1.5 if the value is near 0 or 1"
        ),
        batched=True,
        cite=(cite,),
        settings=("k", "a") if arguments is _PROBABILISTIC else ("k",),
        counts=counts,
    )


_IMPROVED = ("Kynkäänniemi et al. 2019, arXiv 1904.06991", "kynkaanniemi2019improved", _ROUNDED)
_RELIABLE = ("Naeem et al. 2020, arXiv 2002.09797", "naeem2020reliable", _SIZES)
_CLIPPED = ("Salvy et al. 2025, arXiv 2507.01761", "salvy2025enhanced")
_PARK = ("Park & Kim 2023, arXiv 2309.01590", "park2023probabilistic", _PROBABILISTIC)

PRECISION = _entry(
    "precision", "share of generated images inside a real k-NN ball", *_IMPROVED, counts=True
)
RECALL = _entry(
    "recall", "share of real images inside a generated k-NN ball", *_IMPROVED, counts=True
)
DENSITY = _entry(
    "density",
    "real k-NN balls around a generated image, divided by k",
    *_RELIABLE,
    upper=None,
    counts=True,
)
COVERAGE = _entry(
    "coverage", "share of real k-NN balls with a generated image", *_RELIABLE, counts=True
)
CLIPPED_DENSITY = _entry(
    "clipped_density", "density, with outliers and crowds clipped", *_CLIPPED, counts=True
)
CLIPPED_COVERAGE = _entry(
    "clipped_coverage", "coverage, calibrated to the share of good images", *_CLIPPED
)
P_PRECISION = _entry("p_precision", "probability that a generated image is in a real ball", *_PARK)
P_RECALL = _entry("p_recall", "probability that a real image is in a generated ball", *_PARK)

PRDC_COMMAND = Command(
    "prdc",
    """Compute precision, recall, density and coverage: fidelity and diversity separately.

    Precision and density measure whether generated images look real; recall and coverage measure
    how much of the real distribution they cover.

    Examples:
      gan-metrics prdc real/ fake/

      gan-metrics prdc real/ fake/ --k 5 --json
    """,
    (
        Option(
            "k",
            int,
            "Number of neighbors (default: 3 for precision and recall, 5 for density, coverage).",
            min=1,
            metavar="N",
        ),
    ),
)
