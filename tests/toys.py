"""Generators and networks that are small enough to be trained within a test."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import gan_metrics as gm


class Painter(nn.Module):
    """Images of one colour each, whose mean and spread are learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([-0.8, 0.8, -0.8]))
        self.scale = nn.Parameter(torch.full((3,), 0.05))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (self.shift + self.scale * z).clamp(-1, 1)[:, :, None, None].expand(-1, -1, 16, 16)


class Colours(nn.Module):
    preprocess = gm.Preprocess("exact", 8, "torch-bilinear", None, 255.0, (0,) * 3, (1,) * 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((2, 3))
        return torch.cat([mean, mean.roll(1, 1) * mean], 1)


def of_colours(n: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    colours = np.clip(128 + 40 * rng.normal(size=(n, 3)), 0, 255).astype(np.uint8)
    return torch.from_numpy(colours)[:, :, None, None].expand(-1, -1, 16, 16)


class NoisyPainter(nn.Module):
    """Squares of one colour, with noise of its own, a BatchNorm and a Dropout."""

    z_size = 6
    value_range = (-1, 1)

    def __init__(self, level: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 3))
        self.drop = nn.Dropout(0.5)
        self.level = nn.Parameter(torch.tensor(level))
        self.net[1].eval()
        self.calls = 0

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        colour = (self.level + 0.3 * self.drop(self.net(z)))[:, :, None, None]
        return (colour + 0.05 * torch.randn(len(z), 3, 24, 24, dtype=z.dtype)).tanh()
