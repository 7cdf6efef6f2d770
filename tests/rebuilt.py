"""Pipelines of tools that cannot be installed, rebuilt naively from their published definitions.

ADM's evaluator, StyleGAN3's and EDM2's scripts, dgm-eval and CMMD: each image alone, each step
written out. The 2015 Inception is pytorch-fid's, VGG16 torchvision's; of the transformers, which
are held against their definitions elsewhere, only the pixels are rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torchvision
from oracles import cmmd_direct, frechet_nuclear
from PIL import Image
from pytorch_fid import inception as pytorch_fid_inception
from torch.nn import functional

import gan_metrics as gm
from gan_metrics.protocols.table import CLIP, DINOV2


def pixels(folder: Path) -> Iterator[torch.Tensor]:
    """Each image, ``1 × 3 × H × W``, float32, 0–255."""
    for file in sorted(folder.iterdir()):
        with Image.open(file) as image:
            yield torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()


def by_grid(image: torch.Tensor, size: int) -> torch.Tensor:
    """StyleGAN3's networks resize so."""
    height, width = image.shape[2:]
    theta = torch.eye(2, 3)
    theta[0, 2] += theta[0, 0] / width - theta[0, 0] / size
    theta[1, 2] += theta[1, 1] / height - theta[1, 1] / size
    grid = functional.affine_grid(theta[None], [1, 3, size, size], align_corners=False)
    return functional.grid_sample(image, grid, "bilinear", "border", align_corners=False)


def by_tensorflow(image: torch.Tensor, size: int) -> torch.Tensor:
    """TensorFlow 1's bilinear, one output value after the other in each axis."""
    for axis in (3, 2):
        n = image.shape[axis]
        position = np.arange(size, dtype=np.float32) * np.float32(n / size)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, n - 1)
        share = torch.from_numpy(position - low.astype(np.float32))
        share = share if axis == 3 else share[:, None]
        a = image.index_select(axis, torch.from_numpy(low))
        b = image.index_select(axis, torch.from_numpy(high))
        image = a + (b - a) * share
    return image


class Inception:
    """pytorch-fid's network, which resizes nothing here."""

    def __init__(self, weights: Path) -> None:
        state = torch.load(weights, weights_only=True)
        self.matrix = state["fc.weight"]
        fetch = "load_state_dict_from_url"
        with mock.patch.object(pytorch_fid_inception, fetch, return_value=state):
            self.net = pytorch_fid_inception.InceptionV3(
                [3], resize_input=False, normalize_input=False
            ).eval()
        self.spatial: list[torch.Tensor] = []
        block = self.net.blocks[2][6]  # Mixed_6d
        block.branch1x1.register_forward_hook(lambda *a: self.spatial.append(a[-1]))

    @torch.no_grad()
    def __call__(self, inputs: list[torch.Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pool3, the logits without bias, and the spatial features in the order H, W, C."""
        self.spatial.clear()
        pool = torch.cat([self.net(x)[0][:, :, 0, 0] for x in inputs])
        maps = torch.cat(self.spatial)[:, :7].permute(0, 2, 3, 1)
        return pool.numpy(), (pool @ self.matrix.T).numpy(), maps.reshape(len(pool), -1).numpy()


def naive_inception_score(logits: np.ndarray, parts: list[slice]) -> float:
    p = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    scores = []
    for part in parts:
        q = p[part]
        divergence = (q * (np.log(q) - np.log(q.mean(0, keepdims=True)))).sum(1)
        scores.append(np.exp(divergence.mean()))
    return float(np.mean(scores))


def naive_kid(real: np.ndarray, fake: np.ndarray, size: int, subsets: int) -> float:
    """StyleGAN3's loop; numpy's global generator, seeded with 0, draws the fakes first."""
    rng = np.random.RandomState(0)
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    d, m = real.shape[1], min(size, len(real), len(fake))
    total = 0.0
    for _ in range(subsets):
        x = fake[rng.choice(len(fake), m, replace=False)]
        y = real[rng.choice(len(real), m, replace=False)]
        a = (x @ x.T / d + 1) ** 3 + (y @ y.T / d + 1) ** 3
        b = (x @ y.T / d + 1) ** 3
        total += (a.sum() - np.diag(a).sum()) / (m - 1) - b.sum() * 2 / m
    return float(total / subsets / m)


def divided_by_n(x: np.ndarray, y: np.ndarray) -> float:
    """The distance with covariances divided by N: features shrunk about their means."""
    shrunk = [
        z.mean(0) + (z - z.mean(0)) * np.sqrt((len(z) - 1) / len(z))
        for z in (x.astype(np.float64), y.astype(np.float64))
    ]
    return frechet_nuclear(*shrunk)


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def pillow_bicubic(image: torch.Tensor, size: int) -> torch.Tensor:
    """Pillow on bytes: along the rows, then along the columns; 0–255."""
    array = Image.fromarray(image[0].permute(1, 2, 0).to(torch.uint8).numpy())
    wide = array.resize((size, array.height), Image.Resampling.BICUBIC)
    both = wide.resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(both)).permute(2, 0, 1)[None].float()


def through(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Everything up to the last norm, block by block."""
    x = net.patch_embed(x)
    if x.ndim == 4:
        x = x.flatten(1, 2)
    x = torch.cat([net.cls_token.expand(len(x), -1, -1), x], 1) + net.pos_embed
    for block in net.blocks:
        x = block(x)
    return x


def vgg16_features(folders: Sequence[Path], weights: Path) -> list[np.ndarray]:
    """The second fully connected layer of VGG16 after its ReLU, the pixels as StyleGAN3's."""
    vgg = torchvision.models.vgg16(weights=None).eval()
    vgg.load_state_dict(torch.load(weights, weights_only=True))
    with torch.no_grad():
        return [
            torch.cat(
                [
                    vgg.classifier[:5](vgg.avgpool(vgg.features(x)).flatten(1))
                    for x in ((by_grid(image, 224) / 255 - MEAN) / STD for image in pixels(folder))
                ]
            ).numpy()
            for folder in folders
        ]


def dinov2_tokens(folders: Sequence[Path]) -> dict[str, list[np.ndarray]]:
    """Class tokens of seeded random DINOv2, the pixels as EDM2's and as dgm-eval's."""
    net = gm.load_backbone(DINOV2, weights="random", device="cpu").module

    def by_torch(image: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(image, size=(224, 224), mode="bicubic", antialias=True)

    @torch.no_grad()
    def tokens(folder: Path, resize: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        inputs = [(resize(x) / 255 - MEAN) / STD for x in pixels(folder)]
        return torch.cat([net.norm(through(net, x))[:, 0] for x in inputs]).numpy()

    ways = {"edm2": by_torch, "dgm-eval": lambda image: pillow_bicubic(image, 224)}
    return {name: [tokens(folder, way) for folder in folders] for name, way in ways.items()}


CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
CLIP_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


def naive_cmmd(folders: Sequence[Path]) -> float:
    """CMMD in seeded random CLIP."""
    tower = gm.load_backbone(CLIP, weights="random", device="cpu").module

    @torch.no_grad()
    def embedded(folder: Path) -> np.ndarray:
        rows = []
        for image in pixels(folder):
            height, width = image.shape[2:]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            square = image[:, :, top : top + side, left : left + side]
            rows.append(tower((pillow_bicubic(square, 336) / 255 - CLIP_MEAN) / CLIP_STD)[0])
        return torch.stack(rows).numpy()

    return cmmd_direct(*(embedded(folder) for folder in folders))
