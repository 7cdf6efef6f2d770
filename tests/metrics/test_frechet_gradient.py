"""The derivative of the Fréchet distance: by finite differences, through a network, as a loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import LITE0
from data import scenes
from torch import nn

import gan_metrics as gm
from gan_metrics.errors import GanMetricsError, InputError
from gan_metrics.metrics import frechet_distance, frechet_influence, frechet_sensitivity
from gan_metrics.metrics.moments import Moments

pytestmark = pytest.mark.usefixtures("coarse_lite0")

REGIMES = [(200, 300, 6), (7, 40, 12), (40, 7, 12), (7, 9, 12), (13, 13, 12)]
"""Full rank, fakes in a subspace, reals in one, both, and just one image more than dimensions."""


def sets(n: int, m: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + m)
    mixing = rng.normal(size=(dim, dim))
    return rng.normal(size=(n, dim)) @ mixing + 1.0, rng.normal(size=(m, dim))


@pytest.mark.parametrize(("n", "m", "dim"), REGIMES)
def test_it_is_n_times_the_derivative_of_the_distance(n: int, m: int, dim: int) -> None:
    x, y = sets(n, m, dim)
    free = torch.tensor(x, requires_grad=True)
    frechet_distance(free, torch.tensor(y)).backward()
    assert free.grad is not None
    np.testing.assert_allclose(
        frechet_sensitivity(x, y), n * free.grad.numpy(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(("n", "m", "dim"), REGIMES)
def test_by_finite_differences(n: int, m: int, dim: int) -> None:
    x, y = sets(n, m, dim)
    direction = np.random.default_rng(1).normal(size=dim)
    ends = []
    for step in (1e-5, -1e-5):
        moved = x.copy()
        moved[3] += step * direction
        ends.append(frechet_distance(moved, y))
    slope = n * (ends[0] - ends[1]) / 2e-5
    assert frechet_sensitivity(x, y, rows=[3])[0] @ direction == pytest.approx(slope, rel=1e-4)


def test_it_is_the_slope_of_the_influence() -> None:
    """In one dimension the influence is a parabola whose parameters are known."""
    x = np.random.default_rng(0).normal(2.0, 3.0, (50, 1))
    other = Moments(None, np.array([-1.0]), np.array([[4.0]]))
    mean, deviation = x.mean(), x.std(ddof=1)
    slope = 2 * (mean + 1) + 2 * 50 / 49 * (1 - 2 / deviation) * (x - mean)
    np.testing.assert_allclose(frechet_sensitivity(x, other), slope, rtol=1e-10)
    influence = 2 * (mean + 1) * (x - mean) + 50 / 49 * (1 - 2 / deviation) * (x - mean) ** 2
    np.testing.assert_allclose(
        frechet_influence(x, other), (influence - influence.mean())[:, 0], rtol=1e-5, atol=1e-5
    )


def test_rows_are_those_that_are_asked_for() -> None:
    x, y = sets(30, 40, 5)
    np.testing.assert_array_equal(
        frechet_sensitivity(x, y, rows=[4, 2]), frechet_sensitivity(x, y)[[4, 2]]
    )
    assert frechet_sensitivity(x, y, rows=[]).shape == (0, 5)
    for rows in ([30], [-1], [0.5], 3):
        with pytest.raises(InputError, match="from 0 to 29"):
            frechet_sensitivity(x, y, rows=rows)
    with pytest.raises(GanMetricsError, match="give the features"):
        frechet_sensitivity(Moments.from_features(x), y)  # type: ignore[arg-type]


class Smooth(nn.Module):
    """A small network without any kink."""

    preprocess = gm.Preprocess(
        "exact", 32, "torch-bilinear-antialias", None, 255.0, (0.5,) * 3, (0.25,) * 3
    )

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(
                nn.Conv2d(3, 8, 5, 2), nn.SiLU(), nn.Conv2d(8, 12, 3, 2), nn.SiLU(),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)


@pytest.mark.parametrize(
    ("backbone", "weights", "within"),
    [(Smooth(), None, 1e-3), ("inception", "random", 0.02), (LITE0, None, None)],
    ids=["smooth", "inception", LITE0],
)
def test_as_a_loss_through_a_network(backbone: Any, weights: Any, within: float | None) -> None:
    """From the pixels to the distance: the slope is that of two distances nearby.

    lite0's 8-bit resize has steps, which its gradient passes over: there going down must do.
    """
    network = gm.load_backbone(backbone, weights=weights)
    images = torch.from_numpy(np.stack(scenes(8, 0, 64))).permute(0, 3, 1, 2)
    reals = network(images)
    fakes = (images.flip(0).float() * 0.7 + 20).requires_grad_()
    loss = frechet_distance(network.differentiable(fakes), reals)
    loss.backward()
    gradient = fakes.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert all(gradient[i].abs().max() > 0 for i in range(8))
    direction = gradient / gradient.norm()
    step = 0.3 if within else 20.0

    def moved(by: float) -> float:
        with torch.no_grad():
            return float(frechet_distance(network.differentiable(fakes + by * direction), reals))

    if within:
        slope = (moved(step) - moved(-step)) / (2 * step)
        assert slope == pytest.approx(float(gradient.norm()), rel=within)
    assert moved(-step) < loss.item() < moved(step)
