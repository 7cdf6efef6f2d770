from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from oracles import cmmd_direct, kid_of_draws, kid_subsets, mmd_polynomial, mmd_split
from sklearn.metrics.pairwise import polynomial_kernel

from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics import kernel_sums, kernels, mmd
from gan_metrics.metrics.estimate import Estimate, influence_error
from gan_metrics.metrics.mmd import (
    cmmd,
    cmmd_estimate,
    kernel_distance,
    kernel_distance_estimate,
    kid,
    kid_estimate,
)


def sample(n: int, seed: int, d: int = 16, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Features whose spectrum falls, away from the origin."""
    spread = np.logspace(0, -1.5, d)
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) * scale + shift) * spread + 0.5


X, Y = sample(150, 1), sample(110, 2, scale=1.2, shift=0.5)


def one_by_one(monkeypatch: pytest.MonkeyPatch, reference: int = 60) -> None:
    monkeypatch.setattr(mmd, "all_pairs", lambda *_, **__: False)
    monkeypatch.setattr(kernel_sums, "_REFERENCE", reference)


@pytest.mark.parametrize(
    ("degree", "gamma", "coef0"), [(3, None, 1.0), (1, 0.7, 0.0), (2, 1.3, -0.5), (5, 0.1, 2)]
)
def test_the_distance_against_the_definition(
    degree: int, gamma: float | None, coef0: float
) -> None:
    ours = kernel_distance(X, Y, degree=degree, gamma=gamma, coef0=coef0)
    assert ours == pytest.approx(mmd_polynomial(X, Y, degree, gamma, coef0), rel=1e-9)


def test_the_distance_against_sklearn() -> None:
    n, m = len(X), len(Y)
    xx, yy, xy = (polynomial_kernel(a, b, 3) for a, b in ((X, X), (Y, Y), (X, Y)))
    np.fill_diagonal(xx, 0)
    np.fill_diagonal(yy, 0)
    expected = xx.sum() / n / (n - 1) + yy.sum() / m / (m - 1) - 2 * xy.mean()
    assert kernel_distance(X, Y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("direct", [False, True])
def test_kid_against_the_definition(monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    if direct:
        one_by_one(monkeypatch)
    expected = kid_subsets(X, Y, np.random.RandomState(3), 12, 50)
    for error_bar in (False, True):
        got = kid_estimate(
            X,
            Y,
            subsets=12,
            subset_size=50,
            seed=np.random.RandomState(3),
            error_bar=error_bar,
        )
        assert got.value == pytest.approx(expected.mean(), rel=1e-9)
        assert got.details["subset_std"] == pytest.approx(expected.std(), rel=1e-9)
        assert got.details["subsets"] == 12
        assert got.details["subset_size"] == 50
        assert ("u_statistic" in got.details) is not direct
        assert not got.warnings
        if not direct:
            assert got.details["u_statistic"] == pytest.approx(mmd_polynomial(X, Y), rel=1e-9)
    assert kid(X, Y, subsets=12, subset_size=50, seed=np.random.RandomState(3)) == got.value


def test_cmmd_against_the_definition() -> None:
    for sigma, scale in ((10.0, 1000.0), (0.4, 1.0)):
        expected = cmmd_direct(X, Y, sigma, scale)
        assert cmmd(X, Y, sigma=sigma, scale=scale) == pytest.approx(expected, rel=1e-9)
    assert cmmd(X * np.arange(1, 151)[:, None], Y) == pytest.approx(cmmd(X, Y), rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "rows", "strip"),
    [
        ("float64", 1, 1), ("float64", 7, 1 << 17), ("float64", 64, 200),
        ("float32", 64, 1 << 17), ("float32", 64, 200),
    ],
)  # fmt: skip
def test_blocks_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, kind: str, rows: int, strip: int
) -> None:
    few, others = X[:40].astype(kind), Y[:30].astype(kind)
    whole = kid_estimate(few, others, subsets=5, subset_size=20)
    other = cmmd_estimate(few, others)
    monkeypatch.setattr(kernel_sums, "_ROWS", rows)
    monkeypatch.setattr(kernels, "_CACHED", strip)
    assert_alike(kid_estimate(few, others, subsets=5, subset_size=20), whole)
    assert_alike(cmmd_estimate(few, others), other)


def test_torch_fidelity_takes_the_same_subsets() -> None:
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = X.astype(np.float32), Y.astype(np.float32)
    theirs = metric.kid_features_to_metric(
        torch.from_numpy(x),
        torch.from_numpy(y),
        kid_subsets=20,
        kid_subset_size=60,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        rng_seed=2020,
        verbose=False,
    )
    ours = kid_estimate(x, y, subsets=20, subset_size=60, seed=np.random.RandomState(2020))
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    std = theirs["kernel_inception_distance_std"]
    assert ours.details["subset_std"] == pytest.approx(std, abs=1e-6)


def test_torch_fidelity_by_arguments_alone() -> None:
    """Which draws from its first input, the generated images, first."""
    metric = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = X.astype(np.float32), Y.astype(np.float32)
    theirs = metric.kid_features_to_metric(
        torch.from_numpy(y),
        torch.from_numpy(x),
        kid_subsets=20,
        kid_subset_size=60,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        rng_seed=2020,
        verbose=False,
    )
    how = {"subsets": 20, "subset_size": 60, "draws": "numpy-legacy", "seed": 2020}
    ours = kid_estimate(x, y, draw_first="fake", **how)
    mean, std = (theirs[f"kernel_inception_distance_{kind}"] for kind in ("mean", "std"))
    assert ours.value == pytest.approx(mean, abs=1e-6)
    assert ours.details["subset_std"] == pytest.approx(std, abs=1e-6)
    assert kid(x, y, draw_first="fake", **how) == pytest.approx(ours.value, rel=1e-12)
    for other in ({}, {"draw_first": "fake", "seed": 0}, {"draw_first": "fake", "draws": "torch"}):
        assert kid(x, y, **{**how, **other}) != pytest.approx(mean, abs=1e-4)


def test_clean_fid_takes_the_same_subsets() -> None:
    """Which draws by NumPy's global generator."""
    peer = pytest.importorskip("cleanfid.fid")
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(5)  # noqa: NPY002
        theirs = peer.kernel_distance(X, Y, num_subsets=7, max_subset_size=40)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    how = {"subsets": 7, "subset_size": 40, "draws": "numpy-legacy", "seed": 5}
    # It draws from its second argument first: the fakes, where the reference is a named one.
    assert kid(X, Y, draw_first="fake", **how) == pytest.approx(theirs, rel=1e-9)
    assert kid(X, Y, **how) != pytest.approx(theirs, rel=1e-2)


def test_torchmetrics_takes_the_same_subsets() -> None:
    image = pytest.importorskip("torchmetrics.image.kid")
    x, y = (torch.from_numpy(z.astype(np.float32)) for z in (X, Y))
    metric = image.KernelInceptionDistance(feature=torch.nn.Identity(), subsets=9, subset_size=40)
    metric.real_features, metric.fake_features = [x], [y]
    metric._update_count = 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        mean, std = metric.compute()
    ours = kid_estimate(x, y, subsets=9, subset_size=40, draws="torch", seed=11)
    assert ours.value == pytest.approx(mean.item(), abs=1e-6)
    assert ours.details["subset_std"] == pytest.approx(std.item(), abs=1e-6)
    swapped = kid(x, y, subsets=9, subset_size=40, draws="torch", seed=11, draw_first="fake")
    assert swapped != pytest.approx(mean.item(), abs=1e-4)


def test_piq_takes_everything_once() -> None:
    peer = pytest.importorskip("piq")
    x, y = torch.from_numpy(X[:110]), torch.from_numpy(Y)
    theirs = peer.KID()(x, y).item()
    for side in (X[:110], X[:90]):
        ours = kid_estimate(side, Y[: len(side)], subsets=1, subset_size=None)
        assert ours.details["subset_size"] == len(side)
        assert not ours.warnings
        if len(side) == 110:
            assert ours.value == pytest.approx(theirs, rel=1e-6)
        assert ours.value == pytest.approx(mmd_polynomial(side, Y[: len(side)]), rel=1e-9)
    assert kid_estimate(X, Y, subsets=2, subset_size=None).details["subset_size"] == 110


@pytest.mark.parametrize("first", ["real", "fake"])
@pytest.mark.parametrize("kind", ["numpy", "numpy-legacy", "torch"])
@pytest.mark.parametrize("direct", [False, True])
def test_draws_by_hand(
    monkeypatch: pytest.MonkeyPatch, kind: str, first: str, direct: bool
) -> None:
    if direct:
        one_by_one(monkeypatch)
    fresh = {"numpy": np.random.default_rng, "numpy-legacy": np.random.RandomState}
    rng: Any = torch.Generator().manual_seed(4) if kind == "torch" else fresh[kind](4)
    draws = []
    for _ in range(6):
        pair = {}
        for side in ("real", "fake") if first == "real" else ("fake", "real"):
            n = len(X) if side == "real" else len(Y)
            pair[side] = (
                torch.randperm(n, generator=rng)[:30].numpy()
                if kind == "torch"
                else rng.choice(n, 30, replace=False)
            )
        draws.append((pair["real"], pair["fake"]))
    expected = kid_of_draws(X, Y, draws)
    ours = kid_estimate(X, Y, subsets=6, subset_size=30, draws=kind, draw_first=first, seed=4)
    assert ours.value == pytest.approx(expected.mean(), rel=1e-9)
    assert ours.details["subset_std"] == pytest.approx(expected.std(), rel=1e-9)


def test_draws_leave_other_generators_alone() -> None:
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = torch.rand(1).item(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    for kind in ("numpy-legacy", "torch"):
        kid(X, Y, subsets=2, subset_size=10, draws=kind)
    assert (torch.rand(1).item(), np.random.rand()) == expected  # noqa: NPY002


def test_wrong_draws_are_named() -> None:
    with pytest.raises(UsageError, match="draws must be one of numpy, numpy-legacy or torch"):
        kid(X, Y, draws="legacy")
    with pytest.raises(UsageError, match="needs a seed, but a generator is given"):
        kid(X, Y, draws="numpy-legacy", seed=np.random.RandomState(0))
    with pytest.raises(UsageError, match=r"seed must be ≤ 4294967295 with draws='numpy-legacy'"):
        kid(X, Y, draws="numpy-legacy", seed=2**32)
    assert kid(X, Y, subsets=1, draws="numpy-legacy", seed=2**32 - 1) > 0
    assert kid(X, Y, subsets=1, seed=2**32) > 0
    with pytest.raises(UsageError, match="draw_first must be one of real or fake, not 'first'"):
        kid(X, Y, draw_first="first")


def test_torchmetrics_on_whole_sets() -> None:
    peer = pytest.importorskip("torchmetrics.image.kid")
    theirs = peer.poly_mmd(torch.from_numpy(X[:100]), torch.from_numpy(Y[:100]))
    assert kernel_distance(X[:100], Y[:100]) == pytest.approx(float(theirs), rel=1e-5)


def test_a_linear_kernel_measures_the_means() -> None:
    x, y = sample(40, 5), sample(25, 6, shift=1.0)
    shift = x.mean(0) - y.mean(0)
    noise = x.var(0, ddof=1).sum() / 40 + y.var(0, ddof=1).sum() / 25
    expected = 0.3 * (shift @ shift - noise)
    assert kernel_distance(x, y, degree=1, gamma=0.3, coef0=5.0) == pytest.approx(expected)


def test_the_variance_of_a_linear_kernel_is_known() -> None:
    spread, n, m, d = np.logspace(0, -1.5, 16), 60, 40, 16
    for shift in (0.5, 0.0):
        first = 4 * ((shift * spread) ** 2 @ spread**2) * (1 / n + 1 / m)
        second = 2 * (spread**4).sum() * (1 / n / (n - 1) + 1 / m / (m - 1) + 2 / n / m)
        expected = (first + second) / d**2
        found, values = [], []
        for seed in range(800):
            x, y = sample(n, seed), sample(m, 1000 + seed, shift=shift)
            e = kernel_distance_estimate(x, y, degree=1)
            found.append(float(e.standard_error or 0) ** 2)
            values.append(e.value)
        assert np.var(values) == pytest.approx(expected, rel=0.15)
        error = 4 * np.std(values) / np.sqrt(800)
        assert np.mean(values) == pytest.approx((shift**2 * spread @ spread) / d, abs=error)
        low, high = (0.9, 1.1) if shift else (1.0, 1.7)  # where they are equal: 1.2² and more
        assert low < np.mean(found) / expected < high


def test_the_second_order_variance_is_the_mean_over_quadruples() -> None:
    k = np.random.default_rng(0).normal(size=(7, 7)) + 3
    k = k + k.T + np.arange(7) + np.arange(7)[:, None]
    np.fill_diagonal(k, 0)
    assert kernel_sums._within(k.sum(1), (k**2).sum()) == pytest.approx(mmd_split(k))
    k = np.random.default_rng(1).normal(size=(6, 4)) + np.arange(4)
    left = k - k.mean(0) - k.mean(1)[:, None] + k.mean()
    found = kernel_sums._between(k.sum(1), k.sum(0), (k**2).sum())
    assert found == pytest.approx((left**2).sum() / 15)


def test_the_variance_is_that_of_the_first_order_less_the_second() -> None:
    xx, yy, xy = (polynomial_kernel(a, b, 3) for a, b in ((X, X), (Y, Y), (X, Y)))
    n, m = xy.shape
    np.fill_diagonal(xx, 0)
    np.fill_diagonal(yy, 0)
    real = xx.sum(1) / (n - 1) - xy.mean(1)
    fake = yy.sum(1) / (m - 1) - xy.mean(0)
    left = xy - xy.mean(0) - xy.mean(1)[:, None] + xy.mean()
    second = (
        2 * kernel_sums._within(xx.sum(1), (xx**2).sum()) / n / (n - 1)
        + 2 * kernel_sums._within(yy.sum(1), (yy**2).sum()) / m / (m - 1)
        + 4 * (left**2).sum() / (n - 1) / (m - 1) / n / m
    )
    expected = 4 * real.var(ddof=1) / n + 4 * fake.var(ddof=1) / m - second
    e = kernel_distance_estimate(X, Y)
    assert float(e.standard_error or 0) ** 2 == pytest.approx(expected, rel=1e-9)


def test_equal_laws_average_to_zero() -> None:
    values = [kid(sample(40, s), sample(60, 500 + s), subsets=5, subset_size=20) for s in range(99)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(99)
    assert min(values) < 0 < max(values)


def test_identical_sets() -> None:
    for same in (X, X.copy()):
        assert kernel_distance(X, same) == pytest.approx(mmd_polynomial(X, X), rel=1e-9)
        assert kernel_distance(X, same) < 0
        assert 0 <= cmmd(X, same) < 1e-10


def test_disjoint_sets_are_far() -> None:
    assert kernel_distance(X, X + 9) > 100 * kernel_distance(X, Y) > 0
    assert cmmd(X, -X) > 2 * cmmd(X, Y) > 0


def test_sides_may_be_swapped() -> None:
    for f in (kernel_distance_estimate, cmmd_estimate):
        one, other = f(X, Y), f(Y, X)
        assert one.value == pytest.approx(other.value, rel=1e-9)
        assert one.standard_error == pytest.approx(other.standard_error, rel=1e-9)
        np.testing.assert_allclose(one.real_influence, other.fake_influence, atol=1e-9)
        np.testing.assert_allclose(one.fake_influence, other.real_influence, atol=1e-9)


def test_the_order_of_rows_does_not_matter() -> None:
    x, y = X[::-1].copy(), Y[np.random.default_rng(0).permutation(len(Y))]
    assert kernel_distance(x, y) == pytest.approx(kernel_distance(X, Y), rel=1e-9)
    assert cmmd(x, y) == pytest.approx(cmmd(X, Y), rel=1e-9)
    back = kernel_distance_estimate(x, Y).real_influence
    assert back is not None
    np.testing.assert_allclose(back[::-1], kernel_distance_estimate(X, Y).real_influence, atol=1e-9)


def test_the_seed() -> None:
    def run(seed: Any) -> float:
        return kid(X, Y, subsets=4, subset_size=30, seed=seed)

    assert run(0) == run(0) == run(np.random.default_rng(0)) == kid(X, Y, subsets=4, subset_size=30)
    assert run(0) != run(1)
    assert run(np.random.RandomState(0)) == run(np.random.RandomState(0)) != run(0)


def test_a_capped_subset_is_said() -> None:
    e = kid_estimate(X, Y, subsets=3, subset_size=111)
    assert e.details["subset_size"] == 110
    assert [code for code, _ in e.warnings] == ["kid-subset-capped"]
    assert "111" in e.warnings[0][1]
    assert "set subset_size to 110 or less" in e.warnings[0][1]
    assert not kid_estimate(X, Y, subsets=3, subset_size=110).warnings
    whole = kid_estimate(X[:110], Y, subsets=3)
    assert whole.value == pytest.approx(kernel_distance(X[:110], Y), rel=1e-9)
    assert whole.details["subset_std"] < 1e-12
    assert whole.standard_error == pytest.approx(whole.details["u_standard_error"])


@pytest.mark.parametrize("direct", [False, True])
def test_numpy_and_torch_agree(monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    if direct:
        one_by_one(monkeypatch)
    for kind, rel in ((np.float32, 1e-7), (np.float64, 1e-9)):  # of which products are made
        pair = X.astype(kind), Y.astype(kind)
        tensors = torch.from_numpy(pair[0]), torch.from_numpy(pair[1])
        assert_alike(
            kid_estimate(*pair, subsets=5, subset_size=40),
            kid_estimate(*tensors, subsets=5, subset_size=40),
            rel,
        )
        for estimate in (kernel_distance_estimate, cmmd_estimate):
            assert_alike(estimate(*pair), estimate(*tensors), rel)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("shift", [0.0, 100.0, -3000.0])
def test_float32_features_give_what_float64_does(
    monkeypatch: pytest.MonkeyPatch, direct: bool, shift: float
) -> None:
    """Also far from the origin, and where the distance is near 0: beside its error bar."""
    if direct:
        one_by_one(monkeypatch)
    for scale in (1.0, 1.2):
        x, y = sample(150, 1) + shift, sample(110, 2, scale=scale) + shift
        short = x.astype(np.float32), y.astype(np.float32)
        wide = short[0].astype(np.float64), short[1].astype(np.float64)
        for estimate in (kid_estimate, kernel_distance_estimate, cmmd_estimate):
            how = {"subsets": 20, "subset_size": 40} if estimate is kid_estimate else {}
            found, expected = estimate(*short, **how), estimate(*wide, **how)
            assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-4)
            error = float(expected.standard_error or 0.0)
            assert found.value == pytest.approx(expected.value, rel=1e-6, abs=1e-5 * error)


def test_huge_float32_features_stay_in_float64() -> None:
    x, y = (side.astype(np.float32) * np.float32(1e20) for side in (X, Y))
    expected = kernel_distance(x.astype(np.float64), y.astype(np.float64))
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def assert_alike(a: Estimate, b: Estimate, rel: float = 1e-9) -> None:
    assert a.value == pytest.approx(b.value, rel=rel)
    assert a.standard_error == pytest.approx(b.standard_error, rel=rel)
    for key, value in a.details.items():
        assert value == pytest.approx(b.details[key], rel=rel)
    for one, other in (
        (a.real_influence, b.real_influence),
        (a.fake_influence, b.fake_influence),
    ):
        assert isinstance(one, np.ndarray)
        assert isinstance(other, np.ndarray)
        np.testing.assert_allclose(one, other, rtol=rel, atol=rel * float(np.abs(other).max()))


def test_memory_maps(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    expected = kid_estimate(np.array(x), Y, subsets=5, subset_size=40)
    assert_alike(kid_estimate(x, Y, subsets=5, subset_size=40), expected)
    one_by_one(monkeypatch)
    got = kid_estimate(x, Y, subsets=5, subset_size=40)
    assert got.value == pytest.approx(expected.value, rel=1e-9)


def test_numpy_imports_no_torch() -> None:
    code = (
        "import sys, numpy as np; from gan_metrics.metrics.mmd import kid_estimate, cmmd\n"
        "x = np.random.default_rng(0).normal(size=(9, 3)); kid_estimate(x, x + 1); cmmd(x, x + 1)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_influences_are_those_of_leaving_one_out() -> None:
    for f in (kernel_distance_estimate, cmmd_estimate):
        e = f(X, Y)
        for side, influence, n in ((0, e.real_influence, 150), (1, e.fake_influence, 110)):
            assert influence is not None
            assert abs(influence.mean()) < 1e-9
            for i in (0, 17, 99):
                sides = [X, Y]
                sides[side] = np.delete(sides[side], i, axis=0)
                change = f(sides[0], sides[1], error_bar=False).value - e.value
                assert change == pytest.approx(-influence[i] / n, abs=0.15 * influence.std() / n)


def ratio(estimate: Any, n: int, m: int, reps: int, **other: float) -> float:
    """The root mean square of the claimed errors over the deviation of the values."""
    runs = [estimate(sample(n, s), sample(m, 9000 + s, **other), s) for s in range(reps)]
    claimed = np.mean([run.standard_error**2 for run in runs])
    return float(np.sqrt(claimed / np.var([run.value for run in runs], ddof=1)))


def kid_20(x: np.ndarray, y: np.ndarray, seed: int) -> Estimate:
    return kid_estimate(x, y, subsets=20, subset_size=30, seed=seed)


def kid_1(x: np.ndarray, y: np.ndarray, seed: int) -> Estimate:
    return kid_estimate(x, y, subsets=1, subset_size=30, seed=seed)


@pytest.mark.parametrize(
    "estimate",
    [
        lambda x, y, seed: kernel_distance_estimate(x, y),
        lambda x, y, seed: cmmd_estimate(x, y, sigma=0.5),
        kid_20,
        kid_1,
    ],
)
def test_the_error_bar_against_redrawing(estimate: Any) -> None:
    assert 0.85 < ratio(estimate, 100, 60, 250, scale=1.2, shift=0.5) < 1.15
    assert 0.95 < ratio(estimate, 100, 60, 250) < 1.45


def test_the_error_bar_against_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    one_by_one(monkeypatch)
    assert 0.8 < ratio(kid_20, 500, 300, 100, scale=1.2, shift=0.5) < 1.2


def test_influences_against_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kid_estimate(X, Y, subsets=5, subset_size=50)
    one_by_one(monkeypatch, 1000)  # all of them
    every = kid_estimate(X, Y, subsets=5, subset_size=50)
    assert every.value == pytest.approx(whole.value, rel=1e-9)
    assert every.standard_error == pytest.approx(whole.standard_error, rel=1e-9)
    np.testing.assert_allclose(every.fake_influence, whole.fake_influence, rtol=1e-9, atol=1e-12)
    one_by_one(monkeypatch, 80)
    part = kid_estimate(X, Y, subsets=5, subset_size=50)
    for one, other in (
        (whole.real_influence, part.real_influence),
        (whole.fake_influence, part.fake_influence),
    ):
        assert one is not None
        assert other is not None
        assert np.corrcoef(one, other)[0, 1] > 0.97
    assert part.standard_error == pytest.approx(whole.standard_error, rel=0.15)


def test_the_error_bar_and_the_influences_belong_together() -> None:
    e = kernel_distance_estimate(X, Y)
    assert e.standard_error is not None
    by_influences = influence_error(e.real_influence, e.fake_influence)
    assert e.standard_error < by_influences < 1.1 * e.standard_error  # type: ignore[operator]
    for n in (2, 3):
        few = kid_estimate(X[:n], Y)
        assert few.standard_error is None
        assert few.real_influence is None
    assert kid_estimate(X[:4], Y).standard_error is not None
    assert kernel_distance_estimate(X, Y, error_bar=False).standard_error is None


def test_the_cheaper_way_is_taken() -> None:
    for n, m, error_bar, expected in (
        (2000, 2000, False, True),
        (9000, 9000, False, True),
        (11_000, 11_000, False, False),
        (15_000, 15_000, True, True),
        (50_000, 50_000, True, False),
        (1000, 50_000, False, False),
    ):
        assert kernel_sums.all_pairs(n, m, 2048, 100, 1000, error_bar=error_bar) is expected


FUNCTIONS = (kid, kernel_distance, cmmd)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_arrays_are_named(function: Any) -> None:
    with pytest.raises(InputError, match="16 dimensions and the generated ones 3"):
        function(X, Y[:, :3])
    with pytest.raises(InputError, match=r"\(n, D\)"):
        function(X[0], Y)
    with pytest.raises(ComputationError, match=r"at least two images .* 150 real and 1 generated"):
        function(X, Y[:1])
    with pytest.raises(ComputationError, match=r"at least two images .* 1 real and 110 generated"):
        function(X[:1], Y)
    with pytest.raises(ComputationError, match=r"generated features hold NaN .* row 0"):
        function(X, np.full_like(Y, np.nan))


def test_overflow_is_named() -> None:
    for sides in ((X * 1e90, Y), (X * 1e60, Y * 1e60), (X, torch.from_numpy(Y * 1e90))):
        with pytest.raises(ComputationError, match="smaller gamma"):
            kid(*sides)
        with pytest.raises(ComputationError, match="smaller gamma"):
            kernel_distance(*sides)
    assert kernel_distance(X * 1e40, Y * 1e40) > 0
    with pytest.raises(ComputationError, match="smaller gamma"):
        kernel_distance_estimate(X * 1e40, Y * 1e40)


def test_a_row_of_zeros_is_named() -> None:
    y = Y.copy()
    y[7] = 0
    with pytest.raises(ComputationError, match=r"row 7 .* of the fake features is zero"):
        cmmd(X, y)
    with pytest.raises(ComputationError, match=r"row 7 .* of the real features is zero"):
        cmmd(torch.from_numpy(y), X)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (kid, {"subsets": 0}),
        (kid, {"subsets": 2.5}),
        (kid, {"subset_size": 1}),
        (kid, {"subset_size": "all"}),
        (kid, {"draws": None}),
        (kid, {"draw_first": True}),
        (kid, {"seed": -1}),
        (kid, {"seed": None}),
        (kid, {"degree": 0}),
        (kid, {"gamma": 0.0}),
        (kernel_distance, {"degree": 1.5}),
        (kernel_distance, {"gamma": -1.0}),
        (kernel_distance, {"gamma": "auto"}),
        (kernel_distance, {"coef0": float("nan")}),
        (cmmd, {"sigma": 0.0}),
        (cmmd, {"sigma": float("inf")}),
        (cmmd, {"scale": -1.0}),
    ],
)
def test_bad_arguments_are_named(function: Any, arguments: dict[str, Any]) -> None:
    name, value = next(iter(arguments.items()))
    with pytest.raises(UsageError, match=f"{name} must be .*{value!r}"):
        function(X, Y, **arguments)
