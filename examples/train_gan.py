"""A small convolutional GAN that is evaluated as it trains, on a CPU in a few minutes.

    python examples/train_gan.py                        # scikit-learn's handwritten digits
    python examples/train_gan.py --images photos/       # any folder of images, made 32×32
    torchrun --nproc-per-node 2 examples/train_gan.py   # the same on two processes

Every 200 steps the moving average of the generator draws 500 images, from the same latents each
time, and the Fréchet distance to the training images is computed in the features of the embedded
network. Written to ``--output``: ``curve.png``, the distance with its 95 % error bars;
``scores.jsonl``, one line for each point; ``best.pt``, the best generator; ``samples.png``.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from torchvision.utils import make_grid, save_image

from gan_metrics.training import Evaluator

SIZE, Z = 32, 64


class Generator(nn.Module):
    """Latents of length 64 to images of 3 × 32 × 32 in −1 … 1."""

    z_size = Z
    value_range = (-1, 1)

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(Z, 4 * width * 16),
            nn.Unflatten(1, (4 * width, 4, 4)),
            *self._up(4 * width, 2 * width),
            *self._up(2 * width, width),
            *self._up(width, width),
            nn.Conv2d(width, 3, 3, padding=1),
            nn.Tanh(),
        )

    @staticmethod
    def _up(channels: int, out: int) -> list[nn.Module]:
        return [
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(channels, out, 3, padding=1),
        ]

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z)


class Discriminator(nn.Module):
    """Images to one logit each."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *self._down(3, width),
            *self._down(width, 2 * width),
            *self._down(2 * width, 4 * width),
            nn.Flatten(),
            nn.Linear(4 * width * 16, 1),
        )

    @staticmethod
    def _down(channels: int, out: int) -> list[nn.Module]:
        norm = [nn.GroupNorm(8, channels)] if channels > 3 else []
        return [*norm, nn.Conv2d(channels, out, 4, 2, 1), nn.LeakyReLU(0.2), nn.Dropout2d(0.1)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)[:, 0]


def digits() -> torch.Tensor:
    """scikit-learn's 1797 handwritten digits, 8 × 8, enlarged."""
    from sklearn.datasets import load_digits

    small = torch.from_numpy(load_digits().images.astype(np.float32))[:, None] / 16
    large = F.interpolate(small, SIZE, mode="bicubic").clamp(0, 1)
    return (large * 255).round().byte().expand(-1, 3, -1, -1).contiguous()


def folder(path: Path) -> torch.Tensor:
    """All images below a folder, cut to squares."""
    found = []
    for file in sorted(path.rglob("*")):
        with contextlib.suppress(OSError), Image.open(file) as image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            square = image.convert("RGB").crop((left, top, left + side, top + side))
            found.append(np.asarray(square.resize((SIZE, SIZE), Image.Resampling.LANCZOS)))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def draw_curve(evaluator: Evaluator, path: Path) -> None:
    """The distance over the steps, with its error bars."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    steps = [step for step, _ in evaluator.history]
    results = [result["fid"] for _, result in evaluator.history]
    low, high = zip(*(result.ci95 for result in results), strict=True)
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axes.fill_between(steps, low, high, alpha=0.25, linewidth=0, label="95 %")
    axes.plot(steps, [result.value for result in results], marker="o", markersize=3)
    axes.plot(*evaluator.best, "o", fillstyle="none", markersize=10, color="black", label="best")
    axes.set(xlabel="step", ylabel="Fréchet distance", xlim=0, ylim=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder; default: handwritten digits")
    parser.add_argument("--output", type=Path, default=Path("gan-run"))
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--every", type=int, default=200)
    parser.add_argument("--n-fake", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)

    size = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun says so
    if size > 1:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    rank = dist.get_rank() if size > 1 else 0
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)

    torch.manual_seed(given.seed)  # the same weights everywhere
    generator, discriminator = Generator().to(device), Discriminator().to(device)
    average = copy.deepcopy(generator)
    torch.manual_seed(given.seed + rank)  # and other noise

    data = TensorDataset(digits() if given.images is None else folder(given.images))
    sampler = DistributedSampler(data, seed=given.seed) if size > 1 else None
    loader = DataLoader(
        data,
        given.batch_size // size,
        shuffle=sampler is None,
        sampler=sampler,
        drop_last=True,
    )

    evaluator = Evaluator(
        DataLoader(data, 64, sampler=sampler),  # one pass over the real images, and it is kept
        ["fid", "precision", "recall"],
        n_fake=given.n_fake,
        every=given.every,
        backbone="efficientnet-lite0",
        log=given.output / "scores.jsonl",
        keep=given.output / "best.pt",
    )

    g: nn.Module = generator
    d: nn.Module = discriminator
    if size > 1:
        g, d = DistributedDataParallel(g), DistributedDataParallel(d)
    g_step = torch.optim.Adam(g.parameters(), 4e-4, betas=(0.5, 0.99))
    d_step = torch.optim.Adam(d.parameters(), 4e-4, betas=(0.5, 0.99))

    step = epoch = 0
    while step < given.steps:
        if sampler is not None:
            sampler.set_epoch(epoch)
        epoch += 1
        for (images,) in loader:
            real = images.to(device).float() / 127.5 - 1
            fake = g(torch.randn(len(real), Z, device=device))

            logits = d(torch.cat([real, fake.detach()]))
            d_loss = (
                F.softplus(-logits[: len(real)]).mean() + F.softplus(logits[len(real) :]).mean()
            )
            d_step.zero_grad()
            d_loss.backward()
            d_step.step()

            discriminator.requires_grad_(False)
            g_loss = F.softplus(-discriminator(fake)).mean()
            g_step.zero_grad()
            g_loss.backward()
            g_step.step()
            discriminator.requires_grad_(True)

            with torch.no_grad():
                for mean, now in zip(average.parameters(), generator.parameters(), strict=True):
                    mean.lerp_(now, 0.02)
                for mean, now in zip(average.buffers(), generator.buffers(), strict=True):
                    mean.copy_(now)

            step += 1
            result = evaluator(average, step)
            if result is not None and rank == 0:
                fid = result["fid"]
                print(f"step {step:5d}  {fid.metric.upper()} {fid.value_text()}", flush=True)
            if step == given.steps:
                break

    if rank == 0:
        draw_curve(evaluator, given.output / "curve.png")
        average.load_state_dict(torch.load(given.output / "best.pt", weights_only=True))
        with torch.no_grad():
            samples = average.eval()(torch.randn(64, Z, device=device)).cpu()
        save_image(
            make_grid(samples, 8, normalize=True, value_range=(-1, 1)), given.output / "samples.png"
        )
        best, value = evaluator.best
        print(f"best: step {best}, {value:.3f}; see {given.output}/")
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
