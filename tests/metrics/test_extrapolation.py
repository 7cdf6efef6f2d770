from __future__ import annotations

import numpy as np
import pytest
from oracles import fd_infinity_naive

import gan_metrics as gm
from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics.extrapolation import (
    _second_order,
    fd_infinity,
    fd_infinity_estimate,
    subset_sizes,
)

SPREAD = np.linspace(1, 0.1, 16)


def gaussian(n: int, seed: int, shift: float = 0.5, scale: float = 1.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 16)) * scale + shift) * SPREAD


REAL = gm.Moments(None, np.zeros(16), np.diag(SPREAD**2))
TRUTH = float(((0.5 * SPREAD) ** 2 + ((1.3 - 1) * SPREAD) ** 2).sum())


def test_it_is_the_intercept_of_the_regression() -> None:
    real, fake = gaussian(300, 0, 0.0, 1.0), gaussian(250, 1)
    assert fd_infinity(real, fake, seed=3) == pytest.approx(
        fd_infinity_naive(real, fake, 3), rel=1e-9
    )
    estimate = fd_infinity_estimate(real, fake, seed=3)
    slope, intercept = np.polyfit(
        1 / np.array(estimate.details["sizes"]), estimate.details["distances"], 1
    )
    assert (estimate.value, estimate.details["slope"]) == pytest.approx((intercept, slope))
    assert slope > 0
    assert estimate.value < estimate.details["distances"][-1]


def test_the_sizes_are_those_of_the_paper() -> None:
    assert subset_sizes(50_000, 15)[[0, 1, -1]].tolist() == [5000, 8214, 50_000]
    assert subset_sizes(1000, 15)[[0, -1]].tolist() == [100, 1000]
    assert subset_sizes(10, 15)[0] == 2


def test_it_finds_the_population_s_distance() -> None:
    """Known in closed form for Gaussians; the plain distance is biased upwards."""
    found = [fd_infinity(REAL, gaussian(600, seed)) for seed in range(40)]
    plain = [gm.metrics.frechet_distance(REAL, gaussian(600, seed)) for seed in range(40)]
    error = np.std(found, ddof=1) / np.sqrt(40)
    assert abs(np.mean(found) - TRUTH) < 3 * error
    assert np.mean(plain) > TRUTH + 2 * np.std(plain, ddof=1) / np.sqrt(40)


@pytest.mark.parametrize("fixed", [True, False])
def test_the_error_bar_is_that_of_redraws(fixed: bool) -> None:
    values, claimed = [], []
    for seed in range(150):
        real = REAL if fixed else gaussian(400, 1000 + seed, 0.0, 1.0)
        estimate = fd_infinity_estimate(real, gaussian(400, seed), error_bar=seed < 20)
        values.append(estimate.value)
        if seed < 20:
            claimed.append(estimate.standard_error)
            assert (estimate.real_influence is None) == fixed
    assert np.mean(claimed) == pytest.approx(np.std(values, ddof=1), rel=0.2)


def test_the_error_bar_holds_where_the_sets_are_equal_too() -> None:
    """There the first derivative vanishes, and what is left is of second order."""
    values, squares, firsts = [], [], []
    for seed in range(150):
        estimate = fd_infinity_estimate(REAL, gaussian(300, seed, 0.0, 1.0), error_bar=seed < 60)
        values.append(estimate.value)
        if seed < 60:
            squares.append(estimate.standard_error**2)
            firsts.append(estimate.standard_error**2 - estimate.noise)
    truth = np.std(values, ddof=1)
    assert np.sqrt(np.mean(squares)) == pytest.approx(truth, rel=0.2)
    assert np.sqrt(np.mean(firsts)) < 0.95 * np.sqrt(np.mean(squares))


def test_identical_sets_swapped_sides_order_and_seed() -> None:
    real, fake = gaussian(200, 0, 0.0, 1.0), gaussian(150, 1)
    assert abs(fd_infinity(real, real)) < 0.2
    assert fd_infinity(real, fake) != pytest.approx(fd_infinity(fake, real), rel=1e-3)
    assert fd_infinity(real[::-1], fake) == pytest.approx(fd_infinity(real, fake), rel=1e-9)
    assert fd_infinity(real, fake, seed=1) == fd_infinity(real, fake, seed=1)
    assert fd_infinity(real, fake, seed=1) != fd_infinity(real, fake, seed=2)


def test_bad_input() -> None:
    real, fake = gaussian(20, 0), gaussian(20, 1)
    with pytest.raises(InputError, match="give their features"):
        fd_infinity(real, gm.Moments.from_features(fake))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="sizes must be a whole number ≥ 2, not 1"):
        fd_infinity(real, fake, sizes=1)
    with pytest.raises(ComputationError, match="at least 3"):
        fd_infinity(real, fake[:2])
    with pytest.raises(InputError, match="16 and 15"):
        fd_infinity(real, fake[:, 1:])
    with pytest.raises(ComputationError, match="NaN or infinity"):
        fd_infinity(real, np.full((5, 16), np.nan))


def test_equal_sets_are_uncertain_too() -> None:
    """No image has an influence then, and the draw of the subsets is all there is."""
    real = gaussian(60, 0, 0.0, 1.0)
    found = [fd_infinity_estimate(real, real, seed=seed) for seed in range(30)]
    scatter = np.std([estimate.value for estimate in found], ddof=1)
    assert np.mean([e.standard_error for e in found]) == pytest.approx(scatter, rel=0.6)


def test_the_second_order_is_found_from_the_scatter_about_the_line() -> None:
    """Distances made with a known ζ and σ²."""
    rng = np.random.default_rng(0)
    m, sigma2 = 2000, 3.0
    counts = subset_sizes(m, 15)
    weights = np.linalg.pinv(np.column_stack([np.ones(15), 1 / counts]))
    share = np.zeros(m)
    for count, weight in zip(counts, weights[0], strict=True):
        share[rng.choice(m, count, replace=False)] += weight * m / count
    together = float(share @ share) / m**2
    own = 1 / m**2 + float(weights[0] ** 2 @ (1.0 / counts**2 - 1 / m**2))
    expected = 2 * sigma2 * (own - 2 * together / m)
    zeta = 16 * sigma2 / m
    inverse = 1.0 / counts
    scatter = np.sqrt(zeta * (inverse - 1 / m) + 2 * sigma2 * (inverse**2 - 1 / m**2))
    plug_in = (zeta + 4 * sigma2 / m) / m
    found = [
        _second_order(1 + 5 / counts + rng.normal(size=15) * scatter, counts, weights,
                      plug_in, together)
        for _ in range(1000)
    ]  # fmt: skip
    assert np.mean(found) == pytest.approx(expected, rel=0.2)
    # Where all scatter is of first order, next to nothing is left.
    first = np.sqrt(9.0 * (1 / counts - 1 / m))
    quiet = [
        _second_order(1 + 5 / counts + rng.normal(size=15) * first, counts, weights, 9.0 / m,
                      together)
        for _ in range(500)
    ]  # fmt: skip
    assert np.mean(quiet) < 0.5 * 9.0 * together
