from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_metrics.errors import ComputationError, InputError
from gan_metrics.metrics.moments import Moments, MomentsStream

RNG = np.random.default_rng(0)


def assert_moments(moments: Moments, x: np.ndarray, rtol: float = 1e-12) -> None:
    x = np.asarray(x, np.float64)
    assert moments.n == len(x)
    np.testing.assert_allclose(moments.mean, x.mean(0), rtol=rtol)
    expected = np.atleast_2d(np.cov(x, rowvar=False))
    np.testing.assert_allclose(moments.cov, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


@pytest.mark.parametrize("n", [2, 100, 4096, 4097, 10_000])
def test_against_numpy(n: int) -> None:
    x = RNG.normal(size=(n, 6)) @ RNG.normal(size=(6, 6)) + 3
    assert_moments(Moments.from_features(x), x)


def test_a_large_offset_costs_no_digits() -> None:
    x = RNG.normal(size=(9000, 5))
    shifted = Moments.from_features(x + 1e8)
    # The means themselves are known to 1e8·2⁻⁵³; times the shift between blocks, 5e-10.
    assert_moments(shifted, x + 1e8, rtol=1e-9)
    np.testing.assert_allclose(shifted.cov, np.cov(x, rowvar=False), rtol=1e-6, atol=1e-6)
    naive = (x + 1e8).T @ (x + 1e8) / 8999 - np.outer(shifted.mean, shifted.mean)
    assert np.abs(naive - shifted.cov).max() > 0.1  # what a sum of squares would have given


def test_a_large_offset_in_float32_is_that_of_the_float32_values() -> None:
    x = (RNG.normal(size=(5000, 5)) + 1e4).astype(np.float32)
    assert_moments(Moments.from_features(x), x, rtol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 100))
def test_merging_is_computing_together(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(n, 4)) * 10 + rng.normal() * 100 for n in sizes]
    merged = Moments.from_features(parts[0])
    for part in parts[1:]:
        merged = merged.update(part)
    x = np.concatenate(parts)
    if len(x) > 1:
        assert_moments(merged, x, rtol=1e-9)
    else:
        assert not merged.cov.any()


def test_the_stream_does_not_depend_on_the_pieces() -> None:
    x = RNG.normal(size=(9000, 3))
    for size in (1, 128, 5000):
        stream = MomentsStream()
        for i in range(0, len(x), size):
            stream.add(x[i : i + size])
        stream.add(x[:0])
        assert_moments(stream.finish(), x)


def test_tensors_give_what_arrays_give() -> None:
    x = RNG.normal(size=(5000, 7)).astype(np.float32)
    ours = Moments.from_features(torch.from_numpy(x))
    assert_moments(ours, x, rtol=1e-11)
    stream = MomentsStream()
    stream.add(x[:10])
    stream.add(torch.from_numpy(x[10:]))
    assert_moments(stream.finish(), x, rtol=1e-11)


def test_one_image_has_a_mean_and_no_spread() -> None:
    one = Moments.from_features(np.array([[1.0, 2.0]]))
    assert one.n == 1
    assert one.mean.tolist() == [1.0, 2.0]
    assert not one.cov.any()


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 2, 2)])
def test_a_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="shape"):
        Moments.from_features(np.zeros(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_what_is_not_finite_is_named(bad: float, as_tensor: bool) -> None:
    x = RNG.normal(size=(6000, 3))
    x[5000, 1] = bad
    with pytest.raises(ComputationError, match="number 5000 "):
        Moments.from_features(torch.from_numpy(x) if as_tensor else x)


def test_merging_needs_counts_and_one_dimension() -> None:
    a = Moments.from_features(RNG.normal(size=(5, 3)))
    with pytest.raises(InputError, match="count"):
        a.merge(Moments(None, a.mean, a.cov))
    with pytest.raises(InputError, match="3 and 2"):
        a.merge(Moments.from_features(RNG.normal(size=(5, 2))))


def test_nothing_has_no_moments() -> None:
    with pytest.raises(ComputationError, match="no features"):
        MomentsStream().finish()
