"""From arrays to PNG and JPEG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from gan_metrics.files.download import atomic_path
from gan_metrics.utils.text import as_text

__all__ = [
    "Cell",
    "enlarge",
    "file_of",
    "is_pillow",
    "overlay",
    "rgba_file",
    "save_png",
    "save_sheet",
    "thumbnail",
]


def save_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write an image.

    Args:
        path: Where to.
        pixels: ``uint8``, ``H × W`` or ``H × W × 3``.

    Raises:
        ResourceError: When it cannot be written.
    """
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")


def enlarge(pixels: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """An image of ``H × W`` as one of ``factor·H × factor·W``, by Pillow's bicubic filter."""
    height, width = pixels.shape
    size = (width * factor, height * factor)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def overlay(
    pixels: npt.NDArray[np.uint8], places: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """An image in grey, with red where a map is above 0 and blue where it is below.

    Args:
        pixels: ``uint8``, ``H × W × 3``.
        places: Shape ``(h, w)``, from −1 to 1; stretched over the image.
    """
    height, width = pixels.shape[:2]
    stretched = Image.fromarray(places.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    strength = np.asarray(stretched, np.float64)[..., None]
    grey = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    tint = np.where(strength > 0, np.array(_RED), np.array(_BLUE))
    share = 0.8 * np.abs(strength).clip(0, 1)
    mixed: npt.NDArray[np.uint8] = (grey * (1 - share) + tint * share).round().astype(np.uint8)
    return mixed


_RED, _BLUE = (178.0, 24.0, 43.0), (33.0, 102.0, 172.0)
"""Told apart with any kind of colour vision."""


def thumbnail(pixels: npt.NDArray[np.uint8], size: int, quality: int = 80) -> bytes:
    """A small JPEG of an image.

    Args:
        pixels: ``uint8``, ``3 × H × W``, RGB.
        size: Of its longer side, in pixels, at most.
        quality: Of the JPEG, 1–95.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


Cell = tuple[npt.NDArray[np.uint8], str]
"""An image, ``uint8``, ``H × W`` or ``H × W × 3``, and what is written under it."""


def save_sheet(
    path: Path, rows: Sequence[tuple[str, Sequence[Cell]]], *, cell: int | None = None, gap: int = 4
) -> None:
    """Write a picture of labelled rows of images.

    Args:
        path: Where to.
        rows: Pairs of a label and cells.
        cell: Height and width that images are fitted into, in pixels; ``None``: they are all of
            one size, and stay as they are.
        gap: Pixels between images.

    Raises:
        ResourceError: When it cannot be written.
    """
    font, small = ImageFont.load_default(size=15), ImageFont.load_default(size=11)
    height, width = (cell, cell) if cell else rows[0][1][0][0].shape[:2]
    line = 16 if any(caption for _, cells in rows for _, caption in cells) else 0
    labels = [_shortened(label, font, 260) for label, _ in rows]
    margin = 12 + max(int(font.getlength(label)) for label in labels) + 12
    most = max(len(cells) for _, cells in rows)
    canvas = Image.new(
        "RGB",
        (margin + most * (width + gap), gap + len(rows) * (height + line + gap)),
        color="white",
    )
    draw = ImageDraw.Draw(canvas)
    for row, (_, cells) in enumerate(rows):
        top = gap + row * (height + line + gap)
        draw.text((12, top + height / 2), labels[row], fill="black", font=font, anchor="lm")
        for column, (pixels, caption) in enumerate(cells):
            left = margin + column * (width + gap)
            image = Image.fromarray(pixels)
            if cell:
                image = ImageOps.contain(image, (cell, cell))
            canvas.paste(image, (left, top))
            caption = _shortened(caption, small, width)
            draw.text((left, top + height + 2), caption, fill="black", font=small)
    save_png(path, np.asarray(canvas))


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """As much of a text as fits, its end marked where it was cut."""
    text = as_text(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def is_pillow(given: object) -> TypeGuard[Image.Image]:
    """Whether something is an image of Pillow's."""
    return isinstance(given, Image.Image)


def rgba_file(pixels: npt.NDArray[np.uint8]) -> bytes:
    """An image with an alpha channel as a PNG.

    Args:
        pixels: ``uint8``, ``H × W × 4``, C-contiguous.
    """
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG", compress_level=1)
    return file.getvalue()


def file_of(image: object) -> bytes | None:
    """A Pillow image as a file, without loss and with its mode.

    Args:
        image: Of any type; ``None`` is returned for what is no image of Pillow's.
    """
    if not isinstance(image, Image.Image):
        return None
    file = io.BytesIO()
    try:
        image.save(file, "PNG", compress_level=1)
    except (OSError, ValueError):  # a mode that a PNG does not have
        image.save(file, "TIFF")
    return file.getvalue()
