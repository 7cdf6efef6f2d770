"""Speed of the backbones beside ResNet-50, and what a pass saves that stops at a cut.

    python benchmarks/backbones.py > docs/backbones-table.md

Random weights; only shapes matter. Each backbone is timed in turns with ResNet-50, so that what
else the machine does falls on both; the ratio is that of the medians.
"""

from __future__ import annotations

import platform
import time
from statistics import median

import torch

from gan_metrics.backbones.cut import run_until
from gan_metrics.backbones.listing import list_layers
from gan_metrics.backbones.network import Backbone
from gan_metrics.backbones.registry import BACKBONES, load_backbone

BATCH, ROUNDS = 8, 5
BESIDES = (
    "timm:vit_small_patch14_dinov2", "timm:vit_base_patch14_dinov2",
    "timm:vit_small_patch16_dinov3", "timm:vit_base_patch16_224.mae",
    "timm:convnext_tiny.fb_in22k", "clip:ViT-B-32/openai", "clip:ViT-B-16/openai",
)  # fmt: skip
SLOW = (
    "efficientnet-b6",
    "efficientnet-b7",
    "timm:vit_base_patch14_dinov2",
    "dinov2-vitl14",
    "dinov2-vitg14",
)
CUTS = {
    "vgg19": ("pool1", "pool2", "pool3", "pool4", "conv5_4", "pool5", "fc6", "fc7", "logits"),
    "resnet50": ("layer1", "layer2", "layer3", "avgpool", "logits"),
    "inception": ("64", "192", "768", "pool3", "logits"),
}


def seconds(backbone: Backbone, images: torch.Tensor) -> float:
    start = time.perf_counter()
    backbone(images)
    return time.perf_counter() - start


def until(backbone: Backbone, images: torch.Tensor, path: str) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        run_until(backbone.module, images, [path])
    return time.perf_counter() - start


def main() -> None:
    torch.manual_seed(0)
    standard = load_backbone("resnet50", weights="random", device="cpu")
    photos = torch.randint(0, 256, (BATCH, 3, 256, 256), dtype=torch.uint8)
    print(f"Measured on {platform.machine()}, {torch.get_num_threads()} threads, torch")
    print(f"{torch.__version__}, fp32, batches of {BATCH} images of 256×256 pixels, their")
    print(f"preparation included; median of {ROUNDS} turns.\n")
    print("| backbone | layer | dimension | input | parameters | images/s | against ResNet-50 |")
    print("|---|---|---|---|---|---|---|")
    for name in (*BACKBONES, *BESIDES):
        backbone = load_backbone(name, weights="random", device="cpu")
        batch = photos[:2] if name in SLOW else photos
        dim = backbone(batch[:1]).shape[1]
        pairs = [
            (seconds(backbone, batch) / len(batch), seconds(standard, photos) / BATCH)
            for _ in range(ROUNDS)
        ]
        own, beside = (median(side) for side in zip(*pairs, strict=True))
        parameters = sum(p.numel() for p in backbone.module.parameters()) / 1e6
        print(
            f"| `{name}` | {backbone.spec.layer} | {dim} | {backbone.choice.recipe.input_size} "
            f"| {parameters:.1f} M | {1 / own:.1f} | {beside / own:.2f}× |",
            flush=True,
        )
    print("\nTime of a pass that stops at a cut, as a share of the whole (network alone,")
    print("batches of 8):\n")
    print("| backbone | cut | shape | share of the time |")
    print("|---|---|---|---|")
    for name, cuts in CUTS.items():
        backbone = load_backbone(name, weights="random", device="cpu")
        size = backbone.choice.recipe.input_size
        images = torch.zeros(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
        rows = {short: row for row in list_layers(name) for short in row.names}

        until(backbone, images, "")
        for cut in cuts:
            pairs = [
                (until(backbone, images, rows[cut].path), until(backbone, images, ""))
                for _ in range(ROUNDS)
            ]
            own, whole = (median(side) for side in zip(*pairs, strict=True))
            shape = "×".join(map(str, rows[cut].shape))
            print(f"| `{name}` | {cut} | {shape} | {own / whole:.0%} |", flush=True)


if __name__ == "__main__":
    main()
