"""How far the closed-form standard error of the Fréchet distance is from the truth.

For Gaussians of d dimensions and n images on each side, the ratio of the claimed standard error
(root mean square over redraws) to the true one (standard deviation of the distance over redraws),
and the share of 95 % intervals that hold the expected distance at that n. Prints a Markdown table.
"""

from __future__ import annotations

import numpy as np

from gan_metrics.metrics import frechet_terms

DIM = 64
SPREAD = np.logspace(0, -1.5, DIM)
CASES = {"clearly apart": (1.3, 0.5), "close": (1.05, 0.05), "equal": (1.0, 0.0)}


def redraw(n: int, scale: float, shift: float, replications: int) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    values, errors = np.empty(replications), np.empty(replications)
    for i in range(replications):
        x = rng.normal(size=(n, DIM)) * SPREAD
        y = rng.normal(size=(n, DIM)) * SPREAD * scale + shift * SPREAD
        terms = frechet_terms(x, y, error_bar=True)
        values[i], errors[i] = terms.distance, terms.standard_error or 0.0
    ratio = float(np.sqrt((errors**2).mean()) / values.std(ddof=1))
    inside = float((abs(values - values.mean()) < 1.96 * errors).mean())
    return float(values.mean()), ratio, inside


def main() -> None:
    print("<!-- made by benchmarks/error_bars.py -->\n")
    print("| n | n / d | sets | redraws | mean FD | claimed / true SE | interval holds E[FD] |")
    print("|---|---|---|---|---|---|---|")
    for n in (16, 32, 64, 128, 320, 1000, 3200):
        replications = 1000
        for name, (scale, shift) in CASES.items():
            mean, ratio, inside = redraw(n, scale, shift, replications)
            row = (n, f"{n / DIM:g}", name, replications, f"{mean:.4g}", f"{ratio:.2f}",
                   f"{inside:.1%}")  # fmt: skip
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
