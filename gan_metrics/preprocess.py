"""From ``uint8`` pixels to what a network takes in: one function per resampling convention.

Every convention is linear and separable. Where torch's own ``interpolate`` is the convention it
is also the implementation; for the others a small matrix per axis is built from the sizes and
applied by matrix products, on any device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from gan_metrics.errors import InputError, unknown_name
from gan_metrics.specs import Preprocess

__all__ = ["RESAMPLERS", "apply"]

Window = tuple[int, int, int, int]
"""Of the resized image, the part that is wanted: top, left, height, width."""


def apply(pixels: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """Resize, crop and normalise.

    Args:
        pixels: ``N × 3 × H × W``, RGB, 0–255; ``uint8``, or floating point where gradients are
            wanted.
        preprocess: What to do.

    Returns:
        ``float32``, ``N × 3 × h × w``, on the device of ``pixels``.

    Raises:
        InputError: When the shape is wrong, or the image is smaller than the crop.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3 or 0 in pixels.shape[2:]:
        shape = "×".join(map(str, pixels.shape))
        raise InputError(f"images must have the shape N×3×H×W, not {shape}")
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
    mean, std = (_per_channel(values, out.device) for values in (preprocess.mean, preprocess.std))
    return (out - mean) / std


@functools.lru_cache(maxsize=64)
def _per_channel(values: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """One value per channel, put on the device once."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device).view(1, 3, 1, 1)


def _resized(preprocess: Preprocess, height: int, width: int) -> tuple[int, int]:
    """Height and width after the resize; the long side is rounded down, as torchvision does."""
    size = preprocess.size
    if preprocess.resize == "exact":
        return size, size
    if preprocess.resize == "shorter":
        if height <= width:
            return size, int(size * width / height)
        return int(size * height / width), size
    return height, width


def _window(preprocess: Preprocess, height: int, width: int) -> Window:
    """The centre crop; the offset is rounded half to even, as torchvision does."""
    crop = preprocess.crop
    if crop is None:
        return 0, 0, height, width
    if min(height, width) < crop:
        raise InputError(f"an image of {width}×{height} is smaller than the centre crop of {crop}")
    return round((height - crop) / 2), round((width - crop) / 2), crop, crop


def _torch_bilinear(
    pixels: torch.Tensor, divisor: float, height: int, width: int, window: Window
) -> torch.Tensor:
    """``interpolate(mode="bilinear", align_corners=False)``, without antialiasing."""
    top, left, h, w = window
    scaled = pixels.float() / divisor
    out = F.interpolate(scaled, size=(height, width), mode="bilinear", align_corners=False)
    return out[..., top : top + h, left : left + w]


def _pil(
    kernel: _Kernel,
    pixels: torch.Tensor,
    divisor: float,
    height: int,
    width: int,
    window: Window,
) -> torch.Tensor:
    """Pillow's resampling of 8-bit images, to the last bit: rounded after each of the two passes.

    The horizontal pass comes first, as in every Pillow up to 12 and so in every published number;
    Pillow 13 starts with the vertical one where that is cheaper (images much taller than wide),
    which moves single values by a few units.

    Gradients pass through as if nothing were rounded.
    """
    top, left, h, w = window
    device = torch.device("cpu") if pixels.device.type == "mps" else pixels.device
    # float64 holds every sum of integers below 2⁵³ exactly, so the order of summation is free.
    out = pixels.to(device, torch.float64)
    rows, first, last = _pil_matrix(kernel, pixels.shape[2], height, top, h, device)
    columns, begin, end = _pil_matrix(kernel, pixels.shape[3], width, left, w, device)
    out = out[:, :, first:last, begin:end]  # what the window does not see is not computed
    if width != pixels.shape[3]:
        out = _round_to_byte(out @ columns.T)
    if height != pixels.shape[2]:
        out = _round_to_byte(rows @ out)
    return out.to(pixels.device, torch.float32) / divisor


_PIL_BITS = 22
"""Pillow rounds its 8-bit coefficients to this many bits after the point."""


def _round_to_byte(sums: torch.Tensor) -> torch.Tensor:
    exact = sums * 2.0**-_PIL_BITS
    rounded = torch.floor(exact.detach() + 0.5).clamp(0, 255)
    return exact + (rounded - exact.detach()) if sums.requires_grad else rounded


@functools.lru_cache(maxsize=64)
def _pil_matrix(
    kernel: _Kernel, in_size: int, out_size: int, start: int, count: int, device: torch.device
) -> tuple[torch.Tensor, int, int]:
    """Rows ``start … start+count`` of Pillow's resampling matrix, times 2²², as whole numbers.

    The kernel is widened by in/out when shrinking; the coefficients of each output pixel are
    normalised to 1 and rounded half away from zero. An axis whose size does not change is left
    alone by Pillow: the identity.

    Returns:
        The matrix, float64, cut to the columns that are not zero; the first of these, and one
        past the last.
    """
    index = np.arange(start, start + count)
    if in_size == out_size:
        with torch.inference_mode(False):
            identity = torch.eye(count, dtype=torch.float64, device=device) * (1 << _PIL_BITS)
        return identity, start, start + count
    scale = in_size / out_size
    stretch = max(scale, 1.0)
    centre = (index + 0.5) * scale
    low = np.maximum((centre - kernel.support * stretch + 0.5).astype(int), 0)
    high = np.minimum((centre + kernel.support * stretch + 0.5).astype(int), in_size)
    first, last = int(low[0]), int(high[-1])
    column = np.arange(first, last)
    weights = kernel.weight((column - centre[:, None] + 0.5) * (1.0 / stretch))
    weights[(column < low[:, None]) | (column >= high[:, None])] = 0.0
    scaled = weights / weights.sum(axis=1, keepdims=True) * (1 << _PIL_BITS)
    matrix = np.trunc(scaled + np.copysign(0.5, scaled))
    with torch.inference_mode(False):
        return torch.from_numpy(matrix).to(device), first, last


def _cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """The cubic of Keys (1981)."""
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _triangle(x: np.ndarray) -> np.ndarray:
    weights: np.ndarray = np.maximum(1.0 - np.abs(x), 0.0)
    return weights


@dataclass(frozen=True)
class _Kernel:
    """A function of the distance in pixels, zero beyond its support."""

    weight: Callable[[np.ndarray], np.ndarray]
    support: float


RESAMPLERS: Mapping[str, Callable[[torch.Tensor, float, int, int, Window], torch.Tensor]] = (
    MappingProxyType(
        {
            "torch-bilinear": _torch_bilinear,
            "pil-bilinear-uint8": functools.partial(_pil, _Kernel(_triangle, 1.0)),
            "pil-bicubic-uint8": functools.partial(_pil, _Kernel(_cubic, 2.0)),
        }
    )
)
"""Name of a convention to its function of (pixels, divisor, height, width, window)."""
