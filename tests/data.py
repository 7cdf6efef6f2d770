"""Material for the tests: real photographs, and a weights file with sensible statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from tolerances import FEATURES

from gan_metrics.backbones import inception


def photographs() -> list[np.ndarray]:
    """The two photographs that scikit-learn ships, ``uint8``, ``427 × 640 × 3``."""
    from sklearn.datasets import load_sample_images

    return list(load_sample_images().images)


def crops(n: int, seed: int, low: int = 40, high: int = 90) -> list[np.ndarray]:
    """Crops of the photographs, of many sizes (or one size where ``low == high``)."""
    rng = np.random.default_rng(seed)
    photos = photographs()
    found = []
    for _ in range(n):
        photo = photos[rng.integers(len(photos))]
        height, width = rng.integers(low, high + 1, 2)
        top = rng.integers(photo.shape[0] - height)
        left = rng.integers(photo.shape[1] - width)
        found.append(photo[top : top + height, left : left + width])
    return found


def scenes(n: int, seed: int, size: int = 96) -> list[np.ndarray]:
    """Drawn scenes, each with its own colours, shapes and grain: no two are near each other."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        corners = Image.fromarray(rng.integers(0, 256, (2, 2, 3), np.uint8))
        image = corners.resize((size, size), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(image)
        for _ in range(rng.integers(2, 9)):
            left, top, width, height = rng.integers(0, size, 4)
            colour = tuple(rng.integers(0, 256, 3).tolist())
            shape = (draw.ellipse, draw.rectangle, draw.line)[rng.integers(3)]
            shape((left, top, left + width, top + height), fill=colour)
        grain = rng.normal(0, rng.uniform(0, 20), (size, size, 1))
        found.append(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    return found


def digits(n: int, seed: int, size: int = 48) -> list[np.ndarray]:
    """Scanned digits that scikit-learn ships, drawn without replacement, enlarged."""
    from sklearn.datasets import load_digits

    images = load_digits().images
    order = np.random.default_rng(seed).permutation(len(images))[:n]
    grey = [Image.fromarray((images[i] * 15.9).astype(np.uint8)) for i in order]
    return [np.asarray(one.resize((size, size)).convert("RGB")) for one in grey]


def write_folder(folder: Path, images: list[np.ndarray], extension: str = "png") -> Path:
    """Write images as ``0000.png``, ``0001.png``, …"""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:04d}.{extension}")
    return folder


def random_inception_weights(path: Path) -> Path:
    """Write seeded random weights for the 2015 Inception, its BatchNorms calibrated on photographs.

    Without sensible running statistics the features of all images would be nearly equal. With the
    offset β = 0.5 most units stay on the linear side of their ReLU, as in a trained network; at
    β = 0 a random network is chaotic and amplifies the rounding of float32. The keys are those of
    the published file, so that other packages load it too.

    The file is the same on every processor. The weights are NumPy's, because torch's generator
    rounds differently with and without fused multiply-add. The statistics are computed in float64
    and rounded to float16, whose steps are far larger than the rounding errors of float64.
    """
    rng = np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        net = inception.build()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain average over all batches
            torch.nn.init.constant_(module.bias, 0.5)
        elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            uniform = 2 * rng.random(tuple(module.weight.shape), np.float32) - 1
            scale = np.float32(module.weight[0].numel() ** -0.5)
            module.weight = torch.nn.Parameter(torch.from_numpy(uniform * scale))
    images = [torch.from_numpy(c.copy()).permute(2, 0, 1)[None] for c in crops(4, 99, 24, 300)]
    inputs = torch.cat(
        [torch.nn.functional.interpolate(i.double(), (299, 299), mode="bilinear") for i in images]
    )
    with torch.no_grad():
        net.train().double()
        net.dropout.eval()
        net(inputs / 127.5 - 1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = module.running_mean.half()
            module.running_var = module.running_var.half()
    state = {key.replace("fc.unbiased.", "fc."): v for key, v in net.float().state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def same_features(found: np.ndarray, expected: np.ndarray) -> None:
    """Check that features are equal up to the rounding of float32 networks: see ``tolerances.py``.

    Raises:
        AssertionError: When they are not.
    """
    assert found.shape == expected.shape
    largest = float(np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=FEATURES * largest)
