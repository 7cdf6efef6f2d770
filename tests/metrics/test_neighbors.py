from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import nearest_others_naive, squared_distances

from gan_metrics.metrics.neighbors import distances, knn
from gan_metrics.metrics.neighbors.distances import Block, Matrix, by_differences, points_of, sweep
from gan_metrics.metrics.neighbors.knn import BallQuery, CountInBalls, Nearest, nearest_others


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "_BLOCK", 48)
    monkeypatch.setattr(knn, "_CHUNK", 48)
    monkeypatch.setattr(knn, "_FEW", 20)


def cloud(kind: str, n: int = 150, d: int = 5, seed: int = 0) -> np.ndarray:
    """Sets on which float32, or a careless k-th neighbour, goes wrong."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)).astype(np.float32)
    if kind == "far from the origin":
        x += 1000
    elif kind == "ties":
        x = np.round(x)
    elif kind == "copies":
        x[: n // 2] = x[0]
    elif kind == "all alike":
        x[:] = x[0]
    elif kind == "tight clusters":
        x = np.repeat(x[:5] * 100, n // 5, axis=0) + 1e-4 * rng.normal(size=(n, d))
    elif kind == "an outlier":
        x[3] *= 1e4
    elif kind == "tiny":
        x = x.astype(np.float64) * 1e-30
    elif kind == "huge":
        x = x.astype(np.float64) * 1e30
    elif kind == "bytes":
        x = rng.integers(0, 255, (n, d)).astype(np.uint8)
    return x


KINDS = [
    "plain",
    "far from the origin",
    "ties",
    "copies",
    "all alike",
    "tight clusters",
    "an outlier",
    "tiny",
    "huge",
    "bytes",
]


def both(x: np.ndarray) -> list[Any]:
    return [x, torch.from_numpy(x)]


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_those_of_differences_in_float64(kind: str) -> None:
    x = cloud(kind)
    squared, whom = nearest_others_naive(x, 5)
    for features in both(x):
        (points,) = points_of(features)
        found = nearest_others(points, 5)
        assert np.array_equal(found.whom, whom)
        np.testing.assert_allclose(found.squared / points.scale**2, squared, rtol=1e-14)
        some = nearest_others(points, 5, ranks=[2, 5]).squared / points.scale**2
        np.testing.assert_allclose(some[:, [1, 4]], squared[:, [1, 4]], rtol=1e-14)


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("n", [9, 10, 49, 97])
def test_any_size_and_rank(n: int, k: int) -> None:
    x = cloud("ties", n=n, d=2)
    squared, whom = nearest_others_naive(x, k)
    found = nearest_others(points_of(x)[0], k)
    assert np.array_equal(found.whom, whom)
    np.testing.assert_allclose(found.squared, squared * points_of(x)[0].scale ** 2)


@pytest.mark.parametrize("kind", ["plain", "ties", "copies", "all alike"])
def test_the_nearest_of_large_blocks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a block large enough for a first bound on what may be near; against a sort."""
    monkeypatch.setattr(distances, "_BLOCK", 180)
    x, y = points_of(cloud(kind, 400), cloud(kind, 300, seed=1))
    for a, b in ((x, y), (x, x)):
        found, matrix = Nearest(len(a), 4), Matrix(len(a), len(b))
        sweep(a, b, [found, matrix])
        everything = matrix.squared
        if a is b:
            below = np.add.outer(np.arange(400) // 180, -(np.arange(400) // 180)) > 0
            everything = np.where(below, everything.T, everything)  # these are not shown
        assert np.array_equal(found.squared, np.sort(everything, axis=1)[:, :4])
        assert np.array_equal(np.take_along_axis(everything, found.whom, 1), found.squared)
        assert all(len(set(row)) == 4 for row in found.whom)


@pytest.mark.parametrize("many", [0.0, 1 / 32, 2.0])
@pytest.mark.parametrize("other", ["its own", "plain", "itself"])
@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_differences_in_float64(
    kind: str, other: str, many: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists of pairs and masks, balls of the rows and of the columns, d < r and d ≤ r."""
    monkeypatch.setattr(knn, "_MANY_INSIDE", many)
    x = cloud(kind)
    y = x.copy() if other == "itself" else cloud(kind if other == "its own" else "plain", 110, 5, 1)
    squared = squared_distances(x, y)
    features = both(x) if x.dtype == y.dtype else [x]
    for real, fake in zip(features, both(y), strict=False):
        a, b = points_of(real, fake)
        for of_rows in (True, False):
            set_, points = (x, a) if of_rows else (y, b)
            radii = nearest_others(points, 4, ranks=[2, 4]).squared
            naive = nearest_others_naive(set_, 4)[0]
            questions = [BallQuery(radii[:, 1], True), BallQuery(radii[:, 3], False)]
            balls = CountInBalls(len(x), len(y), questions, of_rows=of_rows)
            sweep(a, b, [balls])
            d = squared if of_rows else squared.T
            for tally, inside in zip(
                balls.counts, (d < naive[:, 1, None], d <= naive[:, 3, None]), strict=True
            ):
                assert np.array_equal(tally.per_ball, inside.sum(1))
                assert np.array_equal(tally.per_point, inside.sum(0))


@pytest.mark.parametrize("logs", [0.0, 2.0])
@pytest.mark.parametrize("many", [1, 1 << 40])
@pytest.mark.parametrize("kind", ["plain", "copies", "tight clusters", "far from the origin"])
def test_soft_balls(kind: str, many: int, logs: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "_MANY_LOGS", logs)
    monkeypatch.setattr(distances, "_MANY", many)
    x = cloud(kind).astype(np.float64)
    y = np.concatenate([x[:40], cloud(kind, 70, 5, 1)])
    d = np.sqrt(squared_distances(x, y))
    radius = np.median(d)
    with np.errstate(divide="ignore"):
        expected = np.log(np.minimum(d / radius, 1))
    for features in zip(both(x), both(y), strict=True):
        a, b = points_of(*features)
        for of_rows in (True, False):
            balls = np.full(len(a if of_rows else b), (radius * a.scale) ** 2)
            consumer = CountInBalls(
                len(a), len(b), [BallQuery(balls, True, soft=True)], of_rows=of_rows
            )
            sweep(a, b, [consumer])
            np.testing.assert_allclose(
                consumer.counts[0].log_outside, expected.sum(0 if of_rows else 1), atol=1e-5
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [3, 300])
def test_the_bound_holds(kind: str, d: int) -> None:
    """No squared distance of a block is farther from the truth than the bound says."""
    x, y = cloud(kind, 150, d), cloud(kind, 100, d, 1)
    if kind == "copies":
        y[:50] = x[0]
    a, b = points_of(x, y)
    matrix = Matrix(150, 100)
    sweep(a, b, [matrix])
    exact = squared_distances(x, y) * a.scale**2
    bound = distances.rounding(a, double=False) * (a.squares[:, None] + b.squares)
    assert (np.abs(matrix.squared - exact) <= bound).all()


def test_each_pair_is_shown_once() -> None:
    """And of a set with itself the upper triangle, with nobody near to himself."""

    class Seen:
        def __init__(self, n: int, m: int) -> None:
            self.times = np.zeros((n, m), int)

        def take(self, block: Block) -> None:
            self.times[block.rows, block.columns] += np.isfinite(block.squared)
            if block.mirrored:
                self.times[block.columns, block.rows] += np.isfinite(block.squared.T)

    x, y = points_of(cloud("plain", 130), cloud("plain", 100))
    pair, own = Seen(130, 100), Seen(130, 130)
    sweep(x, y, [pair])
    sweep(x, x, [own])
    assert (pair.times == 1).all()
    assert np.array_equal(own.times, 1 - np.eye(130, dtype=int))


def test_a_picked_set_is_the_same_points() -> None:
    (x,) = points_of(cloud("plain"))
    rows = np.array([5, 3, 140])
    exact = by_differences(x.pick(rows), x, np.arange(3), rows)
    assert not exact.any()
    assert np.array_equal(x.pick(rows).squares, x.squares[rows])


def test_memory_maps_and_half_precision(tmp_path: Path) -> None:
    x = cloud("plain").astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    plain = nearest_others(points_of(x)[0], 3)
    assert np.array_equal(nearest_others(points_of(mapped)[0], 3).squared, plain.squared)
    half = torch.from_numpy(x.astype(np.float32)).to(torch.bfloat16)
    _, whom = nearest_others_naive(half.double().numpy(), 3)
    assert np.array_equal(nearest_others(points_of(half)[0], 3).whom, whom)


def test_numpy_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np; from gan_metrics.metrics.manifold import manifold_estimates;"
        "x = np.random.default_rng(0).normal(size=(60, 3));"
        "manifold_estimates(x, x + 0.1); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
