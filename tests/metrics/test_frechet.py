from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import frechet_nuclear, frechet_over_n, frechet_sqrtm

from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics import (
    Moments,
    frechet_directions,
    frechet_distance,
    frechet_influence,
    frechet_standard_error,
    frechet_terms,
    gaussian_transport,
)
from gan_metrics.metrics.frechet import frechet_estimate


def sample(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Correlated, asymmetric data whose spectrum falls by three decades."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0]
    x = rng.normal(size=(n, d)) * np.logspace(0, -1.5, d) * scale
    return x @ turn + shift


def gaussian(mean: np.ndarray, cov: np.ndarray) -> Moments:
    return Moments(None, np.asarray(mean, float), np.asarray(cov, float))


@pytest.mark.parametrize(("n", "m"), [(300, 400), (200, 90), (90, 200), (65, 66)])
def test_more_images_than_dimensions_against_sqrtm(n: int, m: int) -> None:
    x, y = sample(n, 32, 1), sample(m, 32, 2, 1.3, 0.2)
    expected = frechet_sqrtm(x, y)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    a, b = Moments.from_features(x), Moments.from_features(y)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(20, 30), (30, 20), (20, 200), (200, 20), (64, 64), (2, 2)])
def test_fewer_images_than_dimensions_is_exact(n: int, m: int) -> None:
    x, y = sample(n, 64, 1), sample(m, 64, 2, 1.3, 0.2)
    exact = frechet_nuclear(x, y)
    assert frechet_distance(x, y) == pytest.approx(exact, rel=1e-12)
    a, b = Moments.from_features(x), Moments.from_features(y)
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-7)


def test_float32_features_at_many_dimensions() -> None:
    x, y = (sample(40, 700, seed, 1 + seed).astype(np.float32) for seed in (0, 1))
    assert frechet_distance(x, y) == pytest.approx(frechet_nuclear(x, y), rel=1e-9)


def test_diagonal_gaussians() -> None:
    rng = np.random.default_rng(0)
    p, q, mu = rng.uniform(0.1, 5, 9), rng.uniform(0.1, 5, 9), rng.normal(size=9)
    expected = mu @ mu + ((np.sqrt(p) - np.sqrt(q)) ** 2).sum()
    ours = frechet_distance(gaussian(mu, np.diag(p)), gaussian(np.zeros(9), np.diag(q)))
    assert ours == pytest.approx(expected, rel=1e-12)


def test_commuting_gaussians() -> None:
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    p, q = rng.uniform(0.1, 5, 8), rng.uniform(0.1, 5, 8)
    a = gaussian(np.zeros(8), turn * p @ turn.T)
    b = gaussian(np.zeros(8), turn * q @ turn.T)
    expected = ((np.sqrt(p) - np.sqrt(q)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(
    ("decades", "limit"),
    [(2, 1e-13), (6, 1e-13), (9, 1e-12), (11, 1e-11), (14, 2e-10), (16, 1e-7)],
)
def test_spectra_of_any_width(decades: int, limit: float) -> None:
    """On both sides of where the order of the pivots begins to matter."""
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(24, 24)))[0]
    p = np.logspace(0, -decades, 24)
    q = p[::-1]
    a, b = (gaussian(np.zeros(24), turn * side @ turn.T) for side in (p, q))
    expected = ((np.sqrt(p) - np.sqrt(q)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=limit)
    few = gaussian(np.zeros(24), turn * np.where(p < 1e-2, 0, p) @ turn.T)
    assert frechet_distance(a, few) == pytest.approx(p[p < 1e-2].sum(), abs=1e-14)


def test_what_rounding_leaves_in_dead_directions_counts_as_nothing() -> None:
    """Else 280 of them take 1e-5 away: every plain pivot is positive."""
    x, y = sample(20, 300, 1), sample(900, 300, 2, 1.3, 0.2)
    a, b = Moments.from_features(x), Moments.from_features(y)
    rounding = 1e-14 * float(a.cov.diagonal().max())
    left = gaussian(a.mean, a.cov + rounding * np.eye(300))
    assert frechet_distance(left, b) == pytest.approx(frechet_nuclear(x, y), rel=1e-8)


def test_plain_and_pivoted_factors_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = sample(300, 32, 1), sample(400, 32, 2, 1.3, 0.2)
    plain = frechet_terms(x, y, error_bar=True)
    shares, vectors = frechet_directions(x, y, k=3)
    monkeypatch.setattr(gaussian_transport, "_PLAINLY_POSITIVE", np.inf)
    pivoted = frechet_terms(x, y, error_bar=True)
    assert plain.distance == pytest.approx(pivoted.distance, rel=1e-13)
    for one, other in ((plain.influence_a, pivoted.influence_a),
                       (plain.influence_b, pivoted.influence_b)):  # fmt: skip
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * np.abs(other).max())
    again = frechet_directions(x, y, k=3)
    np.testing.assert_allclose(shares, again[0], rtol=1e-12)
    np.testing.assert_allclose(np.abs((vectors * again[1]).sum(0)), 1, rtol=1e-12)


def test_rank_deficient_gaussians() -> None:
    p = np.array([4.0, 1.0, 0.0, 0.0])
    q = np.array([1.0, 0.0, 9.0, 0.0])
    a, b = gaussian(np.zeros(4), np.diag(p)), gaussian(np.ones(4), np.diag(q))
    assert frechet_distance(a, b) == pytest.approx(4 + 1 + 1 + 9, rel=1e-12)


def test_a_side_without_variance() -> None:
    flat, other = np.full((5, 3), 2.0), sample(50, 3, 0)
    expected = frechet_sqrtm(flat, other)
    assert frechet_distance(flat, other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(np.full((50, 3), 2.0), other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(np.full((50, 3), 2.0), np.full((40, 3), 1.0)) == 3.0
    assert frechet_standard_error(np.full((50, 3), 2.0), other) > 0


def test_dead_dimensions_do_no_harm() -> None:
    x, y = sample(100, 10, 0), sample(100, 10, 1, 1.2)
    padded = [np.hstack([z, np.zeros((100, 4))]) for z in (x, y)]
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(x, y), rel=1e-9)
    assert frechet_standard_error(*padded) == pytest.approx(frechet_standard_error(x, y), rel=1e-4)


@pytest.mark.parametrize("n", [20, 200])
def test_zero_on_itself(n: int) -> None:
    x = sample(n, 32, 0)
    scale = x.var(0).sum()
    assert 0 <= frechet_distance(x, x) < 1e-9 * scale
    m = Moments.from_features(x)
    assert 0 <= frechet_distance(m, m) < 1e-7 * scale


@pytest.mark.parametrize("n", [20, 200])
def test_symmetric(n: int) -> None:
    x, y = sample(n, 32, 0), sample(150, 32, 1, 1.4, 0.1)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9)


@pytest.mark.parametrize("n", [20, 300])
def test_order_does_not_matter(n: int) -> None:
    x, y = sample(n, 32, 0), sample(n, 32, 1, 1.4)
    shuffled = np.random.default_rng(0).permutation(x)
    assert frechet_distance(shuffled, y) == pytest.approx(frechet_distance(x, y), rel=1e-12)


def test_the_terms_add_up() -> None:
    x, y = sample(200, 8, 0), sample(200, 8, 1, 1.4, 0.5)
    terms = frechet_terms(x, y)
    shift = x.mean(0) - y.mean(0)
    assert terms.mean_term == pytest.approx(shift @ shift, rel=1e-12)
    assert terms.distance == pytest.approx(frechet_sqrtm(x, y), rel=1e-9)
    assert terms.standard_error is None


@pytest.mark.parametrize(("n", "m"), [(2000, 1500), (30, 25), (2000, 30), (30, 2000)])
def test_influence_is_the_derivative_with_respect_to_the_weight_of_an_image(n: int, m: int) -> None:
    """Exact weights: counting an image once more, against the closed form."""
    d = 8 if min(n, m) > 100 else 64
    x, y = sample(n, d, 0, 1.2, 0.1), sample(m, d, 1)

    def weighted(weights: np.ndarray) -> float:
        w = weights / weights.sum()
        mean = w @ x
        root = np.sqrt(w * len(x) / (len(x) - 1))[:, None] * (x - mean)
        centred = (y - y.mean(0)) / np.sqrt(m - 1)
        shift = mean - y.mean(0)
        nuclear = np.linalg.svd(root @ centred.T, compute_uv=False).sum()
        return float(shift @ shift + (root**2).sum() + (centred**2).sum() - 2 * nuclear)

    influence = frechet_influence(x, y)
    assert influence.mean() == pytest.approx(0, abs=1e-9)
    step = 1e-4
    for i in (0, n // 2, n - 1):
        up, down = np.ones(n), np.ones(n)
        up[i] += step
        down[i] -= step
        slope = (weighted(up) - weighted(down)) / (2 * step) * n
        assert influence[i] == pytest.approx(slope, rel=2e-3, abs=2e-3 * np.abs(influence).max())


def test_influence_tells_the_sides_apart() -> None:
    """Asymmetric data: an outlier among the fakes raises the distance, and only on its side."""
    real, fake = sample(500, 6, 0), sample(500, 6, 1)
    fake[7] += 8
    influence = frechet_influence(fake, real)
    assert influence.argmax() == 7
    assert frechet_influence(real, fake).max() < influence[7] / 10


def test_removing_the_worst_five_percent_lowers_the_distance_as_predicted() -> None:
    real, fake = sample(4000, 6, 0), sample(4000, 6, 1, 1.3, 0.2)
    influence = frechet_influence(fake, real)
    worst = np.argsort(influence)[-200:]
    before = frechet_distance(real, fake)
    after = frechet_distance(real, np.delete(fake, worst, 0))
    predicted = -influence[worst].sum() / len(fake)
    assert after - before == pytest.approx(predicted, rel=0.25)


def resampled(n: int, d: int, replications: int, scale: float, shift: float) -> tuple[float, float]:
    """Root mean square of the closed form, and the true standard deviation, over redraws."""
    rng = np.random.default_rng(0)
    spread = np.logspace(0, -1.5, d)
    values, squares = [], []
    for _ in range(replications):
        x = rng.normal(size=(n, d)) * spread
        y = rng.normal(size=(n, d)) * spread * scale + shift * spread
        terms = frechet_terms(x, y, error_bar=True)
        values.append(terms.distance)
        squares.append(float(terms.standard_error or 0) ** 2)
    return float(np.sqrt(np.mean(squares))), float(np.std(values, ddof=1))


@pytest.mark.parametrize("redraws", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_standard_error_against_redrawing(redraws: int) -> None:
    """n = 50 d: within 15 %. The redraws' own SD is known to 4 %, or to 2.2 %."""
    claimed, true = resampled(n=800, d=16, replications=redraws, scale=1.3, shift=0.5)
    assert claimed == pytest.approx(true, rel=0.15)


@pytest.mark.parametrize(
    ("n", "scale", "shift", "low", "high"),
    [(12, 1.3, 0.5, 0.9, 1.4), (40, 1.3, 0.5, 0.9, 1.4), (40, 1.0, 0.0, 1.0, 1.6)],
)
def test_outside_its_regime_the_standard_error_is_conservative(
    n: int, scale: float, shift: float, low: float, high: float
) -> None:
    claimed, true = resampled(n=n, d=16, replications=400, scale=scale, shift=shift)
    assert low < claimed / true < high


@pytest.mark.slow
def test_the_interval_covers_the_expected_value() -> None:
    rng = np.random.default_rng(0)
    d, n, spread = 16, 800, np.logspace(0, -1.5, 16)
    draws = []
    for _ in range(1500):
        x, y = (
            rng.normal(size=(n, d)) * spread,
            rng.normal(size=(n, d)) * spread * 1.3 + 0.5 * spread,
        )
        draws.append(frechet_terms(x, y, error_bar=True))
    expected = np.mean([t.distance for t in draws])
    inside = [abs(t.distance - expected) < 1.96 * float(t.standard_error or 0) for t in draws]
    assert 0.93 < np.mean(inside) < 0.97


def test_a_side_of_moments_is_held_fixed() -> None:
    x, y = sample(500, 6, 0), sample(500, 6, 1, 1.3)
    a, b = Moments.from_features(x), Moments.from_features(y)
    both = frechet_standard_error(x, y)
    only_x, only_y = frechet_standard_error(x, b), frechet_standard_error(a, y)
    assert both is not None
    assert both**2 == pytest.approx(only_x**2 + only_y**2, rel=1e-4)
    assert frechet_standard_error(a, b) is None


def test_the_standard_error_does_not_depend_on_the_order_of_the_sides() -> None:
    for n, m in ((200, 300), (20, 300), (20, 30)):
        x, y = sample(n, 32, 0), sample(m, 32, 1, 1.3)
        assert frechet_standard_error(x, y) == pytest.approx(frechet_standard_error(y, x), rel=1e-4)


@pytest.mark.parametrize(("n", "m"), [(60, 70), (9, 12), (9, 70), (12, 12)])
def test_the_torch_twin_agrees_and_is_differentiable(n: int, m: int) -> None:
    x, y = (torch.from_numpy(sample(k, 16, k, 1.1)).requires_grad_() for k in (n, m))
    twin = frechet_distance(x, y)
    assert isinstance(twin, torch.Tensor)
    assert twin.item() == pytest.approx(frechet_distance(x.detach().numpy(), y.detach().numpy()))
    assert torch.autograd.gradcheck(frechet_distance, (x, y), atol=1e-5)


def test_the_twin_against_a_fixed_reference() -> None:
    x = torch.from_numpy(sample(40, 8, 0)).requires_grad_()
    reference = Moments.from_features(sample(90, 8, 1, 1.5, 0.3))
    assert torch.autograd.gradcheck(lambda z: frechet_distance(z, reference), (x,), atol=1e-5)
    assert frechet_distance(x, reference).item() == pytest.approx(
        frechet_distance(x.detach().numpy(), reference)
    )


def test_the_gradient_lowers_the_distance() -> None:
    x = torch.from_numpy(sample(50, 8, 0)).requires_grad_()
    y = torch.from_numpy(sample(80, 8, 1, 1.5, 0.5))
    before = frechet_distance(x, y)
    before.backward()
    assert x.grad is not None
    assert frechet_distance((x - x.grad * 2).detach(), y) < before


def test_bad_input_is_named() -> None:
    x = sample(20, 4, 0)
    with pytest.raises(InputError, match="4 and 3"):
        frechet_distance(x, sample(20, 3, 0))
    with pytest.raises(InputError, match=r"\(n, D\)"):
        frechet_distance(x[0], x)
    with pytest.raises(ComputationError, match="at least two"):
        frechet_distance(x, x[:1])
    with pytest.raises(ComputationError, match="at least two"):
        frechet_distance(Moments.from_features(x[:1]), x)
    with pytest.raises(ComputationError, match="hold NaN or infinity, first in row"):
        frechet_distance(x, np.where(x > 1, np.nan, x))
    with pytest.raises(ComputationError, match="finite"):
        frechet_distance(gaussian(np.full(4, np.nan), np.eye(4)), x)
    with pytest.raises(InputError, match="features of set a"):
        frechet_influence(Moments.from_features(x), x)
    for bad, error in ((x[:1], ComputationError), (x[0], InputError), (x[:, :2], InputError)):
        with pytest.raises(error):
            frechet_distance(torch.from_numpy(x), torch.from_numpy(bad))
    with pytest.raises(ComputationError, match="NaN or infinity"):
        frechet_distance(torch.from_numpy(x), torch.full((9, 4), torch.nan))


def test_the_directions_add_up_to_the_distance() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((60, 80), (5, 80), (60, 4), (6, 5)):  # full rank, and fewer than dimensions
        x = rng.normal(size=(n, 8)) * np.linspace(1, 2, 8)
        y = rng.normal(size=(m, 8)) + np.eye(8)[2] * 3
        shares, vectors = frechet_directions(x, y, k=8)
        assert shares.sum() == pytest.approx(1)
        assert (np.diff(shares) <= 1e-12).all()
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(8), atol=1e-9)
        few, _ = frechet_directions(x, y, k=3)
        np.testing.assert_allclose(few, shares[:3])


def test_a_direction_is_found_in_which_the_sets_differ() -> None:
    rng = np.random.default_rng(0)
    direction = np.linalg.qr(rng.normal(size=(10, 10)))[0][:, 0]
    x = rng.normal(size=(4000, 10))
    wide = x + np.outer(x @ direction, direction) * 2  # three times as wide, in one direction
    shares, vectors = frechet_directions(x, wide, k=2)
    assert shares[0] > 0.98
    assert abs(vectors[:, 0] @ direction) > 0.999
    moved = x + 5 * direction
    assert abs(frechet_directions(x, moved, k=1)[1][:, 0] @ direction) == pytest.approx(1)


def test_directions_of_equal_sets_carry_nothing_and_bad_numbers_are_refused() -> None:
    moments = Moments(9, np.zeros(3), np.zeros((3, 3)))
    assert frechet_directions(moments, moments, k=2)[0].tolist() == [0.0, 0.0]
    with pytest.raises(UsageError, match="k must be a whole number ≥ 1, not 0"):
        frechet_directions(moments, moments, k=0)


def over_n(x: np.ndarray) -> Moments:
    return Moments(len(x), x.mean(0), np.cov(x, rowvar=False, ddof=0))


@pytest.mark.parametrize(("n", "m"), [(300, 90), (90, 300), (20, 30), (20, 300), (300, 20)])
def test_the_divisor_n_is_the_distance_of_moments_over_n(n: int, m: int) -> None:
    """Exact by itself, whichever way the sides are given, for more images than dimensions."""
    x, y = sample(n, 16, 0), sample(m, 16, 1, 1.3, 0.2)
    expected = frechet_distance(over_n(x), over_n(y))
    sides = [(x, Moments.from_features(x)), (y, Moments.from_features(y))]
    for a in sides[0]:
        for b in sides[1]:
            found = frechet_estimate(a, b, divisor="n")
            assert found.value == pytest.approx(expected, rel=1e-12)
            bare = frechet_terms(a, b, divisor="n").distance
            assert bare == pytest.approx(expected, rel=1e-12)
            terms = found.details["mean_term"] + found.details["covariance_term"]
            assert terms == pytest.approx(found.value, rel=1e-12)
    assert expected == pytest.approx(frechet_over_n(x, y), rel=1e-9)
    assert expected != pytest.approx(frechet_distance(x, y), rel=1e-4)
    assert frechet_estimate(x, y, divisor="n").details["divisor"] == "n"
    for divisor in ({}, {"divisor": "n-1"}):
        plain = frechet_estimate(x, y, error_bar=False, **divisor)
        assert plain.value == frechet_distance(x, y)
        assert "divisor" not in plain.details


@pytest.mark.parametrize(("n", "m"), [(12, 9), (9, 40), (40, 9)])
def test_the_divisor_n_for_fewer_images_than_dimensions(n: int, m: int) -> None:
    """Features drawn in by √((n − 1)/n) about their mean have what covariance is asked for."""
    x, y = sample(n, 32, 0), sample(m, 32, 1, 1.3, 0.2)
    drawn = [z.mean(0) + (z - z.mean(0)) * np.sqrt((len(z) - 1) / len(z)) for z in (x, y)]
    found = frechet_estimate(x, y, divisor="n").value
    assert found == pytest.approx(frechet_nuclear(*drawn), rel=1e-11)


@pytest.mark.parametrize(("n", "m", "d"), [(60, 25, 8), (25, 60, 8), (20, 15, 32), (80, 15, 32)])
def test_influences_with_the_divisor_n(n: int, m: int, d: int) -> None:
    """Exact weights: counting an image once more, on either side."""
    x, y = sample(n, d, 0, 1.2, 0.3), sample(m, d, 1)

    def weighted(v: np.ndarray, w: np.ndarray) -> float:
        means, roots = [], []
        for features, weights in ((x, v), (y, w)):
            p = weights / weights.sum()
            means.append(p @ features)
            roots.append(np.sqrt(p)[:, None] * (features - means[-1]))
        shift = means[0] - means[1]
        nuclear = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
        return float(shift @ shift + sum((r**2).sum() for r in roots) - 2 * nuclear)

    found = frechet_estimate(x, y, divisor="n")
    assert found.value == pytest.approx(weighted(np.ones(n), np.ones(m)), rel=1e-9)
    plain = frechet_estimate(x, y)
    step = 1e-4
    for side, influence, other in (
        (0, found.real_influence, plain.real_influence),
        (1, found.fake_influence, plain.fake_influence),
    ):
        assert influence is not None
        assert other is not None
        assert influence.mean() == pytest.approx(0, abs=1e-9)
        slopes = np.empty(len(influence))
        for i in range(len(influence)):
            values = []
            for sign in (1, -1):
                weights = [np.ones(n), np.ones(m)]
                weights[side][i] += sign * step
                values.append(weighted(*weights))
            slopes[i] = (values[0] - values[1]) / (2 * step) * len(influence)
        off, plain_off = (np.abs(z - slopes).max() for z in (influence, other))
        assert off < 1e-3 * np.abs(slopes).max()
        assert off < 0.05 * plain_off
    expected = np.hypot(
        found.real_influence.std(ddof=1) / np.sqrt(n), found.fake_influence.std(ddof=1) / np.sqrt(m)
    )
    assert found.standard_error == pytest.approx(expected, rel=1e-12)


def test_a_side_of_moments_is_held_fixed_with_the_divisor_n_too() -> None:
    x, y = sample(50, 6, 0), sample(30, 6, 1, 1.3)
    both = frechet_estimate(x, y, divisor="n")
    one = frechet_estimate(Moments.from_features(x), y, divisor="n")
    assert one.real_influence is None
    np.testing.assert_allclose(one.fake_influence, both.fake_influence, rtol=1e-4, atol=1e-6)
    bare = frechet_estimate(x, y, divisor="n", error_bar=False)
    assert bare.standard_error is None
    assert bare.value == pytest.approx(both.value, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(60, 20), (6, 20)])
def test_the_directions_with_the_divisor_n(n: int, m: int) -> None:
    x, y = sample(n, 8, 0), sample(m, 8, 1, 1.6, 0.3)
    expected, axes = frechet_directions(over_n(x), over_n(y), k=8)
    shares, vectors = frechet_directions(x, y, k=8, divisor="n")
    np.testing.assert_allclose(shares, expected, rtol=1e-6, atol=1e-9)
    assert abs(vectors[:, 0] @ axes[:, 0]) == pytest.approx(1, abs=1e-6)
    assert not np.allclose(frechet_directions(x, y, k=8)[0], shares, rtol=1e-3)
    found = frechet_estimate(x, y, directions=3, divisor="n").details["leading_directions"]
    np.testing.assert_allclose(found, shares[:3], rtol=1e-9)


def test_a_divisor_that_cannot_be() -> None:
    x = sample(20, 4, 0)
    unknown = gaussian(np.zeros(4), np.eye(4))
    second = r"second \(generated\)"
    for sides, which in (((unknown, x), r"first \(real\)"), ((x, unknown), second)):
        with pytest.raises(ComputationError, match=f"images of the {which} set, .*divisor='n-1'"):
            frechet_estimate(*sides, divisor="n")
        assert frechet_estimate(*sides).value > 0
    for wrong in ("N", 0, None, "n-2"):
        with pytest.raises(UsageError, match="divisor must be one of n-1 or n, not"):
            frechet_estimate(x, x, divisor=wrong)
