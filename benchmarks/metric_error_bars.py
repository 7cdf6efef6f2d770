"""How far the standard error of every metric is from the truth.

Gaussians of d = 16 dimensions, n reals and as many fakes; for each metric the ratio of the claimed
standard error (root mean square over redraws) to the true one (standard deviation of the value
over redraws of both sets). Prints ``docs/metric-error-bars-table.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gan_metrics.metrics.moments import Moments
from gan_metrics.metrics.registry import METRICS, compute

DIM, CLASSES = 16, 10
SIZES = (200, 1000)
CLAIMED, REDRAWS = 30, 300
CASES = {"clearly apart": (1.3, 0.5), "close": (1.05, 0.05), "equal": (1.0, 0.0)}
SPREAD = np.logspace(0, -0.7, DIM)
MIX = np.random.default_rng(1).normal(size=(DIM, CLASSES))


@dataclass(frozen=True)
class Drawn:
    array: np.ndarray

    @property
    def moments(self) -> Moments:
        return Moments.from_features(self.array)


def draw(n: int, scale: float, shift: float, rng: np.random.Generator) -> Drawn:
    return Drawn(((rng.normal(size=(n, DIM)) * scale + shift) * SPREAD).astype(np.float32))


def ratios(n: int, scale: float, shift: float) -> dict[str, tuple[float, float]]:
    """Name to mean value and ratio."""
    rng = np.random.default_rng(0)
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    claimed: dict[str, list[float]] = {name: [] for name in METRICS}
    arguments = {"rke": {"sigma": 1.0}, "fkea": {"sigma": 1.0, "features": 200},
                 "kid": {"subsets": 20, "subset_size": n // 2}, "swd": {"directions": 100},
                 "mind": {"directions": 100}, "fd_infinity": {"sizes": 5}}  # fmt: skip
    for i in range(REDRAWS):
        real, fake = draw(n, 1.0, 0.0, rng), draw(n, scale, shift, rng)
        for need in ("features", "clip", "logits"):
            rows = [row for row in METRICS.values() if row.needs == need]
            given = Drawn(fake.array @ MIX) if need == "logits" else fake
            found = compute(rows, real, given, error_bar=i < CLAIMED, arguments=arguments)
            for name, estimate in found.items():
                if isinstance(estimate, Exception):
                    raise estimate
                values[name].append(estimate.value)
                if i < CLAIMED:
                    claimed[name].append(estimate.standard_error or 0.0)
    return {
        name: (
            float(np.mean(values[name])),
            float(np.sqrt(np.mean(np.square(claimed[name]))) / np.std(values[name], ddof=1)),
        )
        for name in METRICS
        if values[name]
    }


def main() -> None:
    print("<!-- made by benchmarks/metric_error_bars.py -->\n")
    heads = [f"{case}, n = {n}" for case in CASES for n in SIZES]
    print("| metric | " + " | ".join(heads) + " |")
    print("|---" * (len(heads) + 1) + "|")
    found = [ratios(n, *CASES[case]) for case in CASES for n in SIZES]
    for name in found[0]:
        cells = [f"{column[name][1]:.2f} (of {column[name][0]:.3g})" for column in found]
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
