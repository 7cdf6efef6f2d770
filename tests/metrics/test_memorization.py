"""MIFID, the test of copying, and the likelihood divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import ct_naive, fld_naive, frechet_sqrtm, mifid_naive

from gan_metrics import metrics
from gan_metrics.errors import ComputationError, InputError, UsageError
from gan_metrics.metrics import feature_likelihood
from gan_metrics.metrics.feature_likelihood import fld_estimate
from gan_metrics.metrics.memorization import ct_estimate, mifid_estimate, nearest_cosines


def three(dim: int = 6, seed: int = 0, copied: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    train, fake, test = (rng.normal(size=(n, dim)) for n in (400, 350, 300))
    fake[:copied] = train[:copied] + 0.01 * rng.normal(size=(copied, dim))
    return train, fake, test


@pytest.mark.parametrize("noise", [0.02, 0.2, 3.0])
def test_mifid_against_the_naive_definition(noise: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    y = x[rng.integers(0, 300, 260)] + noise * rng.normal(size=(260, 8))
    expected = mifid_naive(x, y)
    assert metrics.mifid(x, y) == pytest.approx(expected, rel=1e-9)
    found = mifid_estimate(x, y)
    assert found.details["fd"] == pytest.approx(frechet_sqrtm(x, y), rel=1e-9)
    assert (found.value > 2 * found.details["fd"]) == (noise < 1)  # both sides of tau
    assert metrics.mifid(x, y, tau=2.0) == pytest.approx(mifid_naive(x, y, 2.0), rel=1e-9)


def test_mifid_is_about_the_fakes() -> None:
    """Fakes that all copy, of few reals; the reals are far from them on the whole."""
    x, _, _ = three()
    y = np.repeat(x[:10], 30, axis=0) * 2.0
    assert mifid_estimate(x, y).details["memorization_distance"] < 1e-12
    assert mifid_estimate(y, x).details["memorization_distance"] > 0.1


def test_mifid_against_torchmetrics() -> None:
    """Theirs averages over the reals: the sides are swapped for it."""
    mifid = pytest.importorskip("torchmetrics.image.mifid")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    y = x[rng.integers(0, 300, 260)] + 0.05 * rng.normal(size=(260, 8))
    sides = [torch.tensor(z) for z in (y, x)]
    moments = [part for side in sides for part in (side.mean(0), torch.cov(side.T), side)]
    theirs = float(mifid._mifid_compute(*moments))
    assert metrics.mifid(x, y) == pytest.approx(theirs, rel=1e-6)


def test_near_copies_keep_their_digits() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 30))
    turned = 1e-9 * rng.normal(size=x.shape)
    turned -= x * (turned * x).sum(1, keepdims=True) / (x * x).sum(1, keepdims=True)
    found = nearest_cosines(x, -(x + turned))  # |cos|: the opposite direction is as near
    expected = (turned**2).sum(1) / (x**2).sum(1) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_images_without_a_direction() -> None:
    x, y, _ = three()
    expected = mifid_estimate(x, y[5:]).details["memorization_distance"]
    y[:5] = 0
    assert mifid_estimate(x, y).details["memorization_distance"] == pytest.approx(expected)
    assert mifid_estimate(np.zeros((5, 6)), y).details["memorization_distance"] == 1.0


def test_mifid_of_equal_sets_is_zero() -> None:
    x, _, _ = three()
    assert metrics.mifid(x, x.copy()) == 0.0


@pytest.mark.parametrize(("dim", "copied"), [(6, 0), (6, 80), (80, 40)])
def test_ct_against_the_naive_definition(dim: int, copied: int) -> None:
    train, fake, test = three(dim, copied=copied)
    assert metrics.ct(train, fake, test) == pytest.approx(ct_naive(train, fake, test), rel=1e-9)
    assert metrics.ct(train, fake, test, cells=2, components=4) == pytest.approx(
        ct_naive(train, fake, test, 2, 4), rel=1e-9
    )


def test_ct_knows_its_three_sets() -> None:
    """Copies: far below 0. Held-out images that were trained on: above."""
    train, fake, test = three(copied=350)
    assert metrics.ct(train, fake, test) < -10
    assert metrics.ct(train, test, fake) > 10
    assert abs(metrics.ct(*three())) < 3


def test_ct_leaves_out_cells_with_20_fakes_or_fewer() -> None:
    train, fake, test = (np.concatenate([z, z + 100]) for z in three())
    for count, looked in ((20, [1]), (21, [2])):
        some = np.concatenate([fake[:350], fake[350 : 350 + count]])
        found = ct_estimate(train, some, test, cells=2)
        assert sum(score is not None for score in found.details["cells"]) == looked[0]
        assert found.value == pytest.approx(ct_naive(train, some, test, 2))


@pytest.mark.slow
def test_ct_error_bar() -> None:
    train = three()[0]
    for copied in (0, 70):
        values, claimed = [], []
        for seed in range(80):
            rng = np.random.default_rng(1000 + seed)
            fake, test = rng.normal(size=(350, 6)), rng.normal(size=(300, 6))
            fake[:copied] = train[:copied] + 0.01 * rng.normal(size=(copied, 6))
            found = ct_estimate(train, fake, test)
            values.append(found.value)
            claimed.append(found.standard_error)
        assert 0.8 < np.mean(claimed) / np.std(values, ddof=1) < 1.3


@pytest.mark.parametrize(("dim", "copied"), [(4, 0), (4, 150), (24, 0), (24, 150)])
def test_fld_against_autograd(dim: int, copied: int) -> None:
    train, fake, test = three(dim, copied=copied)
    order = np.random.default_rng([0, 1]).permutation(len(train))
    expected = fld_naive(train, fake, test, order)
    assert metrics.fld(train, fake, test) == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_fld_rises_with_copies_and_with_shift() -> None:
    clean = metrics.fld(*three())
    values = [metrics.fld(*three(copied=copied)) for copied in (100, 200, 300)]
    assert clean < values[0] < values[1] < values[2]
    train, fake, test = three()
    assert metrics.fld(train, fake + 1, test) > clean + 10


def test_fld_of_copies_alone_says_so() -> None:
    train, _, test = three()
    found = fld_estimate(train, train[:350].copy(), test)
    assert found.value > 1000
    assert [code for code, _ in found.warnings] == ["copies"]


def test_fld_features_that_do_not_vary_are_left_out() -> None:
    train, fake, test = three()
    wide = [np.column_stack([z, np.ones(len(z))]) for z in (train, fake, test)]
    assert metrics.fld(*wide) == metrics.fld(train, fake, test)
    assert fld_estimate(*wide).details["dimensions"] == 6


def test_fld_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """More training images than a batch: five steps an epoch, and nearly the same optimum."""
    whole = metrics.fld(*three())
    monkeypatch.setattr(feature_likelihood, "_BATCH", 80)
    assert metrics.fld(*three()) == pytest.approx(whole, abs=0.5)


def test_fld_takes_at_most_so_many_fakes() -> None:
    train, fake, test = three()
    rows = np.sort(np.random.default_rng([0, 0]).choice(350, 100, replace=False))
    assert metrics.fld(train, fake, test, most=100) == metrics.fld(train, fake[rows], test)
    assert metrics.fld(train, fake, test, most=None) == metrics.fld(train, fake, test)


def test_fld_error_bar() -> None:
    train = three()[0]
    values, claimed = [], []
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        found = fld_estimate(train, 1.2 * rng.normal(size=(350, 6)), rng.normal(size=(300, 6)))
        values.append(found.value)
        claimed.append(found.standard_error)
    assert 0.8 < np.mean(claimed) / np.std(values, ddof=1) < 1.7


def test_mifid_error_bar() -> None:
    for noise in (0.05, 2.0):
        values, claimed = [], []
        for seed in range(80):
            rng = np.random.default_rng(1000 + seed)
            x = rng.normal(size=(300, 8))
            y = x[rng.integers(0, 300, 280)] * 1.3 + noise * rng.normal(size=(280, 8))
            found = mifid_estimate(x, y)
            values.append(found.value)
            claimed.append(found.standard_error)
        assert 0.8 < np.mean(claimed) / np.std(values, ddof=1) < 1.7


def test_refusals() -> None:
    train, fake, test = three()
    with pytest.raises(InputError, match="6 dimensions and the held-out ones 5"):
        metrics.ct(train, fake, test[:, :5])
    with pytest.raises(ComputationError, match="has no held-out image"):
        metrics.ct(np.concatenate([train, train + 99]), fake, test, cells=2)
    with pytest.raises(
        ComputationError, match="no cell has more than 20 of the 20 generated images"
    ):
        metrics.ct(train, fake[:20], test)
    with pytest.raises(ComputationError, match="as many training images"):
        metrics.ct(train[:2], fake, test)
    with pytest.raises(ComputationError, match="at least 4 training images"):
        metrics.fld(train[:3], fake, test)
    with pytest.raises(ComputationError, match="no feature varies"):
        metrics.fld(train, fake, np.ones((5, 6)))
    with pytest.raises(UsageError, match="tau must"):
        metrics.mifid(train, fake, tau=0)
    with pytest.raises(UsageError, match="cells must"):
        metrics.ct(train, fake, test, cells=0)
    with pytest.raises(ComputationError, match="held-out features hold NaN"):
        metrics.fld(train, fake, np.full((5, 6), np.nan))
