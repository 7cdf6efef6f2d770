"""The rule for images in memory: which shapes, types and values are images.

It is the same for arrays and tensors of every origin: objects, array files, HDF5, loaders,
generators and training objects.

===============  ===================================  ============================================
dtype            without ``value_range``              with ``value_range=(low, high)``
===============  ===================================  ============================================
uint8            interpreted as 0–255                 interpreted as 0–255
bool, complex    an error                             an error
other integers   an error; the message shows the      low … high becomes 0 … 255, rounded
                 values and asks for the range
floating point   an error; it suggests a range if     low … high becomes 0 … 255, rounded as the
                 the values are unmistakable          protocol defines; values outside are clipped
                                                      and counted
NaN, infinity    an error                             an error
===============  ===================================  ============================================

Shapes: N × C × H × W and N × H × W × C with 1 (gray), 3 (RGB) or 4 (RGBA) channels, and
N × H × W (gray). If a shape has two possible meanings, ``layout`` decides; without it the images
are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from gan_metrics.errors import InputError, UsageError
from gan_metrics.protocols.spec import LAYOUTS
from gan_metrics.utils.array_types import AnyArray

__all__ = [
    "CHANNELS",
    "Arrangement",
    "PixelConverter",
    "batch_arrangement",
    "channels_first",
    "check_layout",
    "check_value_range",
    "image_arrangement",
    "sample_arrangement",
]

CHANNELS = (1, 3, 4)
"""Supported numbers of channels: gray, RGB, RGBA."""
_MANY = 0.1
"""Share of values outside of the declared range above which another range is assumed."""

_FEW = 1e-3
"""Share of clipped values above which a warning is given."""


class Arrangement(NamedTuple):
    """The layout of a batch of images in an array.

    Attributes:
        n: Number of images.
        height: Height in pixels.
        width: Width in pixels.
        channels: 1, 3 or 4.
        layout: One of :data:`~gan_metrics.protocols.spec.LAYOUTS`.
    """

    n: int
    height: int
    width: int
    channels: int
    layout: str


def check_layout(given: str | None) -> str | None:
    """Return a declared layout, after checking it.

    Raises:
        UsageError: If it is not one of :data:`~gan_metrics.protocols.spec.LAYOUTS`.
    """
    if given is not None and given not in LAYOUTS:
        raise UsageError(f"layout={given!r}: expected {', '.join(LAYOUTS[:-1])} or {LAYOUTS[-1]}")
    return given


def check_value_range(given: Sequence[float] | None) -> tuple[float, float] | None:
    """Return a declared value range, after checking it.

    Args:
        given: ``(black, white)``; ``None``: images are ``uint8``.

    Raises:
        UsageError: If it is not a pair of different numbers.
    """
    if given is None:
        return None
    try:
        low, high = (float(value) for value in given)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not low < high or not abs(low) + abs(high) < math.inf:
        raise UsageError(f"value_range={given!r}: expected two numbers, such as (0, 1) or (-1, 1)")
    return low, high


def batch_arrangement(shape: Sequence[int], whose: str, layout: str | None = None) -> Arrangement:
    """Determine the layout of an array of several images.

    Args:
        shape: Shape of the array.
        whose: Name of the array for messages, such as ``"images.npy: arr_0"``.
        layout: A declared layout, or ``None``.

    Raises:
        InputError: If it does not hold images, is a single image, or is ambiguous.
    """
    shape = tuple(map(int, shape))
    if len(shape) not in (3, 4) or 0 in shape:
        raise InputError(f"{whose} have the shape {shape}; {_EXPECTED}")
    possible = _batch_layouts(shape)
    if layout is not None:
        if layout not in possible:
            raise InputError(f"{whose} have the shape {shape}, which is not {layout}; {_EXPECTED}")
        return _arranged(shape, layout)
    if len(shape) == 3 and shape[0] != 1 and (shape[0] in CHANNELS or shape[2] <= max(CHANNELS)):
        raise InputError(
            f"{whose} have the shape {shape}, which may be one image or {shape[0]} gray ones; give "
            "several images, N × H × W × 3, or declare layout='NHW' (--layout NHW)"
        )
    if len(possible) > 1:
        raise InputError(
            f"{whose} have the shape {shape}, which may be N × {shape[1]} × H × W or N × H × W × "
            f"{shape[3]}; declare layout='NCHW' or 'NHWC' (--layout NCHW)"
        )
    if not possible:
        raise InputError(f"{whose} have the shape {shape}; {_EXPECTED}")
    return _arranged(shape, possible[0])


def image_arrangement(shape: Sequence[int], whose: str, layout: str | None = None) -> Arrangement:
    """Determine the layout of one image: H × W, H × W × C, C × H × W, or a batch of one.

    Args:
        shape: Shape of the array.
        whose: Name of the array for messages.
        layout: A declared layout, or ``None``.

    Raises:
        InputError: If it is not a single image, or is ambiguous.
    """
    found = sample_arrangement(shape, whose, layout)
    if found.n != 1:
        raise InputError(
            f"{whose} have the shape {tuple(shape)}, which is {found.n} images; expected one"
        )
    return found


def sample_arrangement(shape: Sequence[int], whose: str, layout: str | None = None) -> Arrangement:
    """Determine the layout of an array from a loader: one image or a batch.

    Three axes mean one image if the first or the last one has a supported number of channels, and a
    batch of gray images otherwise.

    Args:
        shape: Shape of the array.
        whose: Name of the array for messages.
        layout: A declared layout, or ``None``.

    Raises:
        InputError: If it does not hold images, or is ambiguous.
    """
    shape = tuple(map(int, shape))
    if len(shape) == 2 and 0 not in shape:
        return _arranged((1, *shape), "NHW")
    possible = _batch_layouts((1, *shape)) if len(shape) == 3 and layout != "NHW" else []
    if possible and 0 not in shape:
        return batch_arrangement((1, *shape), whose, layout)
    return batch_arrangement(shape, whose, layout)


def channels_first(array: AnyArray, found: Arrangement) -> AnyArray:
    """Return a view of an array as N × C × H × W.

    Args:
        array: A NumPy array or a torch tensor.
        found: Its layout.
    """
    if found.layout == "NCHW":
        return array.reshape((found.n, found.channels, found.height, found.width))
    shaped = array.reshape((found.n, found.height, found.width, found.channels))
    return array_namespace(array).permute_dims(shaped, (0, 3, 1, 2))


_EXPECTED = "expected N × H × W × 3, N × 3 × H × W, or gray N × H × W"


def _batch_layouts(shape: tuple[int, ...]) -> list[str]:
    """Return the layouts that a shape can have."""
    if len(shape) == 3:
        return ["NHW"]
    return [layout for layout, axis in (("NCHW", 1), ("NHWC", 3)) if shape[axis] in CHANNELS]


def _arranged(shape: tuple[int, ...], layout: str) -> Arrangement:
    sizes = dict(zip(layout, shape, strict=True))
    return Arrangement(sizes["N"], sizes["H"], sizes["W"], sizes.get("C", 1), layout)


class PixelConverter:
    """Converts values of images to ``uint8``, and counts values that it clips.

    Args:
        value_range: Values of black and white; ``None``: images must be ``uint8``.
        floor: Whether to truncate floating-point values instead of rounding them.
        whose: Name of the images for messages.
    """

    def __init__(
        self,
        value_range: tuple[float, float] | None = None,
        *,
        floor: bool = False,
        whose: str = "the images",
    ) -> None:
        self.value_range, self.floor, self.whose = value_range, floor, whose
        self._values = self._outside = 0
        self._least, self._greatest = math.inf, -math.inf

    @property
    def warnings(self) -> Sequence[tuple[str, str]]:
        """Warnings about the values of all images so far.

        ``clipped-values``: many values were outside of the range. ``half-of-range``: all values are
        in its upper half, as for images in 0 … 1 that are declared as −1 … 1.
        """
        if self.value_range is None or not self._values:
            return ()
        low, high = self.value_range
        found = []
        if self._outside > _FEW * self._values:
            share = self._outside / self._values
            found.append(
                (
                    "clipped-values",
                    f"{self.whose}: {self._outside:,} of {self._values:,} values ({share:.1%}) "
                    f"were clipped to {low:g} … {high:g}, because they range from "
                    f"{self._least:g} to {self._greatest:g}",
                )
            )
        if low == -high and self._least >= 0 and self._greatest > 0:
            found.append(
                (
                    "half-of-range",
                    f"{self.whose}: all values are in {self._least:g} … {self._greatest:g}, the "
                    f"upper half of the declared {low:g} … {high:g}; for images in 0 … {high:g} "
                    f"use value_range=(0, {high:g}) (--value-range=0,{high:g})",
                )
            )
        return found

    def convert(self, array: AnyArray) -> AnyArray:
        """Convert images to ``uint8``, 0–255.

        Args:
            array: A NumPy array or a torch tensor of any shape.

        Returns:
            An array of the same library, device and shape; the same array if it is ``uint8``.

        Raises:
            InputError: As for :meth:`check`.
        """
        self.check(array)
        return self.map(array)

    def check(self, array: AnyArray, start: int = 0) -> None:
        """Refuse values that cannot be images, and count those outside of the range.

        Args:
            array: Images, N × C × H × W.
            start: Number of the first image, for messages.

        Raises:
            InputError: For a dtype other than ``uint8`` without a declared range; for bool, complex
                numbers and objects; for NaN and infinity; and for values that fit another usual
                range than the declared one.
        """
        kind = _kind(array)
        if kind == "uint8" or not math.prod(array.shape):
            return
        if kind not in ("integer", "float"):
            raise InputError(
                f"{self.whose} have the type {_dtype(array)}; expected uint8, 0–255, or numbers in "
                "a declared range (value_range)"
            )
        xp = array_namespace(array)
        wide = _wide(array, xp)
        least, greatest = float(xp.min(wide)), float(xp.max(wide))
        if not (math.isfinite(least) and math.isfinite(greatest)):
            raise InputError(f"{self.whose} contain {_first_not_finite(wide, xp, start)}")
        if self.value_range is None:
            raise InputError(
                f"{self.whose} have the type {_dtype(array)}, with values from {least:g} to "
                f"{greatest:g}; expected uint8, 0–255: declare the values of black and white, "
                f"{_advice(least, greatest, kind)}"
            )
        low, high = self.value_range
        outside = 0
        if least < low or greatest > high:
            outside = int(xp.sum(xp.astype((wide < low) | (wide > high), xp.int64)))
        count = math.prod(array.shape)
        whole = kind == "integer" or bool(xp.all(xp.floor(wide) == wide))
        meant = _meant(least, greatest, self.value_range, outside / count, whole=whole)
        if meant is not None:
            a, b = meant
            raise InputError(
                f"{self.whose} have values from {least:g} to {greatest:g}, but the declared range "
                f"is {low:g} … {high:g}; if it is {a:g} … {b:g}, use value_range=({a:g}, {b:g}) "
                f"(--value-range={a:g},{b:g})"
            )
        self._values += count
        self._outside += outside
        self._least, self._greatest = min(self._least, least), max(self._greatest, greatest)

    def map(self, array: AnyArray) -> AnyArray:
        """Convert images that were checked before; see :meth:`convert`."""
        kind = _kind(array)
        if kind == "uint8":
            return array
        xp = array_namespace(array)
        if self.value_range is None or not math.prod(array.shape):
            return xp.astype(array, xp.uint8)
        low, high = self.value_range
        scaled = (_wide(array, xp) - low) * (255.0 / (high - low))
        whole = xp.floor(scaled) if self.floor and kind == "float" else xp.round(scaled)
        return xp.astype(xp.clip(whole, 0, 255), xp.uint8)


def _dtype(array: AnyArray) -> str:
    dtype = array.dtype
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def _kind(array: AnyArray) -> str:
    """Return ``"uint8"``, ``"integer"``, ``"float"`` or ``"other"``."""
    name = _dtype(array)
    if name == "uint8":
        return name
    if name.startswith(("int", "uint")):
        return "integer"
    return "float" if name.startswith(("float", "bfloat")) else "other"


def _wide(array: AnyArray, xp: AnyArray) -> AnyArray:
    """Return the numbers in float32, or in float64 if float32 cannot represent them."""
    large = _dtype(array) in ("int32", "uint32", "int64", "uint64")
    return xp.astype(array, xp.float64 if large else xp.float32)


def _first_not_finite(wide: AnyArray, xp: AnyArray, start: int) -> str:
    """Describe the first value that is NaN or infinite, and its position."""
    bad = ~xp.isfinite(wide)
    flat = bad.reshape(-1).cpu().numpy() if hasattr(bad, "detach") else bad.reshape(-1)
    position = int(np.flatnonzero(flat)[0])
    image, *place = (int(i) for i in np.unravel_index(position, tuple(wide.shape)))
    value = float(wide.reshape(-1)[position])
    return (
        f"{'NaN' if math.isnan(value) else 'infinity'}, first in image {image + start} at channel, "
        f"row, column {', '.join(map(str, place))} (counted from 0)"
    )


def _advice(least: float, greatest: float, kind: str) -> str:
    """Return the range to declare; with numbers only if the values are unmistakable."""
    declared = "BLACK", "WHITE"
    if kind == "float":
        if least >= 0 and 0.9 <= greatest <= 1:
            declared = "0", "1"
        elif -1 <= least <= -0.9 and 0.9 <= greatest <= 1:
            declared = "-1", "1"
        elif least >= 0 and 200 <= greatest <= 255:
            declared = "0", "255"
    low, high = declared
    return f"value_range=({low}, {high}) (--value-range={low},{high})"


def _meant(
    least: float, greatest: float, declared: tuple[float, float], outside: float, *, whole: bool
) -> tuple[float, float] | None:
    """Return another usual range that fits the values, if the declared range hardly does.

    Args:
        least: The smallest value.
        greatest: The largest value.
        declared: The declared range.
        outside: Share of the values outside of it.
        whole: Whether all values are whole numbers.
    """
    black = declared[1] - declared[0] > 100 and not whole  # if they were in −1 … 1
    if outside < _MANY and not black:
        return None
    if least >= 0 and greatest <= 1:
        return 0.0, 1.0
    if -1 <= least <= (0 if black else -0.5) and greatest <= 1:
        return -1.0, 1.0
    if least >= 0 and 32 <= greatest <= 255 and declared != (0.0, 255.0):
        return 0.0, 255.0
    return None
