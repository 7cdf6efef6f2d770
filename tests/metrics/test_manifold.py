from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import (
    manifold_naive,
    short_distances,
    short_precision_recall,
    short_squared_distances,
)

from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics import clipped_calibration, manifold, manifold_counts
from gan_metrics.metrics.estimate import difference_error, half_samples
from gan_metrics.metrics.manifold import MANIFOLD_METRICS, manifold_estimates, prdc
from gan_metrics.metrics.neighbors import float16_distances as short
from gan_metrics.metrics.neighbors.distances import Points

ONES: dict[str, Callable[..., float]] = {name: getattr(manifold, name) for name in MANIFOLD_METRICS}


def pair(
    n: int = 160, m: int = 130, d: int = 6, seed: int = 0, scale: float = 0.8, shift: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """Asymmetric: the fakes are narrower and shifted."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = rng.normal(size=(m, d)) * scale + shift
    return x.astype(np.float32), y.astype(np.float32)


def all_values(X: Any, Y: Any, k: int | None = None, **more: Any) -> dict[str, float]:
    arguments = None if k is None else {name: {"k": k} for name in MANIFOLD_METRICS}
    found = manifold_estimates(X, Y, error_bar=False, arguments=arguments, **more)
    return {name: estimate.value for name, estimate in found.items()}


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize(
    ("n", "m", "scale", "shift"),
    [(160, 130, 0.8, 0.3), (60, 140, 1.0, 0.0), (140, 60, 2.0, 0.0), (100, 100, 1.0, 1.5)],
)
def test_against_the_definitions(n: int, m: int, scale: float, shift: float, k: int) -> None:
    x, y = pair(n, m, scale=scale, shift=shift)
    expected = manifold_naive(x, y, k)
    found = all_values(x, y, k)
    assert found == pytest.approx(expected, abs=1e-9)
    for name, one in ONES.items():
        assert one(x, y, k=k) == found[name]


@pytest.mark.parametrize("kind", ["ties", "itself", "copies", "far", "an outlier"])
def test_awkward_sets_against_the_definitions(kind: str) -> None:
    x, y = pair(120, 100)
    if kind == "ties":
        x, y = np.round(x[:, :3]), np.round(y[:, :3])
    elif kind == "itself":
        y = x.copy()
    elif kind == "copies":
        x[:50], y[:30], y[30:50] = x[0], x[0], y[0]
    elif kind == "far":
        x, y = x + 1000, y + 1000
    elif kind == "an outlier":
        x[7] *= 1e4
    assert all_values(x, y, 3) == pytest.approx(manifold_naive(x, y, 3), abs=1e-9)


def test_the_defaults() -> None:
    x, y = pair()
    found = manifold_estimates(x, y, error_bar=False)
    for name in MANIFOLD_METRICS:
        k = 3 if name in {"precision", "recall"} else 4 if name.startswith("p_") else 5
        assert ONES[name](x, y) == pytest.approx(manifold_naive(x, y, k)[name], abs=1e-9)
        assert found[name].details == ({"k": k, "a": 1.2} if k == 4 else {"k": k})
        assert found[name].value == ONES[name](x, y)
    assert prdc(x, y) == {name: ONES[name](x, y) for name in MANIFOLD_METRICS[:4]}


def test_the_size_of_the_one_radius() -> None:
    x, y = pair()
    expected = manifold_naive(x, y, 4, a=0.7)
    assert manifold.p_precision(x, y, a=0.7) == pytest.approx(expected["p_precision"], abs=1e-9)
    assert manifold.p_recall(x, y, a=0.7) == pytest.approx(expected["p_recall"], abs=1e-9)


def test_against_prdc() -> None:
    peer = pytest.importorskip("prdc")
    x, y = pair(400, 300, 64)
    found = prdc(x, y, k=5)
    assert found == pytest.approx(peer.compute_prdc(x, y, nearest_k=5), abs=1e-6)
    assert found["precision"] != found["recall"]


def test_against_torch_fidelity() -> None:
    """Which takes the fakes first."""
    peer = pytest.importorskip("torch_fidelity.metric_prc")
    x, y = pair(400, 300, 64)
    theirs = peer.prc_features_to_metric(
        torch.from_numpy(y),
        torch.from_numpy(x),
        prc_neighborhood=3,
        prc_batch_size=100,
        save_cpu_ram=False,
        verbose=False,
    )
    if (theirs["precision"], theirs["recall"]) == pytest.approx(
        (manifold.recall(x, y), manifold.precision(x, y)), abs=1e-6
    ):
        pytest.skip("a version that swaps the sides")
    assert manifold.precision(x, y) == pytest.approx(theirs["precision"], abs=1e-6)
    assert manifold.recall(x, y) == pytest.approx(theirs["recall"], abs=1e-6)


def test_numpy_and_torch_agree() -> None:
    x, y = pair()
    expected = manifold_estimates(x, y)
    for features in (
        (torch.from_numpy(x), torch.from_numpy(y)),
        (x, torch.from_numpy(y)),
        (torch.from_numpy(x).requires_grad_(), y),
    ):
        found = manifold_estimates(*features)
        for name in MANIFOLD_METRICS:
            assert found[name].value == expected[name].value
            assert found[name].standard_error == expected[name].standard_error
    coarse = [torch.from_numpy(z).to(torch.bfloat16) for z in (x, y)]
    assert all_values(*coarse) == all_values(*(z.float().numpy() for z in coarse))


def test_one_set_against_itself() -> None:
    x, _ = pair()
    found = all_values(x, x)
    density = found.pop("density")
    assert density == pytest.approx(1.0)  # itself, and k − 1 strictly nearer than the k-th
    assert found == dict.fromkeys(found, 1.0)


def test_sets_that_have_nothing_in_common() -> None:
    x, y = pair(shift=1e3)
    assert all_values(x, y) == dict.fromkeys(MANIFOLD_METRICS, 0.0)


def test_the_sides_are_not_the_same() -> None:
    x, y = pair(shift=0.6)
    one, other = all_values(x, y, 3), all_values(y, x, 3)
    assert one["precision"] == other["recall"]
    assert one["recall"] == other["precision"]
    assert one["p_precision"] == pytest.approx(other["p_recall"], abs=1e-12)
    for name in MANIFOLD_METRICS:
        assert abs(one[name] - other[name]) > 0.03, name
    assert one["precision"] > one["recall"] + 0.2  # narrow fakes: faithful, not diverse
    assert one["density"] > other["density"]


def test_the_order_of_the_images_does_not_matter() -> None:
    x, y = pair()
    rng = np.random.default_rng(0)
    assert all_values(rng.permutation(x), rng.permutation(y)) == pytest.approx(
        all_values(x, y), abs=1e-12
    )


@pytest.mark.parametrize("factor", [1e-25, 1e-3, 1e25])
def test_the_unit_does_not_matter(factor: float) -> None:
    x, y = (z.astype(np.float64) for z in pair())
    assert all_values(x * factor, y * factor) == pytest.approx(all_values(x, y), abs=1e-9)


def test_on_a_line() -> None:
    """Reals at 0, 1, 2, … and as many fakes s to the right: every radius is 1 or 2 at k = 2."""
    n, k = 50, 2
    x = np.arange(n, dtype=float)[:, None]
    found = all_values(x, x + 0.25, k)
    assert found["precision"] == found["recall"] == found["coverage"] == 1.0
    # A ball of radius 1 holds the fakes at −0.75 and 0.25 from its centre, one of radius 2 at the
    # left end those at 0.25 and 1.25, and at the right end those at −1.75, −0.75 and 0.25.
    assert found["density"] == (2 * (n - 2) + 2 + 3) / (k * n)
    radius = 1.2 * (n + 2) / n
    gaps = np.abs(x - x.T - 0.25)
    expected = 1 - np.minimum(gaps / radius, 1).prod(0)
    assert found["p_precision"] == pytest.approx(expected.mean(), abs=1e-12)


def test_coverage_of_one_distribution() -> None:
    """E = 1 − Π (n − i)/(2n − i) for i = 1 … k where n = m: Naeem et al., appendix."""
    n, k, rng = 200, 3, np.random.default_rng(0)
    draws = [
        manifold.coverage(rng.normal(size=(n, 4)), rng.normal(size=(n, 4)), k=k) for _ in range(60)
    ]
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert np.mean(draws) == pytest.approx(expected, abs=4 * np.std(draws) / math.sqrt(60))


def test_the_median_radius_holds_what_it_reaches() -> None:
    """A root squared may be smaller; then the k-th neighbour would lie outside its own ball."""
    for seed in range(50):
        squared = np.random.default_rng(seed).random(31)
        assert clipped_calibration.squared_median(squared) == np.median(squared)
    assert clipped_calibration.squared_median(np.array([4.0, 1.0, 16.0, 9.0])) == 6.25


def test_clipped_scores_read_as_shares_of_good_fakes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1500, 4)), rng.normal(size=(1500, 4))
    for share in (0.0, 0.4, 1.0):
        fakes = y.copy()
        fakes[round(share * 1500) :] += 1e3
        assert manifold.clipped_density(x, fakes) == pytest.approx(share, abs=0.06)
        assert manifold.clipped_coverage(x, fakes) == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize(("n", "m", "k"), [(50_000, 50_000, 5), (2000, 1000, 400)])
def test_the_calibration_of_large_sets(n: int, m: int, k: int) -> None:
    """f rises from 0, stays below 1 and is undone by its inverse."""
    at = [0, k - 1, k, k + 1, m // 2, m]
    scores = [clipped_calibration.expected_coverage(j, k, n) for j in at]
    assert scores[:2] == [0.0, 0.0]
    assert (np.diff(scores[1:]) > 0).all()
    assert scores[-1] < 1
    for j, score in zip(at[2:], scores[2:], strict=True):
        assert clipped_calibration.calibrated(score, k, n, m) == j / (m + 1)


def test_the_calibration_by_its_definition() -> None:
    from scipy.special import betaln, gammaln

    k, n = 5, 300
    for j in (5, 17, 250):
        i = np.arange(1, j + 1)
        logs = gammaln(j + 1) - gammaln(i + 1) - gammaln(j - i + 1)
        logs += betaln(k + i, n - k + j - i) - betaln(k, n - k)
        expected = (np.minimum(i, k) * np.exp(logs)).sum() / k
        assert clipped_calibration.expected_coverage(j, k, n) == pytest.approx(expected, rel=1e-9)


def redrawn(
    n: int, m: int, d: int, scale: float, shift: float, names: list[str], redraws: int = 200
) -> dict[str, float]:
    """The error bar, root mean square over six data sets, over the true standard deviation."""
    rng = np.random.default_rng(0)
    values: dict[str, list[float]] = {name: [] for name in names}
    errors: dict[str, list[float]] = {name: [] for name in names}
    for draw in range(redraws):
        x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * scale + shift
        found = manifold_estimates(x, y, names, error_bar=draw < 6)
        for name, estimate in found.items():
            values[name].append(estimate.value)
            if draw < 6:
                errors[name].append(float(estimate.standard_error or 0))
    return {
        name: math.sqrt(np.mean(np.square(errors[name]))) / float(np.std(values[name], ddof=1))
        for name in names
    }


@pytest.mark.parametrize(("d", "shift"), [(8, 0.3), (32, 0.1)])
def test_the_standard_error_against_redrawing(d: int, shift: float) -> None:
    """From 0.8 to 1.35, away from the bounds; the redraws' own is known to 5 %."""
    names = [name for name in MANIFOLD_METRICS if name != "clipped_density"]
    ratios = redrawn(500, 500, d, 0.9, shift, names if d == 8 else names[:3])
    assert all(0.8 < ratio < 1.35 for ratio in ratios.values()), ratios


def test_the_error_bar_of_a_sample_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """From some of the images, scaled: that of all of them, within a third."""
    x, y = pair(1200, 600)
    everything = manifold_estimates(x, y)
    monkeypatch.setattr(manifold_counts, "_PAIRS", 400)
    some = manifold_estimates(x, y)
    for name in ("precision", "recall", "density", "coverage", "p_precision", "p_recall"):
        assert everything[name].draws_scale == 1.0
        assert some[name].draws_scale == pytest.approx(400 / math.sqrt(1200 * 600), rel=0.01)
        assert some[name].details["drawn_from"] == [566, 283]
        assert some[name].value == everything[name].value
        assert some[name].standard_error == pytest.approx(
            everything[name].standard_error, rel=1 / 3
        )


def test_which_images_the_draws_are_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the reals the same for every generator; others for another seed."""
    monkeypatch.setattr(manifold_counts, "_PAIRS", 250)
    picked: list[np.ndarray] = []
    pick = Points.pick

    def spy(points: Points, rows: np.ndarray) -> Points:
        picked.append(rows)
        return pick(points, rows)

    monkeypatch.setattr(Points, "pick", spy)
    x, y = pair(500, 500)
    for fakes, seed in ((y, 0), (y[::-1] * 2, 0), (y, 1)):
        manifold_estimates(x, fakes, ["precision"], seed=seed)
    reals, others = picked[::2], picked[1::2]
    assert len(picked) == 6
    assert np.array_equal(reals[0], reals[1])
    assert not np.array_equal(reals[0], reals[2])
    assert not np.array_equal(others[0], others[2])
    assert not np.array_equal(reals[0], others[0])


def test_draws_are_the_metric_on_half_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluated from one table of distances, and as public functions on the halves."""
    x, y = pair(240, 260)
    found = manifold_estimates(x, y, seed=3)
    for draw, (rows, columns) in enumerate(half_samples(240, 260, seed=3, draws=4)):
        assert rows is not None
        expected = all_values(x[rows], y[columns])
        for name in MANIFOLD_METRICS:
            draws = found[name].draws
            assert draws is not None
            assert draws[draw] == pytest.approx(expected[name], abs=1e-5), name
    assert len(found["recall"].draws) == 100  # type: ignore[arg-type]


def test_neighbours_that_were_not_kept_are_made_good() -> None:
    """A half with fewer than k of the neighbours kept takes the farthest kept."""
    from gan_metrics.metrics.neighbors.knn import Neighbors

    whom = np.array([[1, 2, 3], [3, 2, 0], [3, 1, 0], [2, 1, 0]])
    kept = Neighbors(np.arange(12.0).reshape(4, 3), whom)
    half = manifold_counts._nearest_in_half(kept, np.array([0, 1]), 2)
    assert half.squared.tolist() == [[1.0, 2.0], [4.0, 5.0]]


def test_the_seed() -> None:
    x, y = pair()
    one, same, other = (manifold_estimates(x, y, seed=seed) for seed in (0, 0, 1))
    for name in ("precision", "recall", "density", "coverage", "p_precision", "p_recall"):
        assert one[name].standard_error == same[name].standard_error
        assert one[name].standard_error != other[name].standard_error
        assert one[name].value == other[name].value


def test_two_generators_share_the_draws_of_the_reals() -> None:
    """So their difference is known better than two independent values would let it be."""
    x, y = pair(600, 300, scale=1.0, shift=0.5)
    z = y + np.random.default_rng(5).normal(size=y.shape).astype(np.float32) * 0.05
    one, other = (manifold_estimates(x, fake, ["density"])["density"] for fake in (y, z))
    together = difference_error(one, other)
    assert together is not None
    assert together < 0.5 * math.hypot(one.standard_error or 0, other.standard_error or 0)


def test_the_edge_is_pointed_out() -> None:
    x, y = pair(shift=1e3)
    found = manifold_estimates(x, y)
    for estimate in found.values():
        assert estimate.standard_error == 0
        assert [code for code, _ in estimate.warnings] == ["at-the-edge"]
    assert manifold_estimates(*pair())["recall"].warnings == ()


def test_too_few_for_an_error_bar() -> None:
    x, y = pair(9, 9)
    found = manifold_estimates(x, y)
    assert found["precision"].standard_error is not None
    assert found["density"].standard_error is None
    assert found["density"].draws is None
    assert [code for code, _ in found["density"].warnings] == ["too-few-for-error-bar"]


def test_no_error_bar_unless_asked_for() -> None:
    estimate = manifold_estimates(*pair(), ["density"], error_bar=False)["density"]
    assert (estimate.standard_error, estimate.draws, estimate.warnings) == (None, None, ())


def test_half_samples_without_a_radius() -> None:
    """All but two reals are copies: some halves have no radius at all."""
    x, y = pair(40, 40)
    x[2:] = x[2]
    estimate = manifold_estimates(x, y, ["p_precision"])["p_precision"]
    assert math.isfinite(estimate.value)
    assert math.isfinite(estimate.standard_error or 0)


def test_any_names_once() -> None:
    x, y = pair()
    assert manifold_estimates(x, y, []) == {}
    found = manifold_estimates(x, y, ["recall", "recall", "precision"], error_bar=False)
    assert list(found) == ["recall", "precision"]


def test_bad_input_is_named() -> None:
    x, y = pair(20, 20)
    with pytest.raises(InputError, match="6 dimensions and the generated ones 5"):
        prdc(x, y[:, :5])
    with pytest.raises(InputError, match=r"\(n, D\)"):
        prdc(x[0], y)
    with pytest.raises(ComputationError, match="generated features hold NaN"):
        prdc(x, np.where(y > 1, np.nan, y))
    with pytest.raises(ComputationError, match="density with k=5 needs at least 6 real images"):
        prdc(x[:5], y)
    with pytest.raises(ComputationError, match="at least 4 fake images, but there are 3"):
        prdc(x, y[:3])
    with pytest.raises(ComputationError, match=r"p_recall with k=4 needs .* fake .* there is 1"):
        manifold.p_recall(x, y[:1])
    with pytest.raises(ComputationError, match="at least 5 fake images, but there are 4"):
        manifold.clipped_coverage(x, y[:4])
    assert manifold.clipped_coverage(x, y[:5]) >= 0
    assert manifold.precision(x, y[:1]) in (0.0, 1.0)
    with pytest.raises(
        ComputationError, match="p_precision: each real image has at least 4 copies"
    ):
        manifold.p_precision(np.repeat(x[:3], 5, axis=0), y)
    with pytest.raises(ComputationError, match="p_recall: each fake image has at least 4 copies"):
        manifold.p_recall(x, np.repeat(x[:3], 5, axis=0))


@pytest.mark.parametrize("k", [0, -1, 2.0, "3", None, True])
def test_a_bad_k_is_named(k: Any) -> None:
    with pytest.raises(UsageError, match="k of density must be a whole number ≥ 1, not"):
        manifold.density(*pair(), k=k)


@pytest.mark.parametrize("a", [0, -1.0, math.nan, math.inf, "1", None, True])
def test_a_bad_a_is_named(a: Any) -> None:
    with pytest.raises(UsageError, match="a of p_recall must be a finite number > 0, not"):
        manifold.p_recall(*pair(), a=a)


def test_unknown_names_and_arguments() -> None:
    with pytest.raises(UsageError, match=r"unknown manifold metric 'precison'.*precision"):
        manifold_estimates(*pair(), ["precison"])
    with pytest.raises(UsageError, match="density has no argument 'a'; its arguments are k"):
        manifold_estimates(*pair(), ["density"], arguments={"density": {"a": 1.0}})
    with pytest.raises(UsageError, match="'recall', which is not among"):
        manifold_estimates(*pair(), ["density"], arguments={"recall": {"k": 1}})


@pytest.mark.filterwarnings("error")
def test_a_single_fake_has_a_value_and_no_error_bar() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    found = manifold_estimates(x, x[:1] + 0.01, ["precision", "density", "coverage"])
    assert found["precision"].value == 1.0
    assert found["coverage"].value > 0
    for estimate in found.values():
        assert estimate.standard_error is None
        assert [code for code, _ in estimate.warnings] == ["too-few-for-error-bar"]


def inception_like(
    n: int, m: int, d: int = 256, grid: float | None = 1 / 32
) -> tuple[np.ndarray, np.ndarray]:
    """Not negative, |x|² near 300; on a grid every sum is exact, in whatever order it is made."""
    rng = np.random.default_rng(d)
    scale = math.sqrt(256 / d)
    x = rng.gamma(0.6, 1.0 * scale, (n, d)) * rng.uniform(0.5, 1.5, (n, 1))
    y = rng.gamma(0.6, 1.03 * scale, (m, d)) * rng.uniform(0.5, 1.5, (m, 1))
    if grid:
        x, y = np.round(x / grid) * grid, np.round(y / grid) * grid
    return x.astype(np.float32), y.astype(np.float32)


def both(x: Any, y: Any, **arguments: Any) -> tuple[float, float]:
    return manifold.precision(x, y, **arguments), manifold.recall(x, y, **arguments)


SHORT = ("float16", "float16-squared")


@pytest.mark.parametrize("k", [1, 3, 9])
@pytest.mark.parametrize("arithmetic", SHORT)
@pytest.mark.parametrize("block", [10_000, 70])
def test_float16_against_whole_matrices(
    monkeypatch: pytest.MonkeyPatch, block: int, arithmetic: str, k: int
) -> None:
    x, y = inception_like(300, 230)
    monkeypatch.setattr(short, "_BLOCK", block)
    monkeypatch.setattr(short, "_ROWS", min(block // 2, 1024))
    found = both(x, y, k=k, arithmetic=arithmetic)
    assert found == short_precision_recall(x, y, k, arithmetic)
    assert found[0] != found[1]
    tensors = [torch.from_numpy(z) for z in (x, y)]
    assert both(*tensors, k=k, arithmetic=arithmetic) == found
    for real_balls, value in ((True, found[0]), (False, found[1])):  # tensors that stay tensors
        assert short.share_inside(*tensors, k, arithmetic, real_balls=real_balls) == value


def test_float16_changes_values() -> None:
    x, y = inception_like(900, 700, grid=None)
    assert 200 < float((x**2).sum(1).mean()) < 400
    exact = both(x, y)
    for arithmetic in SHORT:
        assert both(x, y, arithmetic=arithmetic) != exact
    assert both(x, y, arithmetic=SHORT[0]) != both(x, y, arithmetic=SHORT[1])


def test_float16_distances_against_torch() -> None:
    """Its cdist in float16; all but a few, as the order of sums is its own."""
    x, y = inception_like(40, 50, 512, grid=None)
    sides = short._Side(x), short._Side(y)
    theirs = torch.cdist(*(torch.from_numpy(z).half()[None] for z in (x, y)))[0].numpy()
    ours = short._rooted(*sides, slice(None), slice(None))
    assert (ours == theirs).mean() > 0.99
    assert np.abs(ours - theirs).max() <= 2 * np.spacing(theirs.max())
    assert (short_distances(x, y) == ours).mean() > 0.99
    squared = short._squared(*sides, slice(None), slice(None))
    assert (short_squared_distances(x, y) == squared).mean() > 0.99
    # Not a rounded exact one: the steps' rounding is what is reproduced.
    exact = ((x[:, None].astype(float) - y) ** 2).sum(-1)
    assert (exact.astype(np.float16) == squared).mean() < 0.9
    assert (np.sqrt(exact).astype(np.float16) == ours).mean() < 0.9


def test_every_step_of_the_squared_ones_is_rounded() -> None:
    """Exactly, on a grid; what is taken from which side first makes a difference."""
    x, y = inception_like(60, 50)
    sides = short._Side(x), short._Side(y)
    found = short._squared(*sides, slice(None), slice(None))
    np.testing.assert_array_equal(found, short_squared_distances(x, y))
    assert (found != short._squared(*sides[::-1], slice(None), slice(None)).T).any()
    assert found.dtype == np.float32


def test_which_side_stands_first_in_the_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The squared ones: the reals, always. The others: those of which it is asked who is inside."""
    x, y = inception_like(40, 30, 16)
    seen = []
    tiles = short._tiles

    def spy(rows: Any, columns: Any, *, squared: bool) -> Any:
        if rows is not columns:
            seen.append((rows.features is x, columns.features is y))
        return tiles(rows, columns, squared=squared)

    monkeypatch.setattr(short, "_tiles", spy)
    for arithmetic in ("float16-squared", "float16"):
        for real_balls in (True, False):
            short.share_inside(x, y, 3, arithmetic, real_balls=real_balls)
    assert seen == [(True, True), (True, True), (False, False), (True, True)]


def test_an_image_is_not_at_distance_0_of_itself_in_float16() -> None:
    x, _ = inception_like(1000, 5, grid=None)
    side = short._Side(x)
    own = np.diag(short._squared(side, side, slice(None), slice(None)))
    assert 0 < (own > 0).mean() < 0.2
    assert own.max() < 4


@pytest.mark.parametrize("block", [40, 10_000])
def test_a_block_that_overflows_is_done_in_float32(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Some rows are long: with blocks of 40 in some blocks only."""
    x, y = inception_like(120, 110)
    fine = np.random.default_rng(0).random((50, 256)).astype(np.float32)  # which rounding loses
    x[-30:] = x[-30:] * 25 + fine[:30]
    y[-20:] = y[-20:] * 25 + fine[30:]
    monkeypatch.setattr(short, "_BLOCK", block)
    monkeypatch.setattr(short, "_ROWS", 16)
    sides = short._Side(x), short._Side(y)
    blocks = [slice(i, i + 40) for i in (0, 40, 80)] if block == 40 else [slice(0, 120)]
    fits = [short._fits(*sides, i, j, short._parts(i)) for i in blocks for j in blocks]
    assert fits == ([True, True, False] * 2 + [False] * 3 if block == 40 else [False])
    found = np.empty((120, 110))
    for rows, columns, distances in short._tiles(*sides, squared=True):
        found[rows, columns] = distances
    expected = short_squared_distances(x, y, block)
    long = 80 if block == 40 else 0
    np.testing.assert_array_equal(found[:long, :long], expected[:long, :long])
    np.testing.assert_allclose(found, expected, rtol=5e-6)
    other = short_squared_distances(x, y, 10_000 if block == 40 else 40)
    assert np.abs(other / expected - 1).max() > 1e-4
    if block == 40:
        with np.errstate(over="ignore"):
            rounded = (z.astype(np.float16).astype(np.float32) for z in (x, y))
        coarse = short_squared_distances(*rounded, block)
        assert np.abs(coarse / expected - 1)[80:, 80:].max() > 1e-5
    for k in (1, 3):
        assert both(x, y, k=k, arithmetic="float16-squared") == short_precision_recall(
            x, y, k, "float16-squared", block
        )


def test_lengths_that_may_overflow_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between what surely fits and what does not, the distances themselves decide."""
    u = np.zeros((3, 4), np.float32)
    v = np.zeros((3, 4), np.float32)
    u[:, 0], v[:, 1] = 160, 160
    whole = slice(0, 3), slice(0, 3), [slice(0, 3)]
    assert short._SURELY < (160 + 160) ** 2
    assert short._fits(short._Side(u), short._Side(v), *whole)
    assert not short._fits(short._Side(u), short._Side(v * 1.3), *whole)
    assert not short._fits(short._Side(u), short._Side(v * 500), *whole)  # no number by itself
    u[:, 0] = -80.0
    v[:, 0], v[:, 1] = 80, 0
    assert short._SURELY > (80 + 80) ** 2
    assert short._fits(short._Side(u), short._Side(v), *whole)


@pytest.mark.parametrize(("factor", "size"), [(1e3, "long"), (1e-6, "small")])
def test_features_that_float16_does_not_suit(factor: float, size: str) -> None:
    x, y = (z * np.float32(factor) for z in inception_like(30, 20))
    for one in (manifold.precision, manifold.recall):
        with pytest.raises(ComputationError, match=rf"too {size} .*float16.* arithmetic='exact'"):
            one(x, y, arithmetic="float16")
    if size == "small":
        with pytest.raises(ComputationError, match=r"too small for distances in float16.* all 0"):
            manifold.precision(x, y, arithmetic="float16-squared")
    else:
        expected = short_precision_recall(x, y, 3, "float16-squared")
        assert both(x, y, arithmetic="float16-squared") == expected
    far = inception_like(30, 20)[1]
    far[7] *= 1000
    with pytest.raises(ComputationError, match=r"row 7 .* of the fake features is too long"):
        manifold.precision(inception_like(30, 20)[0], far, arithmetic="float16")
    with pytest.raises(ComputationError, match=r"row 7 .* of the real features is too long"):
        manifold.precision(far, inception_like(30, 20)[0], arithmetic="float16")


def test_radii_that_float16_does_not_hold() -> None:
    rng = np.random.default_rng(0)
    x = np.zeros((9, 4), np.float32)
    x[np.arange(9), np.arange(9) % 4] = 240 * rng.choice([-1, 1], 9)
    with pytest.raises(ComputationError, match=r"too large for distances in float16.* not finite"):
        manifold.precision(x, x[:3], k=7, arithmetic="float16")


@pytest.mark.parametrize("arithmetic", ["exact", *SHORT])
def test_on_the_edge_of_a_ball(arithmetic: str) -> None:
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [9.0]])
    for strict, expected in ((None, 0.5), (False, 0.5), (True, 0.0)):
        assert manifold.precision(x, y, k=1, strict=strict, arithmetic=arithmetic) == expected
        assert manifold.recall(y, x, k=1, strict=strict, arithmetic=arithmetic) == expected
    found = manifold_estimates(
        x, y, ["precision", "density"], error_bar=False,
        arguments={"precision": {"k": 1, "strict": True}, "density": {"k": 1}},
    )  # fmt: skip
    assert found["precision"].value == 0
    assert found["precision"].details == {"k": 1, "strict": True}
    both_ways = manifold_estimates(
        x, y, ["precision", "recall"], error_bar=False,
        arguments={"precision": {"k": 1, "strict": True}, "recall": {"k": 1}},
    )  # fmt: skip
    assert both_ways["precision"].value == 0
    assert both_ways["recall"].value == 1


def test_strict_as_prdc_has_it() -> None:
    peer = pytest.importorskip("prdc")
    x, y = (np.round(z * 2) for z in pair(300, 200, 3))
    theirs = peer.compute_prdc(x, y, nearest_k=5)
    assert manifold.precision(x, y, k=5, strict=True) == theirs["precision"]
    assert manifold.recall(x, y, k=5, strict=True) == theirs["recall"]
    assert manifold.precision(x, y, k=5) > theirs["precision"]


def test_the_error_bar_of_float16_is_that_of_exact_arithmetic() -> None:
    x, y = inception_like(80, 70, 64)
    exact = manifold_estimates(x, y, ["precision", "recall", "density"])
    for arithmetic in SHORT:
        how = {name: {"arithmetic": arithmetic} for name in ("precision", "recall")}
        found = manifold_estimates(x, y, ["precision", "recall", "density"], arguments=how)
        for name in found:
            assert found[name].standard_error == exact[name].standard_error
        assert (found["precision"].value, found["recall"].value) == short_precision_recall(
            x, y, 3, arithmetic
        )
        assert found["density"].value == exact["density"].value
        assert found["recall"].details["arithmetic"] == arithmetic
    strict = manifold_estimates(
        np.round(x), np.round(y), ["recall"], arguments={"recall": {"strict": True}}
    )
    loose = manifold_estimates(np.round(x), np.round(y), ["recall"])
    assert strict["recall"].draws.mean() < loose["recall"].draws.mean()  # type: ignore[union-attr]


def test_at_most_so_many() -> None:
    x, y = pair(160, 130)
    names = ["precision", "density", "recall", "p_recall"]
    how = {
        "precision": {"most": 50},
        "density": {"most": 140, "most_real": 150},
        "recall": {"most_real": 40},
    }
    found = manifold_estimates(x, y, names, seed=3, arguments=how)
    assert list(found) == names

    def drawn(n: int, most: int, stream: int) -> np.ndarray:
        return np.random.default_rng([3, stream]).choice(n, most, replace=False)

    parts = {
        "precision": (x[drawn(160, 50, 4)], y[drawn(130, 50, 5)]),
        "density": (x[:150][drawn(150, 130, 4)], y),  # as many of both sides
        "recall": (x[:40], y),
        "p_recall": (x, y),
    }
    for name, (reals, fakes) in parts.items():
        k = found[name].details["k"]
        expected = manifold_naive(reals, fakes, k)[name]
        assert found[name].value == pytest.approx(expected, abs=1e-9)
        if name != "p_recall":
            assert found[name].details["images"] == [len(reals), len(fakes)]
            assert found[name].details["drawn_from"] == [len(reals), len(fakes)]
    assert "images" not in found["p_recall"].details
    assert found["precision"].details["most"] == 50
    again, other = (
        manifold_estimates(x, y, ["precision"], seed=s, error_bar=False, arguments={
            "precision": {"most": 50}})["precision"].value
        for s in (3, 4)
    )  # fmt: skip
    assert found["precision"].value == again != other
    tensors = manifold_estimates(
        torch.from_numpy(x), torch.from_numpy(y), names, seed=3, arguments=how, error_bar=False
    )
    assert {n: e.value for n, e in tensors.items()} == {n: e.value for n, e in found.items()}
    everything = {"precision": {"most": 10_000, "most_real": 200_000}}
    x = x[: len(y)]
    large = manifold_estimates(x, y, ["precision"], arguments=everything)["precision"]
    plain = manifold_estimates(x, y, ["precision"])["precision"]
    assert (large.value, large.standard_error) == (plain.value, plain.standard_error)


def test_the_first_reals_in_float16() -> None:
    x, y = inception_like(200, 90)
    how = {"precision": {"arithmetic": "float16", "most_real": 120}}
    found = manifold_estimates(x, y, ["precision"], error_bar=False, arguments=how)
    expected = short_precision_recall(x[:120], y, 3, "float16")[0]
    assert found["precision"].value == expected


@pytest.mark.parametrize(
    ("name", "argument", "value", "message"),
    [
        ("precision", "strict", 1, "strict of precision must be true or false, not 1"),
        ("recall", "arithmetic", "half", "must be one of exact, float16 or float16-squared"),
        ("recall", "arithmetic", None, "arithmetic of recall must be one of"),
        ("density", "most", 0, "most of density must be a whole number ≥ 2, not 0"),
        ("density", "most", 5, "most of density must be greater than k=5, not 5"),
        ("recall", "most_real", 3, "most_real of recall must be greater than k=3, not 3"),
        ("coverage", "most_real", 2.5, "most_real of coverage must be a whole number ≥ 2"),
        ("density", "strict", True, "density has no argument 'strict'; its arguments are k"),
        ("p_recall", "most", 9, "p_recall has no argument 'most'; its arguments are k and a"),
    ],
)
def test_bad_arguments_of_tools_are_named(
    name: str, argument: str, value: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        manifold_estimates(*pair(), [name], arguments={name: {argument: value}})
