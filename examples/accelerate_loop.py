"""A generator evaluated in a loop of Hugging Face Accelerate, on one process or several.

    accelerate launch examples/accelerate_loop.py

The generator learns the colours of a set of plain images by the distance itself. Everything that is
special about Accelerate: the evaluator gets the unwrapped model, and finds the ranks by itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

import gan_metrics as gm
from gan_metrics.integrations.loggers import scalars
from gan_metrics.training import Evaluator, FrechetLoss


class Colours(nn.Module):
    """A network whose features are the mean colour of an image and its products."""

    preprocess = gm.Preprocess("exact", 8, "torch-bilinear", None, 255.0, (0,) * 3, (1,) * 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((2, 3))
        return torch.cat([mean, mean.roll(1, 1) * mean], 1)


class Painter(nn.Module):
    """Plain images whose colours have a mean and a spread that are learnt."""

    z_size = 3
    value_range = (-1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([-0.8, 0.8, -0.8]))
        self.scale = nn.Parameter(torch.full((3,), 0.05))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        colour = (self.shift + self.scale * z).clamp(-1, 1)
        return colour[:, :, None, None].expand(-1, -1, 16, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("accelerate-run"))
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    accelerator = Accelerator()
    given.output.mkdir(parents=True, exist_ok=True)

    colours = 128 + 40 * np.random.default_rng(0).normal(size=(300, 3))
    pixels = torch.from_numpy(np.clip(colours, 0, 255).astype(np.uint8))
    reals = pixels[:, :, None, None].expand(-1, -1, 16, 16)
    network = gm.load_backbone(Colours(), device="cpu")
    reference = gm.Features([str(i) for i in range(300)], network(reals).numpy(), network.spec)

    own = {"backbone": Colours(), "device": str(accelerator.device)}
    evaluator = Evaluator(
        reference, ["fid"], n_fake=500, every=20, log=given.output / "scores.jsonl", **own
    )
    loss = FrechetLoss(reference, queue=96, **own)
    painter = Painter()
    painter, optimizer = accelerator.prepare(painter, torch.optim.Adam(painter.parameters(), 0.03))
    for step in range(1, given.steps + 1):
        value = loss(painter(torch.randn(32, 3, device=accelerator.device)))
        optimizer.zero_grad()
        accelerator.backward(value)
        optimizer.step()
        result = evaluator(accelerator.unwrap_model(painter), step)
        if result is not None:
            accelerator.log(scalars(result), step=step)
            accelerator.print(f"step {step:3d}  FD {result['fid'].value_text()}")
    accelerator.end_training()


if __name__ == "__main__":
    main()
