from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import cosine_kernel, gaussian_kernel, renyi_score

from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics import diversity, spectrum
from gan_metrics.metrics.diversity import (
    bandwidth,
    fkea,
    fkea_estimate,
    rke,
    rke_estimate,
    vendi,
    vendi_estimate,
)
from gan_metrics.metrics.estimate import Estimate

ORDERS = [0.1, 0.5, 0.999, 1.0, 1.001, 1.5, 2.0, 10.0, 100.0, math.inf]
SIZES = [(300, 20), (21, 20), (20, 20), (15, 20), (2, 20), (40, 1)]


def sample(m: int, d: int, seed: int) -> np.ndarray:
    """Correlated data off the origin, in float32."""
    rng = np.random.default_rng(seed)
    spread = np.logspace(0, -1, d)
    return (rng.normal(size=(m, d)) * spread + 0.3 * spread).astype(np.float32)


def modes(m: int, d: int, count: int, apart: float, seed: int) -> np.ndarray:
    """Round clouds, ``apart`` times as far from each other as two images of one cloud."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, d))
    centres *= apart * math.sqrt(d) / np.linalg.norm(centres, axis=1, keepdims=True)
    return (centres[np.arange(m) % count] + rng.normal(size=(m, d))).astype(np.float32)


SCORES: dict[str, Callable[..., float]] = {
    "vendi": vendi,
    "rke": lambda x, **more: rke(x, **({"sigma": 1.5} | more)),
    "fkea": lambda x, **more: fkea(x, **({"sigma": 1.5, "features": 50} | more)),
}
ESTIMATES: dict[str, Callable[..., Estimate]] = {
    "vendi": vendi_estimate,
    "rke": lambda x, **more: rke_estimate(x, **({"sigma": 1.5} | more)),
    "fkea": lambda x, **more: fkea_estimate(x, **({"sigma": 1.5, "features": 50} | more)),
}
each_score = pytest.mark.parametrize("name", list(SCORES))


# Oracles


@pytest.mark.parametrize(("m", "d"), SIZES)
@pytest.mark.parametrize("q", ORDERS)
def test_vendi_against_the_definition(m: int, d: int, q: float) -> None:
    x = sample(m, d, 0)
    assert vendi(x, q=q) == pytest.approx(renyi_score(cosine_kernel(x), q), rel=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("m", "d"), [(100, 12), (12, 100)])
def test_vendi_against_the_package_of_its_authors(m: int, d: int) -> None:
    peer = pytest.importorskip("vendi_score.vendi")
    x = sample(m, d, 1)
    assert vendi(x) == pytest.approx(peer.score_dual(x.astype(float)), rel=1e-9)
    kernel = cosine_kernel(x)
    for q in (1, 2, 3):
        assert vendi(x, q=q) == pytest.approx(peer.score_K(kernel, q=q), rel=1e-6)
    assert vendi(x, q=math.inf) == pytest.approx(peer.score_K(kernel, q="inf"), rel=1e-9)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
def test_rke_against_the_definition(sigma: float) -> None:
    x = sample(150, 9, 0) + 100.0  # an offset costs no digits
    expected = 1 / (gaussian_kernel(x, sigma) ** 2).mean()
    assert rke(x, sigma=sigma) == pytest.approx(expected, rel=1e-9)
    assert rke(x, sigma=sigma) == pytest.approx(renyi_score(gaussian_kernel(x, sigma), 2), rel=1e-9)


def test_fkea_against_its_own_features() -> None:
    """The kernel that the frequencies make, entry by entry: both ways to the eigenvalues."""
    for m in (30, 150):
        x = sample(m, 6, 0)
        omega = np.random.default_rng(3).standard_normal((6, 40)) / 0.7
        angles = x.astype(float) @ omega
        kernel = np.cos(angles[:, None] - angles[None]).mean(-1)
        for q in ORDERS:
            ours = fkea_estimate(x, sigma=0.7, features=40, q=q, seed=3, error_bar=False)
            assert ours.value == pytest.approx(renyi_score(kernel, q), rel=1e-8)
        assert ours.details["rke"] == pytest.approx(renyi_score(kernel, 2), rel=1e-9)


def test_fkea_against_the_exact_score_with_the_same_kernel() -> None:
    """As documented: 1/score is high by 0.5 to 1 over 2R = 4000, with 1 % of scatter."""
    x = modes(200, 64, 10, 3.0, 0)
    sigma = bandwidth(x)
    kernel = gaussian_kernel(x, sigma)
    for q in (1.0, 2.0):
        exact = renyi_score(kernel, q)
        expected = 1 / (1 / exact + 1 / 4000)
        assert fkea(x, sigma=sigma, q=q) == pytest.approx(expected, rel=0.01)
    found = fkea_estimate(x, sigma=sigma, error_bar=False).details["rke"]
    assert found == pytest.approx(fkea(x, sigma=sigma, q=2.0), rel=1e-9)
    assert found == pytest.approx(rke(x, sigma=sigma), rel=0.01)


@pytest.mark.parametrize("rows", [7, 64])
def test_blocks_make_no_difference(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = sample(100, 8, 0)
    before = [ESTIMATES[name](x) for name in SCORES] + [vendi_estimate(x, q=3.0)]
    monkeypatch.setattr(diversity, "_ROWS", rows)
    monkeypatch.setattr(spectrum, "_ROWS", rows)
    after = [ESTIMATES[name](x) for name in SCORES] + [vendi_estimate(x, q=3.0)]
    for one, other in zip(before, after, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-12)
        np.testing.assert_allclose(one.fake_influence, other.fake_influence, rtol=1e-6, atol=1e-9)


# Analytic cases


@pytest.mark.parametrize("q", ORDERS)
def test_orthogonal_rows_count_one_each(q: float) -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 9)))[0]
    lengths = np.arange(1, 10)[:, None]
    assert vendi(turn * lengths, q=q) == pytest.approx(9, rel=1e-12)
    assert vendi((turn * lengths)[:5], q=q) == pytest.approx(5, rel=1e-12)


@pytest.mark.parametrize("q", ORDERS)
@pytest.mark.parametrize("each", [2, 30])
def test_groups_of_equal_rows_count_one_each(q: float, each: int) -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    x = np.repeat(turn[:4], each, axis=0)
    found = vendi_estimate(x, q=q)
    assert found.value == pytest.approx(4, rel=1e-12)
    assert np.isfinite(found.fake_influence).all()
    assert rke(x, sigma=0.05) == pytest.approx(4, rel=1e-12)
    assert rke(x) == pytest.approx(4, rel=1e-2)
    assert fkea(x, sigma=0.1, q=q) == pytest.approx(4, rel=0.06)


def test_unequal_groups() -> None:
    x = np.repeat(np.eye(3), [5, 3, 2], axis=0)
    shares = np.array([0.5, 0.3, 0.2])
    for q in (0.5, 2.0, 3.0):
        assert vendi(x, q=q) == pytest.approx((shares**q).sum() ** (1 / (1 - q)), rel=1e-12)
    assert vendi(x) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-12)
    assert vendi(x, q=math.inf) == pytest.approx(2, rel=1e-12)


@each_score
@pytest.mark.parametrize("m", [3, 50, 300])
def test_identical_rows_are_one(name: str, m: int) -> None:
    x = np.full((m, 7), 0.1, np.float32)
    found = ESTIMATES[name](x)
    assert found.value == pytest.approx(1, abs=1e-9)
    assert found.value >= 1
    assert found.standard_error == pytest.approx(0, abs=1e-6)


def test_the_order_two_of_a_gaussian_cloud() -> None:
    """E k² over pairs of N(0, 1) in D dimensions is (1 + 4/σ²)^(−D/2)."""
    x = np.random.default_rng(0).normal(size=(4000, 3))
    assert rke(x, sigma=2.0) == pytest.approx(2 ** (3 / 2), rel=0.02)


# Properties


@each_score
def test_the_order_of_the_rows_does_not_matter(name: str) -> None:
    x = sample(80, 6, 0)
    shuffled = np.random.default_rng(1).permutation(x)
    assert SCORES[name](shuffled) == pytest.approx(SCORES[name](x), rel=1e-10)
    assert bandwidth(shuffled) == pytest.approx(bandwidth(x), rel=1e-12)


@each_score
def test_a_set_twice_is_as_diverse(name: str) -> None:
    x = sample(80, 6, 0)
    assert SCORES[name](np.vstack([x, x])) == pytest.approx(SCORES[name](x), rel=1e-9)


@each_score
def test_disjoint_sets_are_more_diverse_together(name: str) -> None:
    """In directions of their own the two share no eigenvector, and their entropies add up."""
    x, y = np.zeros((80, 6)), np.zeros((80, 6))
    x[:, :3] = sample(80, 3, 0) + np.array([7, 0, 0])
    y[:, 3:] = 0.1 * sample(80, 3, 1) + np.array([0, 0, 7])
    one, other, both = (SCORES[name](z) for z in (x, y, np.vstack([x, y])))
    assert one > 1.01 * other  # asymmetric
    if name == "rke":
        assert both == pytest.approx(4 / (1 / one + 1 / other), rel=1e-3)
    elif name == "vendi":
        assert both == pytest.approx(2 * math.sqrt(one * other), rel=1e-9)
    else:
        assert both == pytest.approx(2 * math.sqrt(one * other), rel=0.1)


def test_a_higher_order_is_never_larger() -> None:
    x = sample(60, 30, 0)
    values = [vendi(x, q=q) for q in ORDERS]
    assert values == sorted(values, reverse=True)
    assert 1 < values[-1] < values[0] < 30


def test_a_smaller_sigma_sees_more() -> None:
    x = sample(60, 30, 0)
    values = [rke(x, sigma=sigma) for sigma in (10, 3, 1, 0.3, 0.01)]
    assert values == sorted(values)
    assert values[0] < 2
    assert values[-1] == pytest.approx(60, rel=1e-9)


def test_the_seed_of_the_frequencies() -> None:
    x = sample(60, 6, 0)
    a, b, c = (fkea(x, sigma=1.0, features=30, seed=seed) for seed in (0, 0, 1))
    assert a == b != c
    assert a == pytest.approx(c, rel=0.2)


def test_the_seed_of_the_bandwidth() -> None:
    x = sample(1500, 6, 0)
    a, b, c = (bandwidth(x, seed=seed) for seed in (0, 0, 1))
    assert a == b != c
    assert a == pytest.approx(c, rel=0.03)
    assert rke_estimate(x, seed=1, error_bar=False).details["sigma"] == c
    few = sample(300, 6, 0)
    assert bandwidth(few, seed=0) == bandwidth(few, seed=1)


# The bandwidth


def test_the_bandwidth_is_a_share_of_the_median_distance() -> None:
    from scipy.spatial.distance import pdist

    x = sample(200, 6, 0).astype(float)
    median = np.median(pdist(x))
    assert bandwidth(x) == pytest.approx(median / 3, rel=1e-6)  # the median is of the squares
    assert bandwidth(x, share=0.5) == pytest.approx(median / 2, rel=1e-6)
    assert bandwidth(x + 1e4) == pytest.approx(median / 3, rel=1e-6)


@pytest.mark.parametrize("d", [64, 1280])
def test_with_a_sigma_from_the_data_the_scores_count_modes(d: int) -> None:
    found = {}
    for count in (10, 100):
        x = modes(600, d, count, 6.0, 1)
        found[count] = rke(x)
        assert count < found[count] < 1.3 * count
        assert found[count] == pytest.approx(fkea(x, features=300, q=2.0), rel=0.25)
        one = modes(600, d, 1, 6.0, 2)
        assert rke(one, sigma=bandwidth(x)) < 1.5
    assert found[100] > 8 * found[10]


def test_copies_do_not_hide_the_scale_of_the_rest() -> None:
    x = np.vstack([np.ones((90, 3)), sample(10, 3, 0)])
    alone = bandwidth(x[89:])
    assert 0.5 * alone < bandwidth(x) < 2 * alone
    assert bandwidth(np.ones((90, 3))) == 0
    many = np.full((3000, 3), 0.1)
    many[1234] = 3.1  # most subsets do not hold it
    assert bandwidth(many) == pytest.approx(math.sqrt(27) / 3, rel=1e-9)
    assert bandwidth(np.full((1500, 3), 0.1)) == 0


def test_what_the_estimates_tell() -> None:
    x = sample(50, 6, 0)
    codes = [[code for code, _ in e.warnings] for e in (rke_estimate(x), fkea_estimate(x))]
    assert codes == [["bandwidth-from-data"]] * 2
    assert "give them the same" in rke_estimate(x).warnings[0][1]
    assert rke_estimate(x).details == {"sigma": bandwidth(x)}
    given = fkea_estimate(x, sigma=2.0, features=30, q=math.inf)
    assert given.warnings == ()
    assert {k: v for k, v in given.details.items() if k != "rke"} == {
        "sigma": 2.0,
        "features": 30,
        "q": "inf",
    }
    assert vendi_estimate(x, q=2).details == {"q": 2.0}
    for estimate in (rke_estimate, fkea_estimate):
        same = estimate(np.full((40, 3), 0.1))
        assert (same.value, same.standard_error) == (1.0, 0.0)
        assert [code for code, _ in same.warnings] == ["identical-images"]
        assert estimate(np.full((40, 3), 0.1), error_bar=False).standard_error is None


# Error bars


@each_score
@pytest.mark.parametrize("m", [40, 200])
def test_influences(name: str, m: int) -> None:
    x = sample(m, 20, 0)
    found = ESTIMATES[name](x)
    influence = found.fake_influence
    assert influence is not None
    assert influence.shape == (m,)
    assert found.real_influence is None
    assert influence.mean() == pytest.approx(0, abs=1e-9)
    assert found.value == pytest.approx(SCORES[name](x), rel=1e-12)
    assert found.standard_error == pytest.approx(influence.std(ddof=1) / math.sqrt(m), rel=1e-9)
    bare = ESTIMATES[name](x, error_bar=False)
    assert bare.fake_influence is None
    assert bare.standard_error is None


@pytest.mark.parametrize(("m", "d"), [(60, 16), (30, 30), (30, 200), (5, 3), (3, 8)])
@pytest.mark.parametrize("q", [0.02, 0.5, 0.99, 1.0, 1.01, 1.5, 1.99])
def test_below_order_two_each_image_is_left_out(m: int, d: int, q: float) -> None:
    x = sample(m, d, 0)
    x[0] = 0.0
    x[0, -1] = 9.0  # nearly alone in its direction
    x[-1] = x[-2]
    loss = [vendi(x, q=q) - (vendi(np.delete(x, i, 0), q=q) if m > 2 else 1) for i in range(m)]
    expected = (m - 1) * (np.array(loss) - np.mean(loss))
    found = vendi_estimate(x, q=q).fake_influence
    np.testing.assert_allclose(found, expected, atol=1e-6 * max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize(("m", "d"), [(60, 16), (30, 200)])
@pytest.mark.parametrize("q", [2.0, 3.5, 50.0, math.inf])
def test_from_order_two_it_is_the_derivative(m: int, d: int, q: float) -> None:
    x = sample(m, d, 0)
    kernel = cosine_kernel(x)

    def weighted(weights: np.ndarray) -> float:
        root = np.sqrt(weights / weights.sum() * m)
        return renyi_score(root[:, None] * kernel * root, q)

    found = vendi_estimate(x, q=q).fake_influence
    assert found is not None
    for i in (0, m // 2, m - 1):
        step = np.zeros(m)
        step[i] = 1e-4
        slope = (weighted(1 + step) - weighted(1 - step)) / 2e-4 * m
        assert found[i] == pytest.approx(slope, rel=1e-4, abs=1e-5 * np.abs(found).max())


def test_tied_modes_share_the_derivative() -> None:
    """Of ten images 4, 4 and 2 are the same; only the two of the rare mode raise the score."""
    found = vendi_estimate(np.repeat(np.eye(3), [4, 4, 2], axis=0), q=math.inf).fake_influence
    np.testing.assert_allclose(found, [-0.625] * 8 + [2.5] * 2, rtol=1e-9)


def test_the_influence_on_rke_is_the_derivative() -> None:
    x = sample(50, 5, 0)
    squared = gaussian_kernel(x, 1.2) ** 2
    found = rke_estimate(x, sigma=1.2).fake_influence
    assert found is not None
    for i in (0, 49):
        values = []
        for step in (1e-5, -1e-5):
            weights = np.ones(50)
            weights[i] += step
            weights /= weights.sum()
            values.append(1 / (weights @ squared @ weights))
        assert found[i] == pytest.approx((values[0] - values[1]) / 2e-5 * 50, rel=1e-4)


def test_an_unlike_image_raises_the_score_and_a_copy_lowers_it() -> None:
    x = sample(100, 6, 0)
    x[3] = [0, 0, 0, 0, 0, -4]
    for name, estimate in ESTIMATES.items():
        found = estimate(x).fake_influence
        assert found is not None
        assert found[3] > 0.5 * found.max(), name
        before, after = SCORES[name](x), SCORES[name](np.delete(x, 3, 0))
        assert before - after == pytest.approx(found[3] / 100, rel=0.25), name


@pytest.mark.parametrize(
    ("name", "m", "d", "more", "low", "high"),
    [
        ("vendi", 400, 16, {}, 0.9, 1.1),
        ("vendi", 400, 16, {"q": 0.5}, 0.9, 1.15),
        ("vendi", 400, 16, {"q": math.inf}, 0.9, 1.15),
        ("vendi", 20, 80, {}, 0.95, 1.35),
        ("vendi", 20, 80, {"q": 0.5}, 0.95, 1.35),
        ("vendi", 20, 80, {"q": 2.0}, 0.95, 1.3),
        ("rke", 200, 8, {"sigma": 1.0}, 0.9, 1.1),
        ("rke", 100, 32, {"sigma": 1.5}, 0.9, 1.15),
        ("fkea", 150, 8, {"sigma": 1.0, "features": 20}, 0.9, 1.15),
        ("fkea", 50, 8, {"sigma": 1.0, "features": 40}, 0.9, 1.2),
    ],
)
def test_the_standard_error_against_redrawing(
    name: str, m: int, d: int, more: dict[str, Any], low: float, high: float
) -> None:
    """The true deviation is known to 5 %, from 200 redraws."""
    values, squares = [], []
    for seed in range(200):
        found = ESTIMATES[name](sample(m, d, seed), **more)
        assert found.standard_error is not None
        values.append(found.value)
        squares.append(found.standard_error**2)
    ratio = math.sqrt(np.mean(squares)) / np.std(values, ddof=1)
    assert low < ratio < high


# Both libraries


@each_score
@pytest.mark.parametrize("m", [15, 200])
def test_tensors_give_the_same(name: str, m: int) -> None:
    x = sample(m, 20, 0)
    ours, theirs = ESTIMATES[name](x), ESTIMATES[name](torch.from_numpy(x))
    assert isinstance(theirs.value, float)
    assert theirs.value == pytest.approx(ours.value, rel=1e-10)
    assert theirs.standard_error == pytest.approx(ours.standard_error, rel=1e-6)
    assert isinstance(theirs.fake_influence, np.ndarray)
    np.testing.assert_allclose(theirs.fake_influence, ours.fake_influence, rtol=1e-5, atol=1e-7)


def test_tensors_give_the_same_bandwidth() -> None:
    x = sample(1200, 6, 0)
    half = torch.from_numpy(x).half()
    assert bandwidth(torch.from_numpy(x)) == pytest.approx(bandwidth(x), rel=1e-12)
    assert bandwidth(half) == pytest.approx(bandwidth(half.numpy()), rel=1e-12)
    assert vendi(torch.from_numpy(x).requires_grad_(), q=3.0) == pytest.approx(vendi(x, q=3.0))


def test_memory_maps_and_whole_numbers(tmp_path: Any) -> None:
    x = np.random.default_rng(0).integers(1, 9, (60, 5)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for score in (vendi, rke, fkea):
        assert score(mapped) == score(x) == pytest.approx(score(x.astype(float)), rel=1e-12)


def test_the_numpy_path_imports_no_torch() -> None:
    code = (
        "import sys, numpy as np; from gan_metrics.metrics.diversity import vendi, rke, fkea;"
        "x = np.random.default_rng(0).normal(size=(9, 3)); vendi(x), rke(x), fkea(x, features=10);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Bad input


@each_score
def test_bad_arrays_are_named(name: str) -> None:
    score, x = SCORES[name], sample(20, 4, 0)
    with pytest.raises(InputError, match=r"\(n, D\)"):
        score(x[0])
    with pytest.raises(ComputationError, match="at least two images"):
        score(x[:1])
    with pytest.raises(ComputationError, match="row 3 "):
        score(np.where(np.arange(20)[:, None] == 3, np.nan, x))
    with pytest.raises(InputError, match="real numbers"):
        score(x.astype(complex))


def test_bad_values_are_named() -> None:
    x = sample(20, 4, 0)
    for q in (0, -1.0, math.nan, -math.inf):
        with pytest.raises(UsageError, match="order q must be > 0"):
            vendi(x, q=q)
        with pytest.raises(UsageError, match="order q must be > 0"):
            fkea(x, q=q)
    for sigma in (0, -1.0, math.nan, math.inf):
        for score in (rke, fkea):
            with pytest.raises(UsageError, match="sigma must be a finite number"):
                score(x, sigma=sigma)
        with pytest.raises(UsageError, match="share must be a finite number"):
            bandwidth(x, share=sigma)
    for features in (0, -3, 2.5, math.nan, True):
        with pytest.raises(UsageError, match="features must be a whole number"):
            fkea(x, features=features)  # type: ignore[arg-type]
    with pytest.raises(ComputationError, match="at least two images"):
        bandwidth(x[:1])


def test_a_zero_row_has_no_direction() -> None:
    x = sample(5000, 4, 0)
    x[4321] = 0
    with pytest.raises(ComputationError, match=r"row 4321 .*zeros"):
        vendi(x)
    assert rke(x[4300:4400], sigma=1.0) > 1


def test_what_overflows_is_refused() -> None:
    x = sample(20, 4, 0).astype(np.float64)
    for score in (vendi, bandwidth, rke, fkea):
        with pytest.raises(ComputationError, match="squares overflow"):
            score(x * 1e200)
    assert rke(x * 1e90, sigma=1e90) == pytest.approx(rke(x, sigma=1.0), rel=1e-6)
    with pytest.raises(ComputationError, match="larger sigma"):
        rke(sample(20, 4, 0), sigma=1e-9)


@each_score
def test_two_images_show_no_spread(name: str) -> None:
    found = ESTIMATES[name](sample(2, 4, 0))
    assert found.value > 1
    assert found.standard_error is None
    assert "too-few-for-error-bar" in [code for code, _ in found.warnings]
