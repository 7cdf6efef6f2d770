from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import sliced_wasserstein, unit_directions, wasserstein_on_a_line

from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics import sliced_wasserstein as sliced_module
from gan_metrics.metrics.estimate import influence_error
from gan_metrics.metrics.sliced_wasserstein import mind, mind_estimate, swd, swd_estimate

SIZES = [(40, 40), (40, 56), (56, 40), (41, 13), (13, 12), (5, 2), (2, 2)]


def sample(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Asymmetric data whose spectrum falls by a decade and a half."""
    rng = np.random.default_rng(seed + 100)
    return (rng.normal(size=(n, d)) + shift) * np.logspace(0, -1.5, d) * scale


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("seed", [0, 3])
def test_against_pot(n: int, m: int, seed: int) -> None:
    ot = pytest.importorskip("ot")
    x, y = sample(n, 12, 0), sample(m, 12, 1, 1.2, 0.1)
    units = unit_directions(150, 12, seed)
    root = ot.sliced_wasserstein_distance(x, y, projections=units.T)
    assert swd(x, y, directions=150, seed=seed) == pytest.approx(root**2, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_against_the_definition(n: int, m: int) -> None:
    x, y = sample(n, 6, 0), sample(m, 6, 1, 1.2, 0.1)
    expected = sliced_wasserstein(x, y, unit_directions(30, 6, 0))
    assert swd(x, y, directions=30) == pytest.approx(expected, rel=1e-12)
    estimate = swd_estimate(x, y, directions=30)
    assert estimate.value == pytest.approx(expected, rel=1e-12)
    assert estimate.details["directions"] == 30


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_mind_against_the_definition_on_the_images_drawn(n: int, m: int) -> None:
    x, y = sample(n, 6, 0), sample(m, 6, 1, 1.2, 0.1)
    estimate = mind_estimate(x, y, directions=30, seed=4)
    assert estimate.real_influence is not None
    assert estimate.fake_influence is not None
    real, fake = (np.flatnonzero(i) for i in (estimate.real_influence, estimate.fake_influence))
    assert len(real) == len(fake) == min(n, m) == estimate.details["images"]
    pairs = 3 * 6 * sliced_wasserstein(x[real], y[fake], unit_directions(30, 6, 4))
    assert estimate.value == pytest.approx(pairs, rel=1e-12)
    assert mind(x, y, directions=30, seed=4) == pytest.approx(pairs, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("float32", [False, True])
def test_torch_agrees(n: int, m: int, float32: bool) -> None:
    dtype, near = (np.float32, 1e-5) if float32 else (np.float64, 1e-9)
    x, y = sample(n, 12, 0).astype(dtype), sample(m, 12, 1, 1.2).astype(dtype)
    for function in (swd_estimate, mind_estimate):
        ours = function(x, y, directions=50)
        theirs = function(torch.from_numpy(x), torch.from_numpy(y), directions=50)
        assert theirs.value == pytest.approx(ours.value, rel=near)
        assert theirs.standard_error == pytest.approx(ours.standard_error, rel=near)
        scale = float(np.abs(ours.real_influence).max())
        for mine, other in (
            (ours.real_influence, theirs.real_influence),
            (ours.fake_influence, theirs.fake_influence),
        ):
            assert isinstance(other, np.ndarray)
            np.testing.assert_allclose(mine, other, rtol=0, atol=near * scale)


@pytest.mark.parametrize(("n", "m"), [(20, 30), (30, 30)])
def test_the_code_for_a_device_agrees(n: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the CPU are sorted by NumPy; here they stay tensors, as on a GPU."""
    x, y = (torch.from_numpy(sample(k, 6, k, 1.1)) for k in (n, m))
    expected = swd_estimate(x, y, directions=20)
    monkeypatch.setattr(sliced_module, "is_tensor", lambda _: False)
    found = swd_estimate(x, y, directions=20)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert swd(x, y, directions=20) == pytest.approx(expected.value, rel=1e-9)
    np.testing.assert_allclose(found.real_influence, expected.real_influence, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.fake_influence, expected.fake_influence, rtol=1e-6, atol=1e-12)


def test_float32_far_from_the_origin() -> None:
    """Means of 100 and a distance a thousandth of the spread: about six digits are left."""
    rng = np.random.default_rng(0)
    x = (sample(500, 200, 0) + 100).astype(np.float32)
    y = (x + rng.normal(size=x.shape) * 1e-3).astype(np.float32)
    wide = swd(x.astype(np.float64), y.astype(np.float64), directions=100)
    assert swd(x, y, directions=100) == pytest.approx(wide, rel=1e-5)
    assert swd(x, x + np.float32(1), directions=100) == pytest.approx(
        swd(x.astype(np.float64), (x + np.float32(1)).astype(np.float64), directions=100), rel=1e-6
    )


def test_other_types_of_numbers(tmp_path: Path) -> None:
    x, y = sample(30, 6, 0).astype(np.float32), sample(40, 6, 1, 1.4).astype(np.float32)
    expected = swd(x, y, directions=20)
    np.save(tmp_path / "x.npy", x)
    assert swd(np.load(tmp_path / "x.npy", mmap_mode="r"), y, directions=20) == expected
    assert mind(np.load(tmp_path / "x.npy", mmap_mode="r"), y, directions=20) == mind(
        x, y, directions=20
    )
    assert swd(x.astype(np.float64), y, directions=20) == pytest.approx(expected, rel=1e-6)
    assert swd(x, torch.from_numpy(y), directions=20) == pytest.approx(expected, rel=1e-6)
    half = [torch.from_numpy(z).bfloat16() for z in (x, y)]
    assert swd(*half, directions=20) == pytest.approx(
        swd(*(z.float() for z in half), directions=20), rel=1e-6
    )
    whole = [np.round(z * 20).astype(np.int8) for z in (x, y)]
    assert swd(*whole, directions=20) == pytest.approx(
        swd(*(z.astype(np.float64) for z in whole), directions=20), rel=1e-6
    )


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 41)])
def test_blocks_change_nothing(n: int, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = sample(n, 6, 0), sample(m, 6, 1, 1.4)
    expected = swd_estimate(x, y, directions=25)
    monkeypatch.setattr(sliced_module, "_ROWS", 7)
    monkeypatch.setattr(sliced_module, "_PROJECTIONS", 6 * m)
    monkeypatch.setattr(sliced_module, "_SORTED", 4 * m)
    found = swd_estimate(x, y, directions=25)
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(found.fake_influence, expected.fake_influence, atol=1e-12)
    assert swd(x, y, directions=25) == pytest.approx(expected.value, rel=1e-12)


def test_zero_on_itself() -> None:
    x = sample(200, 16, 0).astype(np.float32)
    for function in (swd_estimate, mind_estimate):
        estimate = function(x, x, directions=50)
        assert estimate.value == 0
        assert estimate.standard_error == pytest.approx(0, abs=1e-6)
    shuffled = np.random.default_rng(0).permutation(x)
    assert swd(x, shuffled, directions=50) < 1e-12 * x.var(0).sum()
    assert swd(x.repeat(3, axis=0), x, directions=50) < 1e-12 * x.var(0).sum()


def test_order_does_not_matter() -> None:
    x, y = sample(90, 8, 0), sample(70, 8, 1, 1.4)
    order = np.random.default_rng(0).permutation(90)
    before, after = (swd_estimate(z, y, directions=50) for z in (x, x[order]))
    assert after.value == pytest.approx(before.value, rel=1e-12)
    assert before.real_influence is not None
    np.testing.assert_allclose(after.real_influence, before.real_influence[order], atol=1e-12)


def test_the_sides_are_told_apart() -> None:
    """The value is symmetric, the influences change places, and an outlier stands on its side."""
    x, y = sample(90, 8, 0), sample(70, 8, 1, 1.4, 0.2)
    y[7] += 8
    one, other = swd_estimate(x, y, directions=50), swd_estimate(y, x, directions=50)
    assert one.value == pytest.approx(other.value, rel=1e-12)
    assert one.real_influence is not None
    assert one.fake_influence is not None
    assert (len(one.real_influence), len(one.fake_influence)) == (90, 70)
    np.testing.assert_allclose(one.fake_influence, other.real_influence, atol=1e-12)
    assert one.fake_influence.argmax() == 7
    assert one.real_influence.max() < one.fake_influence[7] / 3


def test_the_seed() -> None:
    x, y = sample(60, 8, 0), sample(90, 8, 1, 1.4)
    for function in (swd, mind):
        assert function(x, y, directions=20) == function(x, y, directions=20, seed=0)
        assert function(x, y, directions=20, seed=1) != function(x, y, directions=20)
    drawn = [mind_estimate(x, y, directions=5, seed=s).fake_influence != 0 for s in (0, 1)]
    assert (drawn[0] != drawn[1]).any()


def test_sets_far_apart() -> None:
    """Two points: (θ·v)² exactly, and |v|²/D on average."""
    x, shift = sample(50, 4, 0), np.array([1000.0, 0, 0, 0])
    units = unit_directions(1000, 4, 0)
    assert swd(x, x + shift) == pytest.approx(((units @ shift) ** 2).mean(), rel=1e-9)
    assert swd(x, x + shift) == pytest.approx(1000**2 / 4, rel=0.1)


@pytest.mark.parametrize(("dim", "mu"), [(16, 1.0), (16, 0.5), (64, 1.0)])
def test_mind_of_shifted_gaussians(dim: int, mu: float) -> None:
    """3 D μ² for a shift by μ in every coordinate."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3000, dim)), rng.normal(size=(3000, dim)) + mu
    estimate = mind_estimate(x, y, error_bar=False)
    assert estimate.value == pytest.approx(3 * dim * mu**2, rel=0.1)
    assert abs(estimate.value - 3 * dim * mu**2) < 3 * estimate.details["directions_error"]


def test_mind_is_three_times_the_dimension_times_swd() -> None:
    x, y = sample(50, 6, 0), sample(50, 6, 1, 1.4)
    one, other = swd_estimate(x, y, directions=20), mind_estimate(x, y, directions=20)
    assert other.value == pytest.approx(18 * one.value, rel=1e-12)
    assert other.standard_error == pytest.approx(18 * one.standard_error, rel=1e-12)
    assert other.details["directions_error"] == pytest.approx(
        18 * one.details["directions_error"], rel=1e-12
    )


@pytest.mark.parametrize(("n", "m"), [(12, 12), (12, 17), (17, 12), (12, 18), (12, 4)])
def test_influence_is_the_derivative_with_respect_to_the_weight_of_an_image(n: int, m: int) -> None:
    """Exact weights: counting an image a little more, and a little less."""
    x, y = sample(n, 3, 0), sample(m, 3, 1, 1.5, 0.3)
    units = unit_directions(8, 3, 0)
    estimate = swd_estimate(x, y, directions=8)
    step = 1e-4
    for side, k, influence in ((0, n, estimate.real_influence), (1, m, estimate.fake_influence)):
        assert influence is not None
        assert influence.mean() == pytest.approx(0, abs=1e-12)
        for i in range(k):
            values = []
            for change in (step, -step):
                weights = np.ones(k)
                weights[i] += change
                weights /= weights.sum()
                p, q = (weights, None) if side == 0 else (None, weights)
                values.append(np.mean([wasserstein_on_a_line(x @ u, y @ u, p, q) for u in units]))
            slope = (values[0] - values[1]) / (2 * step) * k
            assert influence[i] == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_the_standard_error_is_that_of_the_influences() -> None:
    x, y = sample(60, 6, 0), sample(90, 6, 1, 1.4)
    for function in (swd_estimate, mind_estimate):
        estimate = function(x, y, directions=20)
        assert estimate.standard_error == influence_error(
            estimate.real_influence, estimate.fake_influence
        )
        bare = function(x, y, directions=20, error_bar=False)
        assert bare.value == pytest.approx(estimate.value, rel=1e-12)
        assert bare.standard_error is bare.real_influence is bare.fake_influence is None


@pytest.mark.parametrize(
    ("function", "n", "m", "scale", "shift", "low", "high"),
    [
        (swd_estimate, 200, 200, 1.3, 0.5, 0.85, 1.15),
        (swd_estimate, 200, 130, 1.3, 0.5, 0.85, 1.15),
        (swd_estimate, 200, 200, 1.3, 0.0, 0.85, 1.15),
        (mind_estimate, 100, 400, 1.3, 0.5, 0.85, 1.15),
        (mind_estimate, 400, 100, 1.3, 0.5, 0.85, 1.15),
        (swd_estimate, 200, 200, 1.0, 0.0, 1.15, 1.7),
    ],
)
def test_the_standard_error_against_redrawing(
    function: object, n: int, m: int, scale: float, shift: float, low: float, high: float
) -> None:
    """300 redraws tell the true one to 4 %; two samples of one distribution get too wide a bar."""
    values, squares = [], []
    for seed in range(300):
        x, y = sample(n, 8, 2 * seed), sample(m, 8, 2 * seed + 1, scale, shift)
        estimate = function(x, y, directions=40)  # type: ignore[operator]
        values.append(estimate.value)
        squares.append(estimate.standard_error**2)
    ratio = np.sqrt(np.mean(squares)) / np.std(values, ddof=1)
    assert low < ratio < high


def test_the_error_from_the_number_of_directions() -> None:
    x, y = sample(50, 6, 0), sample(50, 6, 1, 1.3, 0.5)
    draws = [swd_estimate(x, y, directions=40, seed=s, error_bar=False) for s in range(300)]
    claimed = np.sqrt(np.mean([d.details["directions_error"] ** 2 for d in draws]))
    assert claimed == pytest.approx(np.std([d.value for d in draws]), rel=0.15)
    assert swd_estimate(x, y, directions=1).details["directions_error"] is None


@pytest.mark.parametrize("function", [swd, mind])
def test_bad_input_is_named(function: object) -> None:
    x = sample(20, 4, 0)
    call = function
    assert callable(call)
    with pytest.raises(InputError, match="4 dimensions and the generated ones 3"):
        call(x, x[:, :3])
    with pytest.raises(InputError, match=r"\(n, D\)"):
        call(x, x[0])
    with pytest.raises(InputError, match="real numbers"):
        call(x.astype(complex), x)
    with pytest.raises(ComputationError, match="there is 1 fake image"):
        call(x, x[:1])
    with pytest.raises(ComputationError, match="there is 1 real image"):
        call(x[:1], x)
    with pytest.raises(ComputationError, match="generated features hold NaN"):
        call(x, np.where(x > 1, np.nan, x))
    with pytest.raises(ComputationError, match="squares overflow"):
        call(x * 1e200, x)
    with pytest.raises(UsageError, match="directions must be a whole number ≥ 1, not 0"):
        call(x, x, directions=0)
    with pytest.raises(UsageError, match="seed"):
        call(x, x, seed=-1)
