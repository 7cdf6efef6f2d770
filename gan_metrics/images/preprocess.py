"""Convert ``uint8`` pixels to the input of a network, as defined by a :class:`Preprocess`."""

from __future__ import annotations

import functools

import torch

from gan_metrics.errors import InputError, unknown_name
from gan_metrics.images.resize import RESAMPLERS, Window
from gan_metrics.protocols.spec import Preprocess

__all__ = ["RESAMPLERS", "apply"]


def apply(pixels: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """Resize, clip overshoot if requested, crop and normalize.

    Args:
        pixels: ``N × 3 × H × W``, RGB, 0–255; ``uint8``, or floating point for gradients.
        preprocess: The preprocessing.

    Returns:
        ``float32``, ``N × 3 × h × w``, on the device of ``pixels``.

    Raises:
        InputError: If the shape is wrong, or the image is smaller than the crop.
        UsageError: For an interpolation that is not in :data:`RESAMPLERS`.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3 or 0 in pixels.shape[2:]:
        shape = "×".join(map(str, pixels.shape))
        raise InputError(f"images must have the shape N×3×H×W, not {shape}")
    if preprocess.resize == "square":
        pixels = _largest_square(pixels)
    height, width = _resized(preprocess, *pixels.shape[2:])
    window = _window(preprocess, height, width)
    if preprocess.resize == "none":
        top, left, h, w = window
        out = pixels[..., top : top + h, left : left + w].float() / preprocess.divisor
    else:
        if preprocess.interpolation not in RESAMPLERS:
            raise unknown_name("interpolation", preprocess.interpolation, RESAMPLERS)
        resample = RESAMPLERS[preprocess.interpolation]
        out = resample(pixels, preprocess.divisor, height, width, window)
        if preprocess.clip:
            out = out.clamp(0.0, 255.0 / preprocess.divisor)
    mean, std = (_per_channel(values, out.device) for values in (preprocess.mean, preprocess.std))
    return (out - mean) / std


@functools.lru_cache(maxsize=64)
def _per_channel(values: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """Return one value per channel as a tensor on the device; cached."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device).view(1, 3, 1, 1)


def _largest_square(pixels: torch.Tensor) -> torch.Tensor:
    """Return the largest centered square; the offset is rounded down."""
    height, width = pixels.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[..., top : top + side, left : left + side]


def _resized(preprocess: Preprocess, height: int, width: int) -> tuple[int, int]:
    """Return height and width after the resize; the long side is rounded down as in torchvision."""
    size = preprocess.size
    if preprocess.resize in ("exact", "square"):
        return size, size
    if preprocess.resize == "shorter":
        if height <= width:
            return size, int(size * width / height)
        return int(size * height / width), size
    return height, width


def _window(preprocess: Preprocess, height: int, width: int) -> Window:
    """Return the center crop; the offset is rounded half to even, as in torchvision."""
    crop = preprocess.crop
    if crop is None:
        return 0, 0, height, width
    if min(height, width) < crop:
        raise InputError(f"an image of {width}×{height} is smaller than the center crop of {crop}")
    return round((height - crop) / 2), round((width - crop) / 2), crop, crop
