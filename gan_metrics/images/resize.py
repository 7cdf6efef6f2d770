"""Resizing as in other tools: one function per convention.

Every convention is linear and separable, rounding aside:

======================  ===========================================================================
``torch-*``             torch's ``interpolate`` with ``align_corners=False``, which is also the
                        implementation. ``-antialias`` widens the kernel when shrinking.
``tf1-bilinear``        TensorFlow 1: no half-pixel offset and no antialiasing, by gathers.
``tf1-bilinear-grid``   As ``tf1-bilinear``, with torch's ``affine_grid`` and ``grid_sample``, as in
                        StyleGAN's tools; differs from ``tf1-bilinear`` by float32 rounding.
``pil-*``               Pillow's ``F`` images: each channel ``float32``, overshoot kept.
``pil-*-uint8``         Pillow's 8-bit images: rounded and clipped after each of two passes.
======================  ===========================================================================

Every function works on any device, is differentiable, and computes a crop as part of the whole.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

__all__ = ["RESAMPLERS", "Resampler", "Window"]

Window = tuple[int, int, int, int]
"""Part of the resized image: top, left, height, width."""

Resampler = Callable[[torch.Tensor, float, int, int, Window], torch.Tensor]
"""A function of (pixels, divisor, height, width, window) that returns ``float32``."""


def _torch(
    mode: str,
    antialias: bool,
    pixels: torch.Tensor,
    divisor: float,
    height: int,
    width: int,
    window: Window,
) -> torch.Tensor:
    """Resize with ``interpolate(mode=…, align_corners=False, antialias=…)``."""
    top, left, h, w = window
    scaled, size = pixels.float() / divisor, (height, width)
    out = F.interpolate(scaled, size=size, mode=mode, align_corners=False, antialias=antialias)
    return out[..., top : top + h, left : left + w]


def _in_parts(
    resample: Resampler,
    pixels: torch.Tensor,
    divisor: float,
    height: int,
    width: int,
    window: Window,
) -> torch.Tensor:
    """Resize a few images at a time on a CPU, to stay in its caches; all at once on a GPU."""
    largest = max(pixels.shape[2] * pixels.shape[3], height * width)
    rows = max(1, _PIXELS_IN_CACHE // largest) if pixels.device.type == "cpu" else len(pixels)
    if rows >= len(pixels):
        return resample(pixels, divisor, height, width, window)
    parts = torch.split(pixels, rows)
    return torch.cat([resample(part, divisor, height, width, window) for part in parts])


_PIXELS_IN_CACHE = 1 << 19
"""Pixels per step. Measured: 1024 × 1024 pixels, one image at a time, take 0.2 to 0.4 of the time
of eight."""


def _tf1(
    pixels: torch.Tensor, divisor: float, height: int, width: int, window: Window
) -> torch.Tensor:
    """Resize like TensorFlow 1's ``resize_bilinear(align_corners=False)`` on a CPU.

    Along each axis, horizontal first, with c = i · (in / out) in float32::

        out[i] = x[⌊c⌋] + (x[min(⌊c⌋ + 1, in − 1)] − x[⌊c⌋]) · (c − ⌊c⌋)
    """
    top, left, h, w = window
    rows = _tf1_taps(pixels.shape[2], height, top, h, pixels.device)
    columns = _tf1_taps(pixels.shape[3], width, left, w, pixels.device)
    out = pixels.index_select(-2, rows.used).float() / divisor
    shape = (*out.shape[:-1], w)
    # `gather` is several times as fast as indexing along the last axis.
    low, high = (
        out.gather(-1, columns.used[at].expand(shape)) for at in (columns.low, columns.high)
    )
    out = high.sub_(low).mul_(columns.fraction).add_(low)
    low, high = (out.index_select(-2, at) for at in (rows.low, rows.high))
    return high.sub_(low).mul_(rows.fraction[:, None]).add_(low)


@dataclass(frozen=True)
class _Taps:
    """The two neighboring input pixels of each output pixel along an axis.

    Attributes:
        used: Every input index that is a neighbor, ascending.
        low, high: Positions in ``used``, one per output pixel.
        fraction: Position between low and high, ``float32``.
    """

    used: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    fraction: torch.Tensor


@functools.lru_cache(maxsize=64)
def _tf1_taps(in_size: int, out_size: int, start: int, count: int, device: torch.device) -> _Taps:
    """Return the taps of output pixels ``start … start+count``."""
    with torch.inference_mode(False):
        scale = torch.tensor(in_size / out_size, dtype=torch.float32)
        source = torch.arange(start, start + count, dtype=torch.float32) * scale
        floor = source.long()
        neighbours = torch.stack([floor, (floor + 1).clamp(max=in_size - 1)])
        used, (low, high) = torch.unique(neighbours, return_inverse=True)
        return _Taps(*(t.to(device) for t in (used, low, high, source - floor)))


def _tf1_grid(
    pixels: torch.Tensor, divisor: float, height: int, width: int, window: Window
) -> torch.Tensor:
    """Return the positions of :func:`_tf1` for ``grid_sample``, in −1 … 1."""
    top, left, h, w = window
    grid = _grid(pixels.shape[2], pixels.shape[3], height, width, pixels.device)
    part = grid[:, top : top + h, left : left + w].expand(len(pixels), -1, -1, -1)
    scaled = pixels.float() / divisor
    return F.grid_sample(scaled, part, mode="bilinear", padding_mode="border", align_corners=False)


@functools.lru_cache(maxsize=16)
def _grid(
    in_height: int, in_width: int, height: int, width: int, device: torch.device
) -> torch.Tensor:
    """Return the identity grid, shifted by 1/in − 1/out; ``1 × height × width × 2``.

    Computed on the CPU, where TF32 cannot affect its matrix product.
    """
    with torch.inference_mode(False), torch.no_grad():
        one = torch.ones((), dtype=torch.float32)
        theta = torch.eye(2, 3, dtype=torch.float32)
        theta[0, 2] += one / in_width - one / width
        theta[1, 2] += one / in_height - one / height
        grid = F.affine_grid(theta[None], [1, 3, height, width], align_corners=False)
        return grid.to(device)


def _pil(
    kernel: _Kernel,
    eight_bits: bool,
    pixels: torch.Tensor,
    divisor: float,
    height: int,
    width: int,
    window: Window,
) -> torch.Tensor:
    """Resize like Pillow: 8-bit images identically, ``F`` images up to float32 rounding.

    The horizontal pass comes first, as in every Pillow up to 12 and thus in every published number.
    Pillow 13 starts with the vertical pass if that is cheaper (images much taller than wide), which
    changes single values of 8-bit images by a few units. An axis of unchanged size is skipped.

    Gradients ignore rounding and clipping.
    """
    # 8-bit sums are exact, so pixels outside of the window need not be computed. In `F` images a
    # smaller product may sum in another order and change the last bit.
    top, left, h, w = window if eight_bits else (0, 0, height, width)
    device = torch.device("cpu") if pixels.device.type == "mps" else pixels.device  # no float64
    rows = _pil_bands(kernel, eight_bits, pixels.shape[2], height, top, h, device)
    columns = _pil_bands(kernel, eight_bits, pixels.shape[3], width, left, w, device)
    first, last = (rows[0].first, rows[-1].first + rows[-1].reach) if rows else (top, top + h)
    out = pixels[..., first:last, :] if columns else pixels[..., first:last, left : left + w]
    out = out.to(device)
    if columns:
        out = _stored(_banded(out, columns, -1, 0), eight_bits)
    if rows:
        out = _stored(_banded(out, rows, -2, first), eight_bits)
    if not eight_bits:
        out = out[..., window[0] : window[0] + window[2], window[1] : window[1] + window[3]]
    return out.to(pixels.device, torch.float32) / divisor


def _banded(x: torch.Tensor, bands: tuple[_Band, ...], axis: int, offset: int) -> torch.Tensor:
    """Multiply the banded matrix with one axis of ``x`` without its first ``offset`` elements."""
    # float64 represents every sum of 8-bit pixels exactly, so the order of summation is irrelevant.
    x = x.to(torch.float64)
    parts = ((x.narrow(axis, b.first - offset, b.reach), b.weights) for b in bands)
    if axis == -1:
        return torch.cat([part @ weights.T for part, weights in parts], -1)
    return torch.cat([weights @ part for part, weights in parts], -2)


def _stored(sums: torch.Tensor, eight_bits: bool) -> torch.Tensor:
    """Return what Pillow stores after a pass, as ``float32``."""
    if not eight_bits:
        return sums.float()
    if not sums.requires_grad:
        return sums.add_(0.5).floor_().clamp_(0, 255).float()
    exact = sums.detach()
    return (sums + ((exact + 0.5).floor_().clamp_(0, 255) - exact)).float()


_PIL_BITS = 22
"""Fractional bits to which Pillow rounds its 8-bit coefficients."""

_BAND = 24
"""Output pixels per band. Measured: 16 to 24 are the fastest on a CPU, a seventh of the time of one
whole matrix at 500 → 299."""


@dataclass(frozen=True)
class _Band:
    """Consecutive rows of a resampling matrix, without the zeros on both sides.

    Attributes:
        first: The first input pixel with a weight.
        reach: Number of input pixels with a weight.
        weights: ``rows × reach``, ``float64``.
    """

    first: int
    reach: int
    weights: torch.Tensor


@functools.lru_cache(maxsize=64)
def _pil_bands(
    kernel: _Kernel,
    eight_bits: bool,
    in_size: int,
    out_size: int,
    start: int,
    count: int,
    device: torch.device,
) -> tuple[_Band, ...]:
    """Return rows ``start … start+count`` of Pillow's resampling matrix; empty if nothing changes.

    The kernel is widened by in/out when shrinking, and the coefficients of each output pixel are
    normalized to 1. Those of 8-bit images are rounded to 22 bits, half away from zero.
    """
    if in_size == out_size:
        return ()
    scale = in_size / out_size
    stretch = max(scale, 1.0)
    centre = (np.arange(start, start + count) + 0.5) * scale
    low = np.maximum((centre - kernel.support * stretch + 0.5).astype(int), 0)
    high = np.minimum((centre + kernel.support * stretch + 0.5).astype(int), in_size)
    column = low[:, None] + np.arange((high - low).max())
    inside = column < high[:, None]
    weights = kernel.weight((column - centre[:, None] + 0.5) * (1.0 / stretch)) * inside
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # summed from left to right, as Pillow does
    if eight_bits:
        scaled = weights * (1 << _PIL_BITS)
        weights = np.trunc(scaled + np.copysign(0.5, scaled)) / (1 << _PIL_BITS)
    bands = []
    for begin in range(0, count, _BAND):
        rows = slice(begin, begin + _BAND)
        first, last = int(low[begin]), int(high[rows][-1])
        row, tap = np.nonzero(inside[rows])
        matrix = np.zeros((len(low[rows]), last - first))
        matrix[row, column[rows][row, tap] - first] = weights[rows][row, tap]
        with torch.inference_mode(False):
            bands.append(_Band(first, last - first, torch.from_numpy(matrix).to(device)))
    return tuple(bands)


def _box(x: np.ndarray) -> np.ndarray:
    return ((x > -0.5) & (x <= 0.5)).astype(float)


def _triangle(x: np.ndarray) -> np.ndarray:
    weights: np.ndarray = np.maximum(1.0 - np.abs(x), 0.0)
    return weights


def _cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """The cubic kernel of Keys (1981)."""
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    """sinc(x) · sinc(x/3) within 3 (Duchon 1979)."""
    return np.where((x >= -3.0) & (x < 3.0), np.sinc(x) * np.sinc(x / 3.0), 0.0)


@dataclass(frozen=True)
class _Kernel:
    """A function of the distance in pixels, zero beyond its support."""

    weight: Callable[[np.ndarray], np.ndarray]
    support: float


_PIL_KERNELS = {
    "box": _Kernel(_box, 0.5),
    "bilinear": _Kernel(_triangle, 1.0),
    "bicubic": _Kernel(_cubic, 2.0),
    "lanczos": _Kernel(_lanczos, 3.0),
}

_CONVENTIONS: dict[str, Resampler] = {
    "torch-bilinear": functools.partial(_torch, "bilinear", False),
    "torch-bilinear-antialias": functools.partial(_torch, "bilinear", True),
    "torch-bicubic-antialias": functools.partial(_torch, "bicubic", True),
    "tf1-bilinear": _tf1,
    "tf1-bilinear-grid": _tf1_grid,
    **{
        f"pil-{name}{suffix}": functools.partial(_pil, kernel, eight_bits)
        for suffix, eight_bits in (("", False), ("-uint8", True))
        for name, kernel in _PIL_KERNELS.items()
    },
}

RESAMPLERS: Mapping[str, Resampler] = MappingProxyType(
    {name: functools.partial(_in_parts, resample) for name, resample in _CONVENTIONS.items()}
)
"""Functions of (pixels, divisor, height, width, window) by the name of the convention."""
