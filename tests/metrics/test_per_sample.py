"""Of each image by itself: realism, rarity, nearest real, authenticity, reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import pointwise_naive
from scipy.stats import fisher_exact

from gan_metrics import metrics
from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics.neighbors.distances import points_of
from gan_metrics.metrics.neighbors.knn import nearest_in
from gan_metrics.metrics.per_sample import copies_by_chance, pointwise, pointwise_estimates

NAMES = ("realism", "rarity", "authpct")


def sets(
    n: int = 230, m: int = 170, dim: int = 6, seed: int = 0, offset: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, dim)), rng.normal(size=(m, dim)) * 0.7 + 0.4
    return x + offset, y + offset


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(
        np.asarray(found, float), np.asarray(expected, float), rtol=1e-9, equal_nan=True
    )


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("case", ["plain", "float32 far off", "wide", "few fakes", "copies"])
def test_against_the_naive_definitions(case: str, k: int) -> None:
    x, y = {
        "plain": lambda: sets(),
        "float32 far off": lambda: tuple(z.astype(np.float32) for z in sets(offset=300.0)),
        "wide": lambda: sets(90, 120, 300),
        "few fakes": lambda: sets(60, 2),
        "copies": lambda: sets(),
    }[case]()
    if case == "copies":
        y[:9], y[9:12] = x[20:29], x[20]
    found = pointwise(x, y, k=k)
    expected = pointwise_naive(x.astype(np.float64), y.astype(np.float64), k)
    for name, values in expected.items():
        assert_same(getattr(found, name), values)
    assert_same(metrics.realism(x, y, k=k), expected["realism"])
    assert_same(metrics.rarity(x, y, k=k), expected["rarity"])
    assert_same(metrics.authentic(x, y), expected["authentic"])
    index, distance = metrics.nearest_real(x, y)
    assert_same(index, expected["nearest"])
    assert_same(distance, expected["distance"])
    indices, distances = metrics.nearest_reals(x, y, k=4)
    every = np.linalg.norm(y[:, None].astype(np.float64) - x[None], axis=2)
    np.testing.assert_array_equal(indices, np.argsort(every, axis=1, kind="stable")[:, :4])
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :4], rtol=1e-12)
    with pytest.raises(ComputationError, match="do not have a 10th nearest one"):
        metrics.nearest_reals(x[:9], y, k=10)
    assert metrics.authpct(x, y) == pytest.approx(100 * expected["authentic"].mean())


def test_more_than_one_block() -> None:
    x, y = sets(2300, 2100, 4)
    found, expected = pointwise(x, y), pointwise_naive(x, y)
    for name, values in expected.items():
        assert_same(getattr(found, name), values)


def test_sides_are_not_swapped() -> None:
    """Narrow fakes are realistic; broad ones are not."""
    x, y = sets()
    assert np.median(metrics.realism(x, y)) > np.median(metrics.realism(y, x)) + 0.1


def test_scale_and_shift_change_nothing_but_units() -> None:
    x, y = sets()
    for factor in (1e-20, 1e12):
        found, scaled = pointwise(x, y), pointwise(x * factor, y * factor)
        np.testing.assert_allclose(scaled.realism, found.realism, rtol=1e-9)
        np.testing.assert_allclose(scaled.rarity, found.rarity * factor, rtol=1e-9)
        np.testing.assert_allclose(scaled.distance, found.distance * factor, rtol=1e-9)


def test_the_largest_balls_lend_no_realism() -> None:
    """A lone outlier among the reals has a ball that holds everything."""
    x, _ = sets(dim=3)
    x[0] = 1000.0
    far = np.full((1, 3), 500.0)
    assert metrics.precision(x, far) == 1.0
    assert metrics.realism(x, far)[0] < 0.1
    assert metrics.rarity(x, far)[0] > 500


def test_copies() -> None:
    x, y = sets()
    y[:20] = x[:20]
    found = pointwise(x, y)
    assert np.isinf(found.realism[:20]).sum() == sum(
        metrics.realism(x, x[i : i + 1])[0] == np.inf for i in range(20)
    )
    assert not found.authentic[:20].any()
    assert (found.closeness[:20] == 0).all()
    copies = found.near_copies()
    assert set(range(20)) <= set(copies.tolist())
    assert (np.diff(found.closeness[copies]) >= 0).all()


def test_duplicates_among_the_reals() -> None:
    x, y = sets()
    x[1] = x[0]
    y[0] = x[0]
    found = pointwise(x, y, k=1)
    assert found.closeness[0] == 0.0  # 0 / 0: as close as can be
    assert found.realism[0] >= 1.0
    assert not np.isnan(found.realism).any()
    assert not np.isnan(found.own_closeness).any()


def test_nearest_in_is_exact_among_ties() -> None:
    """Many equally near neighbours: the first one."""
    gallery = np.repeat(np.arange(5.0)[:, None], 60, axis=0)
    queries = np.array([[1.0], [4.0], [2.0]])
    x, y = points_of(queries, gallery)
    found = nearest_in(x, y, 3)
    assert found.whom.tolist() == [[60, 61, 62], [240, 241, 242], [120, 121, 122]]
    assert (found.squared == 0).all()


def test_nearest_in_tells_near_ones_apart() -> None:
    """Far from the origin, float32 alone would not."""
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(500, 40)) * 1e-3 + 50.0
    queries = gallery[:100] + rng.normal(size=(100, 40)) * 1e-6
    x, y = points_of(queries, gallery)
    assert nearest_in(x, y).whom[:, 0].tolist() == list(range(100))


def test_tensors() -> None:
    x, y = sets()
    for name in ("realism", "rarity"):
        found = getattr(metrics, name)(torch.tensor(x), torch.tensor(y))
        assert_same(found, getattr(metrics, name)(x, y))


def test_estimates() -> None:
    x, y = sets()
    expected = pointwise_naive(x, y)
    found = pointwise_estimates(x, y, NAMES, arguments={"realism": {"k": 3}})
    assert found["realism"].value == pytest.approx(np.median(expected["realism"]))
    assert found["realism"].details["realistic"] == (expected["realism"] >= 1).mean()
    assert found["rarity"].value == pytest.approx(np.nanmean(expected["rarity"]))
    assert found["rarity"].details["outside"] == np.isnan(expected["rarity"]).mean()
    assert found["authpct"].value == pytest.approx(100 * expected["authentic"].mean())
    limit = min(max(expected["own_closeness"].min(), 0.5), 0.8)
    near, own = ((expected[name] < limit).sum() for name in ("closeness", "own_closeness"))
    assert found["authpct"].details == {"near_copies": near, "near_copies_among_reals": own}
    other = pointwise_estimates(x, y, NAMES, seed=1)
    for name in NAMES:
        assert found[name].standard_error > 0
        assert other[name].value == found[name].value
        assert other[name].standard_error != found[name].standard_error
    bare = pointwise_estimates(x, y, NAMES, error_bar=False)
    assert {e.standard_error for e in bare.values()} == {None}


@pytest.mark.parametrize("n", [200, 600])
def test_error_bars_against_redrawing(n: int) -> None:
    values: dict[str, list[float]] = {name: [] for name in NAMES}
    claimed: dict[str, list[float]] = {name: [] for name in NAMES}
    for seed in range(60):
        x, y = sets(n, n, 12, seed)
        for name, estimate in pointwise_estimates(x, y, NAMES, error_bar=seed < 8).items():
            values[name].append(estimate.value)
            if estimate.standard_error is not None:
                claimed[name].append(estimate.standard_error)
    for name in NAMES:
        ratio = np.mean(claimed[name]) / np.std(values[name], ddof=1)
        assert 0.8 < ratio < 1.6, (name, ratio)


def test_the_chance_of_near_copies_is_fisher_s() -> None:
    for near, own in ((8, 0), (3, 2), (0, 5)):
        expected = fisher_exact([[near, 85 - near], [own, 100 - own]], alternative="greater").pvalue
        assert copies_by_chance(near, 85, own, 100) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dim", [12, 40])
def test_copying_is_noticed_and_its_absence_is_not(dim: int) -> None:
    warned = []
    for seed in range(20):
        x, y = sets(300, 300, dim, seed)
        y = np.random.default_rng(seed + 100).normal(size=y.shape)
        clean = pointwise_estimates(x, y, ["authpct"], error_bar=False)["authpct"]
        y[:30] = x[:30] + 0.02 * np.random.default_rng(seed).normal(size=(30, dim))
        copied = pointwise_estimates(x, y, ["authpct"], error_bar=False)["authpct"]
        assert [code for code, _ in copied.warnings] == ["near-copies"]
        assert copied.value < clean.value
        warned.append(bool(clean.warnings))
    assert sum(warned) <= 2  # one in a hundred is expected


def test_refusals() -> None:
    x, y = sets(4, 3)
    with pytest.raises(ComputationError, match=r"4th nearest .* at least 5 real images.* are 4"):
        metrics.realism(x, y, k=4)
    with pytest.raises(ComputationError, match="there is 1"):
        metrics.authpct(x[:1], y)
    with pytest.raises(UsageError, match="k must be a whole number"):
        metrics.rarity(x, y, k=0)
    with pytest.raises(InputError, match="6 dimensions and the generated ones 5"):
        metrics.rarity(x, y[:, :5])
    with pytest.raises(ComputationError, match="none of the 3 generated images is in a real ball"):
        pointwise_estimates(x, y + 1000, ["rarity"])
