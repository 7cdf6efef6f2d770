"""Loggers for an evaluator: values with their error bars, and a grid of samples."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from torchvision.utils import make_grid

from gan_metrics.errors import UsageError
from gan_metrics.results.result import EvaluationResult
from gan_metrics.utils.optional import require

if TYPE_CHECKING:
    import wandb
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TensorBoardLog", "WandbLog", "scalars"]

_SAMPLES = 64


def scalars(result: EvaluationResult) -> dict[str, float]:
    """Return the values by name, and the ends of their intervals as ``name_low``, ``name_high``."""
    found = {}
    for name, one in result.items():
        found[name] = float(one)
        if one.ci95 is not None:
            found[f"{name}_low"], found[f"{name}_high"] = one.ci95
    return found


class TensorBoardLog:
    """Logs to TensorBoard.

    Values are under SCALARS, intervals as bands under CUSTOM SCALARS, and the first images under
    IMAGES.

    Args:
        writer: A ``torch.utils.tensorboard.SummaryWriter``, or its folder.
        prefix: Prefix of each name.
        samples: Largest number of images.
    """

    def __init__(
        self,
        writer: SummaryWriter | str | os.PathLike[str],
        prefix: str = "gan-metrics",
        samples: int = _SAMPLES,
    ) -> None:
        self.writer: SummaryWriter
        if isinstance(writer, str | os.PathLike):
            self.writer = require("torch.utils.tensorboard", "tensorboard").SummaryWriter(writer)
        else:
            self.writer = writer
        self.prefix, self._samples = prefix, samples
        self._bands: set[str] = set()

    def __call__(self, step: int, result: EvaluationResult) -> None:
        """Write the values of a step."""
        found = scalars(result)
        for name, value in found.items():
            self.writer.add_scalar(f"{self.prefix}/{name}", value, step)
        bands = {name for name in found if f"{name}_low" in found}
        if bands - self._bands:
            self._bands |= bands
            ends = ("", "_low", "_high")
            charts = {
                name: ["Margin", [f"{self.prefix}/{name}{end}" for end in ends]]
                for name in sorted(self._bands)
            }
            self.writer.add_custom_scalars({self.prefix: charts})
        self.writer.flush()

    def samples(self, step: int, images: torch.Tensor) -> None:
        """Write a grid of images, ``uint8``, N × 3 × H × W."""
        self.writer.add_image(f"{self.prefix}/samples", grid(images[: self._samples]), step)
        self.writer.flush()


class WandbLog:
    """Logs to Weights & Biases: values, the ends of their intervals, and a grid of samples.

    Args:
        run: Result of ``wandb.init``; default: the current run.
        prefix: Prefix of each name.
        samples: Largest number of images.

    Raises:
        UsageError: If there is no run.
    """

    def __init__(
        self, run: wandb.Run | None = None, prefix: str = "gan-metrics", samples: int = _SAMPLES
    ) -> None:
        self._wandb = require("wandb", "wandb")
        self.run = self._wandb.run if run is None else run
        if self.run is None:
            raise UsageError("Weights & Biases has no active run: call wandb.init first")
        self.prefix, self._samples = prefix, samples

    def __call__(self, step: int, result: EvaluationResult) -> None:
        """Write the values of a step."""
        found = {f"{self.prefix}/{name}": value for name, value in scalars(result).items()}
        self.run.log(found, step=step)

    def samples(self, step: int, images: torch.Tensor) -> None:
        """Write a grid of images, ``uint8``, N × 3 × H × W."""
        pixels = grid(images[: self._samples]).permute(1, 2, 0).numpy()
        self.run.log({f"{self.prefix}/samples": self._wandb.Image(pixels)}, step=step)


def grid(images: torch.Tensor) -> torch.Tensor:
    """Arrange images in a grid, ``uint8``, 3 × H × W, about as wide as high."""
    columns = max(1, round(len(images) ** 0.5))
    found: torch.Tensor = make_grid(images.cpu(), nrow=columns, padding=2, pad_value=255)
    return found
