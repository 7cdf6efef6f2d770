"""Speed of the short precisions on this machine's CPU, and how far they move the distance.

    python benchmarks/precision.py REAL FAKE > docs/precision-table.md

The distance of two folders is computed whole in each precision, and compared with that in fp32.
"""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

import gan_metrics as gm
from gan_metrics.backbones.network import Backbone
from gan_metrics.backbones.registry import load_backbone
from gan_metrics.errors import UsageError

SPACES = (
    ("efficientnet-lite0", None, "trained"),
    ("resnet50", "random", "random"), ("vit-b-16", "random", "random"),
    ("timm:vit_small_patch16_dinov3", "random", "random"),
    ("convnext-tiny", "random", "random"),
)  # fmt: skip
ROUNDS, IMAGES = 5, 80


def seconds(backbone: Backbone, images: torch.Tensor) -> float:
    start = time.perf_counter()
    backbone(images)
    return time.perf_counter() - start


def features(folder: Path, backbone: str, weights: str | None, precision: str) -> np.ndarray:
    found = gm.extract_features(
        folder,
        backbone=backbone,
        weights=weights,
        precision=precision,
        max_images=IMAGES,
        device="cpu",
    )
    return np.asarray(found.array)


def batches(real: Path, fake: Path) -> None:
    """What the size of a batch does to the speed and to the distance; 8 is the CPU's default."""
    print("\n| backbone | batch size | speed against 8 | FD | drift |")
    print("|---|---|---|---|---|")
    images = torch.randint(0, 256, (32, 3, 256, 256), dtype=torch.uint8)
    for name, weights in (("efficientnet-lite0", None), ("resnet50", "random")):
        backbone = load_backbone(name, weights=weights, device="cpu")

        def whole(size: int, backbone: Backbone = backbone) -> float:
            return sum(seconds(backbone, part) for part in torch.split(images, size))

        def distance(size: int, name: str = name, weights: str | None = weights) -> float:
            a, b = (
                np.asarray(
                    gm.extract_features(
                        folder, backbone=name, weights=weights, device="cpu", batch_size=size,
                        max_images=IMAGES, cache=False,
                    ).array
                )
                for folder in (real, fake)
            )  # fmt: skip
            return gm.metrics.frechet_distance(a, b)

        standard = distance(8)
        for size in (1, 4, 8, 16, 32):
            pairs = [(whole(size), whole(8)) for _ in range(1 + ROUNDS)]
            own, beside = (median(side) for side in zip(*pairs[1:], strict=True))
            value = distance(size)
            print(
                f"| `{name}` | {size} | {beside / own:.2f}× | {value:.7g} "
                f"| {value / standard - 1:+.0e} |",
                flush=True,
            )


def main() -> None:
    real, fake = map(Path, sys.argv[1:3])
    n = len(features(real, "efficientnet-lite0", None, "fp32"))
    print(f"Measured on {platform.machine()}, {torch.get_num_threads()} threads, torch")
    print(f"{torch.__version__}; {n} real photographs against the same, blurred (σ = 4 pixels).\n")
    print(
        "| backbone | weights | precision | speed against fp32 | error of features | FD | drift |"
    )
    print("|---|---|---|---|---|---|---|")
    images = torch.randint(0, 256, (8, 3, 256, 256), dtype=torch.uint8)
    for name, weights, kind in SPACES:
        plain = load_backbone(name, weights=weights, device="cpu")
        a, b = (features(f, name, weights, "fp32") for f in (real, fake))
        whole = gm.metrics.frechet_distance(a, b)
        print(f"| `{name}` | {kind} | fp32 | 1 | | {whole:.4g} | |")
        for precision in ("bf16", "int8"):
            try:
                short = load_backbone(name, weights=weights, device="cpu", precision=precision)
            except UsageError:
                print(f"| `{name}` | {kind} | {precision} | no linear layer before the cut | | | |")
                continue
            pairs = [(seconds(plain, images), seconds(short, images)) for _ in range(1 + ROUNDS)]
            before, after = (median(side) for side in zip(*pairs[1:], strict=True))
            x, y = (features(f, name, weights, precision) for f in (real, fake))
            error = np.linalg.norm(x - a) / np.linalg.norm(a)
            value = gm.metrics.frechet_distance(x, y)
            print(
                f"| `{name}` | {kind} | {precision} | {before / after:.2f}× | {error:.1e} "
                f"| {value:.4g} | {value / whole - 1:+.2%} |",
                flush=True,
            )

    batches(real, fake)


if __name__ == "__main__":
    main()
